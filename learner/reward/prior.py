"""What is believed of a person before their first rating: a Gaussian over all parameters of the reward model.

People care for few things, and nobody knows beforehand for which. So each weight's prior variance is itself unknown:
w_j ~ N(0, v_j) with v_j inverse-gamma around the population's value, which makes w_j Student-t, wide-tailed and with
most of its mass near 0. `model.fit` finds the v_j by expectation-maximisation (automatic relevance determination,
MacKay 1994; Tipping 2001). Wishes that a comment states are multiplied in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from learner.reward import likelihood as lk
from learner.reward.design import Design, Wish
from learner.reward.features import FEATURE_NAMES, WEIGHT_SD, Array, contrast


@dataclass(frozen=True)
class RewardConfig:
    """Priors of the reward model, and how it is fitted. Utilities are in logits of a ranking of two.

    tau and freedom: chosen on simulated people for tuning (docs/log.md, 2026-11-22); a Gaussian prior (infinite
    freedom) orders 3 pairs of 100 less well from 100 pieces on.
    """

    tau: float = 0.15  # population sd of a weight, root mean square over the features
    freedom: float = 0.3  # degrees of freedom nu of the weights' Student-t prior: how few things people care for
    rounds: int = 6  # of expectation-maximisation over the prior variances; more of them fit noise
    log_beta_sd: float = 0.25  # prior sd of each log beta around 0 (as sharp as a ranking): wider, one runs away
    threshold_sd: float = 1.0  # prior sd of the thumb threshold around 0, what the base usually says
    cut_centre_sd: float = 1.5  # prior sd of the middle of the star cut-points
    gap: float = 1.2  # population distance of neighbouring cut-points, evenly spaced
    gap_common_sd: float = 0.5  # sd of the log of all gaps together: a person who uses few or many stars
    gap_own_sd: float = 0.3  # sd of the log of each gap around the even spacing
    tie: float = 0.5  # population nu: two equal replies are called equal by tie / (2 + tie) = 20 %
    log_tie_sd: float = 1.0
    max_iterations: int = 60
    tolerance: float = 1e-7  # of the largest entry of the gradient of the log posterior

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> RewardConfig:
        """Raises ValueError for an unknown key."""
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(f"unknown reward model settings: {', '.join(sorted(unknown))}")
        return cls(**values)


DEFAULTS = RewardConfig()


@dataclass(frozen=True)
class Prior:
    """Gaussian over all parameters: mean (P,) and precision (P, P)."""

    mean: Array
    precision: Array

    def log_density(self, theta: Array) -> float:
        """Up to a constant."""
        offset = theta - self.mean
        return float(-0.5 * offset @ self.precision @ offset)


def weight_variances(features: int, config: RewardConfig) -> Array:
    """(F,) the population's prior variances of the weights: of the style features, else all alike."""
    relative = WEIGHT_SD**2 if features == len(FEATURE_NAMES) else np.ones(features)
    variances: Array = config.tau**2 * relative
    return variances


def updated_variances(w: Array, posterior_variances: Array, config: RewardConfig) -> Array:
    """(F,) prior variances after one step of expectation-maximisation: the population's, and what was seen of w.

    v_j = (nu v0_j + E[w_j^2]) / (nu + 1), with E[w_j^2] = w_j^2 + posterior variance. Infinite nu leaves v0.
    """
    v0 = weight_variances(len(w), config)
    if math.isinf(config.freedom):
        return v0
    variances: Array = (config.freedom * v0 + w**2 + posterior_variances) / (config.freedom + 1)
    return variances


def prior_of(design: Design, config: RewardConfig, variances: Array | None = None) -> Prior:
    """The prior with the wishes of this design's comments multiplied in; `variances` (F,) of the weights, by default
    the population's.

    A wish is in units of the population's sd along its contrast c: w.c / sd(w.c) ~ N(mean, sd^2).
    """
    features = design.replies.shape[1]
    population = weight_variances(features, config)
    sd = np.full(features + lk.EXTRA, np.nan)
    sd[features : features + 3] = config.log_beta_sd
    sd[features + lk.THRESHOLD] = config.threshold_sd
    sd[features + lk.CUT_CENTRE] = config.cut_centre_sd
    sd[features + lk.LOG_TIE] = config.log_tie_sd
    mean, precision = np.zeros(len(sd)), np.diag(sd**-2.0)
    gaps = slice(features + lk.GAP_1, features + lk.GAP_3 + 1)
    precision[gaps, gaps] = np.linalg.inv(config.gap_own_sd**2 * np.eye(3) + config.gap_common_sd**2)
    mean[gaps] = np.log(config.gap)
    mean[features + lk.LOG_TIE] = np.log(config.tie)
    weights = np.diag(1 / (population if variances is None else variances))
    pull = np.zeros(features)  # precision times mean
    for wish in design.wishes:
        counts = design.weight[wish.observation] if wish.observation >= 0 else 1.0
        direction, own_sd = wish_direction(wish, population)
        sharpness = counts / (own_sd * wish.sd) ** 2
        weights += sharpness * np.outer(direction, direction)
        pull += sharpness * own_sd * wish.mean * direction
    precision[:features, :features] = weights
    mean[:features] = np.linalg.solve(weights, pull)
    return Prior(mean, precision)


def wish_direction(wish: Wish, population: Array) -> tuple[Array, float]:
    """What a wish is about: the contrast of its feature (F,), and the population's sd of the utility along it."""
    styles = len(population) == len(FEATURE_NAMES)
    direction = contrast(FEATURE_NAMES[wish.feature]) if styles else np.eye(len(population))[wish.feature]
    return direction, math.sqrt(float(population @ direction**2))
