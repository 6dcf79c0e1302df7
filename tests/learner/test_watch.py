"""The e-process that takes a promoted version back: numbers by hand, and how often it errs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad

from learner.config import WatchConfig
from learner.evaluation.watch import e_value, judged


def test_the_e_value_by_hand() -> None:
    assert e_value(0, 0) == pytest.approx(1)
    assert e_value(1, 0) == pytest.approx(1.5)  # mean of 1 + s
    assert e_value(0, 1) == pytest.approx(0.5)
    assert e_value(7, 0) == pytest.approx((2**8 - 1) / 8)
    assert e_value(1, 1) == pytest.approx(2 / 3)  # mean of 1 - s^2


@pytest.mark.parametrize(("wins", "losses"), [(3, 9), (12, 4), (25, 25)])
def test_the_e_value_is_the_integral(wins: int, losses: int) -> None:
    assert e_value(wins, losses) == pytest.approx(quad(lambda s: (1 + s) ** wins * (1 - s) ** losses, 0, 1)[0])


def test_seven_in_a_row_decide_and_six_do_not() -> None:
    config = WatchConfig()
    assert judged(6, 0, config) == "watching"
    assert judged(7, 0, config) == "old is better"
    assert judged(0, 7, config) == "new is better"
    assert judged(15, 15, config) == "long enough"


def test_a_version_that_is_no_worse_is_rarely_taken_back_however_often_one_looks() -> None:
    """Ville's bound holds for looking after every comparison; a worse version is nearly always found."""
    config, rng = WatchConfig(), np.random.default_rng(0)

    def taken_back(chance_of_old: float, people: int = 600) -> float:
        found = 0
        for _ in range(people):
            old = new = 0
            while (state := judged(old, new, config)) == "watching":
                if rng.random() < chance_of_old:
                    old += 1
                else:
                    new += 1
            found += state == "old is better"
        return found / people

    assert taken_back(0.5) <= 0.05
    assert taken_back(0.85) > 0.9
