"""The decoder: rows with their own state, one token a step, an adapter a row. Chat and rollouts both use it.

It knows token ids only. Rows that share an adapter form a group that is computed as one batch; a row joins when it is
added (its prompt is computed then) and leaves by itself when it ends. Within a group rows are padded on the left; the
attention mask hides the padding and position ids are counted from each row's own first token, so that company changes
a row's numbers by rounding only.

Sampling is plain: temperature, then top-p if one was asked for, never top-k, repetition penalty or a minimum length,
whatever the model's generation_config says. Each row has a generator of its own, so a seed reproduces a reply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from transformers.cache_utils import Cache, DynamicLayer

from data.errors import Invalid
from learner.modeling.base import BaseModel

GROWTH = 64  # positions by which a cache buffer grows at a time


@dataclass(frozen=True)
class SamplingSettings:
    """How a reply is sampled. temperature 0 is greedy; seed None draws one."""

    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 2:
            raise Invalid(f"temperature is between 0 and 2, not {self.temperature}.", "temperature")
        if not 0 < self.top_p <= 1:
            raise Invalid(f"top_p is above 0 and at most 1, not {self.top_p}.", "top_p")
        if self.max_new_tokens < 1:
            raise Invalid(f"max_tokens is at least 1, not {self.max_new_tokens}.", "max_tokens")


@dataclass(frozen=True)
class Token:
    """One token of one row. With finish "stop" the token is the end of the turn and is not to be shown.

    `logprob` is the token's log-probability under the tempered distribution (before top-p); 0.0 when greedy.
    """

    row: int
    token_id: int
    finish: Literal["stop", "length"] | None
    logprob: float


@dataclass
class _Row:
    handle: int
    settings: SamplingSettings
    generator: torch.Generator
    position: int  # of the next token, counted from the row's first real token
    produced: int = 0


class GrowingLayer(DynamicLayer):
    """A cache layer that writes into a buffer with room to spare, where DynamicLayer copies everything each step.

    `keys` and `values` `(B, heads, length, dim)` are views of the filled part.
    """

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self._buffers = (self.keys, self.values)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.keys.shape[-2]
        needed = filled + key_states.shape[-2]
        if self._buffers[0].shape[-2] < needed:
            self._buffers = (_grown(self.keys, key_states, needed), _grown(self.values, value_states, needed))
        for buffer, new in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, filled:needed] = new
        self.keys, self.values = (buffer[:, :, :needed] for buffer in self._buffers)
        return self.keys, self.values

    def replace(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Take other contents; the buffer is made anew at the next update."""
        self.keys, self.values = keys, values
        self._buffers = (keys, values)


def _grown(filled: torch.Tensor, like: torch.Tensor, needed: int) -> torch.Tensor:
    batch, heads, _, dim = like.shape
    buffer = like.new_empty(batch, heads, needed + GROWTH, dim)
    buffer[:, :, : filled.shape[-2]] = filled
    return buffer


