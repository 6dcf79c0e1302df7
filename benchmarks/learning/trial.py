"""One change of the learner, tried on people who are not those of the reported figures.

    python -m benchmarks.learning.trial --people 2 --set ppo.kl_target=4 --set ppo.learning_rate=1e-4

Each chats once with a real Attune (the base answers, nothing is learnt) and gives 100 pieces of feedback, which are
kept; then an update runs in this process with the given settings. One line of JSON a person: win rate over the base by
the whole utility, by its style alone and by sense alone, how far the policy went, and what the gate would say of it: a
win rate of a version that is refused counts for nothing.
"""

from __future__ import annotations

import argparse
import json
from statistics import median
from typing import Any

import numpy as np

from benchmarks.learning.arms import trained
from benchmarks.learning.ground import Ground, Said, words
from benchmarks.learning.story import Story
from benchmarks.people.live import utilities
from data.home import Home
from learner.reward.features import Array

PIECES = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home")
    parser.add_argument("--first", type=int, default=0, help="number of the first person")
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--algorithm", default="ppo")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the learner")
    options = parser.parse_args()
    overrides = {name: json.loads(value) for name, value in (given.split("=", 1) for given in options.set)}
    ground = Ground(Home.locate(options.home).create(), "embedded", quick=False, data=None, reported=False)
    for number in range(options.first, options.first + options.people):
        story = Story(ground, number, (PIECES,))
        story.only_talk(PIECES)
        said, more = trained(story, options.algorithm, overrides=overrides, gated=True)
        print(json.dumps(summary(ground, story, said) | _of_training(more)), flush=True)


def summary(ground: Ground, story: Story, said: Said) -> dict[str, Any]:
    """Win rates over the base by the utility and by its two parts."""
    person, zero = story.person, [0.0] * len(said.replies)

    def rate(ours: Array, theirs: list[Array]) -> float:
        return round(float(np.mean([0.5 * (1 + np.sign(ours - other)) for other in theirs])), 3)

    style = [utilities(person, other.replies, zero) for other in ground.opponents]
    sense = [np.array(other.senses) for other in ground.opponents]
    return {
        "person": story.number,
        "taste": {name: round(weight, 2) for name, weight in (*person.taste.parts, ("sense", person.taste.sense))},
        "win_rate": round(float(ground.wins(person, said).mean()), 3),
        "by_style": rate(utilities(person, said.replies, zero), style),
        "by_sense": rate(np.array(said.senses), sense),
        "words": [median(words(said.replies)), median(words(ground.opponents[0].replies))],
    }  # fmt: skip


def _of_training(more: dict[str, Any]) -> dict[str, Any]:
    report = more["report"]
    ppo = report.get("ppo", {})
    return {
        "evidence": report["evidence"].get("p"),
        "warm_start": {name: report.get("warm_start", {}).get(name) for name in ("steps", "kl", "why")},
        "iterations": ppo.get("iterations"),
        "first": ppo.get("first"),
        "last": ppo.get("last"),
        "gate": report.get("gate"),
        "seconds": more.get("seconds"),
    }


if __name__ == "__main__":
    main()
