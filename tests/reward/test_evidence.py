"""The evidence test: finds a taste, finds none where there is none, and keeps its level."""

from __future__ import annotations

import numpy as np
import pytest

from learner.reward import evidence
from learner.reward.design import Design, Ranking
from learner.reward.evidence import CrossFit, Exchange, Feedback, deal_folds, evidence_gain
from learner.reward.prior import RewardConfig
from tests.reward.people import design, simulated

RATINGS = ("edit", "thumb", "stars", "ranking")


def split(d: Design) -> tuple[Design, Design]:
    """Every fifth conversation is held out."""
    held = np.array([int(root[1:]) % 5 == 0 for root in d.roots])
    return d.subset(~held), d.subset(held)


def test_a_strong_taste_is_found() -> None:
    result = evidence_gain(*split(simulated(60, [2.0] + [0.0] * 9, 1, kinds=RATINGS)), alpha=0.01)
    assert result.learnable and result.p_value <= 0.01 and result.gain > 3
    assert result.held_out_gain > 0
    assert result.observations == 60 and result.conversations == 30
    assert "nats" in result.reason


def seen_both_ways(d: Design, seed: int) -> Design:
    """As it is where the prompt's other replies say nothing: centring on them is noise."""
    noise = np.random.default_rng(seed).standard_normal(d.replies.shape)
    return d.changed(replies=d.replies + noise, absolute=d.replies)


def test_the_level_holds_for_people_who_rate_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "LEAST_EXCHANGES", 499)  # the level is the same for any number of them
    monkeypatch.setattr(evidence, "ENOUGH_REACHED", 20)
    people = [seen_both_ways(simulated(30, [0.0] * 5, 1000 + i, kinds=RATINGS), i) for i in range(40)]
    p = [evidence_gain(*split(person), alpha=0.2).p_value for person in people]
    # of 40 uniform p-values at most 15 are <= 0.2 and 28 are <= 0.5, but for one time in a hundred each
    assert sum(value <= 0.2 for value in p) <= 15
    assert sum(value <= 0.5 for value in p) <= 28
    assert min(p) > 0


def test_it_is_the_same_twice_and_the_seed_matters_little() -> None:
    d = split(simulated(30, [0.4] + [0.0] * 4, 2, kinds=RATINGS))
    once = evidence_gain(*d, alpha=0.05)
    assert once == evidence_gain(*d, alpha=0.05)
    assert evidence_gain(*d, alpha=0.05, seed=1).p_value == pytest.approx(once.p_value, abs=0.2)


def test_contradictory_ratings_are_told_from_a_taste() -> None:
    phi = np.tile([[1.0, 0.0], [-1.0, 0.0]], (20, 1))
    thumbs = [(i, i, 1 if (i // 2) % 2 else -1) for i in range(40)]  # every reply liked and disliked alike
    result = evidence_gain(*split(design(phi, ["thumb"] * 40, thumbs=thumbs)), alpha=0.05)
    assert not result.learnable and "not told apart from chance" in result.reason


def test_too_little_feedback_says_so() -> None:
    result = evidence_gain(*split(simulated(5, [3.0, 0.0], 3, kinds=RATINGS)), alpha=0.05)
    assert not result.learnable and result.p_value == 1.0 and "too few" in result.reason
    one_conversation = simulated(30, [3.0, 0.0], 3, kinds=RATINGS, conversations=1)
    assert not evidence_gain(*split(one_conversation), alpha=0.05).learnable


def test_without_a_level_to_spend_nothing_is_found() -> None:
    result = evidence_gain(*split(simulated(60, [2.0] + [0.0] * 9, 1, kinds=RATINGS)), alpha=0.0)
    assert not result.learnable and result.exchanges == 0 and "no more of them" in result.reason


@pytest.mark.parametrize("alpha", [1.0, -1.0])
def test_alpha_is_a_probability(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha"):
        evidence_gain(*split(simulated(20, [1.0], 4)), alpha=alpha)


def test_a_conversation_is_never_torn_apart() -> None:
    roots = tuple(f"c{i % 7}" for i in range(50))
    fold = deal_folds(roots, 5)
    assert len(set(zip(roots, fold.tolist(), strict=True))) == 7  # one fold a conversation
    assert set(fold.tolist()) == {0, 1, 2, 3, 4}
    assert (deal_folds(roots[::-1], 5)[::-1] == fold).all()  # the order of the feedback does not matter


def test_feedback_is_exchanged_only_among_replies_of_one_standing() -> None:
    d = design(
        np.arange(9.0)[:, None], ["edit", "thumb", "thumb", "stars", "stars", "ranking"],
        edits=[(0, 0, 1)], thumbs=[(1, 2, 1), (2, 3, -1)], stars=[(3, 4, 5), (4, 5, 1)],
        rankings=[Ranking(5, (6, 7, 8), ((0,), (1,), (2,)))],
    )  # fmt: skip
    rng, exchange = np.random.default_rng(0), Exchange(d)
    drawn = [exchange.draw(rng) for _ in range(300)]
    features = np.array([d.replies[feedback.reply, 0] for feedback in drawn])
    for group, ways in (([0, 1], 2), ([2, 3, 4, 5], 1), ([6, 7, 8], 6)):
        assert (np.sort(features[:, group], axis=1) == group).all()
        assert len({tuple(row) for row in features[:, group]}) == ways
    assert {tuple(feedback.thumb_sign) for feedback in drawn} == {(1, -1), (-1, 1)}
    assert {tuple(feedback.star_level) for feedback in drawn} == {(5, 1), (1, 5)}


def test_a_replys_thumb_and_stars_move_together() -> None:
    d = design(
        np.arange(4.0)[:, None], ["thumb", "stars"] * 2 + ["thumb", "thumb"],
        thumbs=[(0, 0, 1), (2, 1, -1), (4, 2, 1), (5, 3, -1)], stars=[(1, 0, 5), (3, 1, 1)],
    )  # fmt: skip
    rng, exchange = np.random.default_rng(0), Exchange(d)
    drawn = [exchange.draw(rng) for _ in range(100)]
    pairs = {(f.thumb_sign[0], f.star_level[0], f.thumb_sign[1], f.star_level[1]) for f in drawn}
    assert pairs == {(1, 5, -1, 1), (-1, 1, 1, 5)}


def test_the_gain_is_the_mean_of_both_ways_to_see_a_reply() -> None:
    d = seen_both_ways(simulated(60, [2.0, 0.0], 5, kinds=RATINGS), 5)
    assert d.absolute is not None
    fold, feedback = deal_folds(d.roots, 5), Feedback.of(d)
    alone = [CrossFit(d.with_replies(view), fold, RewardConfig()).gain(feedback) for view in (d.replies, d.absolute)]
    assert abs(alone[0] - alone[1]) > 0.5
    assert CrossFit(d, fold, RewardConfig()).gain(feedback) == pytest.approx(np.mean(alone))


def test_the_gain_is_of_weights_that_never_saw_the_fold() -> None:
    # two conversations that say the opposite: each is predicted worse than by chance from the other
    phi = np.array([[2.0], [-2.0]])
    opposite = design(
        phi, ["edit"] * 8, edits=[(i, 0, 1) if i < 4 else (i, 1, 0) for i in range(8)],
        roots=["a"] * 4 + ["b"] * 4,
    )  # fmt: skip
    crossfit = CrossFit(opposite, deal_folds(opposite.roots, 5), RewardConfig())
    assert crossfit.gain(Feedback.of(opposite)) < -0.5
