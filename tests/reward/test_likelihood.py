"""The likelihood: probabilities worked by hand, and every derivative against finite differences."""

from __future__ import annotations

from itertools import permutations
from math import exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.reward import likelihood as lk
from learner.reward.design import Design, Ranking
from tests.reward.people import design, simulated


def theta_of(w: list[float], **extra: float) -> np.ndarray:
    """Parameters with even cut-points 1.2 apart and no ties to speak of, unless named otherwise."""
    values = np.zeros(lk.EXTRA)
    values[lk.GAP_1 : lk.GAP_3 + 1] = log(1.2)
    values[lk.LOG_TIE] = -60.0
    for name, value in extra.items():
        values[getattr(lk, name)] = value
    return np.concatenate([w, values])


def value_of(d: Design, theta: np.ndarray) -> np.ndarray:
    return np.exp(lk.log_likelihoods(theta, lk.gather(d)))


def test_an_edit_beats_its_original_by_a_logistic_choice() -> None:
    d = design([[1.0], [0.5]], ["edit"], edits=[(0, 0, 1)])
    # beta 2, utilities 1 and 0.5: sigma(2 * 0.5) = sigma(1)
    assert value_of(d, theta_of([1.0], LOG_BETA_EDIT=log(2)))[0] == pytest.approx(0.7310585786)


def test_a_weight_multiplies_the_log_likelihood() -> None:
    d = design([[1.0], [0.5]], ["edit"], edits=[(0, 0, 1)], weight=[0.25])
    assert value_of(d, theta_of([2.0]))[0] == pytest.approx(0.7310585786**0.25)


@pytest.mark.parametrize(("sign", "expected"), [(1, 0.7310585786), (-1, 0.2689414214)])
def test_a_thumb_is_a_choice_against_the_threshold(sign: int, expected: float) -> None:
    d = design([[1.0]], ["thumb"], thumbs=[(0, 0, sign)])
    # beta 2, utility 1, threshold 0.5
    assert value_of(d, theta_of([1.0], LOG_BETA_THUMB=log(2), THRESHOLD=0.5))[0] == pytest.approx(expected)


def test_star_cut_points_are_even_by_default_and_stay_in_order() -> None:
    assert lk.cut_points(theta_of([])) == pytest.approx([-1.8, -0.6, 0.6, 1.8])
    moved = lk.cut_points(theta_of([], CUT_CENTRE=1.0, GAP_1=log(2), GAP_2=log(0.5), GAP_3=log(3)))
    assert moved == pytest.approx([-1.25, 0.75, 1.25, 4.25])


def test_stars_follow_an_ordered_logit() -> None:
    d = design([[0.6]] * 5, ["stars"] * 5, stars=[(i, i, i + 1) for i in range(5)])
    # cut-points -1.8, -0.6, 0.6, 1.8 seen from 0.6: sigma(-2.4), sigma(-1.2), sigma(0), sigma(1.2)
    at_most = [0.0, 0.0831726965, 0.2314752165, 0.5, 0.7685247835, 1.0]
    assert value_of(d, theta_of([1.0])) == pytest.approx(np.diff(at_most))


def test_two_replies_follow_davidson() -> None:
    orders: list[tuple[tuple[int, ...], ...]] = [((0,), (1,)), ((1,), (0,)), ((0, 1),)]
    rankings = [Ranking(i, (0, 1), order) for i, order in enumerate(orders)]
    d = design([[1.0], [0.0]], ["ranking"] * 3, rankings=rankings)
    # e^1 : e^0 : 0.5 e^0.5 = 2.718282 : 1 : 0.824361
    expected = np.array([2.718281828, 1.0, 0.824360635]) / 4.542642463
    assert value_of(d, theta_of([1.0], LOG_TIE=log(0.5))) == pytest.approx(expected)


def test_three_replies_without_ties_follow_plackett_luce() -> None:
    d = design([[2.0], [1.0], [0.0]], ["ranking"], rankings=[Ranking(0, (0, 1, 2), ((0,), (1,), (2,)))])
    # e^2 / (e^2 + e + 1) * e / (e + 1) = 0.665241 * 0.731059
    assert value_of(d, theta_of([1.0]))[0] == pytest.approx(0.4863304, abs=1e-6)


def weak_orders(n: int) -> set[tuple[tuple[int, ...], ...]]:
    """All orders of n things with ties."""
    out = set()
    for order in permutations(range(n)):
        for cuts in range(2 ** (n - 1)):
            groups, group = [], [order[0]]
            for i in range(1, n):
                if cuts >> (i - 1) & 1:
                    groups.append(tuple(sorted(group)))
                    group = []
                group.append(order[i])
            out.add((*groups, tuple(sorted(group))))
    return out


@pytest.mark.parametrize(("n", "count"), [(2, 3), (3, 13), (4, 75)])
def test_the_probabilities_of_all_orders_with_ties_add_up_to_one(n: int, count: int) -> None:
    orders = sorted(weak_orders(n))
    assert len(orders) == count
    phi = np.random.default_rng(n).standard_normal((n, 2))
    rows = tuple(range(n))
    d = design(phi, ["ranking"] * count, rankings=[Ranking(i, rows, o) for i, o in enumerate(orders)])
    assert value_of(d, theta_of([0.7, -1.1], LOG_TIE=-0.4)).sum() == pytest.approx(1.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5), st.floats(0.1, 1.5))
def test_gradient_and_information_equal_finite_differences(seed: int, features: int, size: float) -> None:
    d = simulated(15, [0.5] * features, seed)
    terms = lk.gather(d)
    rng = np.random.default_rng(seed)
    theta = size * rng.standard_normal(features + lk.EXTRA)
    steps = 1e-5 * np.eye(len(theta))
    total = [
        (lk.log_likelihoods(theta + h, terms).sum() - lk.log_likelihoods(theta - h, terms).sum()) / 2e-5
        for h in steps
    ]
    gradient = lk.gradient(theta, terms)
    assert gradient == pytest.approx(np.array(total), rel=1e-5, abs=1e-6)
    assert lk.scores(theta, terms).sum(axis=0) == pytest.approx(gradient)
    downhill = [lk.gradient(theta - h, terms) - lk.gradient(theta + h, terms) for h in steps[:features]]
    block = np.array(downhill)[:, :features] / 2e-5
    assert lk.weight_information(theta, terms) == pytest.approx(block, rel=1e-5, abs=1e-6)


def test_extreme_utilities_stay_finite() -> None:
    d = simulated(40, [1.0, -1.0], 3)
    terms = lk.gather(d)
    theta = theta_of([400.0, -400.0], CUT_CENTRE=3.0, LOG_TIE=0.0)
    assert np.isfinite(lk.log_likelihoods(theta, terms)).all()
    assert np.isfinite(lk.gradient(theta, terms)).all()
    assert exp(lk.log_likelihoods(theta, terms).max()) <= 1.0
