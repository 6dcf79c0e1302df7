"""Explanations: the right words, the right ratings, an honest probability."""

from __future__ import annotations

import numpy as np
import pytest

from learner.reward.design import Wish, build_design
from learner.reward.explain import explain, influence
from learner.reward.features import FEATURE_NAMES
from learner.reward.model import RewardConfig, fit
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
    sd = np.sqrt(model.w_covariance[LENGTH, LENGTH])
    draws = model.sample(200_000, np.random.default_rng(0))[:, LENGTH]
    assert sd > 0 and first.probability == pytest.approx((draws < 0).mean(), abs=0.005)
    assert first.feedback_ids == ("f1", "f0")  # f2 pulled the other way, the thumb not at all


def test_a_positive_weight_has_the_other_words() -> None:
    d = design(rows(3, -1, feature=EMOJI), ["edit"] * 6, edits=[(i, 0, 1) for i in range(6)])
    assert [s.text.split(",")[0] for s in explain(fit(d), d)] == ["likes emoji"]


def test_one_comment_makes_ninety_percent_from_1_rating() -> None:
    d = design(rows(0.0), ["comment"], wishes=[Wish(0, LENGTH, -1.8, 1.0)])
    statements = explain(fit(d), d)
    assert [s.text for s in statements] == ["prefers shorter replies, 89 % sure, from 1 rating"]
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
    model = fit(d, RewardConfig(log_beta_sd=1e-3, log_tie_sd=1e-3))  # no pull of other parameters
    moved = influence(model, d).sum(axis=0)
    # to first order: covariance * (gradient of all ratings) = covariance * (w / tau^2) for ratings alone;
    # with Sigma^-1 = H + 1 / tau^2, influence is what each rating adds at the mode
    prior_pull = model.w_covariance @ (model.w / model.config.tau**2)
    assert moved == pytest.approx(prior_pull, abs=1e-4)
