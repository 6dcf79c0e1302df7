"""Rehearsal: what training has made less likely by the way is made as likely again as with the base: neutral text, and
the ends of the base's own replies.

What a few replies teach also moves text that has nothing to do with them ("rehearsal" against it: Robins 1995). Most of
that loss is of first order, along a single direction of the weights: a step of two thousandths of the adapter's change
takes it back and leaves alone what was learnt (docs/log.md). The texts are not those that the gate measures with, so
that what the gate finds still is of texts that training never saw. The same with ends: where the base has come to an
end of its reply, the policy should be about as ready to end it, or replies run on until the limit cuts them off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from data.prompts import rehearsal_chat, rehearsal_text
from data.types import Reply
from learner.config import RehearsalConfig
from learner.modeling.base import BaseModel
from learner.policy.imitation import imitation_backward, imitation_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import (
    SequenceBatch,
    answer_sequences,
    batch_sequences,
    prose_sequences,
    with_lower_states,
)
from learner.policy.steps import clear_gradients
from learner.policy.task import Context, LearningError

LEAST_TOLERANCE = 1e-6  # rises are counted in tolerances


@dataclass(frozen=True)
class Rehearsed:
    """Rises of the loss over the base's, in nats a token of prose and of answers, and in nats an end of a reply (the
    last one only where there were any); negative where it is likelier than with the base."""

    steps: int
    rises_before: tuple[float, ...]
    rises: tuple[float, ...]


class Kind(NamedTuple):
    """One kind of text, what the base makes of it, and how much less likely than that it may be."""

    text: SequenceBatch
    loss_of_base: float
    tolerance: float


class Rehearsal:
    """The texts, and what the base makes of them. It is made once an update and may be held more than once.

    `said`: prompts with replies of the base to each. The first reply to a prompt that came to an end is used, of as
    many prompts as the config says.
    """

    def __init__(
        self,
        base: BaseModel,
        adapter: str,
        config: RehearsalConfig,
        said: Sequence[tuple[Context, Sequence[Reply]]] = (),
    ) -> None:
        self._base, self._adapter, self._config = base, adapter, config
        self._micro_batch = MicroBatch(config.micro_batch_size)
        self._kinds = [
            self._kind(*prose_sequences(base, rehearsal_text()), config.tolerance),
            self._kind(*answer_sequences(base, rehearsal_chat()), config.tolerance),
        ]
        ended = [(context, [r for r in replies if r.finished][:1]) for context, replies in said]
        whole = [[*base.encode_chat(context), *base.encode_reply(r.text)] for context, first in ended for r in first]
        if whole := whole[: config.ends]:  # the end alone is predicted
            self._kinds.append(self._kind([i[:-1] for i in whole], [i[-1:] for i in whole], config.end_tolerance))

    def _kind(self, queries: Sequence[list[int]], responses: Sequence[list[int]], tolerance: float) -> Kind:
        batch = batch_sequences(queries, responses, self._base.pad_id, self._base.device)
        batch = with_lower_states(self._base, self._adapter, batch, self._config.micro_batch_size)
        return Kind(batch, self._loss(None, batch), max(tolerance, LEAST_TOLERANCE))

    def hold(self, tell: Callable[[float], None] = lambda share: None) -> Rehearsed:
        """Train the adapter in place until no kind of text has a loss above the base's by more than its tolerance; the
        best state that was seen is kept. `tell` hears which share of the steps are done. LearningError where a gradient
        is not finite.

        Gradient steps of Polyak's length (1987), on the sum of what rises, each in units of its tolerance: as far as
        would take that sum to 0 if it were a plane.
        """
        base, config = self._base, self._config
        parameters = base.adapter_parameters(self._adapter)
        best, least, history = base.adapter_state(self._adapter), float("inf"), []
        kept = 0
        for step in range(config.max_steps + 1):
            tell(step / (config.max_steps + 1))
            rises = [self._loss(self._adapter, kind.text) - kind.loss_of_base for kind in self._kinds]
            history.append(tuple(rises))
            excesses = [rise / kind.tolerance for rise, kind in zip(rises, self._kinds, strict=True)]
            if max(excesses) < least:
                best, least, kept = base.adapter_state(self._adapter), max(excesses), step
            if max(excesses) <= 1.0 or step == config.max_steps:
                break
            risen = [kind for kind, excess in zip(self._kinds, excesses, strict=True) if excess > 0]
            squared = self._micro_batch.fit(partial(self._backward, risen))
            if not 0 < squared < float("inf"):
                raise LearningError("The gradient is not finite; nothing of this update is kept.")
            length = sum(max(0.0, excess) for excess in excesses) / squared
            with torch.no_grad():
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=length)
        base.set_adapter_state(self._adapter, best)
        return Rehearsed(kept, history[0], history[kept])

    def _loss(self, adapter: str | None, text: SequenceBatch) -> float:
        loss: float = imitation_loss(self._base, adapter, text, self._micro_batch)
        return loss

    def _backward(self, kinds: Sequence[Kind], rows_at_once: int) -> float:
        """Set the gradients of the sum of these kinds' losses over their tolerances; returns their squared norm."""
        parameters = self._base.adapter_parameters(self._adapter)
        clear_gradients(parameters)
        for kind in kinds:
            imitation_backward(self._base, self._adapter, kind.text, 1.0 / kind.tolerance, rows_at_once)
        return float(sum(parameter.grad.square().sum() for parameter in parameters if parameter.grad is not None))