class _Group:
    """Rows under one adapter, computed as one batch. Tensors are `(rows, length)`, padded on the left."""

    def __init__(self, base: BaseModel, adapter: str | None) -> None:
        self.base = base
        self.adapter = adapter
        self.rows: list[_Row] = []
        self.cache: Cache | None = None
        self.mask = torch.empty(0, 0, dtype=torch.bool, device=base.device)
        self.logits = torch.empty(0)  # (rows, vocabulary) for each row's next token

    def join(self, rows: list[_Row], prompts: Sequence[list[int]]) -> None:
        """Compute the prompts of `rows` as one batch and add them to the group."""
        device = self.base.device
        length = max(len(p) for p in prompts)
        ids = torch.tensor([[self.base.pad_id] * (length - len(p)) + p for p in prompts], device=device)
        mask = torch.tensor([[False] * (length - len(p)) + [True] * len(p) for p in prompts], device=device)
        cache = Cache(layer_class_to_replicate=GrowingLayer)
        positions = (mask.long().cumsum(-1) - 1).clamp(min=0)
        logits = self._forward(ids, mask, positions, cache)
        if self.rows:
            assert self.cache is not None
            self.mask, mask = _same_length(self.mask, mask)
            for old, new in zip(self.cache.layers, cache.layers, strict=True):
                keys = torch.cat(_same_length(old.keys, new.keys, dim=-2))
                values = torch.cat(_same_length(old.values, new.values, dim=-2))
                old.replace(keys, values)
            self.mask = torch.cat([self.mask, mask])
            self.logits = torch.cat([self.logits, logits])
        else:
            self.cache, self.mask, self.logits = cache, mask, logits
        self.rows.extend(rows)

    def step(self) -> list[Token]:
        """Draw one token for every row; rows that end leave, the others compute their next logits."""
        tokens = [self._draw(row, logits) for row, logits in zip(self.rows, self.logits, strict=True)]
        staying = [i for i, token in enumerate(tokens) if token.finish is None]
        if len(staying) < len(tokens):
            self.keep(staying)
        if staying:
            device = self.base.device
            ids = torch.tensor([[tokens[i].token_id] for i in staying], device=device)
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(staying), 1)], dim=1)
            positions = torch.tensor([[row.position] for row in self.rows], device=device)
            self.logits = self._forward(ids, self.mask, positions, self.cache)
            for row in self.rows:
                row.position += 1
        return tokens

    def keep(self, indices: list[int]) -> None:
        """Let all rows but `indices` leave, and drop padding that no row needs any more."""
        self.rows = [self.rows[i] for i in indices]
        if not self.rows:
            self.cache, self.mask, self.logits = None, self.mask[:0, :0], self.logits[:0]
            return
        assert self.cache is not None
        chosen = torch.tensor(indices, device=self.mask.device)
        self.mask, self.logits = self.mask[chosen], self.logits[chosen]
        padding = int(self.mask.int().argmax(dim=1).min())
        self.mask = self.mask[:, padding:]
        for layer in self.cache.layers:
            layer.replace(layer.keys[chosen, :, padding:], layer.values[chosen, :, padding:])

    def _forward(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Cache) -> torch.Tensor:
        with self.base.using(self.adapter):
            out = self.base.hidden_states(
                input_ids=ids,
                attention_mask=None if bool(mask.all()) else mask.long(),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            return self.base.logits(out.last_hidden_state[:, -1]).float()

    def _draw(self, row: _Row, logits: torch.Tensor) -> Token:
        token_id, logprob = sample(logits, row.settings, row.generator)
        row.produced += 1
        finish: Literal["stop", "length"] | None = None
        if token_id in self.base.eos_ids:
            finish = "stop"
        elif row.produced >= row.settings.max_new_tokens:
            finish = "length"
        return Token(row.handle, token_id, finish, logprob)


class Decoder:
    """All rows that are being written. One thread owns it."""

    def __init__(self, base: BaseModel) -> None:
        self.base = base
        self._groups: dict[str | None, _Group] = {}
        self._next_handle = 0

    @property
    def active(self) -> int:
        return sum(len(group.rows) for group in self._groups.values())

    def adapters_in_use(self) -> set[str]:
        """Adapters that rows are being written with: they must not be removed now."""
        return {name for name in self._groups if name is not None}

    @torch.inference_mode()
    def add(
        self,
        prompts: Sequence[list[int]],
        settings: Sequence[SamplingSettings],
        adapters: Sequence[str | None],
    ) -> list[int]:
        """Add rows and compute their prompts; returns a handle for each. Invalid where a prompt is too long."""
        for prompt in prompts:
            if not 0 < len(prompt) < self.base.context_length:
                raise Invalid(
                    f"The conversation has {len(prompt)} tokens; the model takes from 1 to "
                    f"{self.base.context_length - 1}."
                )
        rows = [self._row(len(prompt), setting) for prompt, setting in zip(prompts, settings, strict=True)]
        for adapter in dict.fromkeys(adapters):
            chosen = [i for i, name in enumerate(adapters) if name == adapter]
            group = self._groups.setdefault(adapter, _Group(self.base, adapter))
            group.join([rows[i] for i in chosen], [prompts[i] for i in chosen])
        return [row.handle for row in rows]

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """One more token for every active row."""
        tokens = [token for group in self._groups.values() for token in group.step()]
        self._groups = {name: group for name, group in self._groups.items() if group.rows}
        return tokens

    @torch.inference_mode()
    def remove(self, handle: int) -> None:
        """Let a row leave before its end; unknown and ended rows are no error."""
        for group in self._groups.values():
            if any(row.handle == handle for row in group.rows):
                group.keep([i for i, row in enumerate(group.rows) if row.handle != handle])
        self._groups = {name: group for name, group in self._groups.items() if group.rows}

    def _row(self, prompt_length: int, settings: SamplingSettings) -> _Row:
        room = self.base.context_length - prompt_length
        if settings.max_new_tokens > room:
            settings = SamplingSettings(settings.temperature, settings.top_p, room, settings.seed)
        generator = torch.Generator()  # on the CPU: the same seed gives the same reply on every device
        if settings.seed is None:
            generator.seed()
        else:
            generator.manual_seed(settings.seed)
        self._next_handle += 1
        return _Row(self._next_handle, settings, generator, prompt_length)


def sample(logits: torch.Tensor, settings: SamplingSettings, generator: torch.Generator) -> tuple[int, float]:
    """One token id and its log-probability from logits `(vocabulary,)` in float32."""
    if settings.temperature == 0:
        return int(logits.argmax()), 0.0
    logprobs = torch.log_softmax(logits / settings.temperature, dim=-1).cpu()
    probabilities = logprobs.exp()
    if settings.top_p < 1:
        ordered, order = probabilities.sort(descending=True)
        outside = ordered.cumsum(0) - ordered >= settings.top_p  # the token that crosses the bound stays
        probabilities = probabilities.index_fill(0, order[outside], 0.0)
    # Inverse transform sampling with one uniform draw a token: torch.multinomial's use of the generator depends on
    # the vocabulary's layout, this does not.
    cumulative = probabilities.double().cumsum(0)
    draw = torch.rand((), generator=generator, dtype=torch.float64) * cumulative[-1]
    token_id = int(torch.searchsorted(cumulative, draw, right=True).clamp(max=len(cumulative) - 1))
    return token_id, float(logprobs[token_id])


def _same_length(a: torch.Tensor, b: torch.Tensor, dim: int = -1) -> tuple[torch.Tensor, torch.Tensor]:
    """Both padded on the left with zeros along `dim` (from the end) to the longer one's length."""
    length = max(a.shape[dim], b.shape[dim])
    return _padded(a, length, dim), _padded(b, length, dim)


def _padded(x: torch.Tensor, length: int, dim: int) -> torch.Tensor:
    missing = length - x.shape[dim]
    if missing == 0:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x.new_zeros(shape), x], dim=dim)
