"""The decoder: rows with their own state, one token a step, an adapter a row. Chat and rollouts both use it.

It knows token ids only. Company changes a row's numbers by rounding only. A row joins when it is added, its prompt is
read in the next steps, and it leaves by itself when it ends. What the rows compute with is behind `RowStates`: our
own forward pass where it knows the architecture, else transformers'.

Sampling is plain: temperature, then top-p if one was asked for, never top-k, repetition penalty or a minimum length,
whatever the model's generation_config says. Each row has a generator of its own, so a seed reproduces a reply.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch.nn import functional as F

from data.errors import AttuneError, Invalid
from data.types import CHAT_TEMPERATURE
from learner.modeling.base import BaseModel
from learner.modeling.fused_rows import FusedRows
from learner.modeling.grouped_rows import GroupedRows
from learner.modeling.key_values import PrefixCache

BLOCK = 256  # sampling adds up probabilities by blocks of this many tokens


@dataclass(frozen=True)
class SamplingSettings:
    """How a reply is sampled. temperature 0 is greedy; seed None draws one."""

    temperature: float = CHAT_TEMPERATURE
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


class ReadFailed(AttuneError):
    """Prompts could not be read; their rows are gone, the others are as they were."""

    def __init__(self, rows: list[int], cause: Exception) -> None:
        super().__init__(str(cause))
        self.rows = rows
        self.cause = cause


class RowStates(Protocol):
    """What the rows have been computed to, and how they are computed further."""

    def add(self, handle: int, prompt: list[int], adapter: str | None, scope: Hashable) -> None:
        """Add a row. Invalid where there is no such adapter."""

    def reading(self) -> list[int]:
        """Rows whose prompts the next `read` computes."""

    def read(self) -> None:
        """Compute (more of) the prompts of the rows that were added."""

    def ready(self) -> tuple[list[int], torch.Tensor]:
        """Rows that can draw their next token, and the logits `(rows, V)` to draw from."""

    def advance(self, tokens: Mapping[int, int]) -> None:
        """Compute the token that each of the ready rows has drawn."""

    def remove(self, handle: int) -> None:
        """Forget a row; unknown ones are no error."""


@dataclass
class _Row:
    settings: SamplingSettings
    generator: torch.Generator
    produced: int = 0


class Decoder:
    """All rows that are being written. One thread owns it.

    `read_at_once` bounds how many tokens of prompts a step reads (None: all of them). `prefixes` keeps the states of
    rows that were added with a scope.
    """

    def __init__(
        self, base: BaseModel, read_at_once: int | None = None, prefixes: PrefixCache | None = None
    ) -> None:
        self.base = base
        self._states: RowStates = (
            FusedRows(base.network, base.ready_adapter, read_at_once, prefixes)
            if base.network is not None
            else GroupedRows(base)
        )
        self._rows: dict[int, _Row] = {}
        self._next_handle = 0

    @property
    def active(self) -> int:
        return len(self._rows)

    @torch.inference_mode()
    def add(
        self,
        prompts: Sequence[list[int]],
        settings: Sequence[SamplingSettings],
        adapters: Sequence[str | None],
        scopes: Sequence[Hashable] | None = None,
    ) -> list[int]:
        """Add rows, all or none; returns a handle for each. Invalid where a prompt is too long.

        What a row with a scope computes is kept when it ends, and read again by rows of the same scope and adapter.
        """
        for prompt in prompts:
            if not 0 < len(prompt) < self.base.context_length:
                raise Invalid(
                    f"The conversation has {len(prompt)} tokens; the model takes from 1 to "
                    f"{self.base.context_length - 1}."
                )
        handles: list[int] = []
        try:
            for prompt, setting, adapter, scope in zip(
                prompts, settings, adapters, scopes or [None] * len(prompts), strict=True
            ):
                self._next_handle += 1
                self._states.add(self._next_handle, prompt, adapter, scope)
                handles.append(self._next_handle)
                self._rows[self._next_handle] = self._row(len(prompt), setting)
        except Exception:
            for handle in handles:
                self.remove(handle)
            raise
        return handles

    @torch.inference_mode()
    def step(self) -> list[Token]:
        """One more token for every row whose prompt has been read, after reading more of the prompts.

        Raises ReadFailed where that could not be done; the next step goes on without those rows.
        """
        reading = self._states.reading()
        if reading:
            try:
                self._states.read()
            except Exception as error:
                for handle in reading:
                    self.remove(handle)
                raise ReadFailed(reading, error) from error
        handles, logits = self._states.ready()
        if not handles:
            return []
        rows = [self._rows[handle] for handle in handles]
        drawn = sample(logits, [row.settings for row in rows], [row.generator for row in rows])
        tokens = [
            self._token(handle, row, token_id, logprob)
            for handle, row, (token_id, logprob) in zip(handles, rows, drawn, strict=True)
        ]
        for token in tokens:
            if token.finish is not None:
                self.remove(token.row)
        self._states.advance({token.row: token.token_id for token in tokens if token.finish is None})
        return tokens

    @torch.inference_mode()
    def remove(self, handle: int) -> None:
        """Let a row leave before its end; unknown and ended rows are no error."""
        self._rows.pop(handle, None)
        self._states.remove(handle)

    def _token(self, handle: int, row: _Row, token_id: int, logprob: float) -> Token:
        row.produced += 1
        finish: Literal["stop", "length"] | None = None
        if token_id in self.base.eos_ids:
            finish = "stop"
        elif row.produced >= row.settings.max_new_tokens:
            finish = "length"
        return Token(handle, token_id, finish, logprob)

    def _row(self, prompt_length: int, settings: SamplingSettings) -> _Row:
        room = self.base.context_length - prompt_length
        if settings.max_new_tokens > room:
            settings = replace(settings, max_new_tokens=room)
        generator = torch.Generator()  # on the CPU: the same seed gives the same reply on every device
        if settings.seed is None:
            generator.seed()
        else:
            generator.manual_seed(settings.seed)
        return _Row(settings, generator)


def sample(
    logits: torch.Tensor, settings: Sequence[SamplingSettings], generators: Sequence[torch.Generator]
) -> list[tuple[int, float]]:
    """A token id and its log-probability for each row of logits `(rows, vocabulary)` in float32."""
    drawn: list[tuple[int, float]] = [(0, 0.0)] * len(settings)
    greedy = [i for i, s in enumerate(settings) if s.temperature == 0]
    for i, token_id in zip(greedy, logits[greedy].argmax(dim=-1).tolist() if greedy else [], strict=True):
        drawn[i] = (token_id, 0.0)
    warm = [i for i, s in enumerate(settings) if s.temperature > 0]
    if not warm:
        return drawn
    temperatures = torch.tensor([[settings[i].temperature] for i in warm], device=logits.device)
    chosen = logits if len(warm) == len(settings) else logits[warm]
    probabilities = torch.softmax(chosen / temperatures, dim=-1).cpu()
    weights = probabilities
    if any(settings[i].top_p < 1 for i in warm):
        weights = torch.stack([_nucleus(p, settings[i].top_p) for p, i in zip(probabilities, warm, strict=True)])
    token_ids = _inverse_transform(weights, [generators[i] for i in warm])
    logprobs = probabilities[torch.arange(len(warm)), token_ids].log().tolist()
    for i, token_id, logprob in zip(warm, token_ids.tolist(), logprobs, strict=True):
        drawn[i] = (token_id, logprob)
    return drawn


def _nucleus(probabilities: torch.Tensor, top_p: float) -> torch.Tensor:
    """The most likely tokens that together reach `top_p`, the one that crosses the bound included."""
    if top_p == 1:
        return probabilities
    ordered, order = probabilities.sort(descending=True)
    outside = ordered.cumsum(0) - ordered >= top_p
    return probabilities.index_fill(0, order[outside], 0.0)


def _inverse_transform(weights: torch.Tensor, generators: Sequence[torch.Generator]) -> torch.Tensor:
    """Draw an index `(rows,)` from weights `(rows, V)` with one uniform number a row.

    First the block that it falls into, then its place there: adding up a whole vocabulary term by term takes longer.
    torch.multinomial's use of the generator depends on the vocabulary's layout, this does not.
    """
    rows = torch.arange(len(weights))
    blocks = F.pad(weights, (0, -weights.shape[1] % BLOCK)).view(len(weights), -1, BLOCK)
    ends = blocks.sum(dim=-1).double().cumsum(-1)
    draws = torch.stack([torch.rand(1, generator=g, dtype=torch.float64) for g in generators]) * ends[:, -1:]
    block = torch.searchsorted(ends, draws, right=True).clamp(max=ends.shape[1] - 1)
    before = torch.where(block > 0, ends.gather(1, (block - 1).clamp(min=0)), 0.0)
    inside = blocks[rows, block[:, 0]]
    place = torch.searchsorted(inside.double().cumsum(-1), draws - before, right=True)
    # Rounding can put a draw a hair behind the end of its block: never onto a token without weight.
    last = BLOCK - 1 - (inside > 0).int().flip(-1).argmax(dim=-1, keepdim=True)
    return (block * BLOCK + torch.minimum(place, last))[:, 0]
