"""What an update says of its candidate: each question of the gate can refuse it, and the earlier one is asked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data.types import Reply
from learner.config import LearnerConfig, with_overrides
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.policy.task import Context
from learner.snapshot import Snapshot
from learner.taste import PersonalReward
from learner.update import CANDIDATE, update
from tests.learner.test_muted import BASE_REPLIES, edits_out_emoji

QUICK: Mapping[str, Any] = {
    "algorithm": "reinforce", "ppo.iterations": 1, "ppo.prompts_per_iteration": 2, "ppo.replies_per_prompt": 2,
    "ppo.response_tokens": 8, "warm_start.max_steps": 1, "warm_start.kl_prompts": 2, "gate.prompts": 4,
    "rehearsal.max_steps": 0, "lora.train_a": True, "lora.trained_layers": 1.0,
    # bounds that whatever a tiny random model does is within
    "gate.min_win_rate": -1.0, "gate.max_kl": 1e9, "gate.max_perplexity_increase": 1e9, "gate.max_eos_drop": 1.0,
    "gate.min_distinct2_ratio": 0.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "verdict", "word"),
    [
        ({}, "promoted", "wins"),
        ({"gate.max_kl": 0.0}, "rejected", "nats"),
        ({"gate.min_win_rate": 1.0, "gate.max_kl": 0.0}, "rejected", "not shown to be better"),  # in this order
    ],
)
def test_each_question_refuses_and_says_why(
    tiny_base: BaseModel, bounds: Mapping[str, float], verdict: str, word: str
) -> None:
    config = with_overrides(LearnerConfig(), {**QUICK, **bounds})
    found = update(Snapshot(edits_out_emoji(), BASE_REPLIES), tiny_base, config, Unlimited())
    assert (found.verdict, word in found.reason) == (verdict, True), found.reason
    assert found.weights is not None  # a refused one is kept beside its report
    assert CANDIDATE not in tiny_base.adapter_names()


def base_says(
    contexts: Mapping[str, Context], count: int, phase: str, reserve_s: float = 0.0
) -> dict[str, Sequence[Reply]]:
    return {key: [Reply(text) for text in ("Yes.", "No, never!", "Perhaps so.", "Why?")][:count] for key in contexts}


@pytest.mark.parametrize("start_from", ["base", "live"])
def test_an_update_begins_at_the_base_or_goes_on_from_the_live_version(tiny_base: BaseModel, start_from: str) -> None:
    ppo = {**QUICK, "algorithm": "ppo", "practice.prompts": 4, "practice.replies": 4, "practice.kl_prompts": 2}
    config = with_overrides(LearnerConfig(), {**ppo, "ppo.learning_rate": 1e-6})
    snapshot = Snapshot(edits_out_emoji(), BASE_REPLIES, base_says)
    first = update(snapshot, tiny_base, config, Unlimited())
    assert first.weights is not None and "practice/gap" in first.report["ppo"]["first"]
    live = {key: value + 0.01 * ("lora_B" in key) for key, value in first.weights.items()}
    snapshot = replace(snapshot, live=(live, first.lora_settings), live_version=1)
    second = update(snapshot, tiny_base, replace(config, start_from=start_from), Unlimited())
    assert second.weights is not None
    apart = max(float((second.weights[key] - live[key]).abs().max()) for key in live)
    if start_from == "live":  # all of what was learnt is there; a step of such a learning rate is hardly one
        assert 0 < apart < 1e-4 and second.report["warm_start"]["steps"] == 0
        assert "practice/gap" not in second.report["ppo"]["first"]
    else:
        assert apart == pytest.approx(0.01, rel=0.1)
        assert all(torch.allclose(second.weights[key], first.weights[key], atol=1e-4) for key in live)


def test_rewards_have_a_scale_where_the_base_could_not_be_asked() -> None:
    """Somebody whose every message is longer than what it is given of a conversation."""
    evidence = edits_out_emoji()
    replies = [reply for observation in evidence.observations for reply in observation.replies]

    def letters(contexts: Sequence[Context], replies: Sequence[Reply]) -> np.ndarray:
        return np.array([float(len(reply.text)) for reply in replies])

    scores = PersonalReward(letters, Snapshot(evidence, {}))([()] * len(replies), replies)
    assert scores.mean() == pytest.approx(0, abs=1e-9) and scores.std() == pytest.approx(1)
