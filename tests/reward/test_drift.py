"""Changes of taste: found where there is one, weighed as found, and never the same feedback twice."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
from scipy import integrate

from learner.reward.design import Design, join
from learner.reward.drift import Change, change_of_taste, forgetting, weighted
from learner.reward.model import fit, log_evidence
from learner.reward.prior import RewardConfig
from tests.reward.people import design, simulated

CONFIG = RewardConfig(tau=0.5)


def in_order(first: Design, second: Design) -> Design:
    """Both, one after the other in time."""
    both = join(first, second)
    object.__setattr__(both, "feedback_ids", tuple(f"f{i:04d}" for i in range(len(both))))
    return both


def test_a_change_of_mind_is_found_near_where_it_happened() -> None:
    before = simulated(60, [1.5, 0.0, 0.0], seed=1)
    after = simulated(60, [-1.5, 0.0, 0.0], seed=2)
    both = in_order(before, after)
    change = change_of_taste(both, CONFIG)
    assert change is not None
    assert 45 <= change.newer <= 75 and change.newer + change.older == 120
    assert change.gain > 2
    assert fit(forgetting(both, change), CONFIG).w[0] < -0.5
    assert abs(fit(both, CONFIG).w[0]) < 0.4  # without it the two halves cancel


def test_a_taste_that_stays_is_left_alone_by_most_people() -> None:
    found = 0
    for seed in range(8):
        d = simulated(120, [1.0, -0.5, 0.0], seed=seed)
        object.__setattr__(d, "feedback_ids", tuple(f"f{i:04d}" for i in range(len(d))))
        found += change_of_taste(d, CONFIG) is not None
    assert found <= 2  # the level is a matter of measurement (docs/log.md): a weakened past costs little


def test_too_little_feedback_shows_no_change() -> None:
    both = in_order(simulated(10, [2.0], seed=1), simulated(10, [-2.0], seed=2))
    assert change_of_taste(both, CONFIG) is None


def test_old_feedback_is_weakened_on_both_sides_of_the_split_by_when_it_was_given() -> None:
    both = in_order(simulated(4, [1.0], seed=1), simulated(4, [1.0], seed=2))
    change = Change(newer=3, older=5, old_weight=0.3, gain=9.0, since="f0005")
    assert forgetting(both, change).weight.tolist() == [0.3] * 5 + [1.0] * 3
    one_side = both.subset(np.array([i % 2 == 0 for i in range(8)]))
    assert forgetting(one_side, change).weight.tolist() == [0.3, 0.3, 0.3, 1.0]
    assert forgetting(both, None) is both


def test_the_evidence_is_the_integral() -> None:
    """One thumb, one weight: threshold and beta pinned, so that the integral has one dimension."""
    config = RewardConfig(tau=0.7, threshold_sd=1e-4, log_beta_sd=1e-4, freedom=inf)
    d = design([[1.5]], ["thumb"], thumbs=[(0, 0, 1)])

    def integrand(w: float) -> float:
        return 1 / (1 + np.exp(-1.5 * w)) * np.exp(-0.5 * (w / 0.7) ** 2) / (0.7 * np.sqrt(2 * np.pi))

    exact = np.log(integrate.quad(integrand, -6, 6)[0])
    assert log_evidence(fit(d, config), d) == pytest.approx(exact, abs=0.03)  # Laplace is not exact
    assert log_evidence(fit(weighted(d, np.array([True]), 0.0), config), weighted(d, np.array([True]), 0.0)) == (
        pytest.approx(0.0, abs=1e-6)
    )
