"""A natural gradient with a Kronecker-factored second moment: a step measured by how much it changes the policy.

The noise of a policy gradient is as large as the Fisher information, and so is the KL that a change of a weight costs
(Amari 1998; Kakade 2001). A gradient divided by its own second moment thus goes farthest where a nat buys most; Adam
divides by the root of it, weight by weight. A dozen minibatches do not tell the second moment of a single weight, nor
how two of a million go together. They do tell that of a row of B, whose weights feed the same output, and how the few
columns go together, which read the same inputs: through A a column sees little but what all inputs have in common, so
that all columns want the same, and what sets replies apart is in their differences. So the second moment is taken as a
product of one factor for the rows, a diagonal, and one for the columns, whole, as in K-FAC and Shampoo (Martens and
Grosse 2015; Wu et al. 2017 for policies; Gupta et al. 2018).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch


class NaturalGradient:
    """Gathers the gradients of minibatches, all taken at the same weights.

    Of each parameter `(rows, columns)` it holds a sum of its shape, a square a row and a `(columns, columns)` product.
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """`parameters` have two dimensions, the second one small; their gradients are those of a loss."""
        self._parameters = list(parameters)
        self._sums = [torch.zeros_like(p, dtype=torch.float32) for p in self._parameters]
        self._rows = [torch.zeros(len(p), 1, device=p.device) for p in self._parameters]
        self._columns = [torch.zeros(p.shape[1], p.shape[1], device=p.device) for p in self._parameters]
        self.minibatches = 0

    @torch.no_grad()
    def add(self) -> None:
        """Take in what stands in the parameters' `grad`."""
        self.minibatches += 1
        held = zip(self._parameters, self._sums, self._rows, self._columns, strict=True)
        for parameter, total, rows, columns in held:
            if parameter.grad is not None:
                gradient = parameter.grad.float()
                total += gradient
                rows += gradient.square().mean(-1, keepdim=True)
                columns += gradient.T @ gradient

    @property
    def mean(self) -> list[torch.Tensor]:
        """The mean gradient, in each parameter's shape; all zeros where there was none."""
        return [total / max(1, self.minibatches) for total in self._sums]

    @property
    def _typical(self) -> torch.Tensor:
        """() mean square of a weight's gradient, over all rows of all parameters."""
        return torch.cat(self._rows).mean() / max(1, self.minibatches)

    @torch.no_grad()
    def divided(self, vector: Sequence[torch.Tensor], damping: float, column_damping: float) -> list[torch.Tensor]:
        """A `vector` in the parameters' shapes by the second moment: (v + damping r^2)^-1 x c^-1. Linear, symmetric.

        v `(rows, 1)`: mean square of a row's gradients over weights and minibatches; r^2: mean of v over all rows of
        all parameters; c `(columns, columns)`: second moment of the columns, scaled to a mean of 1 on its diagonal,
        plus `column_damping` there. 0 where no gradient was.
        """
        typical = self._typical
        if typical == 0:
            return [torch.zeros_like(part) for part in vector]
        count = max(1, self.minibatches)
        return [
            _whitened(part, columns, column_damping) / (rows / count + damping * typical)
            for part, rows, columns in zip(vector, self._rows, self._columns, strict=True)
        ]

    def descent(self) -> list[torch.Tensor]:
        """-r g, of the mean gradient g: `divided`, it is the same whatever the loss's scale."""
        return [-self._typical.sqrt() * part for part in self.mean]

    def direction(self, damping: float, column_damping: float) -> list[torch.Tensor]:
        """Down the loss, in each parameter's shape: -r (v + damping r^2)^-1 g c^-1. All zeros where no gradient was."""
        found: list[torch.Tensor] = self.divided(self.descent(), damping, column_damping)
        return found


def _whitened(gradient: torch.Tensor, columns: torch.Tensor, damping: float) -> torch.Tensor:
    """`gradient` times the inverse of its columns' factor; 0 where no gradient was, for nothing is known of it."""
    mean = columns.diagonal().mean()
    if mean == 0:
        return torch.zeros_like(gradient)
    factor = columns / mean + damping * torch.eye(len(columns), device=columns.device)
    return torch.linalg.solve(factor, gradient.T).T
