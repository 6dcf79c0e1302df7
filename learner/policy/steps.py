"""What every algorithm's optimiser steps have in common: the step itself, and its metrics."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from learner.policy.losses import PolicyLoss
from learner.policy.task import LearningError


def clear_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.grad = None


def clipped_step(
    optimiser: torch.optim.Optimizer, parameters: Sequence[torch.nn.Parameter], max_grad_norm: float
) -> float:
    """Clip the gradients and take a step; returns their norm before. LearningError where it is not finite."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_grad_norm)
    if not torch.isfinite(norm):
        raise LearningError("The gradient is not finite; nothing of this update is kept.")
    optimiser.step()
    return float(norm)


def policy_metrics(policy: PolicyLoss, share: float) -> dict[str, float]:
    """A micro-batch's part in its minibatch's metrics; `share` of the minibatch's rollouts are in it."""
    return {
        "loss/policy_avg": float(policy.loss.detach()),  # a sum over a constant already
        "policy/clipfrac": float(policy.clipfrac) * share,
        "policy/approxkl": float(policy.approx_kl) * share,
        "val/ratio": float(policy.ratio) * share,
    }


def add_to(totals: dict[str, float], part: dict[str, float]) -> None:
    for name, value in part.items():
        totals[name] = totals.get(name, 0.0) + value


def mean_metrics(steps: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(step[name] for step in steps) / len(steps) for name in steps[0]}
