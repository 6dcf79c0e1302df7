"""The learning benchmark's table, from what was kept: whatever is there, of however many people."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.learning.arms import ARMS
from benchmarks.learning.ground import Ground, words
from benchmarks.learning.story import Story
from benchmarks.results import Result
from learner.reward.features import Array

MAIN = 100  # pieces of feedback at which everything is compared
DRAWS = 4000
AT_LEAST = {
    "win_rate@100": 0.70,
    "win_rate_least@100": 0.50,
    "over_best_of_4@100": 0.0,
    "over_warm_start@100": 0.0,
    "ifeval_change": -0.03,
}
AT_MOST = {"kl": 12.0, "kl_most": 12.0, "perplexity_change": 0.03, "minutes_per_update": 15.0}


class Figures:
    """Figures with their intervals, under the names that other programs rely on."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.intervals: dict[str, tuple[float, float]] = {}

    def add(self, name: str, by_person: Sequence[Array]) -> None:
        """Mean over people and prompts, with a 95 % bootstrap interval over prompts, conditional on the people.

        `by_person`: (P,) values of the same P prompts for each person; of two arms, their paired difference.
        """
        if not by_person:
            return
        table = np.stack(list(by_person))  # (people, P)
        draws = np.random.default_rng(0).integers(table.shape[1], size=(DRAWS, table.shape[1]))
        means = table.mean(axis=0)[draws].mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        self.values[name], self.intervals[name] = float(table.mean()), (float(low), float(high))


def table(ground: Ground, stories: Sequence[Story], seconds: float) -> Result:
    figures = Figures()
    for pieces in sorted({n for story in stories for n in story.schedule}):
        there = [story for story in stories if story.found(f"attune@{pieces}")]
        watched = [story for story in there if len(story.schedule) > 1]
        figures.add(f"win_rate@{pieces}", [_wins(ground, story, f"attune@{pieces}") for story in there])
        figures.add(f"win_rate_watched@{pieces}", [_wins(ground, story, f"attune@{pieces}") for story in watched])
    at = stories[0].schedule[-1] if ground.quick else MAIN
    there = [story for story in stories if story.found(f"attune@{at}")]
    for arm in ARMS:
        both = [story for story in there if story.found(f"{arm}@{at}")]
        ours = [_wins(ground, story, f"attune@{at}") for story in both]
        theirs = [_wins(ground, story, f"{arm}@{at}") for story in both]
        figures.add(f"win_rate_{arm}@{at}", theirs)
        figures.add(f"over_{arm}@{at}", [a - b for a, b in zip(ours, theirs, strict=True)])
    measured = [(story, found) for story in there if (found := story.followed(at)) is not None]
    figures.add("ifeval_change", [found - ground.followed_by_base for _, found in measured])
    if there:
        figures.values |= _of_versions(ground, there, at)
    settings = {
        "people": len(there),
        "prompts": len(ground.prompts),
        "wishes": {f"person {s.number}": ", ".join(f"{n} {w:+.2f}" for n, w in s.person.taste.parts) for s in there},
        "verdicts": {f"person {s.number}": _run(s, at)["reason"] for s in there},
        "codes": sorted({_run(s, at)["code"] for s in there}),  # one, unless the learner changed between people
    }
    return Result(
        "learning", ground.model, settings, figures.values, seconds, figures.intervals, AT_MOST, AT_LEAST,
        curves=_curves(figures), curve_axes=("pieces of feedback", "win rate over the base, by the person's utility"),
        level=("the base", 0.5),
    )  # fmt: skip


def _wins(ground: Ground, story: Story, name: str) -> Array:
    return ground.wins(story.person, story.says(name))


def _run(story: Story, pieces: int) -> dict[str, Any]:
    found = story.found(f"attune@{pieces}")
    assert found is not None
    return dict(found["run"]) | {name: found[name] for name in ("live", "minutes", "code")}


def _of_versions(ground: Ground, stories: Sequence[Story], at: int) -> dict[str, float]:
    """Of the versions themselves: how far they are from the base, and what they cost."""
    figures: dict[str, float] = {"people": float(len(stories))}
    rates = [float(_wins(ground, story, f"attune@{at}").mean()) for story in stories]
    figures[f"win_rate_least@{at}"] = min(rates)
    runs = [_run(story, at) for story in stories]
    figures[f"published@{at}"] = float(sum(run["live"] > 0 for run in runs))
    minutes = [run["minutes"] for run in runs if run["state"] != "abstained"]  # one that trains nothing ends at once
    if minutes:
        figures["minutes_per_update"], figures["minutes_most"] = mean(minutes), max(minutes)
    live = [(run["report"]["policy"], rate, story) for run, rate, story in zip(runs, rates, stories, strict=True)
            if run["state"] == "promoted"]  # fmt: skip
    if live:
        figures["kl"] = mean(policy["kl"] for policy, _, _ in live)
        figures["kl_most"] = max(policy["kl"] for policy, _, _ in live)
        figures["win_rate_gain_per_nat"] = mean((rate - 0.5) / policy["kl"] for policy, rate, _ in live)
        rises = [policy[name] for policy, _, _ in live for name in ("perplexity_increase", "chat_perplexity_increase")]
        figures["perplexity_change"] = max(rises)
        base_words = median(words(ground.opponents[0].replies))
        figures["length_ratio"] = mean(
            median(words(story.says(f"attune@{at}").replies)) / base_words for _, _, story in live
        )
    return figures


def _curves(figures: Figures) -> dict[str, list[tuple[float, float, float, float]]]:
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for label, start in (("everybody", "win_rate@"), ("people watched on the way", "win_rate_watched@")):
        points = [(float(name[len(start) :]), figures.values[name], *figures.intervals[name])
                  for name in figures.values if name.startswith(start)]  # fmt: skip
        if points:
            found[label] = points
    return found
