"""Warm start: a few supervised steps on what the person showed (edits and best rated replies) before PPO.

Edits are worth a lot and can take the policy too far: the steps stop where the loss on held-out demonstrations rises
(the best state before that is kept) or where the policy is more than `kl_limit` nats a reply away from the base (its
change is then scaled back to that limit).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from data.types import Reply, Turn
from learner.config import PPOConfig, WarmStartConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.distance import sampled_kl
from learner.policy.imitation import imitation_backward, imitation_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    select,
    with_lower_states,
)
from learner.policy.steps import clear_gradients, clipped_step

MAX_SCALINGS = 4  # each is a round of replies to measure the distance by; one or two are the rule
Demonstration = tuple[Sequence[Turn], Reply]


@dataclass(frozen=True)
class WarmStartResult:
    steps: int  # optimiser steps that were kept
    train_loss: float
    held_out_loss: float
    kl: float  # nats a reply
    why: str


def demonstration_batch(base: BaseModel, demonstrations: Sequence[Demonstration]) -> SequenceBatch:
    queries = [base.encode_chat(context) for context, _ in demonstrations]
    responses = [base.encode_reply(reply.text, reply.finished) for _, reply in demonstrations]
    return batch_sequences(queries, responses, base.pad_id, base.device)


def warm_start(
    base: BaseModel,
    adapter: str,
    demonstrations: Sequence[Demonstration],
    prompts: Sequence[Sequence[Turn]],
    config: WarmStartConfig,
    ppo: PPOConfig,
    monitor: Monitor,
    seed: int,
) -> WarmStartResult:
    """Train `adapter` in place. `prompts` are where the distance to the base is measured."""
    shuffled = list(demonstrations)
    random.Random(seed).shuffle(shuffled)
    held_out_count = max(1, round(config.held_out_share * len(shuffled)))
    micro_batch = MicroBatch(config.batch_size)
    held_out, train = (
        with_lower_states(base, adapter, demonstration_batch(base, part), config.batch_size)
        for part in (shuffled[:held_out_count], shuffled[held_out_count:])
    )
    queries = [base.encode_chat(prompt) for prompt in prompts[: config.kl_prompts]]
    parameters = base.adapter_parameters(adapter)
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, eps=ppo.adam_epsilon, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)

    best = base.adapter_state(adapter)
    best_loss = imitation_loss(base, adapter, held_out, micro_batch)
    result = WarmStartResult(0, best_loss, best_loss, 0.0, "no step improved the held-out demonstrations")
    rows = torch.empty(0, dtype=torch.long)
    for step in range(1, config.max_steps + 1):
        if monitor.seconds_left("learning") <= 0:
            result = replace(result, why="stopped by the time budget")
            break
        if len(rows) < min(config.batch_size, len(train.response_ids)):
            rows = torch.randperm(len(train.response_ids), generator=generator)
        chosen, rows = rows[: config.batch_size], rows[config.batch_size :]
        loss = micro_batch.fit(partial(_gradient, base, adapter, select(train, chosen.to(base.device))))
        clipped_step(optimiser, parameters, ppo.max_grad_norm)
        monitor.report("warm start", step / config.max_steps, {"sft/loss": loss})
        if step % config.check_every and step < config.max_steps:
            continue
        held_out_loss = imitation_loss(base, adapter, held_out, micro_batch)
        kl = sampled_kl(base, adapter, queries, ppo, seed)
        monitor.report("warm start", step / config.max_steps, {"sft/val_loss": held_out_loss, "objective/kl": kl})
        if held_out_loss > best_loss:
            result = replace(result, why="stopped where the held-out loss rose")
            break
        if kl > config.kl_limit:
            reached = kl
            for attempt in range(1, MAX_SCALINGS + 1):
                state = lora.scaled(base.adapter_state(adapter), 0.95 * lora.share_for(config.kl_limit, kl))
                base.set_adapter_state(adapter, state)
                kl = sampled_kl(base, adapter, queries, ppo, seed)
                share = (step + attempt) / (config.max_steps + MAX_SCALINGS)
                monitor.report("warm start", share, {"objective/kl": kl})
                if kl <= config.kl_limit:
                    why = f"reached {reached:.1f} nats, scaled back to the limit of {config.kl_limit:g}"
                    best = state
                    result = WarmStartResult(step, loss, imitation_loss(base, adapter, held_out, micro_batch), kl, why)
                    break
            else:
                result = replace(result, why=f"reached {reached:.1f} nats; the steps before that were kept")
            break
        best, best_loss = base.adapter_state(adapter), held_out_loss
        result = WarmStartResult(step, loss, held_out_loss, kl, "all steps were taken")
    base.set_adapter_state(adapter, best)
    return result


def _gradient(base: BaseModel, adapter: str, batch: SequenceBatch, rows_at_once: int) -> float:
    clear_gradients(base.adapter_parameters(adapter))
    return imitation_backward(base, adapter, batch, 1.0, rows_at_once)
