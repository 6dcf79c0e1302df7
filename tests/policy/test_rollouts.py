"""Rollouts: sampled plainly, to their end, with the log-probabilities that training finds."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from learner.modeling.base import BaseModel
from learner.policy.rollouts import rollout_settings
from tests.policy.test_ppo import CONFIG, disturb, rollouts_of, scored_tokens


def test_sampler_and_trainer_agree(policy: BaseModel) -> None:
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    _, metrics = scored_tokens(policy, contexts, rollouts, order, 4)
    assert metrics["sampler/gap"] < 1e-4


def test_the_end_of_a_turn_is_a_replys_last_token(policy: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = set(range(0, policy.model.config.vocab_size, 4))  # a tiny random model hardly ever draws the one that it has
    monkeypatch.setattr(policy, "eos_ids", ends)
    _, rollouts = rollouts_of(policy)
    ended = [rollout for rollout in rollouts if rollout.reply.finished]
    assert len(ended) > len(rollouts) / 2
    for rollout in ended:
        *before, last = rollout.response
        assert last in ends and not ends & set(before) and len(rollout.sampler_logprobs) == len(rollout.response)
        assert rollout.reply.text == policy.decode(before)


def test_rollouts_are_sampled_plainly(policy: BaseModel) -> None:
    """From the tempered distribution and nothing else, whatever the model's generation_config proposes."""
    settings = rollout_settings(CONFIG)
    assert (settings.temperature, settings.top_p, settings.max_new_tokens) == (0.7, 1.0, CONFIG.response_tokens)
    assert {field.name for field in fields(settings)} == {"temperature", "top_p", "max_new_tokens", "seed"}
