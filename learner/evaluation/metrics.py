"""What is measured of a policy's replies, beside the reward: pure functions and plain forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from data.prompts import neutral_chat, neutral_text
from data.types import Reply
from learner.modeling.base import BaseModel
from learner.policy.losses import demonstration_loss
from learner.policy.rollouts import Rollout
from learner.policy.sequences import answer_sequences, batch_sequences, evaluate_policy, prose_sequences
from learner.reward.features import word_units


@dataclass(frozen=True)
class ReplyStatistics:
    """Of one policy's replies to the gate's prompts."""

    median_words: float
    eos_rate: float  # share that ended by themselves within the length limit
    kl: float  # nats a reply to the base, 0 for the base itself


def reply_statistics(replies: Sequence[Reply], kl: float) -> ReplyStatistics:
    return ReplyStatistics(
        median_words=float(median(len(word_units(reply.text)) for reply in replies)),
        eos_rate=sum(reply.finished for reply in replies) / len(replies),
        kl=kl,
    )


def distinct_2_ratio(candidate: Sequence[Rollout], reference: Sequence[Rollout]) -> float:
    """Distinct-2 of the candidate's replies over that of the reference's, on equal token counts.

    Distinct-2 (Li et al. 2016) falls with length, so both replies to a prompt are cut to the shorter one's tokens.
    """
    ours: list[tuple[int, int]] = []
    theirs: list[tuple[int, int]] = []
    for a, b in zip(candidate, reference, strict=True):
        length = min(len(a.response), len(b.response))
        ours += _bigrams(a.response[:length])
        theirs += _bigrams(b.response[:length])
    if not ours:
        return 1.0
    return (len(set(ours)) / len(ours)) / (len(set(theirs)) / len(theirs))


def _bigrams(tokens: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(tokens, tokens[1:], strict=False))


@torch.no_grad()
def text_perplexity(base: BaseModel, adapter: str | None, text: str, block_tokens: int = 256) -> float:
    """Perplexity of plain prose, in blocks of `block_tokens` (each starts anew)."""
    return _perplexity(base, adapter, *prose_sequences(base, text, block_tokens))


@torch.no_grad()
def chat_perplexity(base: BaseModel, adapter: str | None, pairs: Sequence[tuple[str, str]]) -> float:
    """Perplexity of given answers to questions, in the chat template, end of turn included."""
    return _perplexity(base, adapter, *answer_sequences(base, pairs))


def _perplexity(
    base: BaseModel, adapter: str | None, queries: Sequence[list[int]], responses: Sequence[list[int]]
) -> float:
    total, count = 0.0, 0
    for query, response in zip(queries, responses, strict=True):
        batch = batch_sequences([query], [response], base.pad_id, base.device)
        logprobs = evaluate_policy(base, adapter, batch, 1.0).logprobs
        total += float(demonstration_loss(logprobs, batch.response_mask)) * len(response)
        count += len(response)
    return float(torch.tensor(total / count).exp())


class NeutralText:
    """How likely the base finds plain prose and neutral answers, and how much less an adapter does."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self._prose, self._answers = self._perplexities(None)

    def perplexity_increases(self, adapter: str) -> tuple[float, float]:
        """Of the adapter over the base, relative: on plain prose and on neutral answers."""
        prose, answers = self._perplexities(adapter)
        return prose / self._prose - 1, answers / self._answers - 1

    def worst_increase(self, adapter: str) -> float:
        return max(self.perplexity_increases(adapter))

    def _perplexities(self, adapter: str | None) -> tuple[float, float]:
        base = self._base
        return text_perplexity(base, adapter, neutral_text()), chat_perplexity(base, adapter, neutral_chat())
