"""Kinds of reward model that are fitted to features, beside the Bayesian one: what it has to beat.

- ``bayesian``: the joint likelihood of model.py. The default.
- ``linear``: ridge regression on ratings turned into numbers, the simplest thing.
- ``length``: the joint likelihood with log length as the only feature, the baseline to beat.

(``neural``, a LoRA adapter with a scalar head, reads texts and not features: neural.py.)

Every kind gives a RewardModel, so that all of them score, explain and are stored alike. Kinds are compared by the
log-likelihood of feedback in conversations that the fit has not seen. A kind whose utilities have no scale of their own
(ridge, neural) first gets one: the joint likelihood is fitted with its score as the only feature.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np

from learner.reward import likelihood as lk
from learner.reward.design import Design
from learner.reward.evidence import deal_folds
from learner.reward.features import Array, length_slope, names_of
from learner.reward.model import RewardModel, fit
from learner.reward.prior import DEFAULTS, RewardConfig

FeatureKind = Literal["bayesian", "linear", "length"]
FOLDS = 5
RIDGE = 10.0  # in rows: with features of unit scale, about the share that ten ratings have in the weights
SCORE_SD = 1.0  # prior sd of the scale of a score that has been brought to unit variance, in logits


def fit_length(design: Design, config: RewardConfig = DEFAULTS) -> RewardModel:
    """Everything that `fit` does, from log length alone; of other weights it is certain that they are 0."""
    return replace(_fit_scale(length_slope(), design, config), kind="length")


def fit_linear(design: Design, config: RewardConfig = DEFAULTS) -> RewardModel:
    """Ridge regression of numbers on features: thumbs +-1, stars -1 to 1, places of a ranking 1 to -1, edits +-1.

    w = (X'X + RIDGE I)^-1 X'y with X and y less their means. Its scale in logits is fitted afterwards.
    """
    rows, numbers, weight = ratings_as_numbers(design)
    x = design.replies[rows]
    total = max(float(weight.sum()), 1e-9)
    x = x - weight @ x / total
    y = numbers - weight @ numbers / total
    precision = (x * weight[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
    direction = np.linalg.solve(precision, x.T @ (weight * y))
    return replace(along(direction, design, config), kind="linear")


FITS: Mapping[FeatureKind, Callable[[Design, RewardConfig], RewardModel]] = {
    "bayesian": fit,
    "linear": fit_linear,
    "length": fit_length,
}


def ratings_as_numbers(design: Design) -> tuple[Array, Array, Array]:
    """(rows of replies, a number from -1 to 1 for each, weight of its observation); comments give none."""
    found: list[tuple[int, float, float]] = []
    for observation, edited, original in design.edits:
        found += [(edited, 1.0, design.weight[observation]), (original, -1.0, design.weight[observation])]
    found += [(row, float(sign), design.weight[observation]) for observation, row, sign in design.thumbs]
    found += [(row, (stars - 3) / 2, design.weight[observation]) for observation, row, stars in design.stars]
    for ranking in design.rankings:
        place = 0
        for group in ranking.order:
            mean_place = place + (len(group) - 1) / 2
            number = 1 - 2 * mean_place / (len(ranking.rows) - 1)
            found += [(ranking.rows[i], number, design.weight[ranking.observation]) for i in group]
            place += len(group)
    table = np.array(found, dtype=np.float64).reshape(-1, 3)
    return table[:, 0].astype(np.int64), table[:, 1], table[:, 2]


def along(direction: Array, design: Design, config: RewardConfig = DEFAULTS) -> RewardModel:
    """The model whose weights are `direction` (F,) times a scale, scale and everything else fitted to the design."""
    scores = design.replies @ direction
    spread = float(scores.std()) if len(scores) else 0.0
    unit = direction / spread if spread > 1e-9 else np.zeros_like(direction)
    return _fit_scale(unit, design, config)


def _fit_scale(unit: Array, design: Design, config: RewardConfig) -> RewardModel:
    """The scale of a direction (F,) along which replies have about unit variance, and everything else."""
    return _widened(fit_score(design.replies @ unit, design, config), unit[:, None], config)


def fit_score(scores: Array, design: Design, config: RewardConfig = DEFAULTS) -> RewardModel:
    """The joint likelihood with one feature: `scores` (R,) of the design's reply rows, of about unit variance."""
    return fit(with_features(design, scores[:, None]), replace(config, tau=SCORE_SD))


def held_out_gain(kind: FeatureKind, design: Design, config: RewardConfig = DEFAULTS) -> float:
    """Nats over intercepts alone, each conversation predicted by a fit that has not seen its fold."""
    fold = deal_folds(design.roots, FOLDS)
    gain = 0.0
    for k in range(int(fold.max(initial=0)) + 1):
        model = FITS[kind](design.subset(fold != k), config)
        gain += float(model.gains(design.subset(fold == k)).sum())
    return gain


def with_features(design: Design, replies: Array) -> Design:
    """The same feedback about other features. Wishes go: they are about features that are not there."""
    return design.changed(replies=replies, absolute=None, wishes=())


def _widened(narrow: RewardModel, basis: Array, config: RewardConfig) -> RewardModel:
    """A model over all features from one over combinations of them, the columns of `basis` (F, K)."""
    features = len(basis)
    lift = np.zeros((features + lk.EXTRA, len(narrow.theta)))
    lift[:features, : basis.shape[1]] = basis
    lift[features:, basis.shape[1] :] = np.eye(lk.EXTRA)
    return replace(
        narrow,
        theta=lift @ narrow.theta,
        covariance=lift @ narrow.covariance @ lift.T,
        intercepts=lift @ narrow.intercepts,
        config=config,
        feature_names=names_of(features),
    )
