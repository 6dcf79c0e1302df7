"""What training keeps between the forward and the backward pass, and how the gradients are had from it.

torch's own bookkeeping with PEFT's layers on transformers' forward pass keeps 2.2 MB a token of the embedded model:
every linear layer's input twice (once in float32, for the adapter), every intermediate of norms and activations. The
operations here keep their inputs once, in the model's dtype, and compute the rest again. The base is frozen: products
with its weights have a gradient for their input alone. T tokens of all rows stand one after another, without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd import Function
from torch.nn import functional as F

from learner.modeling.projections import Projection
from learner.modeling.stacked import Factors

# A backward pass gives a gradient for every argument of the forward pass; None where it has none.
Gradients = tuple[torch.Tensor | None, ...]


def adapted(projection: Projection, x: torch.Tensor, factors: Factors | None) -> torch.Tensor:
    """(T, out) float32: the base's product with x `(T, in)`, and the adapter's change of it."""
    a, b = factors if factors is not None else (None, None)
    return _Adapted.apply(x, a, b, projection)


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
    """x `(..., H)` by its root mean square (Zhang and Sennrich 2019), in `dtype`."""
    return _RMSNorm.apply(x, weight, eps, dtype)


def gated(projection: Projection, gate_up: torch.Tensor, factors: Factors | None, dtype: torch.dtype) -> torch.Tensor:
    """`adapted` of SwiGLU (Shazeer 2020). `gate_up` `(T, 2 F)` float32 has both side by side; it is kept in `dtype`."""
    a, b = factors if factors is not None else (None, None)
    return _Gated.apply(gate_up, a, b, projection, dtype)


def causal_attention(qkv: torch.Tensor, lengths: Sequence[int], heads: int, kv_heads: int) -> torch.Tensor:
    """(T, heads, D): every row of `lengths` tokens sees itself up to each token.

    `qkv` `(T, heads + 2 kv_heads, D)` has queries, keys and values beside one another.
    """
    return _CausalAttention.apply(qkv, lengths, heads, kv_heads)


def token_logprobs(
    states: torch.Tensor, tokens: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, temperature: float
) -> torch.Tensor:
    """(N,) log softmax(logits / temperature)[token] for last hidden states `(N, H)`; `weight` is `(V, H)`."""
    wanted = torch.is_grad_enabled() and states.requires_grad
    return _TokenLogprobs.apply(states, tokens, weight, bias, temperature, wanted)


class _Adapted(Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, a: torch.Tensor | None, b: torch.Tensor | None, projection: Projection
    ) -> torch.Tensor:
        ctx.projection = projection
        y, inner = _product(projection, x, a, b)
        ctx.save_for_backward(x if a is not None else None, a, b, inner)
        ctx.dtype = x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        x, a, b, inner = ctx.saved_tensors
        grad_x, grad_a, grad_b = _gradients(ctx.projection, x, a, b, inner, grad, *ctx.needs_input_grad[:2])
        return grad_x.to(ctx.dtype) if grad_x is not None else None, grad_a, grad_b, None


def _product(
    projection: Projection, x: torch.Tensor, a: torch.Tensor | None, b: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """(T, out) float32 of x `(T, in)`, and the adapter's x A `(T, R)`."""
    y = projection(x)
    if a is None or b is None:
        return y, None
    inner = x.float() @ a
    return y.addmm_(inner, b), inner


def _gradients(
    projection: Projection,
    x: torch.Tensor | None,
    a: torch.Tensor | None,
    b: torch.Tensor | None,
    inner: torch.Tensor | None,
    grad: torch.Tensor,
    of_x: bool,
    of_a: bool,
) -> Gradients:
    """Float32 gradients of x (None where not `of_x`), A (None where not `of_a`) and B (None without an adapter)."""
    grad_x = projection.input_gradient(grad) if of_x else None
    if x is None or a is None or b is None or inner is None:
        return grad_x, None, None
    grad_inner = grad @ b.T if of_x or of_a else None
    if grad_x is not None and grad_inner is not None:
        grad_x.addmm_(grad_inner, a.T)
    grad_a = (grad_inner.T @ x.float()).T if of_a and grad_inner is not None else None
    return grad_x, grad_a, inner.T @ grad


class _RMSNorm(Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype) -> torch.Tensor:
        scale = x.square().mean(-1, keepdim=True).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return (x * scale).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        x, scale, weight = ctx.saved_tensors
        unit, grad = x * scale, grad.float() * weight
        along = (grad * unit).mean(-1, keepdim=True)
        return grad.sub_(unit.mul_(along)).mul_(scale), None, None, None


