"""The mean of the weights after each iteration: what policy optimisation is after, with less of its noise.

An iteration has a handful of replies to learn from, and its step is mostly about these: one policy's reward can be half
of the next one's. Their mean had more reward than the last of them wherever it was measured (docs/log.md). Sources:
Polyak and Juditsky 1992; of policies that PPO fine-tunes, Ramé et al. 2024 (WARP).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class WeightAverage:
    """The running mean of `parameters`, each counted as often as `add` was called while it had that value."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = parameters
        self._means = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in parameters]
        self._count = 0

    @torch.no_grad()
    def add(self) -> None:
        self._count += 1
        for mean, parameter in zip(self._means, self._parameters, strict=True):
            mean.add_((parameter.float() - mean) / self._count)

    @torch.no_grad()
    def apply(self) -> None:
        """Give the parameters their mean; they stay as they are where none was added."""
        if self._count:
            for mean, parameter in zip(self._means, self._parameters, strict=True):
                parameter.copy_(mean)
