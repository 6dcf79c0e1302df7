"""The value head: expected return from a hidden state of the policy."""

from __future__ import annotations

import torch
from torch import nn


class ValueHead(nn.Module):
    """A linear map from hidden states `(..., H)` to values `(...)`, in float32.

    It starts at zero, so that the first advantages are plain returns and not a random critic's errors.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.linear(hidden.float()).squeeze(-1)
