"""A diagonal natural gradient: a step measured by how much it changes the policy, one value a row of a matrix.

The noise of a policy gradient is as large as the Fisher information, weight by weight, and so is the KL that a change
of the weight costs (Amari 1998; Kakade 2001). A gradient divided by its own second moment thus goes farthest where a
nat buys most; Adam divides by the root of it. The second moment of a single weight is not known from a dozen
minibatches, that of a row of a matrix is: its weights feed the same output.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class NaturalGradient:
    """Gathers the gradients of minibatches, all taken at the same weights; holds one number a weight."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """`parameters` have two dimensions; their gradients are those of a loss."""
        self._parameters = list(parameters)
        self._sums = [torch.zeros_like(p, dtype=torch.float32) for p in self._parameters]
        self._squares = [torch.zeros(len(p), 1, device=p.device) for p in self._parameters]
        self.minibatches = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take in what stands in the parameters' `grad`."""
        self.minibatches += 1
        for parameter, total, squares in zip(self._parameters, self._sums, self._squares, strict=True):
            if parameter.grad is not None:
                total += parameter.grad
                squares += parameter.grad.square().mean(-1, keepdim=True)

    @torch.no_grad()
    def direction(self, damping: float) -> list[torch.Tensor]:
        """Down the loss, in each parameter's shape: -r g / (v + damping r^2), the same whatever the loss's scale.

        g: mean gradient; v `(rows, 1)`: mean square of a row's gradients over weights and minibatches; r: root of the
        mean of v over all rows. All zeros where no gradient was.
        """
        count = max(1, self.minibatches)
        typical = torch.cat(self._squares).mean() / count
        if typical == 0:
            return self._sums
        return [
            -typical.sqrt() * (total / count) / (squares / count + damping * typical)
            for total, squares in zip(self._sums, self._squares, strict=True)
        ]
