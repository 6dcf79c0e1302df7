"""The mean of the weights after each iteration: what policy optimisation is after, with less of its noise.

An iteration has a handful of replies to learn from, and its step is mostly about these; one policy's reward can be half
of the next one's. Their mean had more reward than the last of them wherever it was measured (docs/log.md). The first of
them know least and stay behind: the t-th counts t times, so that the mean goes on while the policy does. Sources:
Polyak and Juditsky 1992; for the counts, Shamir and Zhang 2013 (their eta = 1); of policies that PPO fine-tunes, Ramé
et al. 2024 (WARP).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class WeightAverage:
    """The running mean of `parameters`: what they were at the t-th call of `add` counts t times."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self._means = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
        self._count = 0

    @torch.no_grad()
    def add(self) -> None:
        self._count += 1
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.add_((parameter.float() - mean) * 2 / (self._count + 1))

    @torch.no_grad()
    def apply(self) -> None:
        """Give the parameters their mean; they stay as they are where none was added."""
        if self._count:
            for mean, parameter in zip(self._means, self._parameters, strict=True):
                parameter.copy_(mean)


def mean_of(values: Sequence[float]) -> float:
    """Of one value for each call of `add`, the mean that `WeightAverage` takes of the weights."""
    counts = range(1, len(values) + 1)
    return sum(count * value for count, value in zip(counts, values, strict=True)) / sum(counts)
