"""The gate's questions, with numbers worked by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from data.types import Reply
from learner.config import GateConfig
from learner.evaluation import gate
from learner.evaluation.metrics import distinct_2_ratio, reply_statistics
from learner.policy.rollouts import Rollout
from learner.policy.task import LearningError
from learner.reward.design import build_design
from learner.reward.features import FEATURE_NAMES
from learner.reward.model import fit

CONFIG = GateConfig()
SANE = gate.Sanity(
    kl=5.0,
    perplexity_increase=0.01,
    chat_perplexity_increase=0.0,
    eos_rate=0.9,
    base_eos_rate=0.9,
    distinct_2_ratio=1.0,
)


def test_all_levels_of_a_person_together_spend_alpha() -> None:
    """However often they ask, and however much feedback lies between."""
    assert gate.alpha_for_test(50, 0, False, CONFIG) == pytest.approx(0.025)
    for asked in (range(100_000), range(0, 100_000, 700), (0, 20, 50, 100, 200, 99_999)):
        levels = [gate.alpha_for_test(pieces, before, False, CONFIG) for before, pieces in pairwise(asked)]
        assert min(levels) > 0 and 0.0499 < sum(levels) <= 0.05


def test_the_same_feedback_is_not_tested_twice_unless_a_taste_was_found() -> None:
    assert gate.alpha_for_test(40, 40, False, CONFIG) == 0
    assert gate.alpha_for_test(38, 40, False, CONFIG) == 0  # two pieces were taken back
    assert gate.alpha_for_test(40, 40, True, CONFIG) == 0.05


def certain_judge():
    """A judge that is sure of one thing: more of feature 0 is better."""
    model = fit(build_design([], {}))
    theta, covariance = np.zeros_like(model.theta), np.zeros_like(model.covariance)
    theta[0] = 1.0
    return replace(model, theta=theta, covariance=covariance)


def test_a_sure_judge_counts_wins_and_ties_half() -> None:
    live = np.zeros((4, len(FEATURE_NAMES)))
    candidate = live.copy()
    candidate[:, 0] = [1, 1, 0, -1]  # two wins, a tie, a loss
    rate = gate.win_rate(certain_judge(), candidate[:, None], live[:, None], live[:, None], CONFIG, seed=0)
    assert rate.mean == pytest.approx(2.5 / 4)
    assert rate.lower < rate.mean


def test_replies_to_the_same_prompt_count_as_one_prompt() -> None:
    live = np.zeros((64, 2, len(FEATURE_NAMES)))
    candidate = live.copy()
    candidate[:40, :, 0], candidate[40:, :, 0] = 1, -1
    twice = gate.win_rate(certain_judge(), candidate, live, live, CONFIG, seed=0)
    assert twice == gate.win_rate(certain_judge(), candidate[:, :1], live[:, :1], live, CONFIG, seed=0)
    candidate[:, 1, 0] = -1  # the second reply always loses
    assert gate.win_rate(certain_judge(), candidate, live, live, CONFIG, seed=0).mean == pytest.approx(40 / 128)


def test_every_reply_is_compared_with_every_other_to_its_prompt() -> None:
    candidate, live = np.zeros((2, 1, 2, len(FEATURE_NAMES)))
    candidate[0, :, 0], live[0, :, 0] = [0.5, 3.0], [1.0, 2.0]  # pair by pair .5: one loses, one wins
    rate = gate.win_rate(certain_judge(), candidate, live, 0 * live, CONFIG, seed=0)
    assert rate.mean == pytest.approx(2 / 4)
    candidate[0, :, 0] = [1.5, 3.0]  # pair by pair 1
    assert gate.win_rate(certain_judge(), candidate, live, 0 * live, CONFIG, seed=0).mean == pytest.approx(3 / 4)


def test_what_no_feature_sees_keeps_the_judge_from_being_sure() -> None:
    """By hand: the base's replies to each prompt are 2 apart, so that w'Cw = 2; the candidate is better by 1.6."""
    base = np.zeros((3, 2, len(FEATURE_NAMES)))
    base[:, 1, 0] = 2.0
    live = np.zeros_like(base)
    candidate = live.copy()
    candidate[..., 0] = 1.6
    config = replace(CONFIG, unseen=0.64)
    rate = gate.win_rate(certain_judge(), candidate, live, base, config, seed=0)
    expected = 0.5 * (1 + math.erf(1.6 / math.sqrt(2 * 0.64 * 2.0) / math.sqrt(2)))
    assert rate.mean == pytest.approx(expected, abs=1e-6) and 0.8 < expected < 0.9
    assert gate.win_rate(certain_judge(), candidate, live, base, replace(config, unseen=0.0), seed=0).mean == 1.0
    swapped = gate.win_rate(certain_judge(), live, candidate, base, config, seed=0)
    assert swapped.mean == pytest.approx(1 - expected, abs=1e-6)


def test_an_error_while_judging_is_an_error() -> None:
    live = np.zeros((4, 2, len(FEATURE_NAMES)))
    candidate = live + 1.0
    candidate[2, 1, 0] = math.nan
    with pytest.raises(LearningError, match="not a number"):
        gate.win_rate(certain_judge(), candidate, live, live, CONFIG, seed=0)


def test_the_bounds_are_those_of_the_binomial_when_the_judge_is_sure() -> None:
    live = np.zeros((64, len(FEATURE_NAMES)))
    candidate = live.copy()
    candidate[:40, 0], candidate[40:, 0] = 1, -1
    many = replace(CONFIG, posterior_draws=20_000)
    rate = gate.win_rate(certain_judge(), candidate[:, None], live[:, None], live[:, None], many, seed=0)
    reach = 1.645 * math.sqrt(40 / 64 * 24 / 64 / 64)
    assert rate.lower == pytest.approx(40 / 64 - reach, abs=0.01)
    assert rate.upper == pytest.approx(40 / 64 + reach, abs=0.01)


def test_an_unsure_judge_lets_nothing_through() -> None:
    judge = fit(build_design([], {}))  # the prior alone
    live = np.zeros((64, len(FEATURE_NAMES)))
    candidate = np.ones_like(live)
    rate = gate.win_rate(judge, candidate[:, None], live[:, None], live[:, None], CONFIG, seed=0)
    assert rate.lower < 0.5
    assert "not shown to be better" in (gate.is_better(rate, CONFIG) or "")


def test_better_means_above_one_half() -> None:
    assert gate.is_better(gate.WinRate(0.7, 0.51, 0.9), CONFIG) is None
    assert gate.is_better(gate.WinRate(0.7, 0.50, 0.9), CONFIG) is not None


def test_sanity_bounds() -> None:
    assert gate.is_sane(SANE, CONFIG) is None
    for change, word in (
        ({"kl": 12.1}, "nats"),
        ({"kl": float("nan")}, "nats"),
        ({"perplexity_increase": 0.031}, "perplexity"),
        ({"chat_perplexity_increase": float("inf")}, "perplexity"),
        ({"eos_rate": 0.84}, "end by themselves"),
        ({"distinct_2_ratio": 0.79}, "repeat"),
    ):
        assert word in (gate.is_sane(replace(SANE, **change), CONFIG) or "")


def rollout(tokens: list[int]) -> Rollout:
    return Rollout(0, [1], tokens, Reply("x"), [0.0] * len(tokens))


def test_distinct_2_compares_equal_token_counts() -> None:
    # cut to 4 tokens each: bigrams (1,2) (2,1) (1,2): 2 of 3; (5,6) (6,7) (7,8): 3 of 3
    found = distinct_2_ratio([rollout([1, 2, 1, 2])], [rollout([5, 6, 7, 8, 9, 9, 9])])
    assert found == pytest.approx(2 / 3)


def test_reply_statistics() -> None:
    found = reply_statistics([Reply("one two"), Reply("one", False), Reply("a b c d")], 1.5)
    assert (found.median_words, found.kl) == (2.0, 1.5) and found.eos_rate == pytest.approx(2 / 3)
