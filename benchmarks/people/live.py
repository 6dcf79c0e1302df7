"""People of tastes.py who talk to a running Attune: they read what it says now, and judge it through HTTP.

What they value is computed here, from the text alone and from what the frozen base makes of it; nothing of that reaches
Attune but their thumbs, stars, edits, rankings and comments. Unrated replies leave no trace in learning, so that only
replies which somebody is going to rate are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import httpx
import numpy as np

from benchmarks.people.tastes import Measured, Person, Shown
from benchmarks.replies import BACKWARDS, ROWS_A_PASS, measure
from data.types import FeedbackKind, Reply, Turn
from learner.modeling.base import BaseModel
from learner.reward.features import Array

AT_ONCE = 16  # questions that are asked before anything is judged
CONNECTIONS = 8


class Reader:
    """Reads replies as people do: with an eye on whether they make sense."""

    def __init__(self, measured: Measured, base: BaseModel) -> None:
        self.measured, self._base = measured, base

    def senses(self, prompts: Sequence[str], replies: Sequence[Reply]) -> list[float]:
        """Sense of each reply to its prompt, as `Measured.sense_of` defines it."""
        base = self._base
        queries = [base.encode_chat((Turn("user", prompt),)) for prompt in prompts]
        said = [base.encode_reply(r.text, r.finished) or [base.end_of_turn_id] for r in replies]
        order = sorted(range(len(said)), key=lambda i: len(queries[i]) + len(said[i]))
        found = [0.0] * len(said)
        for start in range(0, len(order), ROWS_A_PASS):
            part = order[start : start + ROWS_A_PASS]
            fluent, _ = measure(base, [queries[i] for i in part], [said[i] for i in part])
            about, _ = measure(
                base,
                [base.encode_chat((Turn("user", BACKWARDS.format(reply=replies[i].text)),)) for i in part],
                [base.encode_reply(prompts[i]) for i in part],
            )
            for i, f, a in zip(part, fluent, about, strict=True):
                found[i] = self.measured.sense_of(prompts[i], f, a)
        return found

    def shown(self, person: Person, prompts: Sequence[str], replies: Sequence[Reply]) -> list[Shown]:
        senses = self.senses(prompts, replies)
        return [
            Shown(reply, person.utility_of_text(reply, sense), sense)
            for reply, sense in zip(replies, senses, strict=True)
        ]


def utilities(person: Person, replies: Sequence[Reply], senses: Sequence[float]) -> Array:
    """(N,) in logits."""
    return np.array([person.utility_of_text(r, s) for r, s in zip(replies, senses, strict=True)])


class _Question(NamedTuple):
    prompt: str
    kind: FeedbackKind
    replies: int
    seed: int


def converse(
    client: httpx.Client, person: Person, reader: Reader, prompts: Sequence[str], pieces: int
) -> dict[str, int]:
    """Chat about `prompts` and give `pieces` pieces of feedback; returns how many of each kind.

    Raises httpx.HTTPStatusError where the server refuses anything.
    """
    given: dict[str, int] = {}
    questions = [_question(person, prompts) for _ in range(pieces)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for start in range(0, pieces, AT_ONCE):
            asked = questions[start : start + AT_ONCE]
            answers = list(pool.map(lambda question: _ask(client, question), asked))
            flat = [(q.prompt, reply) for q, answer in zip(asked, answers, strict=True) for _, reply in answer.replies]
            shown = iter(reader.shown(person, [p for p, _ in flat], [r for _, r in flat]))
            for question, answer in zip(asked, answers, strict=True):
                kind, replies, outcome = person.says(question.kind, [next(shown) for _ in answer.replies])
                body = {"kind": kind, "value": _value(answer, kind, replies, outcome)}
                target = {"comparison_id": answer.id} if kind == "ranking" else {"message_id": answer.replies[0][0]}
                client.post("/v1/feedback", json={**target, **body}).raise_for_status()
                given[kind] = given.get(kind, 0) + 1
    return given


class _Answer(NamedTuple):
    id: str
    replies: list[tuple[str, Reply]]  # message id, reply


def _question(person: Person, prompts: Sequence[str]) -> _Question:
    kind = person.next_kind()
    count = int(person.rng.integers(2, 5)) if kind == "ranking" else 1
    return _Question(str(person.rng.choice(prompts)), kind, count, int(person.rng.integers(2**31)))


def _ask(client: httpx.Client, question: _Question) -> _Answer:
    """With the assistant's own settings, a stored conversation each."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": question.prompt}], "seed": question.seed}
    if question.replies > 1:
        found = client.post("/v1/comparisons", json={**body, "n": question.replies}).raise_for_status().json()
        replies = found["replies"]
        return _Answer(found["id"], [(r["message_id"], Reply(r["content"], _ended(r))) for r in replies])
    found = client.post("/v1/chat/completions", json={**body, "model": "attune"}).raise_for_status().json()
    choice = found["choices"][0]
    return _Answer(found["id"], [(choice["message_id"], Reply(choice["message"]["content"], _ended(choice)))])


def _ended(found: dict[str, Any]) -> bool:
    return bool(found["finish_reason"] == "stop")


def _value(answer: _Answer, kind: FeedbackKind, replies: Sequence[Reply], outcome: Any) -> Any:
    """An observation's outcome as the HTTP interface takes it."""
    if kind == "thumb":
        return "up" if outcome == 1 else "down"
    if kind == "edit":
        return replies[0].text
    if kind == "ranking":
        return {"order": [[answer.replies[i][0] for i in group] for group in outcome]}
    return outcome
