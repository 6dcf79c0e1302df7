"""How well the personal reward model learns a person from little feedback: `python launch.py bench reward`.

Simulated people (benchmarks/people) rate replies that the base model really wrote (benchmarks/replies.py samples them
once, about an hour for the embedded model) and are asked for on other prompts: pairs of replies, none left out. The
people, and some of what they can care for, differ from those that anything was chosen with.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

from benchmarks.replies import bank
from benchmarks.results import Result, report
from benchmarks.reward.annotators import annotators
from benchmarks.reward.neural import neural
from benchmarks.reward.rows import (
    Figures,
    Intervals,
    Row,
    accuracy,
    calibration,
    change_of_mind,
    content,
    null_people,
    speed,
)
from benchmarks.reward.trial import PIECES, Trial
from data.home import Home

# What the figures are to reach.
AT_LEAST = {
    "accuracy@20": 0.66,
    "accuracy@50": 0.71,
    "accuracy@100": 0.76,
    "accuracy@200": 0.80,
    "way_to_ceiling@100": 0.70,
    "mixed_minus_pairs@100": 0.0,
    "back_within_50": 0.0,
}
AT_MOST = {"ece@100": 0.05, "null_found": 5, "fit_500_ms": 200}


def main(options: argparse.Namespace) -> int:
    started = time.monotonic()
    trial = Trial(bank(Home.locate(options.home).create(), options.model or "embedded", options.quick))
    people, nobodies = (6, 5) if options.quick else (60, 100)
    rows: dict[str, Callable[[], Row]] = {
        "speed": partial(speed, trial),
        "accuracy": partial(accuracy, trial, people),
        "content": partial(content, trial, people),
        "calibration": partial(calibration, trial, people),
        "people who rate at random": partial(null_people, trial, nobodies),
        "change of mind": partial(change_of_mind, trial, people // 2),
        "real annotators": partial(annotators, options.data),
        "neural": partial(neural, trial, Home.locate(options.home), options.model or "embedded", options.quick),
    }
    figures: Figures = {}
    intervals: Intervals = {}
    for name, row in rows.items():
        began = time.monotonic()
        found, between = row()
        figures |= found
        intervals |= between
        if not options.json:
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    settings = {
        "prompts": len(trial.bank.prompts),
        "replies": len(trial.bank.rows),
        "people": people,
        "test_pairs": len(trial.pairs),
        "ceiling_pairs": len(trial.ceiling_pairs),
    }
    curves = {
        label: [(n, figures[f"{key}@{n}"], *intervals[f"{key}@{n}"]) for n in PIECES]
        for label, key in (
            ("mixed feedback", "accuracy"),
            ("pairs alone", "accuracy_pairs"),
            ("ridge", "accuracy_linear"),
            ("length alone", "accuracy_length"),
        )
    }
    result = Result(
        "reward", options.model or "embedded", settings, figures, time.monotonic() - started, intervals,
        AT_MOST, at_least=AT_LEAST, curves=curves, curve_axes=("pieces of feedback", "pairwise accuracy"),
        level=("ceiling", figures["ceiling@100"]),
    )  # fmt: skip
    report(result, options)
    return 0
