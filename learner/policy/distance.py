"""How far a policy is from the base: KL in nats a reply, estimated on replies of its own; and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch

from learner.config import PPOConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.policy.micro_batches import MicroBatch
from learner.policy.rollouts import Rollout, rollout_settings, sample_replies
from learner.policy.sequences import SequenceBatch, batch_sequences, parts_of, token_kl
from learner.policy.task import Context


def sample(
    base: BaseModel, adapter: str | None, queries: Sequence[list[int]], ppo: PPOConfig, seed: int
) -> list[Rollout]:
    """One reply to each query, sampled as PPO samples."""
    return sample_replies(base, adapter, queries, rollout_settings(ppo), [seed + i for i in range(len(queries))])


def kl_to_base(
    base: BaseModel, adapter: str, rollouts: Sequence[Rollout], temperature: float, micro_batch: int = 8
) -> float:
    """KL(policy || base) in nats a reply, from replies of the policy.

    At each token of a reply the KL of the whole distributions, added up: unbiased like the sum of log pi - log ref, but
    with a fraction of its variance, and never negative (Amini et al. 2025, "Better estimation of the KL divergence
    between language models").
    """
    return kl_on(base, adapter, batches_of(base, rollouts, micro_batch), temperature)


def kl_on(base: BaseModel, adapter: str, batches: Sequence[SequenceBatch], temperature: float) -> float:
    """KL(policy || base) along these replies, in nats a reply; of replies that another policy said an approximation."""
    micro_batch = MicroBatch(max(len(batch.input_ids) for batch in batches))

    def of(batch: SequenceBatch, rows_at_once: int) -> torch.Tensor:
        parts = parts_of(batch, rows_at_once)
        return torch.cat([token_kl(base, adapter, part, temperature).sum(-1) for part in parts])

    return float(torch.cat([micro_batch.fit(partial(of, batch)) for batch in batches]).mean())


def batches_of(base: BaseModel, rollouts: Sequence[Rollout], micro_batch: int = 8) -> list[SequenceBatch]:
    parts = [rollouts[i : i + micro_batch] for i in range(0, len(rollouts), micro_batch)]
    return [
        batch_sequences([r.query for r in part], [r.response for r in part], base.pad_id, base.device) for part in parts
    ]


def sampled_kl(base: BaseModel, adapter: str, queries: Sequence[list[int]], ppo: PPOConfig, seed: int) -> float:
    """Nats a reply, on new replies to `queries`."""
    return kl_to_base(base, adapter, sample(base, adapter, queries, ppo, seed), ppo.temperature)


def scale_back(base: BaseModel, adapter: str, kl: float, ppo: PPOConfig) -> None:
    """Scale the adapter's change where `kl` is beyond what the target allows; it keeps most of what it has learnt."""
    bound = ppo.kl_target * (1 + ppo.kl_tolerance)
    if kl > bound:
        base.set_adapter_state(adapter, lora.scaled(base.adapter_state(adapter), lora.share_for(bound, kl)))


def keep_near(base: BaseModel, adapter: str, prompts: Sequence[Context], ppo: PPOConfig, seed: int) -> float:
    """Measure the distance on new replies to `prompts` and `scale_back`; returns what was measured."""
    kl = sampled_kl(base, adapter, [base.encode_chat(prompt) for prompt in prompts], ppo, seed)
    scale_back(base, adapter, kl, ppo)
    return kl
