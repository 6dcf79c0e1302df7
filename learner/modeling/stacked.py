"""Adapters for decoding: plain matrices beside the base's projections, one adapter or one a row.

Hu et al. 2021: a layer's output is W x + (alpha / r) B A x. Layers that read the same input are one projection here
(queries, keys and values; gate and up), so their A stand below one another, (R, in) with R the sum of the ranks, and
their B are the blocks of one matrix (out, R). The scale alpha / r is folded into B.

When every row has the same adapter the products are ordinary ones. When adapters differ, each row's matrices stand in
a stack, and one batched product a layer serves all rows at once; a row without an adapter has zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from learner.modeling.lora import State, layer_of


class Factors(NamedTuple):
    """One projection's share of an adapter."""

    a: torch.Tensor  # (in, R) float32: a view of (R, in), whose rows both products then read
    b: torch.Tensor  # (R, out) float32, scaled


class Adapter(NamedTuple):
    """One adapter, ready to decode with: its factors in the order of the network's projections."""

    factors: list[Factors | None]  # None where it changes nothing


class ProjectionNames(NamedTuple):
    """Which of the base's linear layers a projection is made of, and its size."""

    paths: tuple[str, ...]  # as in BaseSpec.linear_shapes
    in_features: int
    out_features: int


def ready_adapter(
    state: State,
    scaling: float,
    projections: Sequence[ProjectionNames],
    device: torch.device,
    first_layer: int = 0,
) -> Adapter:
    """The matrices of an adapter's PEFT state (keys end in ``<path>.lora_A.weight``) as `Factors`.

    Below block `first_layer` it changes nothing: nothing is computed there.
    """
    by_layer = {key.removeprefix("base_model.model."): value for key, value in state.items()}
    factors: list[Factors | None] = []
    for projection in projections:
        if layer_of(projection.paths[0]) < first_layer:
            factors.append(None)
            continue
        down = [by_layer[f"{path}.lora_A.weight"].float() for path in projection.paths]
        up = [by_layer[f"{path}.lora_B.weight"].float() for path in projection.paths]
        a, b = torch.cat(down), torch.block_diag(*up).T * scaling
        factors.append(Factors(a.to(device).T, b.contiguous().to(device)))
    return Adapter(factors)


class Stack:
    """Factors a row, for rows whose adapters differ. Row i of the stack is the batch's row i.

    The row stands on the left of both products and the matrices are float32: on a CPU other orientations and
    bfloat16 take two to five times as long.
    """

    def __init__(self, projections: Sequence[ProjectionNames], device: torch.device) -> None:
        self._projections = projections
        self._device = device
        self._held: list[Adapter | None] = []  # what each row of the stack holds
        self._room = 0  # rows that the tensors below have room for
        self._ranks: list[int] = []  # R of each projection
        self._a: list[torch.Tensor] = []  # (rows, R, in) a projection
        self._b: list[torch.Tensor] = []  # (rows, R, out)
        self._rows = 0

    def set_rows(self, adapters: Sequence[Adapter | None]) -> None:
        """Say which adapter each row has now; only what changed is copied."""
        self._make_room(adapters)
        for i, adapter in enumerate(adapters):
            if self._held[i] is not adapter:
                self._fill(i, adapter)
        self._rows = len(adapters)

    def add_to(self, y: torch.Tensor, projection: int, x: torch.Tensor) -> torch.Tensor:
        """Add each row's change to y `(rows, out)` float32, in place, from x `(rows, in)`."""
        if self._ranks[projection] > 0:  # else no row's adapter changes this projection
            a, b = self._a[projection][: self._rows], self._b[projection][: self._rows]
            y.unsqueeze(1).baddbmm_(torch.bmm(x.float().unsqueeze(1), a.transpose(1, 2)), b)
        return y

    def _make_room(self, adapters: Sequence[Adapter | None]) -> None:
        ranks = list(self._ranks) or [0] * len(self._projections)
        for adapter in adapters:
            if adapter is not None:
                ranks = [max(r, f.a.shape[1] if f else 0) for r, f in zip(ranks, adapter.factors, strict=True)]
        if len(adapters) <= self._room and ranks == self._ranks:
            return
        self._room, self._ranks = max(self._room, len(adapters)), ranks
        self._held = [None] * self._room
        self._a = [
            torch.zeros(self._room, r, p.in_features, device=self._device)
            for p, r in zip(self._projections, ranks, strict=True)
        ]
        self._b = [
            torch.zeros(self._room, r, p.out_features, device=self._device)
            for p, r in zip(self._projections, ranks, strict=True)
        ]

    def _fill(self, row: int, adapter: Adapter | None) -> None:
        self._held[row] = adapter
        for i, (a, b) in enumerate(zip(self._a, self._b, strict=True)):
            a[row].zero_()
            b[row].zero_()
            factors = adapter.factors[i] if adapter is not None else None
            if factors is not None:
                rank = factors.a.shape[1]
                a[row, :rank] = factors.a.T
                b[row, :rank] = factors.b
