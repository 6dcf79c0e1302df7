"""The critic that reads beginnings: numbers by hand, and whether its values are what they say they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.types import Reply, Turn
from learner.config import PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.policy.advantages import generalised_advantage_estimation
from learner.policy.critic import expected_scores, prefix_values
from learner.policy.rollouts import sample_replies

NAN = float("nan")


def test_before_anything_is_written_the_baseline_is_expected() -> None:
    values = expected_scores(np.array([1.0, 2.0]), np.array([[NAN, 0.5], [NAN, NAN]]), np.array([0.2, 0.3]))
    assert values[:, 0].tolist() == [0.2, 0.3]
    assert values[1].tolist() == [0.3, 0.3]  # it had ended: the last value goes on


def test_a_line_is_found_by_hand() -> None:
    """Eight replies whose final score is 0.5 more than half of what their beginning scores."""
    beginnings = np.arange(8.0)
    values = expected_scores(
        0.5 + 0.5 * beginnings, np.stack([np.full(8, NAN), beginnings], axis=1), np.zeros(8)
    )
    assert values[:, 1] == pytest.approx(0.5 + 0.5 * beginnings)


def test_beginnings_that_say_nothing_leave_the_mean_of_those_still_writing() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(1.0, 1.0, 4000)
    values = expected_scores(scores, np.stack([np.full(4000, NAN), rng.normal(size=4000)], axis=1), np.zeros(4000))
    assert values[:, 1].mean() == pytest.approx(scores.mean(), abs=1e-6)
    assert values[:, 1].std() < 0.05


def test_values_predict_the_score_better_the_more_is_written() -> None:
    """A score that comes in ten independent parts, of which a beginning shows the first ones."""
    rng = np.random.default_rng(1)
    parts = rng.normal(size=(500, 10))
    shown = np.concatenate([np.full((500, 1), NAN), parts.cumsum(axis=1)[:, :-1]], axis=1)
    values = expected_scores(parts.sum(axis=1), shown, np.zeros(500))
    errors = (values - parts.sum(axis=1, keepdims=True)).var(axis=0)
    assert (np.diff(errors) < 0).all()
    assert errors[5] == pytest.approx(5, rel=0.2)
    # what credits a token with its own part alone has a tenth of the variance of what credits it with everything
    rewards = torch.zeros(500, 10)
    rewards[:, -1] = torch.tensor(parts.sum(axis=1))
    mask = torch.ones(500, 10, dtype=torch.bool)
    local, _ = generalised_advantage_estimation(rewards, torch.tensor(values).float(), mask, 1.0, 0.0)
    assert local.var().item() == pytest.approx(1, rel=0.2)
    assert np.corrcoef(local.numpy().ravel(), parts.ravel())[0, 1] > 0.95


def test_the_values_of_rollouts_stand_before_the_tokens_they_belong_to(tiny_base: BaseModel) -> None:
    config = replace(PPOConfig(), prefix_tokens=3, response_tokens=8, replies_per_prompt=2)
    contexts = [[Turn("user", "Sing.")]] * 2
    queries = [tiny_base.encode_chat(context) for context in contexts]
    rollouts = sample_replies(tiny_base, None, queries, SamplingSettings(1.0, 1.0, 8), [3, 4])
    read: list[str] = []

    def length(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> np.ndarray:
        assert not any(reply.finished for reply in replies)
        read.extend(reply.text for reply in replies)
        return np.array([float(len(reply.text)) for reply in replies])

    values = prefix_values(tiny_base, contexts, rollouts, torch.tensor([1.0, 3.0]), length, config)
    assert values.shape == (2, 8)
    assert values[:, 0].tolist() == [3.0, 1.0]  # what the other reply to the prompt scored
    assert (values[:, :3] == values[:, :1]).all() and (values[:, 3:6] == values[:, 3:4]).all()
    expected = [tiny_base.decode(r.response[:n]) for r in rollouts for n in (3, 6) if n < len(r.response)]
    assert read == expected
