"""Keys and values of the rows that are being written, and of conversations that may go on.

A row has a slot: its keys stand from position 0 on, without padding. Rows in use are always the slots 0 .. n-1, so
that a step computes them as one batch without gathering anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch

GROWTH = 256  # positions by which the buffers grow at least


class KeyValues:
    """A buffer `(2, slots, kv_heads, positions, head_dim)` for each layer: its keys, and behind them its values.

    Slots and heads of either stand at one distance from one another, so that a step's products take them as one batch
    where they are: with keys and values side by side in a slot they were copied at every step.
    """

    def __init__(
        self, layers: int, heads: int, head_dim: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.layers = [
            torch.zeros(2, 0, heads, 0, head_dim, dtype=dtype, device=device) for _ in range(layers)
        ]

    def make_room(self, slots: int, positions: int) -> None:
        """See that this many slots and positions exist; what is there stays."""
        _, old_slots, heads, old_positions, head_dim = self.layers[0].shape
        if slots <= old_slots and positions <= old_positions:
            return
        slots = max(slots, old_slots)
        if positions > old_positions:
            positions = max(positions + GROWTH // 2, old_positions + GROWTH)
        positions = max(positions, old_positions)
        for i, old in enumerate(self.layers):
            self.layers[i] = old.new_zeros(2, slots, heads, positions, head_dim)
            self.layers[i][:, :old_slots, :, :old_positions] = old

    def move(self, source: int, target: int, length: int) -> None:
        """Copy a row to another slot."""
        for layer in self.layers:
            layer[:, target, :, :length] = layer[:, source, :, :length]

    def copy_out(self, slot: int, length: int) -> torch.Tensor:
        """One row's keys and values `(layers, 2, kv_heads, length, head_dim)`."""
        return torch.stack([layer[:, slot, :, :length] for layer in self.layers])

    def copy_in(self, slot: int, kept: torch.Tensor, length: int) -> None:
        """Put the first `length` positions of a row that was copied out into a slot."""
        self.make_room(slot + 1, length)
        for layer, row in zip(self.layers, kept, strict=True):
            layer[:, slot, :, :length] = row[:, :, :length]


@dataclass
class _Kept:
    tokens: list[int]
    prompt_length: int  # how many of them were asked, not written
    key_values: torch.Tensor

    @property
    def size(self) -> int:
        return int(self.key_values.numel() * self.key_values.element_size())


class PrefixCache:
    """Key/value states of replies that have ended, so that the next turn computes only what is new.

    Entries are found by `scope` (whose conversation, under which adapter: nobody's text speeds up anybody else's). One
    counts for a prompt that goes on from its reply, not for one that asks the same again or merely begins alike: how a
    prompt was read shows in the last digits, and the same question with the same seed is to get the same reply. The
    least recently used entries leave beyond `max_bytes`.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[int, tuple[Hashable, _Kept]] = OrderedDict()
        self._next = 0

    @property
    def size_bytes(self) -> int:
        return sum(int(kept.size) for _, kept in self._entries.values())

    def put(self, scope: Hashable, tokens: list[int], prompt_length: int, key_values: torch.Tensor) -> None:
        """Keep a row: its prompt and what was written of the reply."""
        self._entries[self._next] = (scope, _Kept(tokens, prompt_length, key_values))
        self._next += 1
        while self.size_bytes > self._max_bytes:
            self._entries.popitem(last=False)

    def longest(self, scope: Hashable, tokens: Sequence[int]) -> tuple[int, torch.Tensor | None]:
        """How many of the first `tokens` are known, and the states that hold them."""
        best, found = 0, None
        for key, (other, kept) in self._entries.items():
            if other != scope:
                continue
            shared = _shared(kept.tokens, tokens)
            if shared > max(best, kept.prompt_length):
                best, found = shared, key
        if found is None:
            return 0, None
        self._entries.move_to_end(found)
        return best, self._entries[found][1].key_values


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
