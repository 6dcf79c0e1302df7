"""The forward pass of Llama-shaped models, for decoding (few operations a token, an adapter a row) and for training.

transformers' own forward pass spends more than half of a small model's token in Python and in operations of a few
microseconds. This one has the same mathematics (Llama: Touvron et al. 2023; Qwen's biases and norms of queries and
keys) with fewer of them: joined projections, one table of rotations, key/value buffers that are written in place.
Between products it computes in float32, which is closer to the exact function than rounding everything to bfloat16;
the products with the base's weights are in the weights' dtype. Architectures that are not in `FAMILIES` are computed
by transformers (see grouped_rows.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from learner.modeling.gradients import adapted, causal_attention, gated, rms_norm
from learner.modeling.key_values import KeyValues
from learner.modeling.projections import OutputLayer, Packed, Projection
from learner.modeling.stacked import Adapter, ProjectionNames, Stack

FAMILIES = {"llama", "mistral", "qwen2", "qwen3"}
STATIC_ROPE = {"default", "linear", "llama3", "yarn"}  # rotations that do not depend on how long the text is
JOINED = (("q_proj", "k_proj", "v_proj"), ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))

PackedProjections = dict[tuple[str, ...], Packed]
Attend = Callable[[int, torch.Tensor], torch.Tensor]
"""(layer, queries, keys and values `(T, heads + 2 kv_heads, head_dim)`) -> `(T, heads, head_dim)`; keeps the latter."""


class Part(NamedTuple):
    """Tokens of one row that are to be computed: they stand from position `start` on."""

    slot: int
    start: int
    tokens: list[int]


class LowerStates(NamedTuple):
    """What the blocks below `layer` make of tokens: the same for all adapters that begin at it, and for none."""

    layer: int
    states: torch.Tensor  # (..., H) float32, as the tokens stand


@dataclass(frozen=True)
class _Layer:
    input_norm: _Norm
    qkv: Projection
    q_norm: _Norm | None
    k_norm: _Norm | None
    output: Projection
    mlp_norm: _Norm
    gate_up: Projection
    down: Projection


class _Norm:
    """Root mean square norm in float32 (Zhang and Sennrich 2019)."""

    def __init__(self, module: Any) -> None:
        self.weight = module.weight.data.float()
        self.eps = float(module.variance_epsilon)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight, self.eps)


class Network:
    """A model's forward pass over `KeyValues`. Adapters are matrices beside it and never touch the model's modules."""

    def __init__(
        self, model: Any, packed: PackedProjections | None = None, int8_output: bool = False
    ) -> None:
        decoder, config = model.get_decoder(), model.config
        self.head_dim = int(
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.heads = int(config.num_attention_heads)
        self.kv_heads = int(config.num_key_value_heads)
        self.device = decoder.embed_tokens.weight.device
        self.dtype: torch.dtype = decoder.embed_tokens.weight.dtype
        self.projections: list[ProjectionNames] = []
        self._embedding = decoder.embed_tokens.weight
        self._cos, self._signed_sin = _rotations(decoder, int(config.max_position_embeddings), self.device)
        self._layers = [
            self._layer(layer, f"model.layers.{i}", packed or {}) for i, layer in enumerate(decoder.layers)
        ]
        self._norm = _Norm(decoder.norm)
        self._output = OutputLayer(model.get_output_embeddings(), int8_output)

    def key_values(self) -> KeyValues:
        return KeyValues(len(self._layers), self.kv_heads, self.head_dim, self.dtype, self.device)

    def stack(self) -> Stack:
        return Stack(self.projections, self.device)

    def read(self, parts: Sequence[Part], cache: KeyValues, adapter: Adapter | None) -> torch.Tensor:
        """Compute the tokens of rows that share an adapter; logits `(parts, V)` after each part's last token."""
        cache.make_room(max(p.slot for p in parts) + 1, max(p.start + len(p.tokens) for p in parts))
        ids = torch.tensor([token for part in parts for token in part.tokens], device=self.device)
        positions = torch.cat([torch.arange(p.start, p.start + len(p.tokens)) for p in parts]).to(self.device)
        lengths = [len(part.tokens) for part in parts]
        masks = [_causal_mask(len(p.tokens), p.start, self.device) for p in parts]

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            outputs = []
            for part, mask, row in zip(parts, masks, qkv.transpose(0, 1).split(lengths, dim=1), strict=True):
                buffer, end = cache.layers[layer][:, part.slot], part.start + len(part.tokens)
                buffer[:, :, part.start : end] = row[self.heads :].unflatten(0, (2, self.kv_heads))
                out = F.scaled_dot_product_attention(
                    row[None, : self.heads],
                    buffer[0, None, :, :end],
                    buffer[1, None, :, :end],
                    attn_mask=mask,
                    is_causal=mask is None and len(part.tokens) > 1,
                    enable_gqa=self.heads != self.kv_heads,
                )
                outputs.append(out[0].transpose(0, 1))
            return torch.cat(outputs)

        x = self._forward(ids, positions, attend, adapter)
        ends = torch.tensor(lengths, device=self.device).cumsum(0) - 1
        return self._output(self._norm(x[ends]))

    def step(
        self, tokens: Sequence[int], starts: Sequence[int], cache: KeyValues, lora: Adapter | Stack | None
    ) -> torch.Tensor:
        """One token for each of the slots 0 .. n-1, at position `starts[i]`; logits `(n, V)` for the next ones."""
        n, longest = len(tokens), max(starts) + 1
        cache.make_room(n, longest)
        ids, positions = torch.tensor(tokens, device=self.device), torch.tensor(starts, device=self.device)
        rows = torch.arange(n, device=self.device)
        unseen = torch.arange(longest, device=self.device) > positions[:, None]  # (n, longest)
        bias = torch.zeros(n, 1, 1, longest, dtype=self.dtype, device=self.device)
        bias.masked_fill_(unseen[:, None, None], float("-inf"))

        def attend(layer: int, qkv: torch.Tensor) -> torch.Tensor:
            buffer = cache.layers[layer]
            new = qkv[:, self.heads :].unflatten(1, (2, self.kv_heads))
            keys, values = buffer[0, :n, :, :longest], buffer[1, :n, :, :longest]
            keys[rows, :, positions], values[rows, :, positions] = new[:, 0], new[:, 1]
            # Heads that share keys stand as queries of one head: nothing is repeated.
            q = qkv[:, : self.heads].view(n, self.kv_heads, self.heads // self.kv_heads, self.head_dim)
            if n == 1:
                out = F.scaled_dot_product_attention(q, keys, values)
            else:  # torch's own kernel takes half as long again where rows have lengths of their own
                weights = (
                    torch.matmul(q, keys.transpose(-1, -2)).mul_(self.head_dim**-0.5).add_(bias).softmax(-1)
                )
                out = torch.matmul(weights, values)
            return out.view(n, self.heads, self.head_dim)

        return self._output(self._norm(self._forward(ids, positions, attend, lora)))

    def states(
        self, ids: torch.Tensor, lengths: Sequence[int], adapter: Adapter | None, lower: LowerStates | None = None
    ) -> torch.Tensor:
        """Last hidden states `(T, H)` float32 of rows of `lengths` tokens, one after another in `ids` `(T,)`.

        Gradients flow to the adapter's factors. With `lower` only the blocks above it are computed.
        """
        start, x = lower if lower is not None else (0, self._embedding[ids].float())
        x = self._blocks(x, lengths, adapter, start, len(self._layers))
        return rms_norm(x, self._norm.weight, self._norm.eps, torch.float32)

    @torch.no_grad()
    def lower_states(self, ids: torch.Tensor, lengths: Sequence[int], layer: int) -> torch.Tensor:
        """(T, H) float32: what the base's blocks below `layer` make of tokens as in `states`."""
        return self._blocks(self._embedding[ids].float(), lengths, None, 0, layer)

    def _blocks(
        self, x: torch.Tensor, lengths: Sequence[int], adapter: Adapter | None, start: int, stop: int
    ) -> torch.Tensor:
        """Hidden states `(T, H)` after the blocks from `start` to before `stop`, from those before them."""
        positions = torch.cat([torch.arange(length, device=self.device) for length in lengths])
        cos, sin = self._turns(positions)

        factors = adapter.factors if adapter is not None else [None] * len(self.projections)

        def norm(norm: _Norm, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
            return rms_norm(x, norm.weight, norm.eps, dtype)

        for i in range(start, stop):
            layer = self._layers[i]
            qkv = adapted(layer.qkv, norm(layer.input_norm, x, self.dtype), factors[4 * i]).view(cos.shape)
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
                q, k = norm(layer.q_norm, q, torch.float32), norm(layer.k_norm, k, torch.float32)
                qkv = torch.cat([q, k, v], dim=1)
            qkv = _turned(qkv, cos, sin).to(self.dtype)
            attended = causal_attention(qkv, lengths, self.heads, self.kv_heads).reshape(len(x), -1)
            x = x + adapted(layer.output, attended, factors[4 * i + 1])
            gate_up = adapted(layer.gate_up, norm(layer.mlp_norm, x, self.dtype), factors[4 * i + 2])
            x = x + gated(layer.down, gate_up, factors[4 * i + 3], self.dtype)
        return x

    def _turns(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin `(T, heads + 2 kv_heads, D)`: one rotation for all three; that of the values turns nothing."""
        both = self.heads + self.kv_heads
        cos = self._cos.new_ones(len(positions), both + self.kv_heads, self.head_dim)
        sin = torch.zeros_like(cos)
        cos[:, :both] = self._cos[positions].unsqueeze(1)
        sin[:, :both] = self._signed_sin[positions].unsqueeze(1)
        return cos, sin

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, attend: Attend, lora: Adapter | Stack | None
    ) -> torch.Tensor:
        """Hidden states `(T, H)` in float32 before the last norm."""
        cos, sin = self._turns(positions)
        x = self._embedding[ids].float()
        for i, layer in enumerate(self._layers):
            qkv = _project(layer.qkv, layer.input_norm(x), lora, 4 * i).view(cos.shape)
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k, v = qkv.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
                qkv = torch.cat([layer.q_norm(q), layer.k_norm(k), v], dim=1)
            attended = attend(i, _turned(qkv, cos, sin).to(self.dtype)).reshape(len(ids), -1)
            x = _project(layer.output, attended, lora, 4 * i + 1).add_(x)
            gate, up = _project(layer.gate_up, layer.mlp_norm(x), lora, 4 * i + 2).chunk(2, dim=-1)
            x = _project(layer.down, F.silu(gate).mul_(up), lora, 4 * i + 3).add_(x)
        return x

    def _layer(self, layer: Any, path: str, packed: PackedProjections) -> _Layer:
        attention = layer.self_attn
        made = []
        for joined in JOINED:
            name = "self_attn" if hasattr(attention, joined[0]) else "mlp"
            paths = tuple(f"{path}.{name}.{leaf}" for leaf in joined)
            projection = Projection(
                [getattr(getattr(layer, name), leaf) for leaf in joined], packed.get(paths)
            )
            self.projections.append(
                ProjectionNames(paths, projection.in_features, projection.out_features)
            )
            made.append(projection)
        return _Layer(
            input_norm=_Norm(layer.input_layernorm),
            qkv=made[0],
            q_norm=_Norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
            k_norm=_Norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
            output=made[1],
            mlp_norm=_Norm(layer.post_attention_layernorm),
            gate_up=made[2],
            down=made[3],
        )


def is_supported(config: Any) -> bool:
    """Whether `Network` computes this model: the family, and nothing in its configuration that it does not know."""
    rope = getattr(config, "rope_parameters", None) or {}
    return (
        config.model_type in FAMILIES
        and config.hidden_act == "silu"
        and rope.get("rope_type", "default") in STATIC_ROPE
        and rope.get("partial_rotary_factor", 1.0) == 1.0
        and not _slides(config)
    )


def _slides(config: Any) -> bool:
    """Whether some layer sees only a window that is shorter than the context."""
    if config.model_type == "llama":
        return False
    kinds = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None)
    sliding = "sliding_attention" in kinds if kinds else window is not None
    return bool(sliding and window is not None and window < config.max_position_embeddings)


def _project(
    projection: Projection, x: torch.Tensor, lora: Adapter | Stack | None, index: int
) -> torch.Tensor:
    """The base's product and the adapter's change of it."""
    y = projection(x)
    if lora is None:
        return y
    if isinstance(lora, Stack):
        return lora.add_to(y, index, x)
    factors = lora.factors[index]
    return y if factors is None else y.addmm_(torch.mm(x.float(), factors.a), factors.b)


def _turned(qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding (Su et al. 2021), in halves."""
    return torch.addcmul(qkv * cos, qkv.roll(qkv.shape[-1] // 2, -1), sin)


def _rotations(decoder: nn.Module, positions: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin `(positions, head_dim)`; sin is negative in the first half, as rotating halves needs it."""
    ids = torch.arange(positions, device=device)[None]
    cos, sin = decoder.rotary_emb(torch.empty(0, dtype=torch.float32, device=device), ids)
    half = sin.shape[-1] // 2
    return cos[0].contiguous(), torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1).contiguous()


def _causal_mask(length: int, start: int, device: torch.device) -> torch.Tensor | None:
    """True where a token may look `(length, start + length)`; None where it is the plain triangle."""
    if start == 0 or length == 1:
        return None
    return torch.ones(length, start + length, dtype=torch.bool, device=device).tril(start)
