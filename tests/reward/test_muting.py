"""What is switched off has no say: not in a fit, not in a score, not in what is asked, not in how unsure one is."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest

from data.types import Reply, Turn
from learner.reward.asking import most_informative_pair
from learner.reward.design import Design, Wish, build_design
from learner.reward.explain import explain
from learner.reward.features import FEATURE_NAMES, REPLY_HINGES, length_features, uncentred
from learner.reward.kinds import FITS
from learner.reward.model import fit
from learner.reward.muting import STATED, held_at_zero, silenced, without
from learner.reward.phrases import PHRASES
from learner.reward.prior import DEFAULTS, RewardConfig
from tests.reward.people import design, observation, simulated

F = len(FEATURE_NAMES)
EMOJI, HEDGES = FEATURE_NAMES.index("emoji"), FEATURE_NAMES.index("hedges")
QUESTION = (Turn("user", "How do I boil an egg?"),)
PLAIN = "Ten minutes in boiling water. Then cold water."
CHEERFUL = PLAIN + " 🎉"


def person(**weights: float) -> Design:
    return simulated(80, [weights.get(name, 0.0) for name in FEATURE_NAMES], seed=4)


def unit(feature: int) -> np.ndarray:
    return np.eye(F)[[feature]]


def test_two_replies_that_differ_in_a_muted_feature_alone_score_alike() -> None:
    said = [observation(i, "edit", [CHEERFUL, PLAIN], prompt=f"Question {i}?") for i in range(20)]
    d = build_design(said, {})
    phi = uncentred([QUESTION] * 2, [Reply(CHEERFUL), Reply(PLAIN)])
    assert set(np.flatnonzero(phi[0] - phi[1])) == {EMOJI}, "these replies differ in more than emoji"
    mean, sd = fit(d).mean_and_sd(phi)
    assert mean[0] > mean[1] + 0.5 and sd[0] != sd[1]
    for model in (silenced(fit(without(d, ["emoji"])), ["emoji"]), silenced(fit(d), ["emoji"])):
        mean, sd = model.mean_and_sd(phi)
        assert mean[0] == mean[1]
        assert sd[0] == sd[1]  # nor is one of them held for less sure, which the optimiser would avoid
        assert model.pessimistic(phi, 0.5)[0] == model.pessimistic(phi, 0.5)[1]
        assert model.sample(5, np.random.default_rng(0))[:, EMOJI] == pytest.approx(0.0)


@pytest.mark.parametrize("kind", list(FITS))
def test_in_every_kind_what_is_muted_weighs_nothing(kind: str) -> None:
    d = without(person(log_length=-1.0, emoji=1.0), ["log_length"])
    model = silenced(FITS[kind](d, DEFAULTS), ["log_length"])  # type: ignore[index]
    utility, sd = model.mean_and_sd(np.array([length_features(10), length_features(200)]))
    assert utility == pytest.approx([0.0, 0.0]) and sd == pytest.approx([0.0, 0.0])
    assert (model.w[EMOJI] > 0.3) == (kind != "length")


def test_a_length_is_muted_with_its_hinges() -> None:
    assert held_at_zero(["log_length"]) == {"log_length", *REPLY_HINGES}
    assert held_at_zero(["emoji"]) == {"emoji"}
    assert set(STATED) == set(PHRASES["en"]) == set(PHRASES["zh"]), "what is stated can be switched off, and only that"


def test_a_wish_about_it_says_nothing_and_one_about_another_thing_does() -> None:
    d = design(np.zeros((0, F)), ["comment"] * 2, wishes=[Wish(0, EMOJI, 1.8, 1.0), Wish(1, HEDGES, 1.8, 1.0)])
    model = fit(without(d, ["emoji"]))
    assert model.w[EMOJI] == pytest.approx(0.0) and model.w[HEDGES] > 0.02


def test_it_is_not_said_any_more_and_the_rest_still_is() -> None:
    d = person(emoji=-1.5, hedges=1.5)
    assert {"emoji", "hedges"} <= {s.feature for s in explain(fit(d), d)}
    muted = without(d, ["emoji"])
    said = {s.feature for s in explain(fit(muted), muted)}
    assert "emoji" not in said and "hedges" in said


def test_muting_nothing_changes_nothing() -> None:
    d = person(emoji=1.0)
    model = fit(d)
    assert without(d, []) is d and silenced(model, []) is model
    assert d.replies[:, EMOJI].any(), "the design itself was changed"


def test_a_model_that_is_there_is_conditioned_as_a_new_fit_would_be() -> None:
    # Wishes alone make the posterior of the weights a Gaussian: conditioning it and fitting anew are then one thing.
    # The wish about length is about five features at once, so that muting sentence length must move nothing of it.
    wishes = [Wish(0, FEATURE_NAMES.index("log_length"), -1.8, 1.0), Wish(0, EMOJI, 1.8, 1.0)]
    d = design(np.zeros((0, F)), ["comment"], wishes=wishes)
    config = RewardConfig(freedom=inf)
    for muted in (["log_length"], ["sentence_length"], ["emoji", "hedges"]):
        at_once, anew = silenced(fit(d, config), muted), silenced(fit(without(d, muted), config), muted)
        assert at_once.theta == pytest.approx(anew.theta, abs=1e-9)
        assert at_once.covariance == pytest.approx(anew.covariance, abs=1e-9)
    # With two features that always come together the other one takes over, as it does when one is left out: by hand,
    # for x = (a, b) with covariance [[2, 1], [1, 2]] and mean (1, 1): given a = 0, b has mean 1/2 and variance 3/2.
    model = fit(design(np.zeros((0, F)), []))
    theta, covariance = model.theta.copy(), model.covariance.copy()
    theta[[EMOJI, HEDGES]] = 1.0
    covariance[np.ix_([EMOJI, HEDGES], [EMOJI, HEDGES])] = [[2.0, 1.0], [1.0, 2.0]]
    given = silenced(type(model)(theta, covariance, model.intercepts), ["emoji"])
    assert given.w[HEDGES] == pytest.approx(0.5) and given.w_covariance[HEDGES, HEDGES] == pytest.approx(1.5)


def test_nobody_is_asked_about_it() -> None:
    model = fit(design(np.zeros((0, F)), []))
    phi = np.concatenate([np.zeros((1, F)), 5 * unit(EMOJI), 0.5 * unit(HEDGES)])
    assert most_informative_pair(model, phi) == (0, 1) or most_informative_pair(model, phi) == (1, 2)
    assert most_informative_pair(silenced(model, ["emoji"]), phi) in ((0, 2), (1, 2))
    assert most_informative_pair(silenced(model, ["hedges"]), phi) in ((0, 1), (1, 2))

