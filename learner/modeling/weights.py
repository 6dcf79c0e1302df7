"""How a model's 4-bit weights are held.

They are quantised with bitsandbytes (NF4, double quantisation, compute in bfloat16). Then they are

- ``4bit``: packed, as quantised. Always so on CUDA.
- ``dequantised``: on a CPU, a plain copy made *from the NF4 weights*: the same function, quicker to train, more memory
  (two bytes a weight in bfloat16, four in float32, instead of about half a byte).

On a CPU with AVX512-BF16, bitsandbytes 0.50.2 repacks each layer at its first forward pass in eval mode, and from
then on gradients do not flow through it, silently. `keep_gradients` switches that off;
`learner.modeling.checks.gradient_check` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import bitsandbytes as bnb
import psutil
import torch
from torch import nn

from learner.modeling.network import JOINED, PackedProjections
from learner.modeling.projections import can_pack, pack

Weights = Literal["auto", "4bit", "dequantised"]
# As `torch.cpu.get_capabilities` names them: x86's two and ARM's.
BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16")
SPARE_BYTES = 2**30  # of memory that a copy of the weights leaves free


def quickest_dtype(capabilities: Mapping[str, Any]) -> torch.dtype:
    """What a CPU with these instructions multiplies matrices in: without any for bfloat16, torch takes it apart in
    software, and that takes two to six times as long as float32 (docs/log.md)."""
    has_bfloat16 = any(capabilities.get(name, False) for name in BFLOAT16_INSTRUCTIONS)
    return torch.bfloat16 if has_bfloat16 else torch.float32


def held_as(
    weights: Weights, device: torch.device, network: nn.Module, dtype: torch.dtype | None = None
) -> tuple[str, torch.dtype]:
    """How the weights are to be held, and in what they are multiplied: where it is not given, in what is quickest."""
    if device.type == "cuda" or weights == "4bit":
        return "4bit", torch.bfloat16
    quickest = dtype or quickest_dtype(torch.cpu.get_capabilities())
    if weights == "dequantised":
        return "dequantised", quickest
    count = sum(m.in_features * m.out_features for m in network.modules() if isinstance(m, bnb.nn.Linear4bit))
    free = psutil.virtual_memory().available - SPARE_BYTES
    for wanted in dict.fromkeys((quickest, dtype or torch.bfloat16)):
        if free > 2 * count * wanted.itemsize:  # a copy, and another for the learner
            return "dequantised", wanted
    return "4bit", torch.bfloat16


def keep_gradients(network: nn.Module) -> None:
    """Keep bitsandbytes from repacking layers on a CPU: gradients do not flow through its packed kernel."""
    for module in network.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def dequantise(network: nn.Module, dtype: torch.dtype) -> None:
    """Replace every 4-bit layer by a plain one that holds the same NF4 values in `dtype`."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, bnb.nn.Linear4bit):
                setattr(parent, name, dequantised_layer(layer, dtype))
    network.is_quantized = False
    network.is_loaded_in_4bit = False
    network.quantization_method = None
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.to(dtype)


def dequantised_layer(layer: bnb.nn.Linear4bit, dtype: torch.dtype) -> nn.Linear:
    values = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    plain.weight = nn.Parameter(values, requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.data.to(dtype), requires_grad=False)
    return plain


def packed_projections(layers: Mapping[str, bnb.nn.Linear4bit]) -> PackedProjections:
    """Packed weights of the projections for which this CPU has a kernel; uses up the 4-bit layers."""
    parents = dict.fromkeys(path.rpartition(".")[0] for path in layers)
    groups = [tuple(f"{parent}.{leaf}" for leaf in joined) for parent in parents for joined in JOINED]
    return {
        group: pack([layers[path] for path in group])
        for group in groups
        if all(path in layers for path in group) and can_pack([layers[path] for path in group])
    }