class _Gated(Function):
    @staticmethod
    def forward(
        ctx: Any,
        gate_up: torch.Tensor,
        a: torch.Tensor | None,
        b: torch.Tensor | None,
        projection: Projection,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        ctx.projection = projection
        gate, up = gate_up.chunk(2, dim=-1)
        y, inner = _product(projection, F.silu(gate).mul_(up).to(dtype), a, b)
        ctx.save_for_backward(gate_up.to(dtype), a, b, inner)
        return y

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        gate_up, a, b, inner = ctx.saved_tensors
        gate, up = gate_up.float().chunk(2, dim=-1)
        risen = torch.sigmoid(gate)
        swish = gate * risen
        grad_x, grad_a, grad_b = _gradients(
            ctx.projection, swish * up, a, b, inner, grad, True, ctx.needs_input_grad[1]
        )
        assert grad_x is not None
        slope = risen.mul_(1 - swish).add_(swish)  # of gate * sigmoid(gate)
        grad_up = grad_x * swish
        return torch.cat([grad_x.mul_(up).mul_(slope), grad_up], dim=-1), grad_a, grad_b, None, None


class _CausalAttention(Function):
    @staticmethod
    def forward(ctx: Any, qkv: torch.Tensor, lengths: Sequence[int], heads: int, kv_heads: int) -> torch.Tensor:
        ctx.save_for_backward(qkv)
        ctx.lengths, ctx.heads, ctx.kv_heads = lengths, heads, kv_heads
        rows = []
        for row in qkv.transpose(0, 1).split(list(lengths), dim=1):
            q, k, v = row[None].split([heads, kv_heads, kv_heads], dim=1)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
            rows.append(out[0].transpose(0, 1))
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        # Written out, for on a CPU torch's own takes four times as long. Heads that share keys stand below one another.
        (qkv,) = ctx.saved_tensors
        kv_heads, group, head_dim = ctx.kv_heads, ctx.heads // ctx.kv_heads, qkv.shape[-1]
        found = torch.empty_like(qkv)
        start = 0
        for length in ctx.lengths:
            at = slice(start, start + length)
            start += length
            q, k, v = qkv[at].transpose(0, 1).split([ctx.heads, kv_heads, kv_heads])
            q = q.reshape(kv_heads, group * length, head_dim)
            out = grad[at].to(qkv.dtype).transpose(0, 1).reshape(q.shape)
            seen = torch.ones(length, length, dtype=torch.bool, device=qkv.device).tril()
            scores = torch.bmm(q, k.transpose(1, 2)).float().mul_(head_dim**-0.5).view(-1, length, length)
            weights = scores.masked_fill_(~seen, float("-inf")).softmax(-1).view(kv_heads, group * length, length)
            grad_weights = torch.bmm(out, v.transpose(1, 2)).float()
            along = (grad_weights * weights).sum(-1, keepdim=True)
            grad_scores = grad_weights.sub_(along).mul_(weights).mul_(head_dim**-0.5).to(qkv.dtype)
            grad_q = torch.bmm(grad_scores, k).view(ctx.heads, length, head_dim)
            grad_k = torch.bmm(grad_scores.transpose(1, 2), q)
            grad_v = torch.bmm(weights.to(qkv.dtype).transpose(1, 2), out)
            found[at] = torch.cat([grad_q, grad_k, grad_v]).transpose(0, 1)
        return found, None, None, None


class _TokenLogprobs(Function):
    """One number a state: its gradient is a vector of the state's size, so logits need not outlive the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        states: torch.Tensor,
        tokens: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        temperature: float,
        wanted: bool,
    ) -> torch.Tensor:
        logits = F.linear(states.to(weight.dtype), weight, bias).float().div_(temperature)
        total = logits.logsumexp(-1)
        found = logits.gather(-1, tokens[:, None]).squeeze(-1) - total
        if wanted:
            shares = logits.sub_(total[:, None]).exp_().to(weight.dtype)
            slope = (weight[tokens].float() - (shares @ weight).float()).div_(temperature)
            ctx.save_for_backward(slope)
            ctx.dtype = states.dtype
        return found

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> Gradients:
        return (ctx.saved_tensors[0] * grad[:, None]).to(ctx.dtype), None, None, None, None, None
