"""Changes of taste: from when on feedback counts in full, and how much what came before still does.

Found, not assumed: a candidate is a moment c and a weight a < 1 for everything older. Its score is how much better the
older feedback, so weakened, predicts the newer one than it does in full:

    G(c, a) = [log Z(new + a old) - log Z(a old)] - [log Z(new + old) - log Z(old)]

where Z is the evidence (Laplace) of the reward model: the integral of likelihood times prior. A taste that stayed the
same makes weakened feedback a worse predictor, so G is negative; only a gain beyond LEAST_GAIN counts as a change.
Deterministic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from learner.reward.design import Design
from learner.reward.features import Array
from learner.reward.model import fit, log_evidence
from learner.reward.prior import DEFAULTS, RewardConfig

LEAST_GAIN = 2.0  # nats; measured: docs/log.md
LEAST_NEW = 20  # pieces: fewer cannot show that they are no longer like the others
SPACING = 15  # pieces between two moments that are looked at
OLD_WEIGHTS = (0.3, 0.1, 0.0)


@dataclass(frozen=True)
class Change:
    """`newer` pieces count in full, `older` ones by `old_weight`; `gain` in nats over counting all in full."""

    newer: int
    older: int
    old_weight: float
    gain: float
    since: str  # the feedback id that the newer ones begin with


def change_of_taste(design: Design, config: RewardConfig = DEFAULTS) -> Change | None:
    """The change that explains this person's feedback best, or None where none is shown.

    Feedback is in the order of its ids, which are ULIDs and thus sort by time.
    """
    config = replace(config, freedom=math.inf)
    order = np.argsort(np.array(design.feedback_ids), kind="stable")
    n = len(order)
    best: Change | None = None
    everything = log_evidence(fit(design, config), design)
    for newer in range(LEAST_NEW, n - LEAST_NEW + 1, SPACING):
        old = np.zeros(n, dtype=bool)
        old[order[: n - newer]] = True
        before = design.subset(old)
        in_full = everything - log_evidence(fit(before, config), before)
        for weight in OLD_WEIGHTS:
            mixed, weakened = weighted(design, old, weight), weighted(before, np.ones(n - newer, bool), weight)
            weak_old = log_evidence(fit(weakened, config), weakened) if weight else 0.0
            gain = log_evidence(fit(mixed, config), mixed) - weak_old - in_full
            if gain > max(LEAST_GAIN, best.gain if best else 0.0):
                first = design.feedback_ids[order[n - newer]]
                best = Change(newer, n - newer, weight, float(gain), first)
    return best


def weighted(design: Design, chosen: Array, weight: float) -> Design:
    """The design with the observations where `chosen` (n,) is true counting `weight` times what they do."""
    factor = np.where(chosen, weight, 1.0)
    return design.changed(weight=design.weight * factor)


def forgetting(design: Design, change: Change | None) -> Design:
    """The design as the change says that it counts; itself where there is none."""
    if change is None:
        return design
    old = np.array([feedback_id < change.since for feedback_id in design.feedback_ids])
    return weighted(design, old, change.old_weight)
