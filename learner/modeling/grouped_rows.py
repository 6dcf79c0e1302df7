"""Rows on transformers' own forward pass, for architectures that `Network` does not know.

Rows that share an adapter form a group that is computed as one batch; PEFT's layers apply the adapter. Within a group
rows are padded on the left; the attention mask hides the padding and position ids are counted from each row's own
first token, so that company changes a row's numbers by rounding only.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import Cache, DynamicLayer

if TYPE_CHECKING:
    from learner.modeling.base import BaseModel

GROWTH = 64  # positions by which a cache buffer grows at a time


@dataclass
class _Row:
    handle: int
    position: int  # of the next token, counted from the row's first real token


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

    def advance(self, tokens: list[int]) -> None:
        """Give every row its next token and compute its next logits."""
        device = self.base.device
        ids = torch.tensor(tokens, device=device)[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(tokens), 1)], dim=1)
        positions = torch.tensor([[row.position] for row in self.rows], device=device)
        self.logits = self._forward(ids, self.mask, positions, self.cache)
        for row in self.rows:
            row.position += 1

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

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Cache
    ) -> torch.Tensor:
        with self.base.using(self.adapter):
            out = self.base.hidden_states(
                input_ids=ids,
                attention_mask=None if bool(mask.all()) else mask.long(),
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            return self.base.logits(out.last_hidden_state[:, -1]).float()


class GroupedRows:
    """See `decode.RowStates`. Prompts are read whole when they are added."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._groups: dict[str | None, _Group] = {}
        self._waiting: list[tuple[_Row, list[int], str | None]] = []

    def add(self, handle: int, prompt: list[int], adapter: str | None, scope: Hashable) -> None:
        with self._base.using(adapter):  # Invalid where there is none, before anything else knows of the row
            pass
        self._waiting.append((_Row(handle, len(prompt)), prompt, adapter))

    def reading(self) -> list[int]:
        return [row.handle for row, _, name in self._waiting if name == self._waiting[0][2]]

    def read(self) -> None:
        while self._waiting:
            adapter = self._waiting[0][2]
            joining = [(row, prompt) for row, prompt, name in self._waiting if name == adapter]
            group = self._groups.get(adapter) or _Group(self._base, adapter)
            group.join([row for row, _ in joining], [prompt for _, prompt in joining])
            self._groups[adapter] = group
            self._waiting = [entry for entry in self._waiting if entry[2] != adapter]

    def ready(self) -> tuple[list[int], torch.Tensor]:
        groups = list(self._groups.values())
        handles = [row.handle for group in groups for row in group.rows]
        return handles, torch.cat([group.logits for group in groups]) if groups else torch.empty(0)

    def advance(self, tokens: Mapping[int, int]) -> None:
        for group in self._groups.values():
            group.advance([tokens[row.handle] for row in group.rows])

    def remove(self, handle: int) -> None:
        self._waiting = [entry for entry in self._waiting if entry[0].handle != handle]
        for group in self._groups.values():
            if any(row.handle == handle for row in group.rows):
                group.keep([i for i, row in enumerate(group.rows) if row.handle != handle])
        self._groups = {name: group for name, group in self._groups.items() if group.rows}


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
