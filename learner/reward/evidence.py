"""Is there anything to learn? A test of the held-out gain over intercepts alone, valid with little feedback.

The gain is cross-fitted: conversations are dealt into folds, weights are fitted on the other folds, and the
log-likelihood of the fold's feedback is compared with that of a person without taste (the same threshold,
cut-points and ties, weights 0). All feedback serves, not only the fixed fifth that is held out: of 40
pieces that fifth is eight, which no honest test can read much from.

Nobody knows beforehand whether a person judges a reply by itself or against what else could have been said
to the prompt. So the gain is the mean of two: with features that are centred on the base's replies to the
prompt, and with features that are not. For somebody who judges by themselves the centring is noise.

Its level comes from randomisation, not from a normal approximation: for somebody who rates at random, other
feedback would have been as likely - the same thumbs and stars dealt to other replies, the replies of a
ranking in another order, an edit and its original changed over. Every exchange gives another gain; the
p-value is the share of them that reach the real one, which is valid whatever the sample size, the number of
features and the statistic. (Weights come from one Newton step from zero, for the real feedback as for the
exchanged: a full fit would add nothing but minutes.)

What it does not allow for: moods. Somebody whose ratings within one conversation go together for reasons
that have nothing to do with the replies is not covered by dealing them out one by one.

The number of exchanges is cut short as soon as enough of them reach the real gain (Besag and Clifford 1991,
still a valid p-value). Alpha is the caller's: 5 % are spent over all updates of a person, not in each.
Measured levels and power: docs/log.md, 2026-11-22.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

import numpy as np

from learner.reward import likelihood as lk
from learner.reward.design import Design, IntArray, join
from learner.reward.features import Array
from learner.reward.model import fit, fit_intercepts
from learner.reward.prior import DEFAULTS, Prior, RewardConfig, prior_of

FOLDS = 10
LEAST_EXCHANGES = 1_999  # at an alpha of .033 the p-value is then known to +-.004, not to a quarter of it
MOST_EXCHANGES = 99_999  # 1e-5, the smallest p there can be, is less than what 20 pieces after 2,000 may spend
ENOUGH_REACHED = 80  # exchanges that reach the real gain, after which the p-value is settled
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

    train and held_out: the two sides of the fixed split (both are used). alpha in [0, 1): the level that may
    be spent now; with 0 nothing can be found, and no exchange is made. Deterministic for a seed. Raises
    ValueError for an alpha outside [0, 1).
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is at least 0 and below 1, not {alpha}")
    design = join(train, held_out)
    predictable, conversations = design.predictable, len(set(design.roots))
    model = fit(train, config)
    held_out_gain = float(model.gains(held_out).sum())
    fold = deal_folds(design.roots, FOLDS)
    reason = ""
    if predictable < LEAST_OBSERVATIONS or fold.max(initial=0) < 1:
        reason = f"{predictable} ratings in {conversations} conversations are too few to tell"
    elif alpha == 0:
        reason = "the ratings were not told apart from chance, and there are no more of them now"
    if reason:
        return EvidenceTest(False, 1.0, alpha, 0.0, held_out_gain, predictable, conversations, 0, reason)
    crossfit = CrossFit(design, fold, config)
    gain = crossfit.gain(Feedback.of(design))
    p_value, exchanges = _randomisation(Exchange(design), crossfit, gain, alpha, np.random.default_rng(seed))
    learnable = gain > 0 and p_value <= alpha
    if learnable:
        reason = f"a taste explains the ratings better than none does ({gain:.1f} nats, p = {p_value:.2g})"
    else:
        reason = (
            f"the ratings are not told apart from chance (gain {gain:.1f} nats, p = {p_value:.2g}, "
            f"needed {alpha:.2g})"
        )
    return EvidenceTest(
        learnable, p_value, alpha, gain, held_out_gain, predictable, conversations, exchanges, reason
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


class Feedback(NamedTuple):
    """What differs between the real feedback and an exchanged one."""

    reply: IntArray  # (R,) row of the reply that stands in each reply's place
    thumb_sign: IntArray  # (T,)
    star_level: IntArray  # (S,)

    @classmethod
    def of(cls, design: Design) -> Feedback:
        return cls(np.arange(len(design.replies)), design.thumbs[:, 2], design.stars[:, 2])


class CrossFit:
    """The cross-fitted gain, of the real feedback or of an exchanged one."""

    def __init__(self, design: Design, fold: IntArray, config: RewardConfig) -> None:
        features = design.replies.shape[1]
        self.views = [view for view in (design.replies, design.absolute) if view is not None]
        self.start = fit_intercepts(design, config)
        folds = range(int(fold.max()) + 1)
        self.parts = [design.subset(fold == k) for k in folds]
        self.thumbs = [np.flatnonzero(fold[design.thumbs[:, 0]] == k) for k in folds]
        self.stars = [np.flatnonzero(fold[design.stars[:, 0]] == k) for k in folds]
        prior = prior_of(design, config)  # wishes stay in every fold: they are not what is predicted
        self.prior = Prior(prior.mean[:features], prior.precision[:features, :features])

    def gain(self, feedback: Feedback) -> float:
        """Nats over intercepts alone, summed over all observations; the mean over the ways to see the replies."""
        return float(np.mean([self._gain(view[feedback.reply], feedback) for view in self.views]))

    def _gain(self, replies: Array, feedback: Feedback) -> float:
        terms = [
            lk.gather(part.with_replies(replies))._replace(
                thumb_sign=feedback.thumb_sign[thumbs].astype(np.float64),
                star_level=feedback.star_level[stars],
            )
            for part, thumbs, stars in zip(self.parts, self.thumbs, self.stars, strict=True)
        ]
        features = replies.shape[1]
        slopes = [lk.gradient(self.start, t)[:features] for t in terms]
        information = [lk.weight_information(self.start, t) for t in terms]
        slope = np.sum(slopes, axis=0) + self.prior.precision @ self.prior.mean
        curvature = np.sum(information, axis=0) + self.prior.precision
        gain = 0.0
        for t, own_slope, own_information in zip(terms, slopes, information, strict=True):
            theta = self.start.copy()
            theta[:features] = np.linalg.solve(curvature - own_information, slope - own_slope)
            gain += float((lk.log_likelihoods(theta, t) - lk.log_likelihoods(self.start, t)).sum())
        return gain


class Exchange:
    """Draws feedback that is as likely as the real one for a person without taste.

    A reply's thumb and stars move together to another reply that was rated in the same way (a random rater
    may still be consistent); features, folds and conversations stay where they are, so that replies of one
    conversation remain as alike as they are.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        held: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for which, table in enumerate((design.thumbs, design.stars)):
            for index, row in enumerate(table[:, 1]):
                held[int(row)][which].append(index)
        strata: dict[tuple[int, int], list[tuple[list[int], list[int]]]] = defaultdict(list)
        for thumbs, stars in held.values():
            strata[len(thumbs), len(stars)].append((thumbs, stars))
        # of each stratum: (replies, thumbs a reply) and (replies, stars a reply) indices into the tables
        self.strata = [
            tuple(np.array([bundle[i] for bundle in bundles], dtype=np.int64) for i in (0, 1))
            for bundles in strata.values()
        ]

    def draw(self, rng: np.random.Generator) -> Feedback:
        design = self.design
        sign, level = design.thumbs[:, 2].copy(), design.stars[:, 2].copy()
        for thumbs, stars in self.strata:
            order = rng.permutation(len(thumbs))
            sign[thumbs] = design.thumbs[thumbs[order], 2]
            level[stars] = design.stars[stars[order], 2]
        target = np.arange(len(design.replies))
        for ranking in design.rankings:
            shown = np.array(ranking.rows)
            target[shown] = rng.permutation(shown)
        swapped = design.edits[rng.random(len(design.edits)) < 0.5]
        target[swapped[:, 1]], target[swapped[:, 2]] = swapped[:, 2], swapped[:, 1]
        return Feedback(target, sign, level)


def _randomisation(
    exchange: Exchange, crossfit: CrossFit, gain: float, alpha: float, rng: np.random.Generator
) -> tuple[float, int]:
    """(p-value, exchanges made)."""
    most = min(MOST_EXCHANGES, max(LEAST_EXCHANGES, ceil(2 / alpha)))
    reached = 0
    for made in range(1, most + 1):
        reached += crossfit.gain(exchange.draw(rng)) >= gain
        if reached >= ENOUGH_REACHED:
            return reached / made, made
    return (reached + 1) / (most + 1), most
