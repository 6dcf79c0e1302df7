"""What a person has switched off of what was learnt: features whose weights are held at zero.

A person speaks of statements ("prefers shorter replies"); one about a length is about several features, a slope and
hinges. Where a weight is zero, its feature's column and any wish about it say nothing: a fit to the design `without` a
feature is the fit with that weight held at zero. `silenced` then takes away what the prior alone left to it, so that
it adds no uncertainty either. A model that is there already is conditioned on those weights being zero: at once, and
to the accuracy of its Laplace posterior, what a new fit would say.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from learner.reward.design import Design
from learner.reward.features import FEATURE_NAMES, REPLY_HINGES, SENTENCE_HINGES
from learner.reward.model import RewardModel

_TOGETHER = {"log_length": REPLY_HINGES, "sentence_length": SENTENCE_HINGES}
_HINGES = {*REPLY_HINGES, *SENTENCE_HINGES}
STATED: tuple[str, ...] = tuple(name for name in FEATURE_NAMES if name not in _HINGES)  # what statements are about


def held_at_zero(muted: Collection[str]) -> frozenset[str]:
    """Names of the features whose weights are zero where these statements are off."""
    return frozenset(name for stated in muted for name in (stated, *_TOGETHER.get(stated, ())))


def without(design: Design, muted: Collection[str]) -> Design:
    """The design as it is for somebody to whom these features mean nothing. Its features are FEATURE_NAMES."""
    if not muted:
        return design
    held = held_at_zero(muted)
    counts = np.array([name not in held for name in FEATURE_NAMES], dtype=np.float64)
    wishes = tuple(wish for wish in design.wishes if FEATURE_NAMES[wish.feature] not in held)
    absolute = None if design.absolute is None else design.absolute * counts
    return design.changed(replies=design.replies * counts, absolute=absolute, wishes=wishes)


def silenced(model: RewardModel, muted: Collection[str]) -> RewardModel:
    """The model given that the weights of these features are zero: mean and covariance conditioned on it."""
    held = held_at_zero(muted)
    zero = np.zeros(len(model.theta), dtype=bool)
    zero[: len(model.feature_names)] = [name in held for name in model.feature_names]
    if not zero.any():
        return model
    covariance = model.covariance
    gain = covariance[:, zero] @ np.linalg.pinv(covariance[np.ix_(zero, zero)], hermitian=True)
    theta = model.theta - gain @ model.theta[zero]
    rest = covariance - gain @ covariance[zero]
    theta[zero], rest[zero], rest[:, zero] = 0.0, 0.0, 0.0
    return replace(model, theta=theta, covariance=(rest + rest.T) / 2)
