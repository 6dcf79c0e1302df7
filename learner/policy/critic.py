"""A critic that needs no training: the reward model itself, reading the reply while it is being written.

The score of a whole reply says little about any one of its 200 tokens. But the reward model can score every beginning
of the reply too, and the final score is, up to noise, a straight line in that: E[score | beginning] = baseline +
intercept + slope * (score of the beginning - baseline), with intercept and slope fitted by least squares over all
rollouts that are still being written there. With these values, generalised advantage estimation credits a token with
what changed after it and not with what the rest of the reply was worth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from data.types import Reply
from learner.config import PPOConfig
from learner.modeling.base import BaseModel
from learner.policy.advantages import leave_one_out
from learner.policy.rollouts import Rollout
from learner.policy.task import Context, Reward
from learner.reward.features import Array

LEAST_ROWS = 8  # below so many rollouts a line is not fitted anew; the one of the beginning before goes on


def prefix_values(
    base: BaseModel,
    contexts: Sequence[Context],
    rollouts: Sequence[Rollout],
    scores: torch.Tensor,
    reward: Reward,
    config: PPOConfig,
) -> torch.Tensor:
    """Values `(N, response_tokens)` of the state before each token, in units of `scores` `(N,)`.

    They change every `prefix_tokens` tokens. The rollouts of one prompt are next to each other.
    """
    step = config.prefix_tokens
    count = -(-config.response_tokens // step)
    places = [(i, s) for i, r in enumerate(rollouts) for s in range(1, count) if s * step < len(r.response)]
    beginnings = np.full((len(rollouts), count), np.nan)
    if places:
        replies = [Reply(base.decode(rollouts[i].response[: s * step]), finished=False) for i, s in places]
        found = reward([contexts[i] for i, _ in places], replies)
        for (i, s), value in zip(places, np.clip(found, -config.reward_clip, config.reward_clip), strict=True):
            beginnings[i, s] = value
    others = scores - leave_one_out(scores.view(-1, config.replies_per_prompt)).view(-1)
    values = expected_scores(scores.numpy().astype(np.float64), beginnings, others.numpy().astype(np.float64))
    return torch.tensor(values, dtype=torch.float32).repeat_interleave(step, dim=1)[:, : config.response_tokens]


def expected_scores(scores: Array, beginnings: Array, baseline: Array) -> Array:
    """E[score | beginning] `(N, S)` from `scores` `(N,)`, scores of beginnings `(N, S)` (NaN where the reply had ended,
    and in column 0, where nothing is written yet) and what is expected of each reply before it begins, `(N,)`.

    Where a reply has ended the last value goes on; it is never used.
    """
    values = np.repeat(baseline[:, None], beginnings.shape[1], axis=1)
    intercept, slope = 0.0, 0.0
    for s in range(1, beginnings.shape[1]):
        writing = ~np.isnan(beginnings[:, s])
        x, y = beginnings[writing, s] - baseline[writing], scores[writing] - baseline[writing]
        if len(x) >= LEAST_ROWS and x.std() > 1e-6:
            slope = float(np.clip(np.cov(x, y, bias=True)[0, 1] / x.var(), 0.0, 1.0))
            intercept = float(y.mean() - slope * x.mean())
        values[:, s] = values[:, s - 1]
        values[writing, s] = baseline[writing] + intercept + slope * x
    return values
