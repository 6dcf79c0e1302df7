"""Direct preference optimisation: an adapter learns from pairs of replies, without a reward model or rollouts.

Loss of a pair: -log sigma(beta ((log pi(y+) - log ref(y+)) - (log pi(y-) - log ref(y-)))), log-probabilities of whole
replies (Rafailov et al. 2023, eq. 7). Policy: adapter on; reference: the same weights, adapter off.
"""

from __future__ import annotations

import torch

from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.distance import keep_near
from learner.policy.losses import dpo_loss
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    evaluate_policy,
    select,
    with_lower_states,
)
from learner.policy.steps import add_to, clipped_step, mean_metrics
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
    better = with_lower_states(base, adapter, better, dpo.micro_batch_size)
    worse = with_lower_states(base, adapter, worse, dpo.micro_batch_size)
    reference_better = _reply_logprobs(base, None, better, dpo.micro_batch_size)
    reference_worse = _reply_logprobs(base, None, worse, dpo.micro_batch_size)
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
            optimiser.zero_grad(set_to_none=True)
            found: dict[str, float] = {}
            for part in rows.split(dpo.micro_batch_size):
                losses, margins = dpo_loss(
                    evaluate_policy(base, adapter, select(better, part), 1.0).logprobs.sum(-1),
                    evaluate_policy(base, adapter, select(worse, part), 1.0).logprobs.sum(-1),
                    reference_better[part],
                    reference_worse[part],
                    dpo.beta,
                )
                (losses.sum() / len(rows)).backward()
                totals = {
                    "loss/dpo": losses.detach().sum(),
                    "rewards/margins": margins.sum(),
                    "rewards/accuracies": (margins > 0).sum(),
                }
                add_to(found, {name: float(total) / len(rows) for name, total in totals.items()})
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


@torch.no_grad()
def _reply_logprobs(base: BaseModel, adapter: str | None, batch: SequenceBatch, rows: int) -> torch.Tensor:
    """(N,) log-probability of each whole reply."""
    order = torch.arange(len(batch.input_ids), device=base.device)
    parts = [evaluate_policy(base, adapter, select(batch, part), 1.0).logprobs.sum(-1) for part in order.split(rows)]
    return torch.cat(parts)
