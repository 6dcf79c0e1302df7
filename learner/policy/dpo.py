"""Direct preference optimisation: an adapter learns from pairs of replies, without a reward model or rollouts.

Loss of a pair: -log sigma(beta ((log pi(y+) - log ref(y+)) - (log pi(y-) - log ref(y-)))), log-probabilities of whole
replies (Rafailov et al. 2023, eq. 7). Policy: adapter on; reference: the same weights, adapter off.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch

from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.distance import keep_near
from learner.policy.losses import dpo_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    evaluate_policy,
    parts_of,
    select,
    with_lower_states,
)
from learner.policy.steps import add_to, clear_gradients, clipped_step, mean_metrics
from learner.policy.task import History, Task


def train_dpo(
    base: BaseModel, adapter: str, task: Task, config: LearnerConfig, monitor: Monitor, seed: int
) -> History:
    """Improve `adapter` in place from `task.pairs`; one entry of the history an epoch.

    Afterwards the adapter's change is scaled back where it is farther from the base than PPO may go. Without pairs
    nothing is done.
    """
    dpo, pairs = config.dpo, task.pairs
    if not pairs:
        return []
    queries = [base.encode_chat(context) for context, _, _ in pairs]
    better, worse = (
        batch_sequences(queries, [base.encode_reply(r.text, r.finished) for r in replies], base.pad_id, base.device)
        for replies in ([pair[1] for pair in pairs], [pair[2] for pair in pairs])
    )
    micro_batch = MicroBatch(dpo.micro_batch_size)
    better, worse = (micro_batch.fit(partial(_referred, base, adapter, batch)) for batch in (better, worse))
    parameters = base.adapter_parameters(adapter)
    optimiser = torch.optim.AdamW(parameters, lr=dpo.learning_rate, eps=config.ppo.adam_epsilon, weight_decay=0.0)
    generator = torch.Generator().manual_seed(seed)
    history: History = []
    slowest_s = 0.0
    for epoch in range(dpo.epochs):
        if monitor.seconds_left("learning") < slowest_s:
            break
        began_s = monitor.elapsed_s()
        order = torch.randperm(len(pairs), generator=generator).to(base.device)
        steps: list[dict[str, float]] = []
        for rows in order.split(dpo.batch_size):
            found = micro_batch.fit(partial(_minibatch_backward, base, adapter, better, worse, rows, dpo.beta))
            norm = clipped_step(optimiser, parameters, config.ppo.max_grad_norm)
            steps.append(found | {"policy/grad_norm": norm})
        metrics = mean_metrics(steps)
        metrics["time/iteration_s"] = monitor.elapsed_s() - began_s
        slowest_s = max(slowest_s, metrics["time/iteration_s"])
        history.append(metrics)
        monitor.report("policy optimisation", (epoch + 1) / dpo.epochs, metrics)
    if history:
        near = task.prompts[: config.warm_start.kl_prompts]
        history[-1]["objective/kl"] = keep_near(base, adapter, near, config.ppo, seed)
    return history


class Referred(NamedTuple):
    """Replies, and the log-probability `(N,)` of each under the reference."""

    batch: SequenceBatch
    reference: torch.Tensor


@torch.no_grad()
def _referred(base: BaseModel, adapter: str, batch: SequenceBatch, rows_at_once: int) -> Referred:
    batch = with_lower_states(base, adapter, batch, rows_at_once)
    return Referred(batch, torch.cat([_reply_logprobs(base, None, part) for part in parts_of(batch, rows_at_once)]))


def _minibatch_backward(
    base: BaseModel, adapter: str, better: Referred, worse: Referred, rows: torch.Tensor, beta: float, rows_at_once: int
) -> dict[str, float]:
    """Set the gradients of one minibatch, micro-batch by micro-batch; returns its metrics."""
    clear_gradients(base.adapter_parameters(adapter))
    found: dict[str, float] = {}
    for part in rows.split(rows_at_once):
        losses, margins = dpo_loss(
            _reply_logprobs(base, adapter, select(better.batch, part)),
            _reply_logprobs(base, adapter, select(worse.batch, part)),
            better.reference[part],
            worse.reference[part],
            beta,
        )
        (losses.sum() / len(rows)).backward()
        totals = {
            "loss/dpo": losses.detach().sum(),
            "rewards/margins": margins.sum(),
            "rewards/accuracies": (margins > 0).sum(),
        }
        add_to(found, {name: float(total) / len(rows) for name, total in totals.items()})
    return found


def _reply_logprobs(base: BaseModel, adapter: str | None, batch: SequenceBatch) -> torch.Tensor:
    """(N,) log-probability of each whole reply."""
    return evaluate_policy(base, adapter, batch, 1.0).logprobs.sum(-1)
