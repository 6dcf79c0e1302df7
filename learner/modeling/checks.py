"""Checks that the numbers underneath learning are right on this machine, for `doctor` and the tests."""

from __future__ import annotations

import bitsandbytes as bnb
import torch
from torch import nn

from learner.modeling.weights import dequantised_layer


def gradient_check(device: str = "cpu", keep_gradients: bool = True, seed: int = 0) -> float:
    """Relative error of LoRA gradients through a 4-bit layer against the same layer dequantised.

    Two 4-bit layers in a row (the first one's adapter sees its gradient only through the second layer) are compared
    with plain layers that hold the same NF4 values. Like in training, an eval-mode forward pass comes first: it is
    what makes bitsandbytes repack a layer on some CPUs. 0 is right up to bfloat16's rounding (about 0.01); with
    `keep_gradients=False` the layers are left as bitsandbytes makes them, which on a CPU with AVX512-BF16 gives
    about 1.
    """
    generator = torch.Generator().manual_seed(seed)
    width, rank, rows = 256, 8, 32
    layers = [_quantised(width, generator, device, keep_gradients) for _ in range(2)]
    plain = [dequantised_layer(layer, torch.float32) for layer in layers]
    x = torch.randn(rows, width, generator=generator).to(device, torch.bfloat16)
    down = torch.randn(rank, width, generator=generator).to(device) / width**0.5
    up = torch.randn(width, rank, generator=generator).to(device) / rank**0.5

    def gradients(stack: list[nn.Module], dtype: torch.dtype) -> torch.Tensor:
        a, b = (value.clone().requires_grad_() for value in (down, up))
        with torch.no_grad():
            stack[1](stack[0](x.to(dtype)))
        hidden = stack[0](x.to(dtype)) + ((x.float() @ a.T) @ b.T).to(dtype)
        loss = stack[1](torch.nn.functional.silu(hidden)).float().square().mean()
        if not loss.requires_grad:  # the packed kernel has cut the graph
            return torch.zeros(a.numel() + b.numel(), device=device)
        grads = torch.autograd.grad(loss, (a, b), allow_unused=True, materialize_grads=True)
        return torch.cat([g.flatten() for g in grads])

    found, expected = gradients(list(layers), torch.bfloat16), gradients(list(plain), torch.float32)
    return float((found - expected).norm() / expected.norm())


def _quantised(width: int, generator: torch.Generator, device: str, keep_gradients: bool) -> bnb.nn.Linear4bit:
    layer = bnb.nn.Linear4bit(
        width, width, bias=False, compute_dtype=torch.bfloat16, compress_statistics=True, quant_type="nf4"
    )
    values = torch.randn(width, width, generator=generator) / width**0.5
    layer.weight = bnb.nn.Params4bit(values, requires_grad=False, compress_statistics=True, quant_type="nf4")
    if keep_gradients:
        layer.support_avx512bf16_for_cpu = False
    return layer.to(device).eval()
