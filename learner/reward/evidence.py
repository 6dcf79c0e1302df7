"""Is there anything to learn? A test of the held-out gain over intercepts alone, valid with little feedback.

The gain is cross-fitted: conversations are dealt into folds, weights are fitted on the other folds, and the
log-likelihood of the fold's feedback is compared with that of a person without taste (the same threshold,
cut-points and ties, weights 0). All feedback serves, not only the fixed fifth that is held out: of 40
pieces that fifth is eight, which no honest test can read much from.

Its level comes from randomisation, not from a normal approximation: for somebody who rates at random the
features of the replies say nothing about the ratings, so the features may be exchanged among the replies
that were rated in the same way, among the replies of one ranking, and between an edit and its original.
Every exchange gives another gain; the p-value is the share of them that reach the real one, which is valid
whatever the sample size, the number of features and the statistic.  (Weights come from one Newton step from
zero, both for the real and for the exchanged feedback: a full fit would add nothing but minutes.)

The number of exchanges is cut short as soon as enough of them reach the real gain (Besag and Clifford 1991,
still a valid p-value). Alpha is the caller's: 5 % are spent over all updates of a person, not in each.
Measured levels and power: docs/log.md, 2026-11-22.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from math import ceil

import numpy as np

from learner.reward import likelihood as lk
from learner.reward.design import Design, IntArray, join
from learner.reward.features import Array
from learner.reward.model import DEFAULTS, Prior, RewardConfig, fit, fit_intercepts, prior_of

FOLDS = 5
LEAST_EXCHANGES = 499
MOST_EXCHANGES = 9999
ENOUGH_REACHED = 20  # exchanges that reach the real gain, after which the p-value is settled
LEAST_OBSERVATIONS = 8


@dataclass(frozen=True)
class EvidenceTest:
    """`gain` is the cross-fitted log-likelihood gain in nats over all `observations` that could be predicted
    (comments cannot); `held_out_gain` that of the fixed held-out feedback under the model of the rest."""

    learnable: bool
    p_value: float
    alpha: float
    gain: float
    held_out_gain: float
    observations: int
    conversations: int
    exchanges: int
    reason: str


def evidence_gain(
    train: Design, held_out: Design, alpha: float, config: RewardConfig = DEFAULTS, seed: int = 0
) -> EvidenceTest:
    """Whether this person's feedback follows a taste that the features can see.

    train and held_out: the two sides of the fixed split (both are used). alpha in (0, 1): the level that may
    be spent now. Deterministic for a seed. Raises ValueError for an alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is a probability between 0 and 1, not {alpha}")
    design = join(train, held_out)
    predictable = sum(kind != "comment" for kind in design.kinds)
    model = fit(train, config)
    held_out_gain = float(
        (model.log_likelihood(held_out) - model.intercepts_only_log_likelihood(held_out)).sum()
    )
    fold = deal_folds(design.roots, FOLDS)
    if predictable < LEAST_OBSERVATIONS or fold.max(initial=0) < 1:
        reason = f"{predictable} ratings in {len(set(design.roots))} conversations are too few to tell"
        return EvidenceTest(
            False, 1.0, alpha, 0.0, held_out_gain, predictable, len(set(design.roots)), 0, reason
        )
    crossfit = CrossFit(design, fold, config)
    gain = crossfit.gain(design.replies)
    p_value, exchanges = _randomisation(design, crossfit, gain, alpha, np.random.default_rng(seed))
    learnable = gain > 0 and p_value <= alpha
    if learnable:
        reason = f"a taste explains the ratings better than none does ({gain:.1f} nats, p = {p_value:.2g})"
    else:
        reason = (
            f"the ratings are not told apart from chance (gain {gain:.1f} nats, p = {p_value:.2g}, "
            f"needed {alpha:.2g})"
        )
    return EvidenceTest(
        learnable, p_value, alpha, gain, held_out_gain, predictable, len(set(design.roots)), exchanges, reason
    )


def deal_folds(roots: tuple[str, ...], folds: int) -> IntArray:
    """(n,) fold of each observation, 0..; a conversation's observations share one. Conversations are
    dealt in the order of their hash, the fullest first, each to the fold that holds least."""
    members: dict[str, int] = defaultdict(int)
    for root in roots:
        members[root] += 1
    order = sorted(members, key=lambda root: (-members[root], hashlib.sha256(root.encode()).hexdigest()))
    load = [0] * min(folds, max(1, len(order)))
    fold_of = {}
    for root in order:
        fold_of[root] = load.index(min(load))
        load[fold_of[root]] += members[root]
    return np.array([fold_of[root] for root in roots], dtype=np.int64)


class CrossFit:
    """The cross-fitted gain as a function of the replies' features alone."""

    def __init__(self, design: Design, fold: IntArray, config: RewardConfig) -> None:
        features = design.replies.shape[1]
        self.start = fit_intercepts(design, config)
        self.parts = [design.subset(fold == k) for k in range(int(fold.max()) + 1)]
        prior = prior_of(design, config)  # wishes stay in every fold: they are not what is predicted
        self.prior = Prior(prior.mean[:features], prior.precision[:features, :features])

    def gain(self, replies: Array) -> float:
        """Nats over intercepts alone, summed over all observations; replies: (R, F)."""
        return float(sum(gains.sum() for gains in self.gains(replies)))

    def gains(self, replies: Array) -> list[Array]:
        """The same, observation by observation, fold by fold."""
        terms = [lk.gather(part.with_replies(replies)) for part in self.parts]
        features = replies.shape[1]
        slopes = [lk.gradient(self.start, t)[:features] for t in terms]
        information = [lk.weight_information(self.start, t) for t in terms]
        slope = np.sum(slopes, axis=0) + self.prior.precision @ self.prior.mean
        curvature = np.sum(information, axis=0) + self.prior.precision
        out = []
        for t, own_slope, own_information in zip(terms, slopes, information, strict=True):
            theta = self.start.copy()
            theta[:features] = np.linalg.solve(curvature - own_information, slope - own_slope)
            out.append(lk.log_likelihoods(theta, t) - lk.log_likelihoods(self.start, t))
        return out


def exchange(design: Design, rng: np.random.Generator) -> Array:
    """(R, F) features exchanged among replies that nothing but their features tells apart."""
    target = np.arange(len(design.replies))
    ways: dict[int, int] = defaultdict(int)  # row -> how it was rated: 1 thumb, 2 stars, 3 both
    for bit, table in ((1, design.thumbs), (2, design.stars)):
        for row in np.unique(table[:, 1]):
            ways[int(row)] |= bit
    for way in (1, 2, 3):
        rows = np.array([row for row, bits in ways.items() if bits == way], dtype=np.int64)
        target[rows] = rng.permutation(rows)
    for ranking in design.rankings:
        shown = np.array(ranking.rows)
        target[shown] = rng.permutation(shown)
    swapped = design.edits[rng.random(len(design.edits)) < 0.5]
    target[swapped[:, 1]], target[swapped[:, 2]] = swapped[:, 2], swapped[:, 1]
    return design.replies[target]


def _randomisation(
    design: Design, crossfit: CrossFit, gain: float, alpha: float, rng: np.random.Generator
) -> tuple[float, int]:
    """(p-value, exchanges made)."""
    most = min(MOST_EXCHANGES, max(LEAST_EXCHANGES, ceil(10 / alpha)))
    reached = 0
    for made in range(1, most + 1):
        reached += crossfit.gain(exchange(design, rng)) >= gain
        if reached >= ENOUGH_REACHED:
            return reached / made, made
    return (reached + 1) / (most + 1), most
