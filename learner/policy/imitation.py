"""How likely given texts are: the loss of the warm start, of demonstrations beside PPO, and of rehearsal."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from learner.modeling.base import BaseModel
from learner.policy.losses import demonstration_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import SequenceBatch, evaluate_policy, parts_of


def shares_of_loss(
    base: BaseModel, adapter: str | None, batch: SequenceBatch, rows_at_once: int
) -> Iterator[torch.Tensor]:
    """Of each micro-batch; together they are the mean negative log-likelihood over all response tokens, in nats."""
    for part in parts_of(batch, rows_at_once):
        share = float(part.response_mask.sum() / batch.response_mask.sum())
        yield share * demonstration_loss(evaluate_policy(base, adapter, part, 1.0).logprobs, part.response_mask)


@torch.no_grad()
def imitation_loss(base: BaseModel, adapter: str | None, batch: SequenceBatch, micro_batch: MicroBatch) -> float:
    """The mean over all response tokens, in nats."""
    return micro_batch.fit(
        lambda rows_at_once: sum(float(loss) for loss in shares_of_loss(base, adapter, batch, rows_at_once))
    )


def imitation_backward(
    base: BaseModel, adapter: str, batch: SequenceBatch, coef: float, rows_at_once: int
) -> float:
    """Add the gradient of `coef` times the loss, micro-batch by micro-batch; returns the loss."""
    total = 0.0
    for loss in shares_of_loss(base, adapter, batch, rows_at_once):
        (coef * loss).backward()
        total += float(loss.detach())
    return total
