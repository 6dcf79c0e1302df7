"""How far a policy is from the base: KL in nats a reply, estimated on replies of its own; and the way back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from learner.config import PPOConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.policy.rollouts import Rollout, sample_replies
from learner.policy.sequences import batch_sequences, evaluate_policy


def sample(
    base: BaseModel, adapter: str | None, queries: Sequence[list[int]], ppo: PPOConfig, seed: int
) -> list[Rollout]:
    """One reply to each query, sampled as PPO samples."""
    settings = SamplingSettings(ppo.temperature, 1.0, ppo.response_tokens)
    return sample_replies(base, adapter, queries, settings, [seed + i for i in range(len(queries))])


@torch.no_grad()
def kl_to_base(
    base: BaseModel, adapter: str, rollouts: Sequence[Rollout], temperature: float, micro_batch: int = 8
) -> float:
    """Mean over replies of sum_t log pi - log ref, in nats: an unbiased estimate of KL(policy || base) a reply."""
    total = 0.0
    for i in range(0, len(rollouts), micro_batch):
        part = rollouts[i : i + micro_batch]
        batch = batch_sequences([r.query for r in part], [r.response for r in part], base.pad_id, base.device)
        policy = evaluate_policy(base, adapter, batch, temperature).logprobs
        reference = evaluate_policy(base, None, batch, temperature).logprobs
        total += float((policy - reference).sum())
    return total / len(rollouts)


def sampled_kl(base: BaseModel, adapter: str, queries: Sequence[list[int]], ppo: PPOConfig, seed: int) -> float:
    """Nats a reply, on new replies to `queries`."""
    return float(kl_to_base(base, adapter, sample(base, adapter, queries, ppo, seed), ppo.temperature))


def scale_back(base: BaseModel, adapter: str, kl: float, ppo: PPOConfig) -> None:
    """Scale the adapter's change where `kl` is beyond what the target allows; it keeps most of what it has learnt.

    KL grows about with the square of the change.
    """
    bound = ppo.kl_target * (1 + ppo.kl_tolerance)
    if kl > bound:
        base.set_adapter_state(adapter, lora.scaled(base.adapter_state(adapter), math.sqrt(bound / kl)))
