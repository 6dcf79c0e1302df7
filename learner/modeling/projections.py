"""Linear layers for decoding: those that read the same input as one product, with weights in the quickest form.

A decoding step multiplies few rows with every weight of the model once, so it takes as long as reading the weights
does: on a CPU with a kernel for it, bitsandbytes' packed NF4 (half a byte a weight) beats the bfloat16 copy for up to
`PACKED_ROWS` rows, and the bfloat16 copy beats it for a prompt's hundreds. docs/log.md has the measurements.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes.cextension import lib
from bitsandbytes.functional import has_avx512bf16
from torch import nn
from torch.nn import functional as F

PACKED_ROWS = 16  # up to here the packed product is the quicker one
KERNEL: Any = getattr(lib, "gemv_4bit_inference_cpu_nf4_bf16", None)
INT8_ROWS = 4  # the same for the output layer's int8 copy


class Packed:
    """NF4 weights in the layout of bitsandbytes' kernel for AVX512-BF16.

    The kernel is called directly: through torch's dispatcher and its Python registration a call costs 11 microseconds,
    a fifth of what the product itself takes.
    """

    def __init__(self, weight: torch.Tensor, absmax: torch.Tensor, blocksize: int) -> None:
        self.weight = weight  # (out, in / 2) uint8
        self.absmax = absmax  # (in / blocksize, out) bfloat16
        self.out_features = weight.shape[0]
        self._in = ctypes.c_int64(2 * weight.shape[1])
        self._out = ctypes.c_int64(self.out_features)
        self._blocksize = ctypes.c_int64(blocksize)
        self._weight_at, self._absmax_at = (
            ctypes.c_void_p(weight.data_ptr()),
            ctypes.c_void_p(absmax.data_ptr()),
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x `(T, in)` bfloat16, rows contiguous -> `(T, out)` bfloat16."""
        y = x.new_empty(x.shape[0], self.out_features)
        KERNEL(
            ctypes.c_int64(x.shape[0]), self._out, self._in,
            ctypes.c_void_p(x.data_ptr()), self._weight_at, self._absmax_at, ctypes.c_void_p(y.data_ptr()),
            self._blocksize, self._in, self._out,
        )  # fmt: skip
        return y


class Projection:
    """One or several linear layers that read the same input; their outputs stand beside one another.

    Where the layers are plain (a dequantised copy), their weights become parts of one matrix and the layers views of
    it, so that nothing is held twice. Where they are 4-bit, each is called by itself.
    """

    def __init__(self, layers: Sequence[nn.Module], packed: Packed | None = None) -> None:
        self.layers = list(layers)
        self.packed = packed
        self.out_features = sum(int(layer.out_features) for layer in layers)
        self.in_features = int(layers[0].in_features)
        self.weight: torch.Tensor | None = None
        self.bias: torch.Tensor | None = None
        if not any(isinstance(layer, bnb.nn.Linear4bit) for layer in layers):
            self.weight = _joined_weights(self.layers)
            self.bias = _joined_biases(self.layers)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """x `(T, in)` -> `(T, sum of out)` float32, a tensor of its own."""
        if self.packed is not None and x.shape[0] <= PACKED_ROWS:
            y = self.packed(x.to(torch.bfloat16)).float()
            return y if self.bias is None else y.add_(self.bias)
        if self.weight is not None:
            return F.linear(x.to(self.weight.dtype), self.weight, self.bias).float()
        outputs = [layer(x.to(torch.bfloat16)) for layer in self.layers]
        return torch.cat(outputs, dim=-1).float()

    def input_gradient(self, grad: torch.Tensor) -> torch.Tensor:
        """(T, in) float32: the gradient of x where that of the output is `grad` `(T, sum of out)`."""
        if self.weight is not None:
            return (grad.to(self.weight.dtype) @ self.weight).float()
        parts = grad.split([int(layer.out_features) for layer in self.layers], dim=-1)
        found = grad.new_zeros(grad.shape[0], self.in_features)
        for layer, part in zip(self.layers, parts, strict=True):
            weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            found += part.to(weight.dtype) @ weight
        return found


class OutputLayer:
    """Hidden states `(T, H)` to logits `(T, vocabulary)` in float32.

    With `int8` a copy with one scale a row (torch's packed product) serves few rows: half the bytes to read.
    """

    def __init__(self, layer: nn.Module, int8: bool) -> None:
        self.layer = layer
        self.int8: tuple[torch.Tensor, torch.Tensor] | None = _int8_rows(layer.weight) if int8 else None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(self.layer.weight.dtype)
        if self.int8 is not None and x.shape[0] <= INT8_ROWS:
            return torch.ops.aten._weight_int8pack_mm(x, *self.int8).float()
        return self.layer(x).float()


def can_pack(layers: Sequence[nn.Module]) -> bool:
    """Whether this CPU and these layers' shapes are what the packed kernel takes."""
    return (
        has_avx512bf16()
        and KERNEL is not None
        and all(
            isinstance(layer, bnb.nn.Linear4bit)
            and layer.weight.device.type == "cpu"
            and layer.out_features % 32 == 0  # the kernel's block of outputs
            and layer.in_features % layer.weight.quant_state.blocksize
            == 0  # no block reaches into the next row
            for layer in layers
        )
    )


def pack(layers: Sequence[bnb.nn.Linear4bit]) -> Packed:
    """Several NF4 layers as one packed matrix. The layers' own weights are used up: dequantise them first."""
    weights, scales = [], []
    for layer in layers:
        weight, state = bnb.functional._convert_weight_packed_for_cpu(
            layer.weight.data, layer.weight.quant_state
        )
        weights.append(weight)
        scales.append(state.absmax)
    return Packed(
        torch.cat(weights), torch.cat(scales, dim=1).contiguous(), layers[0].weight.quant_state.blocksize
    )


def _joined_weights(layers: list[nn.Module]) -> torch.Tensor:
    """One matrix `(sum of out, in)`; the layers' weights become views of it."""
    if len(layers) == 1:
        return layers[0].weight.data
    joined = torch.cat([layer.weight.data for layer in layers])
    start = 0
    for layer in layers:
        layer.weight.data = joined[start : start + layer.out_features]
        start += layer.out_features
    return joined


def _joined_biases(layers: list[nn.Module]) -> torch.Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    return torch.cat(
        [
            layer.bias.data if layer.bias is not None else layer.weight.new_zeros(layer.out_features)
            for layer in layers
        ]
    )


def _int8_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 values and a bfloat16 scale a row. The scale is rounded first, so that its rounding costs nothing."""
    scale = (weight.float().abs().amax(dim=1) / 127).to(torch.bfloat16)
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    values = (weight.float() / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8)
    return values, scale
