"""Simulated people: they read what the assistant really says and give feedback through the public HTTP interface.

A person here is a hidden utility of a reply and habits of saying so. Nothing of the utility reaches the learner but the
feedback; where a wish is counted (words, sentences), it is counted by code of this file, not by the learner's features.
"""

from __future__ import annotations

import math
import random
import re
from dataclasses import dataclass
from typing import Any, Protocol

import httpx


class Person(Protocol):
    """Somebody with a taste. `kinds` are the kinds of feedback they give, in turn."""

    name: str
    kinds: tuple[str, ...]

    def utility(self, reply: str, finished: bool) -> float:
        """About -3 (dreadful) to 3 (just right)."""

    def edited(self, reply: str) -> str | None:
        """The reply as they would have written it, or None where they would not touch it."""

    def comment(self, utility: float) -> str: ...


def word_count(text: str) -> int:
    return len(text.split())


@dataclass(frozen=True)
class WantsShort:
    """Likes about 20 words and a reply that ends by itself; edits by keeping the beginning."""

    name: str = "wants short replies"
    kinds: tuple[str, ...] = (
        *("edit", "stars", "ranking", "thumb", "edit"),
        *("stars", "ranking", "thumb", "comment", "edit"),
    )
    words: int = 20

    def utility(self, reply: str, finished: bool) -> float:
        distance = abs(math.log(max(1, word_count(reply)) / self.words))
        return 2.5 - 3.5 * distance - (0.0 if finished else 0.5)

    def edited(self, reply: str) -> str | None:
        kept: list[str] = []
        for sentence in re.split(r"(?<=[.!?])\s+", reply.replace("\n", " ").strip()):
            if kept and word_count(" ".join([*kept, sentence])) > 1.3 * self.words:
                break
            kept.append(sentence)
        words = " ".join(kept).split()
        if len(words) > 1.6 * self.words:  # one endless sentence
            words = [*words[: self.words - 1], words[self.words - 1].rstrip(",;:") + "."]
        return " ".join(words)

    def comment(self, utility: float) -> str:
        return "Too long, please keep it shorter." if utility < 0 else "Nice and short."


@dataclass(frozen=True)
class WantsClosingQuestion:
    """Likes replies that end with a question back; shows it by stars and rankings alone, never by an edit."""

    name: str = "wants a closing question"
    kinds: tuple[str, ...] = ("stars", "ranking")

    def utility(self, reply: str, finished: bool) -> float:
        asks = reply.rstrip().endswith(("?", "？"))
        return (2.0 if asks else -1.0) + (0.0 if finished else -0.5)

    def edited(self, reply: str) -> str | None:
        return None

    def comment(self, utility: float) -> str:
        return "Ask me something back." if utility < 0 else "Good question."


@dataclass(frozen=True)
class RatesAtRandom:
    """Has no taste: whatever they say is drawn by lot (from the reply's own text, so that it repeats)."""

    name: str = "rates at random"
    kinds: tuple[str, ...] = ("stars", "ranking", "thumb")

    def utility(self, reply: str, finished: bool) -> float:
        return random.Random(reply).uniform(-3, 3)

    def edited(self, reply: str) -> str | None:
        return None

    def comment(self, utility: float) -> str:
        return "Hm."


def rate(
    client: httpx.Client,
    person: Person,
    prompts: list[str],
    pieces: int,
    max_tokens: int,
    seed: int = 0,
    noise: float = 0.5,
    replies_compared: int = 2,
) -> dict[str, int]:
    """Chat over `prompts` in turn and give `pieces` pieces of feedback; returns how many of each kind.

    `noise`: standard deviation added to the utility whenever the person judges. Raises httpx.HTTPStatusError where the
    server refuses anything.
    """
    rng = random.Random(seed)
    given: dict[str, int] = {}
    turn = -1
    while sum(given.values()) < pieces:
        turn += 1
        prompt, kind = prompts[turn % len(prompts)], person.kinds[turn % len(person.kinds)]
        messages = [{"role": "user", "content": prompt}]
        if kind == "ranking":
            body = _post(
                client,
                "/v1/comparisons",
                {
                    "messages": messages,
                    "n": replies_compared,
                    "max_tokens": max_tokens,
                    "seed": rng.getrandbits(31),
                },
            )
            said = [(r["message_id"], r["content"], r["finish_reason"] == "stop") for r in body["replies"]]
            target: dict[str, Any] = {"comparison_id": body["id"]}
        else:
            body = _post(
                client,
                "/v1/chat/completions",
                {"model": "attune", "messages": messages, "max_tokens": max_tokens, "seed": rng.getrandbits(31)},
            )
            choice = body["choices"][0]
            said = [(choice["message_id"], choice["message"]["content"], choice["finish_reason"] == "stop")]
            target = {"message_id": choice["message_id"]}
        felt = [person.utility(text, finished) + rng.gauss(0, noise) for _, text, finished in said]
        kind, value = _judgement(person, kind, said, felt)
        _post(client, "/v1/feedback", {**target, "kind": kind, "value": value})
        given[kind] = given.get(kind, 0) + 1
    return given


def _judgement(person: Person, kind: str, said: list[tuple[str, str, bool]], felt: list[float]) -> tuple[str, Any]:
    """What is said: an edit only where there is something to change, else stars."""
    text = said[0][1]
    if kind == "edit":
        edited = person.edited(text)
        if edited and edited.split() != text.split():
            return "edit", edited
        kind = "stars"
    if kind == "ranking":
        ordered = sorted(zip(felt, (reply_id for reply_id, _, _ in said), strict=True), reverse=True)
        groups = [[ordered[0][1]]]
        for (before, _), (utility, reply_id) in zip(ordered, ordered[1:], strict=False):
            if before - utility < 0.3:
                groups[-1].append(reply_id)
            else:
                groups.append([reply_id])
        return "ranking", {"order": groups}
    if kind == "thumb":
        return "thumb", "up" if felt[0] > 0 else "down"
    if kind == "comment":
        return "comment", person.comment(felt[0])
    return "stars", max(1, min(5, round(3 + felt[0])))


def _post(client: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    if response.is_error:
        raise httpx.HTTPStatusError(response.text, request=response.request, response=response)
    found: dict[str, Any] = response.json()
    return found
