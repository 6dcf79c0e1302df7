"""Rewards, returns and advantages: pure functions over tensors.

Shapes: B rollouts, T response tokens, P prompts, K replies a prompt. Masks are positive: True counts. What padding
holds never matters and comes back as 0.
"""

from __future__ import annotations

import torch


def masked_mean(values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Mean of `values` where `mask` is True."""
    return (values * mask).sum() / mask.sum()


def whiten(values: torch.Tensor, mask: torch.Tensor, shift_mean: bool) -> torch.Tensor:
    """`values` scaled to variance 1 over the mask; with `shift_mean` also to mean 0, otherwise the mean is kept.

    The variance is the unbiased one (lm-human-preference-details). Where all values are equal they are only shifted.
    """
    mean = masked_mean(values, mask)
    count = mask.sum()
    variance = ((values - mean) ** 2 * mask).sum() / (count - 1).clamp(min=1)
    whitened = (values - mean) * torch.rsqrt(variance + 1e-8)
    if not shift_mean:
        whitened = whitened + mean
    return whitened * mask


def token_rewards(
    scores: torch.Tensor,
    logprobs: torch.Tensor,
    ref_logprobs: torch.Tensor,
    mask: torch.Tensor,
    kl_coef: float,
) -> torch.Tensor:
    """Reward of each token `(B, T)`: -kl_coef * (log pi - log ref), plus the score `(B,)` on the last real token.

    The k1 estimate of the KL stands in the reward, where its gradient is unbiased (Ziegler et al. 2019, eq. 2).
    """
    rewards = -kl_coef * (logprobs - ref_logprobs) * mask
    last = mask.sum(-1) - 1
    rows = torch.arange(len(scores), device=scores.device)
    rewards[rows, last] = rewards[rows, last] + scores
    return rewards


def generalised_advantage_estimation(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float, lam: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns `(B, T)` (Schulman et al. 2016, eq. 16); the value after the last token is 0.

    delta_t = r_t + gamma V_{t+1} - V_t;  A_t = delta_t + gamma lam A_{t+1};  return_t = A_t + V_t.
    """
    rewards, values = rewards * mask, values * mask
    advantages = torch.zeros_like(rewards)
    following_advantage = torch.zeros(len(rewards), device=rewards.device)
    following_value = torch.zeros(len(rewards), device=rewards.device)
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * following_value - values[:, t]
        following_advantage = (delta + gamma * lam * following_advantage) * mask[:, t]
        advantages[:, t] = following_advantage
        following_value = values[:, t]
    return advantages, (advantages + values) * mask


def with_credit_of_whole(
    advantages: torch.Tensor, rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, share: float
) -> torch.Tensor:
    """Whitened `advantages` `(B, T)` plus `share` times whitened advantages of whole replies, whitened again.

    The advantage of a whole reply, sum_t r_t - V_0, stands at each of its tokens. Advantages of tokens have little
    noise, but know of a reply only what the features see in its words; a good reply is good in other ways too.
    """
    found = whiten(advantages, mask, shift_mean=True)
    if share == 0.0:
        return found
    whole = ((rewards * mask).sum(-1) - values[:, 0])[:, None] * mask
    return whiten(found + share * whiten(whole, mask, shift_mean=True), mask, shift_mean=True)


def leave_one_out(returns: torch.Tensor) -> torch.Tensor:
    """Each reply's return less the mean of the other replies to the same prompt: `(P, K)` -> `(P, K)`, K >= 2.

    REINFORCE leave-one-out (Kool et al. 2019; Ahmadian et al. 2024, "Back to basics").
    """
    replies = returns.shape[1]
    if replies < 2:
        raise ValueError("leave-one-out needs at least two replies a prompt")
    others = (returns.sum(dim=1, keepdim=True) - returns) / (replies - 1)
    return returns - others


def farthest_apart(scores: torch.Tensor, count: int) -> list[int]:
    """Of `(P, K)` scores the places in the flat list of each prompt's `count` replies with the largest variance, in the
    order in which they were sampled.

    They are always some of the best and the rest of the worst (Xu et al. 2025, theorem 1), so all splits are tried.
    """
    replies = scores.shape[1]
    if not 2 <= count <= replies:
        raise ValueError(f"of {replies} replies to a prompt 2 to {replies} can be trained on, not {count}")
    found: list[int] = []
    for prompt, row in enumerate(scores):
        order = row.argsort(stable=True)
        splits = [torch.cat([order[:worst], order[replies - count + worst :]]) for worst in range(count + 1)]
        best = max(splits, key=lambda places: float(row[places].var()))
        found += [prompt * replies + place for place in sorted(best.tolist())]
    return found


def missing_end_penalty(scores: torch.Tensor, ended: torch.Tensor, least: float) -> float:
    """The penalty of a reply without an end with which, within prompts, having an end is not what scores lower.

    `scores` and `ended` are `(P, K)`. Least squares of centred scores on centred ends: with it their covariance
    is 0 or more, so that to first order the policy does not learn to end less often. At least `least`.
    """
    centred = ended.float() - ended.float().mean(dim=1, keepdim=True)
    spread = float((centred**2).sum())
    if spread == 0.0:
        return least
    return max(least, -float((centred * scores).sum()) / spread)


def sampler_correction(
    logprobs: torch.Tensor, sampler_logprobs: torch.Tensor, mask: torch.Tensor, max_weight: float
) -> torch.Tensor:
    """Truncated importance weights `(B, T)`, min(pi / sampler, max_weight), 0 on padding.

    They undo that the sampler rounds differently from the training pass (Yao et al. 2025, "Your efficient RL framework
    secretly brings you off-policy RL training").
    """
    return ((logprobs - sampler_logprobs) * mask).exp().clamp(max=max_weight) * mask
