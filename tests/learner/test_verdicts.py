"""What an update says of its candidate: each question of the gate can refuse it, and the earlier one is asked first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from learner.config import LearnerConfig, with_overrides
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.snapshot import Snapshot
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
