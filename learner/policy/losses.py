"""Losses of policy optimisation: pure functions over tensors `(B, T)`; masks are positive.

Every loss is a sum over real tokens divided by a constant (rollouts times the longest possible response), not by each
reply's own length: dividing by its own length makes long bad replies cheap (Dr. GRPO, Liu et al. 2025).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from learner.policy.advantages import masked_mean


class PolicyLoss(NamedTuple):
    loss: torch.Tensor  # ()
    clipfrac: torch.Tensor  # () share of tokens where the clipped term was the larger loss
    approx_kl: torch.Tensor  # () mean of 0.5 (log ratio)^2 over tokens
    ratio: torch.Tensor  # () mean ratio


def clipped_policy_loss(
    logprobs: torch.Tensor,
    old_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    mask: torch.Tensor,
    clip_range: float,
    normaliser: float,
) -> PolicyLoss:
    """PPO's clipped objective, negated (Schulman et al. 2017, eq. 7)."""
    log_ratio = (logprobs - old_logprobs) * mask
    ratio = log_ratio.exp()
    unclipped = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip_range, 1 + clip_range)
    loss = (torch.maximum(unclipped, clipped) * mask).sum() / normaliser
    with torch.no_grad():
        clipfrac = masked_mean((clipped > unclipped).float(), mask)
        approx_kl = masked_mean(0.5 * log_ratio**2, mask)
        mean_ratio = masked_mean(ratio, mask)
    return PolicyLoss(loss, clipfrac, approx_kl, mean_ratio)


def clipped_value_loss(
    values: torch.Tensor,
    old_values: torch.Tensor,
    returns: torch.Tensor,
    mask: torch.Tensor,
    clip_range: float,
    normaliser: float,
) -> torch.Tensor:
    """Half the squared error, the larger of clipped and unclipped (lm-human-preference-details)."""
    clipped = old_values + (values - old_values).clamp(-clip_range, clip_range)
    squared = torch.maximum((values - returns) ** 2, (clipped - returns) ** 2)
    return 0.5 * (squared * mask).sum() / normaliser


def demonstration_loss(logprobs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of demonstrated tokens."""
    return -masked_mean(logprobs, mask)


def dpo_loss(
    better: torch.Tensor, worse: torch.Tensor, ref_better: torch.Tensor, ref_worse: torch.Tensor, beta: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Losses and margins of the implicit reward `(B,)`, from log-probabilities of whole replies `(B,)`.

    Rafailov et al. 2023, eq. 7.
    """
    margins = beta * ((better - ref_better) - (worse - ref_worse))
    return -torch.nn.functional.logsigmoid(margins), margins.detach()


class AdaptiveKL:
    """The KL coefficient: times `factor` above the target, divided by it below, left alone in between.

    It never falls below where it began: the target is how far a strong wish may go, not how far every wish should.
    """

    def __init__(self, coef: float, target: float, tolerance: float, factor: float) -> None:
        self.coef = self._least = coef
        self._low, self._high = target * (1 - tolerance), target * (1 + tolerance)
        self._factor = factor

    def update(self, kl: float) -> None:
        """`kl` in nats a reply, measured on this iteration's rollouts."""
        if kl > self._high:
            self.coef *= self._factor
        elif kl < self._low:
            self.coef = max(self._least, self.coef / self._factor)
