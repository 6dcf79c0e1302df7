"""Rehearsal: what training has made less likely by the way is made as likely again as with the base: neutral text, and
the ends of the base's own replies.

What a few replies teach also moves text that has nothing to do with them ("rehearsal" against it: Robins 1995). Most of
that loss is of first order, along a single direction of the weights: a step of two thousandths of the adapter's change
takes it back and leaves alone what was learnt (docs/log.md). The texts are not those that the gate measures with, so
that what the gate finds still is of texts that training never saw. The same with ends: where the base has come to an
end of its reply, the policy should be about as ready to end it, or replies run on until the limit cuts them off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from data.prompts import rehearsal_chat, rehearsal_text
from data.types import Reply
from learner.config import RehearsalConfig
from learner.modeling.base import BaseModel
from learner.policy.losses import demonstration_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import (
    SequenceBatch,
    answer_sequences,
    batch_sequences,
    evaluate_policy,
    prose_sequences,
    select,
    with_lower_states,
)
from learner.policy.task import Context, LearningError

LEAST_TOLERANCE = 1e-6  # rises are counted in tolerances


@dataclass(frozen=True)
class Rehearsed:
    """Rises of the loss over the base's, in nats a token of prose and of answers, and in nats an end of a reply (the
    last one only where there were any); negative where it is likelier than with the base."""

    steps: int
    rises_before: tuple[float, ...]
    rises: tuple[float, ...]


class Rehearsal:
    """The texts, and what the base makes of them. It is made once an update and may be held more than once.

    `said`: replies of the base, with what they answer; those that came to an end are used, as many as the config says.
    """

    def __init__(
        self, base: BaseModel, adapter: str, config: RehearsalConfig, said: Sequence[tuple[Context, Reply]] = ()
    ) -> None:
        self._base, self._adapter, self._config = base, adapter, config
        self._micro_batch = MicroBatch(config.micro_batch_size)
        kinds = [prose_sequences(base, rehearsal_text()), answer_sequences(base, rehearsal_chat())]
        self._tolerances = [max(config.tolerance, LEAST_TOLERANCE)] * len(kinds)
        if ended := [(context, reply) for context, reply in said if reply.finished][: config.ends]:
            whole = [[*base.encode_chat(context), *base.encode_reply(reply.text)] for context, reply in ended]
            kinds.append(([ids[:-1] for ids in whole], [ids[-1:] for ids in whole]))  # the end alone is predicted
            self._tolerances.append(max(config.end_tolerance, LEAST_TOLERANCE))
        batches = [batch_sequences(queries, texts, base.pad_id, base.device) for queries, texts in kinds]
        self._texts = [
            self._micro_batch.fit(partial(with_lower_states, base, adapter, batch)) for batch in batches
        ]
        self._of_base = self._losses(None)

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
            rises = [loss - of_base for loss, of_base in zip(self._losses(self._adapter), self._of_base, strict=True)]
            history.append(tuple(rises))
            excesses = [rise / tolerance for rise, tolerance in zip(rises, self._tolerances, strict=True)]
            if max(excesses) < least:
                best, least, kept = base.adapter_state(self._adapter), max(excesses), step
            if max(excesses) <= 1.0 or step == config.max_steps:
                break
            squared = self._micro_batch.fit(partial(self._backward, [excess > 0 for excess in excesses]))
            if not 0 < squared < float("inf"):
                raise LearningError("The gradient is not finite; nothing of this update is kept.")
            length = sum(max(0.0, excess) for excess in excesses) / squared
            with torch.no_grad():
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.sub_(parameter.grad, alpha=length)
        base.set_adapter_state(self._adapter, best)
        return Rehearsed(kept, history[0], history[kept])

    def _losses(self, adapter: str | None) -> list[float]:
        """Of each kind of text, the mean over its tokens in nats."""
        return [self._micro_batch.fit(partial(self._loss, adapter, text)) for text in self._texts]

    @torch.no_grad()
    def _loss(self, adapter: str | None, text: SequenceBatch, rows_at_once: int) -> float:
        return sum(float(loss) for loss in self._shares_of_loss(adapter, text, rows_at_once))

    def _backward(self, risen: Sequence[bool], rows_at_once: int) -> float:
        """Set the gradients of the sum of these kinds' losses over their tolerances; returns their squared norm."""
        parameters = self._base.adapter_parameters(self._adapter)
        for parameter in parameters:
            parameter.grad = None
        for text, tolerance, has_risen in zip(self._texts, self._tolerances, risen, strict=True):
            for loss in self._shares_of_loss(self._adapter, text, rows_at_once) if has_risen else ():
                (loss / tolerance).backward()
        return sum(float(parameter.grad.square().sum()) for parameter in parameters if parameter.grad is not None)

    def _shares_of_loss(self, adapter: str | None, text: SequenceBatch, rows_at_once: int) -> Iterator[torch.Tensor]:
        """Of each micro-batch; together they are the mean over all tokens of the text."""
        for rows in torch.arange(len(text.input_ids), device=self._base.device).split(rows_at_once):
            part = select(text, rows)
            share = float(part.response_mask.sum() / text.response_mask.sum())
            yield share * demonstration_loss(
                evaluate_policy(self._base, adapter, part, 1.0).logprobs, part.response_mask
            )
