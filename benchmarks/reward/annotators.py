"""Real people: the three annotators of PandaLM's test set, who choose between two replies of language models.

The data is not part of the project: it lies beside the checkout (../shared/data) or where --data says. The annotators
agree with each other nine times of ten, so this shows whether the features see a taste that people share, and cannot
show personalisation.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from benchmarks.reward.rows import Row
from data.home import CHECKOUT
from data.types import Observation, Reply, Turn
from learner.reward.design import build_design
from learner.reward.features import uncentred
from learner.reward.kinds import FITS
from learner.reward.prior import DEFAULTS

FILE = Path("preferences") / "pandalm_testset_v1.json"
FOLDS = 5


def annotators(data: str | None) -> Row:
    """Accuracy on choices in instructions that the fit has not seen; nothing, with a note, where the data is absent."""
    folder = Path(data).expanduser() if data else CHECKOUT.parent / "shared" / "data"
    if not (folder / FILE).exists():
        print(f"No {FILE} under {folder}: the row of real annotators is left out (--data says where it is).")
        return {}, {}
    rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
    # a handful of replies are the bare word True
    rows = [row for row in rows if isinstance(row["response1"], str) and isinstance(row["response2"], str)]
    right: dict[str, list[float]] = {"bayesian": [], "length": []}
    asked: list[str] = []
    for annotator in ("annotator1", "annotator2", "annotator3"):
        chosen = [row for row in rows if row[annotator] in (0, 1, 2)]
        fold = np.array([_fold(row["instruction"]) for row in chosen])
        for k in range(FOLDS):
            seen = [row for row, f in zip(chosen, fold, strict=True) if f != k]
            train = build_design([_observation(row, row[annotator]) for row in seen], {})
            test = [row for row, f in zip(chosen, fold, strict=True) if f == k and row[annotator]]
            contexts = [_context(row) for row in test]
            difference = uncentred(contexts, [Reply(row["response1"]) for row in test]) - uncentred(
                contexts, [Reply(row["response2"]) for row in test]
            )
            truth = np.array([1.0 if row[annotator] == 1 else -1.0 for row in test])
            for kind, found in right.items():
                weights = FITS[kind](train, DEFAULTS).w  # type: ignore[index]
                found += (0.5 * (1 + np.sign(difference @ weights) * truth)).tolist()
            asked += [row["instruction"] for row in test]
    figures = {f"annotators_{kind}": float(np.mean(found)) for kind, found in right.items()}
    gain = np.array(right["bayesian"]) - np.array(right["length"])
    figures["annotators_gain_over_length"] = float(gain.mean())
    return figures, {"annotators_gain_over_length": _interval(gain, asked)}


def _interval(gain: np.ndarray, asked: list[str]) -> tuple[float, float]:
    """95 % bootstrap interval over instructions."""
    names, owner = np.unique(asked, return_inverse=True)
    totals, counts = np.bincount(owner, gain), np.bincount(owner)
    draws = np.random.default_rng(0).integers(len(names), size=(4000, len(names)))
    low, high = np.quantile(totals[draws].sum(axis=1) / counts[draws].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _fold(instruction: str) -> int:
    return hashlib.sha256(instruction.encode()).digest()[0] % FOLDS


def _context(row: dict[str, str]) -> tuple[Turn, ...]:
    return (Turn("user", f"{row['instruction']}\n\n{row['input']}".strip()),)


def _observation(row: dict[str, str], choice: int) -> Observation:
    order = {0: ((0, 1),), 1: ((0,), (1,)), 2: ((1,), (0,))}[choice]
    replies = (Reply(row["response1"]), Reply(row["response2"]))
    return Observation(f"f{row['idx']}", "ranking", _context(row), replies, order, 1.0, False, "", row["instruction"])
