"""The fitted person: right directions, the right optimum, the same again, and through a file."""

from __future__ import annotations

import json
import time
from math import inf
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from learner.reward import likelihood as lk
from learner.reward.design import Ranking, Wish
from learner.reward.model import RewardModel, fit, fit_intercepts
from learner.reward.prior import RewardConfig, prior_of
from tests.reward.people import design, simulated


def test_without_feedback_the_prior_comes_back() -> None:
    model = fit(design(np.zeros((0, 3)), []), RewardConfig(tau=0.3))
    assert model.w == pytest.approx(0.0)
    assert np.sqrt(np.diag(model.w_covariance)) == pytest.approx(0.3)
    assert model.cut_points == pytest.approx([-1.8, -0.6, 0.6, 1.8])
    assert model.threshold == 0


def test_one_wish_is_the_product_of_two_gaussians() -> None:
    d = design(np.zeros((0, 2)), ["comment"], wishes=[Wish(0, 1, -2.0, 0.5)])
    model = fit(d, RewardConfig(tau=0.3, freedom=inf))
    # in units of tau = 0.3: precisions 1 and 4, so mean -2 * 4 / 5 = -1.6 and variance 1 / 5
    assert model.w == pytest.approx([0.0, -0.48])
    assert model.w_covariance[1, 1] == pytest.approx(0.018)


UP = [[1.0, 0.0], [-1.0, 0.0]]
EVIDENCE = {
    "edit": design(UP, ["edit"] * 3, edits=[(i, 0, 1) for i in range(3)]),
    "ranking": design(UP, ["ranking"] * 3, rankings=[Ranking(i, (0, 1), ((0,), (1,))) for i in range(3)]),
    "stars": design(UP, ["stars"] * 4, stars=[(0, 0, 5), (1, 0, 4), (2, 1, 2), (3, 1, 1)]),
    "thumb": design(UP, ["thumb"] * 4, thumbs=[(0, 0, 1), (1, 0, 1), (2, 1, -1), (3, 1, -1)]),
    "comment": design(UP, ["comment"], wishes=[Wish(0, 0, 1.8, 1.0)]),
}


@pytest.mark.parametrize("kind", EVIDENCE)
def test_each_kind_alone_moves_its_weight_up_and_no_other(kind: str) -> None:
    model = fit(EVIDENCE[kind])
    assert model.converged
    assert model.w[0] > 0.03
    assert model.w[1] == pytest.approx(0.0, abs=1e-9)
    turned = fit(EVIDENCE[kind].with_replies(-EVIDENCE[kind].replies))
    if kind != "comment":
        assert turned.w[0] == pytest.approx(-model.w[0])


def test_only_thumbs_up_raise_the_persons_ease_to_please_not_a_taste() -> None:
    d = design([[0.0], [0.0]], ["thumb"] * 6, thumbs=[(i, i % 2, 1) for i in range(6)])
    model = fit(d)
    assert model.threshold < -0.3
    assert model.w == pytest.approx(0.0)


def test_a_tie_says_that_two_replies_are_alike() -> None:
    order = ((0,), (1,))
    ranked = design(UP, ["ranking"] * 4, rankings=[Ranking(i, (0, 1), order) for i in range(4)])
    tied = design(
        UP, ["ranking"] * 4,
        rankings=[Ranking(i, (0, 1), order if i < 2 else ((0, 1),)) for i in range(4)],
    )
    assert 0 < fit(tied).w[0] < fit(ranked).w[0]


def test_the_optimum_is_the_one_that_another_optimiser_finds() -> None:
    d, config = simulated(60, [1.0, -0.5, 0.0], 1), RewardConfig(tau=0.7, freedom=inf)
    terms, prior = lk.gather(d), prior_of(d, config)

    def loss(theta: np.ndarray) -> float:
        return -float(lk.log_likelihoods(theta, terms).sum()) - prior.log_density(theta)

    found = minimize(loss, prior.mean + 0.1, method="BFGS", options={"gtol": 1e-6})
    model = fit(d, config)
    assert model.theta == pytest.approx(found.x, abs=1e-4)
    # and the Laplace covariance is the inverse of that loss's own curvature
    h = 1e-4
    eye = h * np.eye(len(found.x))
    curvature = [
        [
            (loss(model.theta + a + b) - loss(model.theta + a - b) - loss(model.theta - a + b)
             + loss(model.theta - a - b)) / (4 * h * h)
            for b in eye
        ]
        for a in eye
    ]  # fmt: skip
    assert model.covariance @ np.array(curvature) == pytest.approx(np.eye(len(found.x)), abs=2e-3)


def test_much_feedback_finds_the_person() -> None:
    truth = [1.2, -0.8, 0.4, 0.0]
    model = fit(simulated(1500, truth, 5, kinds=("edit", "thumb", "stars", "ranking")), RewardConfig(tau=1.0))
    assert model.w == pytest.approx(truth, abs=0.2)
    assert model.threshold == pytest.approx(0.5, abs=0.3)
    assert model.cut_points == pytest.approx([-2.0, -0.7, 0.7, 2.0], abs=0.4)
    assert all(0.7 < beta < 1.4 for beta in model.betas.values())


