"""Which judge should the gate use? Two judges over people who rate at random and people with a taste.

    python -m benchmarks.judge_power [--home DIR] [--prompts 52]

The candidate stands for what an optimiser makes of a reward model: for every prompt the reply that the model of the
training side scores best, out of the base's replies and of cut versions of them; the live version is a base reply. Each
judge says whether the bound of its win rate is above one half. The replies are those of benchmarks/replies.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from benchmarks.raters import Pool, Rater, Taste, base_replies, likes_it_short, mixed_taste
from benchmarks.replies import bank
from data.home import Home
from data.types import Reply, Turn
from learner.config import GateConfig
from learner.evaluation.gate import win_rate
from learner.reward.design import build_design, join
from learner.reward.evidence import evidence_gain
from learner.reward.features import Array, uncentred
from learner.reward.model import fit

CUTS = (10, 20, 40)  # words
PESSIMISM = 0.5
ALPHA = 0.03  # about what a person's first test may spend

MakeTaste = Callable[[Pool, np.random.Generator], Taste | None]
PEOPLE: dict[str, MakeTaste] = {
    "at random": lambda pool, rng: None,
    "likes it short": lambda pool, rng: likes_it_short(pool),
    "two or three attributes": mixed_taste,
}


def choices(pool: Pool) -> tuple[Array, Array, list[Array]]:
    """Features of the base's replies (N, K, F), of the live ones among them (N, 1, F), and for each prompt those of
    what a candidate could say."""
    base, options = [], []
    for prompt, replies in pool.items():
        context = (Turn("user", prompt),)
        cut = [
            Reply(" ".join(reply.text.split()[:n]) + ".")
            for reply in replies
            for n in CUTS
            if len(reply.text.split()) > n
        ]
        said = [*replies[1:], *cut]
        base.append(uncentred([context] * len(replies), replies))
        options.append(uncentred([context] * len(said), said))
    return np.array(base), np.array(base)[:, :1], options


def passed(make: MakeTaste, pool: Pool, people: int, pieces: int, share: float) -> dict[str, int]:
    """How many of `people` each judge lets through, and how many pass the evidence test too."""
    said, live, options = choices(pool)
    base = base_replies(pool)
    gate = GateConfig()
    counts = {"held-out judge": 0, "judge of all": 0, "evidence": 0, "evidence and judge of all": 0}
    for person in range(people):
        rng = np.random.default_rng([0, person])
        observations = Rater(rng, make(pool, rng), pool, 1.5).pieces(pieces)
        held = {o.root_id: rng.random() < share for o in observations}
        train = build_design([o for o in observations if not held[o.root_id]], base)
        held_out = build_design([o for o in observations if held[o.root_id]], base)
        model = fit(train)
        candidate = np.array([o[int(np.argmax(model.pessimistic(o, PESSIMISM)))] for o in options])[:, None]
        alone = win_rate(fit(held_out), candidate, live, said, gate, 0).lower > gate.min_win_rate
        both = win_rate(fit(join(train, held_out)), candidate, live, said, gate, 0).lower > gate.min_win_rate
        evidence = evidence_gain(train, held_out, ALPHA, seed=person).learnable
        counts["held-out judge"] += alone
        counts["judge of all"] += both
        counts["evidence"] += evidence
        counts["evidence and judge of all"] += evidence and both
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home")
    parser.add_argument("--prompts", type=int, default=52)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--pieces", type=int, default=40)
    options = parser.parse_args()
    replies = bank(Home.locate(options.home))
    pool = {
        prompt: [replies.reply(i) for i in replies.of_prompt(number)[:4]]
        for number, prompt in enumerate(replies.prompts[: options.prompts])
    }
    for share in (0.2, 0.35):
        for name, make in PEOPLE.items():
            counts = passed(make, pool, options.people, options.pieces, share)
            print(f"held out {share:.0%}, {name}, {options.people} people: {counts}", flush=True)


if __name__ == "__main__":
    main()
