"""Queries with their responses as tensors, and the log-probabilities the policy gives them.

Shapes: B rollouts, L longest query + response, T longest response, H hidden size, V vocabulary. Rows are padded on the
right; position ids come from the attention mask. `response_mask` `(B, T)` is True on real response tokens, the
end-of-turn token included: it is found by length, never by comparing with the padding id, which is the same id here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch

from data.types import Turn
from learner.modeling.base import BaseModel
from learner.modeling.heads import ValueHead
from learner.modeling.network import LowerStates, Network
from learner.policy.micro_batches import MicroBatch

LOGIT_ROWS = 256  # response tokens whose logits exist at once: 256 x 49,152 float32 values are 50 MB


class SequenceBatch(NamedTuple):
    """Right-padded queries with responses."""

    input_ids: torch.Tensor  # (B, L) int64
    attention_mask: torch.Tensor  # (B, L) int64, 1 on real tokens
    position_ids: torch.Tensor  # (B, L) int64
    predictor: torch.Tensor  # (B, T) int64: the position whose logits predict each response token
    response_ids: torch.Tensor  # (B, T) int64
    response_mask: torch.Tensor  # (B, T) bool
    lower: LowerStates | None = None  # (B, L, H), where `with_lower_states` put them


class PolicyOutput(NamedTuple):
    """What one forward pass says of the response tokens; padding holds 0."""

    logprobs: torch.Tensor  # (B, T) float32, tempered
    values: torch.Tensor | None  # (B, T) float32, where a value head was given


def batch_sequences(
    queries: Sequence[Sequence[int]], responses: Sequence[Sequence[int]], pad_id: int, device: torch.device
) -> SequenceBatch:
    """Tensors for queries with responses. Responses hold at least one token."""
    longest = max(len(q) + len(r) for q, r in zip(queries, responses, strict=True))
    widest = max(len(r) for r in responses)
    rows = len(queries)
    input_ids = torch.full((rows, longest), pad_id)
    attention_mask = torch.zeros(rows, longest, dtype=torch.long)
    predictor = torch.zeros(rows, widest, dtype=torch.long)
    response_ids = torch.full((rows, widest), pad_id)
    response_mask = torch.zeros(rows, widest, dtype=torch.bool)
    for i, (query, response) in enumerate(zip(queries, responses, strict=True)):
        q, r = len(query), len(response)
        input_ids[i, : q + r] = torch.tensor([*query, *response])
        attention_mask[i, : q + r] = 1
        predictor[i, :r] = torch.arange(q - 1, q + r - 1)
        response_ids[i, :r] = torch.tensor(response)
        response_mask[i, :r] = True
    position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0)
    tensors = (input_ids, attention_mask, position_ids, predictor, response_ids, response_mask)
    return SequenceBatch(*(tensor.to(device) for tensor in tensors))


def prose_sequences(
    base: BaseModel, text: str, block_tokens: int = 256
) -> tuple[list[list[int]], list[list[int]]]:
    """Queries and responses of plain prose in blocks of `block_tokens`, each of which starts anew: the first token of
    a block is given, the rest is predicted."""
    ids = list(base.tokenizer(text, add_special_tokens=False)["input_ids"])
    blocks = [ids[i : i + block_tokens] for i in range(0, len(ids), block_tokens)]
    blocks = [block for block in blocks if len(block) > 1]
    return [block[:1] for block in blocks], [block[1:] for block in blocks]


def answer_sequences(base: BaseModel, pairs: Sequence[tuple[str, str]]) -> tuple[list[list[int]], list[list[int]]]:
    """Queries and responses of (question, answer) pairs in the chat template, end of turn included."""
    queries = [base.encode_chat([Turn("user", question)]) for question, _ in pairs]
    return queries, [base.encode_reply(answer) for _, answer in pairs]


def select(batch: SequenceBatch, rows: torch.Tensor) -> SequenceBatch:
    """The given rows, cut to what they need: shorter rows cost less."""
    chosen = SequenceBatch(*(tensor[rows] for tensor in batch[:-1]))
    length = int(chosen.attention_mask.sum(-1).max())
    width = int(chosen.response_mask.sum(-1).max())
    return SequenceBatch(
        chosen.input_ids[:, :length],
        chosen.attention_mask[:, :length],
        chosen.position_ids[:, :length],
        chosen.predictor[:, :width],
        chosen.response_ids[:, :width],
        chosen.response_mask[:, :width],
        LowerStates(batch.lower.layer, batch.lower.states[rows, :length]) if batch.lower is not None else None,
    )


def parts_of(batch: SequenceBatch, rows_at_once: int) -> Iterator[SequenceBatch]:
    """The batch in parts of at most so many rows, each cut to what it needs."""
    for rows in torch.arange(len(batch.input_ids), device=batch.input_ids.device).split(rows_at_once):
        yield select(batch, rows)


def with_lower_states(base: BaseModel, adapter: str, batch: SequenceBatch, rows_at_once: int) -> SequenceBatch:
    """The batch with what the blocks below the adapter's first one make of it.

    They are the same for policy and reference and for every step of training, so whoever evaluates a batch more than
    once has them computed once, `rows_at_once` rows at a time or as many as fit. As it was where there are none, where
    it has them already, or where the forward pass is not our own.
    """
    layer = base.first_layer(adapter)
    if base.network is None or layer == 0 or batch.lower is not None:
        return batch
    states = MicroBatch(rows_at_once).fit(partial(_lower_states, base.network, batch, layer))
    return batch._replace(lower=LowerStates(layer, states))


def _lower_states(network: Network, batch: SequenceBatch, layer: int, rows_at_once: int) -> torch.Tensor:
    """(B, L, H); padding holds 0."""
    found = []
    for part in parts_of(batch, rows_at_once):
        read = part.attention_mask.bool()
        packed = network.lower_states(part.input_ids[read], read.sum(-1).tolist(), layer)
        states = packed.new_zeros(len(read), batch.input_ids.shape[1], packed.shape[-1])
        states[:, : read.shape[1]][read] = packed
        found.append(states)
    return torch.cat(found)


def states_at(
    base: BaseModel, batch: SequenceBatch, rows: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """(N, H) last hidden states of N tokens, at `positions` of `rows`, under whatever adapter is active."""
    if base.network is None:
        states: torch.Tensor = base.hidden_states(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
        ).last_hidden_state
        return states[rows, positions]
    lengths = batch.attention_mask.sum(-1)
    starts = lengths.cumsum(0) - lengths
    read, lower = batch.attention_mask.bool(), batch.lower
    if lower is not None:
        lower = LowerStates(lower.layer, lower.states[read])
    return base.packed_states(batch.input_ids[read], lengths.tolist(), lower)[starts[rows] + positions]


def response_states(base: BaseModel, batch: SequenceBatch) -> torch.Tensor:
    """(N, H) last hidden states that predict the N real response tokens, under whatever adapter is active."""
    rows = batch.response_mask.nonzero()[:, 0]
    return states_at(base, batch, rows, batch.predictor[batch.response_mask])


def logprobs_of_states(
    base: BaseModel, states: torch.Tensor, batch: SequenceBatch, temperature: float
) -> torch.Tensor:
    """(B, T) log-probabilities of the response tokens from `response_states`; padding holds 0."""
    tokens = batch.response_ids[batch.response_mask]
    found = torch.cat(
        [
            base.token_logprobs(states[i : i + LOGIT_ROWS], tokens[i : i + LOGIT_ROWS], temperature)
            for i in range(0, len(tokens), LOGIT_ROWS)
        ]
    )
    return _at_responses(batch, found)


def _at_responses(batch: SequenceBatch, found: torch.Tensor) -> torch.Tensor:
    """(N,) values of the real response tokens, put at their places `(B, T)`; padding holds 0."""
    return torch.zeros(batch.response_mask.shape, device=found.device).masked_scatter(batch.response_mask, found)


def evaluate_policy(
    base: BaseModel,
    adapter: str | None,
    batch: SequenceBatch,
    temperature: float,
    value_head: ValueHead | None = None,
) -> PolicyOutput:
    """Log-probabilities (and values) of the response tokens under the policy (an adapter) or reference (None).

    Gradients flow where the caller has them enabled. Dropout is off: the model is in eval mode throughout.
    """
    with base.using(adapter):
        states = response_states(base, batch)
        logprobs = logprobs_of_states(base, states, batch, temperature)
    values = None
    if value_head is not None:
        values = _at_responses(batch, value_head(states))
    return PolicyOutput(logprobs, values)


@torch.no_grad()
def token_kl(base: BaseModel, adapter: str, batch: SequenceBatch, temperature: float) -> torch.Tensor:
    """KL(policy || reference) `(B, T)` of the whole next-token distributions before each response token, in nats."""
    states = []
    batch = with_lower_states(base, adapter, batch, len(batch.input_ids))
    for name in (adapter, None):
        with base.using(name):
            states.append(response_states(base, batch))
    found = torch.cat(
        [
            _kl_of_logits(base.logits(policy).float() / temperature, base.logits(reference).float() / temperature)
            for policy, reference in zip(*(part.split(LOGIT_ROWS) for part in states), strict=True)
        ]
    )
    return _at_responses(batch, found)


def _kl_of_logits(policy: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    log_p, log_q = policy.log_softmax(-1), reference.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)