def test_the_posterior_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = []
    for person in range(30):
        truth = 0.5 * rng.standard_normal(4)
        model = fit(simulated(60, list(truth), 100 + person, kinds=("edit", "thumb", "stars", "ranking")),
                    RewardConfig(tau=0.5))  # fmt: skip
        inside.append(np.abs(model.w - truth) < 1.6449 * np.sqrt(np.diag(model.w_covariance)))
    assert 0.82 < np.mean(inside) < 0.97  # 90 % intervals, 120 of them


def test_the_same_feedback_gives_the_same_model_to_the_last_bit() -> None:
    one, two = fit(simulated(80, [1.0, 0.0, -1.0], 2)), fit(simulated(80, [1.0, 0.0, -1.0], 2))
    assert (one.theta == two.theta).all() and (one.covariance == two.covariance).all()


def test_500_observations_with_40_features_take_less_than_200_ms_of_one_core() -> None:
    d = simulated(500, list(0.3 * np.random.default_rng(0).standard_normal(40)), 0)
    seconds = []
    for _ in range(3):
        start = time.thread_time()
        assert fit(d).converged
        seconds.append(time.thread_time() - start)
    assert min(seconds) < 0.2


def test_pessimism_subtracts_what_is_not_known() -> None:
    model = fit(EVIDENCE["edit"], RewardConfig(freedom=inf))
    phi = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    mean, sd = model.mean_and_sd(phi)
    assert mean == pytest.approx(phi @ model.w)
    assert sd == pytest.approx([np.sqrt(model.w_covariance[0, 0]), np.sqrt(model.w_covariance[1, 1]), 0.0])
    assert sd[0] < sd[1]  # the edits were about the first feature
    assert model.pessimistic(phi, 0.5) == pytest.approx(mean - 0.5 * sd)
    better = model.preference_probability(phi[:1], phi[2:])
    assert 0.5 < better[0] < 1 / (1 + np.exp(-mean[0]))


def test_samples_have_the_posteriors_mean_and_covariance() -> None:
    model = fit(simulated(40, [1.0, -1.0], 4))
    draws = model.sample(40_000, np.random.default_rng(0))
    assert draws.mean(axis=0) == pytest.approx(model.w, abs=0.01)
    assert np.cov(draws.T) == pytest.approx(model.w_covariance, abs=0.003)


def test_intercepts_fit_the_shares_of_the_ratings_and_no_taste() -> None:
    d = design(np.eye(4), ["thumb"] * 40, thumbs=[(i, i % 4, 1 if i % 10 else -1) for i in range(40)])
    intercepts = fit_intercepts(d, RewardConfig(threshold_sd=50.0))
    assert (intercepts[:4] == 0).all()
    assert intercepts[4 + lk.THRESHOLD] == pytest.approx(-np.log(9), abs=0.01)  # 90 % thumbs up


def test_a_taste_predicts_other_feedback_of_the_same_person_better_than_none() -> None:
    truth = [1.5, -1.0, 0.0]
    kinds = ("edit", "thumb", "stars", "ranking")
    model = fit(simulated(200, truth, 6, kinds=kinds))
    other = simulated(200, truth, 7, kinds=kinds)
    gain = model.log_likelihood(other) - model.intercepts_only_log_likelihood(other)
    assert gain.shape == (200,)
    assert gain.sum() > 20
    stranger = simulated(200, [-t for t in truth], 8, kinds=kinds)
    assert (model.log_likelihood(stranger) - model.intercepts_only_log_likelihood(stranger)).sum() < -20


def test_saved_and_loaded_it_is_the_same_model_without_pickle(tmp_path: Path) -> None:
    model = fit(simulated(30, [1.0, -1.0], 9), RewardConfig(tau=0.4))
    model.save(tmp_path)
    again = RewardModel.load(tmp_path)
    assert (again.theta == model.theta).all() and (again.covariance == model.covariance).all()
    assert (again.intercepts == model.intercepts).all()
    assert again.config == model.config and again.counts == model.counts
    assert again.feature_names == model.feature_names
    assert {p.name for p in tmp_path.iterdir()} == {"reward.safetensors", "reward.json"}


def test_a_damaged_model_is_refused_with_the_reason(tmp_path: Path) -> None:
    fit(simulated(30, [1.0, -1.0], 9)).save(tmp_path)
    card = json.loads((tmp_path / "reward.json").read_text())
    (tmp_path / "reward.json").write_text(json.dumps({**card, "features": ["a", "b", "c"]}))
    with pytest.raises(ValueError, match="theta"):
        RewardModel.load(tmp_path)
    (tmp_path / "reward.json").write_text(json.dumps({**card, "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        RewardModel.load(tmp_path)


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(ValueError, match="tua"):
        RewardConfig.from_mapping({"tua": 1.0})
