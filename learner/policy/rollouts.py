"""Replies sampled from the policy (adapter on) or the base (adapter off), in one batch that shrinks as rows end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from data.types import Reply
from learner.config import PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import Decoder, ReadFailed, SamplingSettings, Token
from learner.policy.micro_batches import MicroBatch


@dataclass(frozen=True)
class Rollout:
    """One sampled reply. `response` ends with the end-of-turn token where `reply.finished`."""

    prompt: int  # index into the queries that were asked for
    query: list[int]
    response: list[int]
    reply: Reply
    sampler_logprobs: list[float]  # under the tempered distribution, one a response token


def rollout_settings(ppo: PPOConfig) -> SamplingSettings:
    """As PPO samples: from all of the distribution, or the log-probabilities would be of another one."""
    return SamplingSettings(ppo.temperature, top_p=1.0, max_new_tokens=ppo.response_tokens)


def sample_replies(
    base: BaseModel,
    adapter: str | None,
    queries: Sequence[list[int]],
    settings: SamplingSettings,
    seeds: Sequence[int],
    max_rows: int = 96,
) -> list[Rollout]:
    """One reply to each query, in order. A reply depends on its query and seed, up to rounding not on the others: where
    memory runs out, all are sampled again with half the rows at once."""
    return MicroBatch(max_rows).fit(partial(_sample_replies, base, adapter, queries, settings, seeds))


def _sample_replies(
    base: BaseModel,
    adapter: str | None,
    queries: Sequence[list[int]],
    settings: SamplingSettings,
    seeds: Sequence[int],
    max_rows: int,
) -> list[Rollout]:
    """Raises what went wrong where it went wrong: whoever halves the rows has to see that memory ran out."""
    decoder = Decoder(base)
    waiting = list(range(len(queries)))
    index_of: dict[int, int] = {}
    tokens: list[list[int]] = [[] for _ in queries]
    logprobs: list[list[float]] = [[] for _ in queries]
    finished = [False] * len(queries)
    while waiting or decoder.active:
        room = max_rows - decoder.active
        # Joining is costly: not for every single free row.
        if waiting and room >= min(len(waiting), max(1, max_rows // 4)):
            joining, waiting = waiting[:room], waiting[room:]
            handles = decoder.add(
                [queries[i] for i in joining],
                [replace(settings, seed=seeds[i]) for i in joining],
                [adapter] * len(joining),
            )
            index_of.update(zip(handles, joining, strict=True))
        for token in _step(decoder):
            i = index_of[token.row]
            tokens[i].append(token.token_id)
            logprobs[i].append(token.logprob)
            finished[i] = token.finish == "stop"
    return [
        Rollout(
            prompt=i,
            query=list(query),
            response=tokens[i],
            reply=Reply(base.decode(tokens[i][:-1] if finished[i] else tokens[i]), finished[i]),
            sampler_logprobs=logprobs[i],
        )
        for i, query in enumerate(queries)
    ]


def _step(decoder: Decoder) -> list[Token]:
    try:
        drawn: list[Token] = decoder.step()  # inference_mode hides its type
        return drawn
    except ReadFailed as failed:  # the rows of a rollout are nobody's conversation: they begin again together
        raise failed.cause from None
