"""How well the personal reward model learns a person from little feedback: `python launch.py bench reward`.

Simulated people (benchmarks/people) rate replies that the base model really wrote (benchmarks/replies.py samples them
once, about an hour for the embedded model) and are asked for on other prompts: pairs of replies, none left out. The
people, and some of what they can care for, differ from those that anything was chosen with.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed

from benchmarks.replies import bank
from benchmarks.results import Result
from benchmarks.reward.annotators import annotators
from benchmarks.reward.neural import neural
from benchmarks.reward.rows import (
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
AT_MOST = {"ece@100": 0.05, "null_published": 5, "fit_500_ms": 200}


def main(options: argparse.Namespace) -> Result:
    started = time.monotonic()
    os.environ["OMP_NUM_THREADS"] = "1"  # of the processes below: each row has a core of its own
    home, model = Home.locate(options.home).create(), options.model or "embedded"
    trial = Trial(bank(home, model, options.quick))
    people, nobodies = (6, 5) if options.quick else (60, 100)
    rows: list[tuple[Callable[..., Row], tuple[object, ...]]] = [
        (null_people, (nobodies,)),
        (accuracy, (people,)),
        (change_of_mind, (people // 2,)),
        (content, (people,)),
        (calibration, (people,)),
    ]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        figures, intervals = pool.submit(_row, speed, (), str(home.root), model, options.quick).result()  # alone
        waiting = {
            pool.submit(_row, row, arguments, str(home.root), model, options.quick): row for row, arguments in rows
        }
        for done in as_completed(waiting):
            found, between = done.result()
            figures, intervals = figures | found, intervals | between
            print(f"{waiting[done].__name__}: done after {time.monotonic() - started:.0f} s", flush=True)
    for found, between in (annotators(options.data), neural(trial, home, model, options.quick)):
        figures, intervals = figures | found, intervals | between
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
    return Result(
        "reward", model, settings, figures, time.monotonic() - started, intervals,
        AT_MOST, at_least=AT_LEAST, curves=curves, curve_axes=("pieces of feedback", "pairwise accuracy"),
        level=("ceiling", figures["ceiling@100"]),
    )  # fmt: skip


def _row(row: Callable[..., Row], arguments: tuple[object, ...], home: str, model: str, quick: bool) -> Row:
    """One row, in a process of its own."""
    return row(Trial(bank(Home.locate(home), model, quick)), *arguments)
