"""What is believed before the first rating: few things matter, nobody knows which."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from learner.reward.design import Wish
from learner.reward.features import FEATURE_NAMES, WEIGHT_SD, contrast, length_features
from learner.reward.model import fit
from learner.reward.prior import RewardConfig, prior_of, updated_variances, weight_variances
from tests.reward.people import design, simulated

LENGTH = FEATURE_NAMES.index("log_length")


def test_a_variance_is_between_the_populations_and_what_was_seen() -> None:
    config = RewardConfig(tau=0.5, freedom=3.0)
    # v0 = 0.25; (3 * 0.25 + 1 + 0.05) / 4 and (0.75 + 0 + 0.05) / 4
    found = updated_variances(np.array([1.0, 0.0]), np.array([0.05, 0.05]), config)
    assert found == pytest.approx([0.45, 0.2])
    gaussian = RewardConfig(tau=0.5, freedom=inf)
    assert updated_variances(np.array([9.0]), np.array([0.1]), gaussian) == pytest.approx([0.25])


def test_the_population_says_how_much_a_feature_may_matter() -> None:
    variances = weight_variances(len(FEATURE_NAMES), RewardConfig(tau=0.2))
    assert variances == pytest.approx(0.04 * WEIGHT_SD**2)
    assert np.mean(WEIGHT_SD**2) == pytest.approx(1.0, abs=0.02)
    assert weight_variances(3, RewardConfig(tau=0.2)) == pytest.approx([0.04] * 3)


def test_one_of_many_tastes_is_found_more_sharply_than_by_a_gaussian() -> None:
    """Thirty features, one of which matters: the others' weights come out smaller, the one's larger."""
    truth = [1.5] + [0.0] * 29
    sparse, gaussian, ratio = [], [], []
    for seed in range(5):
        d = simulated(120, truth, seed=seed, kinds=("edit", "thumb", "stars", "ranking"))
        w, dense = fit(d).w, fit(d, RewardConfig(freedom=inf)).w
        sparse.append(abs(w[0]) / np.abs(w[1:]).mean())
        gaussian.append(abs(dense[0]) / np.abs(dense[1:]).mean())
        ratio.append(w[0] / dense[0])
    assert np.mean(sparse) > 1.5 * np.mean(gaussian)
    assert min(ratio) > 1


def test_a_wish_for_length_is_about_long_against_short_replies() -> None:
    """Slope and hinges move together, and the contrast ends where the product of two Gaussians has it."""
    config = RewardConfig(freedom=inf)
    d = design(np.zeros((0, len(FEATURE_NAMES))), ["comment"], wishes=[Wish(0, LENGTH, -2.0, 0.5)])
    prior = prior_of(d, config)
    c = contrast("log_length")
    assert c == pytest.approx(length_features(120) - length_features(30)) and (c != 0).sum() == 3
    sd = np.sqrt(weight_variances(len(c), config) @ c**2)
    assert c @ prior.mean[: len(c)] / sd == pytest.approx(-1.6)  # precisions 1 and 4
    covariance = np.linalg.inv(prior.precision[: len(c), : len(c)])
    assert c @ covariance @ c / sd**2 == pytest.approx(0.2)


def test_a_wish_counts_by_its_weight() -> None:
    half = design(np.zeros((0, 2)), ["comment"], wishes=[Wish(0, 1, -2.0, 0.5)], weight=[0.25])
    prior = prior_of(half, RewardConfig(tau=1.0))
    assert prior.mean[:2] == pytest.approx([0.0, -1.0])  # precisions 1 and 1
