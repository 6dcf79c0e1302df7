"""Rows on `Network`: one batch whatever their adapters are, prompts read in pieces, and no prompt read twice.

Rows that are being written stand in the first slots, rows whose prompts are still being read behind them. A prompt is
read in pieces of at most `read_at_once` tokens a step, so that a long one does not make the others wait for its end.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass

import torch

from learner.modeling.key_values import PrefixCache
from learner.modeling.network import Network, Part
from learner.modeling.stacked import Adapter, Stack

ALONE = 4  # times as much is read at once while no row waits for its next token: longer pieces are quicker
MOST_AT_ONCE = 4096  # tokens in one forward pass, whatever was asked for: their activations have to fit


@dataclass
class _Row:
    handle: int
    tokens: list[int]  # the prompt, and what was written since
    adapter: Adapter | None
    name: str | None  # of the adapter
    scope: Hashable
    prompt_length: int
    computed: int = 0  # how many of the tokens have keys and values


class FusedRows:
    """See `decode.RowStates`. `adapter_of` gives the matrices of a loaded adapter by its name."""

    def __init__(
        self,
        network: Network,
        adapter_of: Callable[[str], Adapter],
        read_at_once: int | None,
        prefixes: PrefixCache | None,
    ) -> None:
        self._network = network
        self._adapter_of = adapter_of
        self._read_at_once = read_at_once
        self._prefixes = prefixes
        self._rows: list[_Row] = []  # by slot
        self._ready = 0  # rows 0 .. ready-1 have their prompts read
        self._logits = torch.empty(0)  # (ready, V)
        self._adapters: dict[str, Adapter] = {}
        self._key_values = network.key_values()
        self._stack: Stack | None = None

    def add(self, handle: int, prompt: list[int], adapter: str | None, scope: Hashable) -> None:
        if adapter is not None and adapter not in self._adapters:
            self._adapters[adapter] = self._adapter_of(adapter)
        ready = self._adapters[adapter] if adapter is not None else None
        row = _Row(handle, list(prompt), ready, adapter, scope, len(prompt))
        if self._prefixes is not None and scope is not None:
            # The last token is always computed: its logits are what is asked for.
            known, states = self._prefixes.longest((scope, adapter), prompt[:-1])
            if states is not None:
                self._key_values.copy_in(len(self._rows), states, known)
                row.computed = known
        self._rows.append(row)

    def remove(self, handle: int) -> None:
        slot = next((i for i, row in enumerate(self._rows) if row.handle == handle), None)
        if slot is None:
            return
        row = self._rows[slot]
        if self._prefixes is not None and row.scope is not None and row.computed > row.prompt_length:
            states = self._key_values.copy_out(slot, row.computed)
            self._prefixes.put((row.scope, row.name), row.tokens[: row.computed], row.prompt_length, states)
        if (
            slot < self._ready
        ):  # the last of those that write takes its place, and leaves one to those that read
            self._ready -= 1
            self._put(self._ready, slot)
            self._logits[slot] = self._logits[self._ready]
            self._logits = self._logits[: self._ready]
            slot = self._ready
        self._put(len(self._rows) - 1, slot)
        self._rows.pop()
        self._adapters = {row.name: row.adapter for row in self._rows if row.name and row.adapter}
        if not self._rows:
            self._key_values, self._stack = self._network.key_values(), None

    def read(self) -> None:
        """Read more of the prompts: the next piece of them, all where there is no bound."""
        while self._ready < len(self._rows):
            parts = self._next_parts()
            rows = [self._rows[part.slot] for part in parts]
            logits = self._network.read(parts, self._key_values, rows[0].adapter)
            for row, part in zip(rows, parts, strict=True):
                row.computed += len(part.tokens)
            done = sum(
                row.computed == len(row.tokens) for row in rows
            )  # only the last part can be unfinished
            if done:
                self._logits = (
                    torch.cat([self._logits, logits[:done]]) if self._ready else logits[:done].clone()
                )
                self._ready += done
            if self._read_at_once is not None:
                return

    def reading(self) -> list[int]:
        """Handles of the rows that the next `read` would compute."""
        return (
            [self._rows[part.slot].handle for part in self._next_parts()]
            if self._ready < len(self._rows)
            else []
        )

    def ready(self) -> tuple[list[int], torch.Tensor]:
        return [row.handle for row in self._rows[: self._ready]], self._logits

    def advance(self, tokens: Mapping[int, int]) -> None:
        rows = self._rows[: self._ready]
        if not rows:
            return
        for row in rows:
            row.tokens.append(tokens[row.handle])
        lora = self._lora(rows)
        self._logits = self._network.step(
            [row.tokens[-1] for row in rows], [row.computed for row in rows], self._key_values, lora
        )
        for row in rows:
            row.computed += 1

    def _lora(self, rows: list[_Row]) -> Adapter | Stack | None:
        first = rows[0].adapter
        if all(row.adapter is first for row in rows):
            return first
        if self._stack is None:
            self._stack = self._network.stack()
        self._stack.set_rows([row.adapter for row in rows])
        return self._stack

    def _next_parts(self) -> list[Part]:
        """Pieces of the prompts that are not read yet, in their order, of rows that share an adapter."""
        parts: list[Part] = []
        room = self._read_at_once or MOST_AT_ONCE
        room = min(room if self._ready else ALONE * room, MOST_AT_ONCE)
        for slot in range(self._ready, len(self._rows)):
            row = self._rows[slot]
            if row.adapter is not self._rows[self._ready].adapter or room == 0:
                break
            piece = row.tokens[row.computed : row.computed + room]
            parts.append(Part(slot, row.computed, piece))
            room -= len(piece)
        return parts

    def _put(self, source: int, target: int) -> None:
        if source == target:
            return
        if self._rows[source].computed:
            self._key_values.move(source, target, self._rows[source].computed)
        self._rows[target] = self._rows[source]
