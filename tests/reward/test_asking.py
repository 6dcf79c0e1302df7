"""The pair that is asked about."""

from __future__ import annotations

import numpy as np
import pytest

from learner.reward.asking import most_informative_pair
from learner.reward.model import fit
from tests.reward.people import design

PHI = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]])


def test_what_was_rated_often_is_not_asked_about_again() -> None:
    knows_nothing = fit(design(np.zeros((0, 2)), []))
    assert most_informative_pair(knows_nothing, PHI) == (1, 2)  # farthest apart: variance 9 + 4 in units of tau^2
    rated = design([[4.0, 0.0], [-4.0, 0.0]], ["edit"] * 40, edits=[(i, i % 2, 1 - i % 2) for i in range(40)])
    assert most_informative_pair(fit(rated), PHI[[0, 1, 2]]) in ((0, 2), (1, 2))
    sure = fit(rated)
    assert sure.w_covariance[0, 0] < 0.3 * sure.w_covariance[1, 1]
    assert most_informative_pair(sure, np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.5]])[[1, 0, 2]]) != (0, 1)


def test_one_pair_in_ten_is_drawn_by_lot() -> None:
    model = fit(design(np.zeros((0, 2)), []))
    rng = np.random.default_rng(0)
    asked = [most_informative_pair(model, PHI, rng) for _ in range(3000)]
    assert asked.count((0, 1)) / 3000 == pytest.approx(0.1 / 3, abs=0.01)
    assert asked.count((1, 2)) / 3000 == pytest.approx(0.9 + 0.1 / 3, abs=0.02)


def test_one_reply_is_no_comparison() -> None:
    with pytest.raises(ValueError, match="at least two"):
        most_informative_pair(fit(design(np.zeros((0, 2)), [])), PHI[:1])
