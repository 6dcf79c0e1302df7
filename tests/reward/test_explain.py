"""Explanations: the right words, the right ratings, an honest probability."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from learner.reward.design import Ranking, Wish, build_design
from learner.reward.explain import explain, influence, wording
from learner.reward.features import FEATURE_NAMES, contrast, length_features
from learner.reward.model import fit
from learner.reward.prior import RewardConfig, weight_variances
from tests.reward.people import design, observation
from tests.reward.test_design import LONG, SHORT

LENGTH = FEATURE_NAMES.index("log_length")
EMOJI = FEATURE_NAMES.index("emoji")


def rows(*values: float, feature: int = LENGTH) -> np.ndarray:
    phi = np.zeros((len(values), len(FEATURE_NAMES)))
    phi[:, feature] = values
    return phi


def test_somebody_who_edits_to_shorter_is_told_so_with_the_edits_behind_it() -> None:
    phi = rows(-0.2, 0.3, -1.0, 0.5, 0.1, 0)
    d = design(phi, ["edit"] * 3 + ["thumb"], edits=[(0, 0, 1), (1, 2, 3), (2, 4, 5)], thumbs=[(3, 5, 1)])
    model = fit(d, RewardConfig(tau=1.0))
    first = explain(model, d, least_probability=0.5)[0]
    assert first.feature == "log_length" and first.weight < 0
    assert first.text.startswith("prefers shorter replies, ")
    draws = model.sample(200_000, np.random.default_rng(0)) @ contrast("log_length")
    assert draws.std() > 0 and first.probability == pytest.approx((draws < 0).mean(), abs=0.005)
    assert first.feedback_ids == ("f1", "f0")  # f2 pulled the other way, the thumb not at all


def test_a_positive_weight_has_the_other_words() -> None:
    d = design(rows(3, -1, feature=EMOJI), ["edit"] * 6, edits=[(i, 0, 1) for i in range(6)])
    assert [s.text.split(",")[0] for s in explain(fit(d), d)] == ["likes emoji"]


def test_one_comment_makes_ninety_percent_from_1_rating() -> None:
    d = design(rows(0.0), ["comment"], wishes=[Wish(0, EMOJI, -1.8, 1.0)])
    gaussian = fit(d, RewardConfig(freedom=inf))  # 1.8 / sqrt(2) = 1.27 sd: 89.8 %
    assert [s.text for s in explain(gaussian, d)] == ["dislikes emoji, 89 % sure, from 1 rating"]
    # In units of the population's variance, by hand: v = (0.3 + w^2 + s^2) / 1.3 with w = 1.8 v / (v + 1) and
    # s^2 = v / (v + 1), six times from v = 1, ends at v = 1.679, w = 1.128, s = 0.792: 92.3 %.
    statements = explain(fit(d), d)
    assert [s.text for s in statements] == ["dislikes emoji, 92 % sure, from 1 rating"]
    assert statements[0].feedback_ids == ("f0",)


def test_what_is_not_sure_is_not_said() -> None:
    d = design(rows(0.3, 0.0), ["edit"], edits=[(0, 0, 1)])
    assert explain(fit(d), d) == []
    assert explain(fit(d), d, least_probability=0.5) != []
    empty = design(np.zeros((0, len(FEATURE_NAMES))), [])
    assert explain(fit(empty), empty, least_probability=0.0) == []


def test_the_influences_add_up_to_the_weights() -> None:
    d = build_design(
        [observation(i, "edit", [SHORT, LONG]) for i in range(3)]
        + [observation(3, "comment", [LONG], "too long")]
        + [observation(4, "ranking", [LONG, SHORT], ((0,), (1,)))],
        {},
    )
    model = fit(d, RewardConfig(log_beta_sd=1e-3, log_tie_sd=1e-3, freedom=inf))  # no pull of other parameters
    moved = influence(model, d).sum(axis=0)
    # to first order: covariance * (gradient of all ratings) = covariance * (w / tau^2) for ratings alone;
    # with Sigma^-1 = H + 1 / tau_j^2, influence is what each rating adds at the mode
    prior_pull = model.w_covariance @ (model.w / weight_variances(len(model.w), model.config))
    assert moved == pytest.approx(prior_pull, abs=1e-4)


def test_a_length_that_is_liked_best_is_said_as_such() -> None:
    lengths = [8, 15, 30, 60, 120, 240]
    phi = np.array([length_features(n) for n in lengths]) - length_features(60)
    orders = [((3,), (2, 4), (1, 5), (0,))] * 12  # 60 words, then the nearer the better
    d = design(phi, ["ranking"] * 12, rankings=[Ranking(i, tuple(range(6)), o) for i, o in enumerate(orders)])
    first = explain(fit(d), d)[0]
    assert first.feature == "log_length" and first.best_words in (40, 60, 80)
    assert first.text.startswith(f"likes replies of about {first.best_words} words best, 9")
    assert first.text.endswith("from 12 ratings")
    assert [s.feature for s in explain(fit(d), d)].count("log_length") == 1  # not also "prefers shorter replies"


def test_who_likes_it_as_short_as_it_gets_likes_no_length_best() -> None:
    phi = np.array([length_features(n) for n in (10, 30, 90, 240)]) - length_features(60)
    orders = [((0,), (1,), (2,), (3,))] * 12
    d = design(phi, ["ranking"] * 12, rankings=[Ranking(i, (0, 1, 2, 3), o) for i, o in enumerate(orders)])
    first = explain(fit(d), d)[0]
    assert first.text.startswith("prefers shorter replies, 9") and first.best_words is None


def test_the_same_statement_in_chinese() -> None:
    d = design(rows(3, -1, feature=EMOJI), ["edit"] * 6, edits=[(i, 0, 1) for i in range(6)])
    (statement,) = explain(fit(d), d, language="zh")
    assert statement.text.startswith("喜欢表情符号，") and statement.text.endswith("来自 6 条评价")
    assert wording(statement, "en").startswith("likes emoji, ")
