"""The other kinds of reward model: what they see, and what they leave alone."""

from __future__ import annotations

import numpy as np
import pytest

from learner.reward.design import Ranking, join
from learner.reward.features import FEATURE_NAMES, length_features, length_slope
from learner.reward.kinds import (
    FITS,
    RIDGE,
    fit_length,
    fit_linear,
    held_out_gain,
    ratings_as_numbers,
)
from learner.reward.prior import DEFAULTS
from tests.reward.people import design, simulated

F = len(FEATURE_NAMES)
LENGTH, SHORT = FEATURE_NAMES.index("log_length"), FEATURE_NAMES.index("under_20_words")


def taste(**weights: float) -> list[float]:
    return [weights.get(name, 0.0) for name in FEATURE_NAMES]


def test_ratings_become_the_numbers_of_the_simplest_thing() -> None:
    d = design(
        np.zeros((8, F)), ["edit", "thumb", "stars", "ranking"], edits=[(0, 0, 1)], thumbs=[(1, 2, -1)],
        stars=[(2, 3, 4)], rankings=[Ranking(3, (4, 5, 6, 7), ((1,), (0, 3), (2,)))], weight=[1, 0.5, 1, 1],
    )  # fmt: skip
    rows, numbers, weight = ratings_as_numbers(d)
    assert dict(zip(rows.tolist(), numbers.tolist(), strict=True)) == pytest.approx(
        {0: 1.0, 1: -1.0, 2: -1.0, 3: 0.5, 5: 1.0, 4: 0.0, 7: 0.0, 6: -1.0}
    )
    assert dict(zip(rows.tolist(), weight.tolist(), strict=True))[2] == 0.5


def test_ridge_is_ridge_worked_by_hand() -> None:
    # One feature, thumbs up at 2 and down at -2, eight of each: X'y = 32, X'X = 64; w = 32 / (64 + RIDGE) before its
    # scale in logits is fitted, so the direction alone is compared: the second feature's is half of the first's.
    phi = np.zeros((2, F))
    phi[:, 0], phi[:, 1] = [2, -2], [1, -1]
    d = design(phi, ["thumb"] * 16, thumbs=[(i, i % 2, 1 - 2 * (i % 2)) for i in range(16)])
    w = fit_linear(d).w
    x = np.array([[2.0, 1.0], [-2.0, -1.0]] * 8)
    by_hand = np.linalg.inv(x.T @ x + RIDGE * np.eye(2)) @ x.T @ np.array([1.0, -1.0] * 8)
    assert w[0] > 0 and w[1] / w[0] == pytest.approx(by_hand[1] / by_hand[0])
    assert w[2:] == pytest.approx(0.0)


def test_length_reads_length_alone_and_is_sure_that_nothing_else_matters() -> None:
    d = simulated(60, taste(log_length=-1.0, emoji=1.0), seed=3)
    model = fit_length(d)
    assert model.kind == "length"
    assert model.w[LENGTH] < -0.3
    assert np.delete(model.w, [LENGTH, SHORT]) == pytest.approx(0.0)
    assert np.delete(np.diag(model.w_covariance), [LENGTH, SHORT]) == pytest.approx(0.0)
    assert model.w_covariance[LENGTH, LENGTH] > 0
    utility = [float(length_features(words) @ model.w) for words in (4, 14, 44, 134)]  # log(words + 1): 5, 15, 45, 135
    assert np.diff(utility) == pytest.approx([utility[3] - utility[2]] * 3)


@pytest.mark.parametrize("kind", FITS)
def test_every_kind_finds_a_plain_taste_and_stays_calm_without_one(kind: str) -> None:
    d = simulated(160, (-1.5 * length_slope()).tolist(), seed=4)
    model = FITS[kind](d, DEFAULTS)
    fresh = np.random.default_rng(0).standard_normal((400, F))
    utility = -fresh @ length_slope()
    assert np.corrcoef(fresh @ model.w, utility)[0, 1] > 0.5
    empty = design(np.zeros((0, F)), [])
    assert FITS[kind](empty, DEFAULTS).w == pytest.approx(0.0)


def test_the_kind_that_sees_the_taste_predicts_best() -> None:
    emoji = simulated(120, taste(emoji=1.5), seed=5)
    assert held_out_gain("bayesian", emoji) > max(0.0, held_out_gain("length", emoji))
    short = simulated(40, (-length_slope()).tolist(), seed=6)
    assert held_out_gain("length", short) > held_out_gain("bayesian", short)  # it had less to find out


def test_a_conversation_never_predicts_itself() -> None:
    """Ratings at random, each given twice in the same conversation: a fit that saw the twin would gain."""
    once = simulated(60, [0.0] * F, seed=7, kinds=("thumb",), conversations=60)
    twice = join(once, once)
    assert held_out_gain("linear", twice) < 1.0




