"""Simple simulated raters of stored base replies, for trials of the reward model alone.

Their utilities are computed here, with plain string counts that the features do not share. A rater gives
38 % thumbs, 25 % stars, 20 % edits, 12 % rankings of two to four and 5 % comments, up to three pieces a
conversation. Choices carry logistic noise (Gumbel in rankings) on a utility of sd `strength` logits - 1.5
makes about a fifth of the choices between two replies disagree with it - and 5 % lapses; stars and thumbs a
personal bias. A rater without taste flips coins: an edit of theirs is another of the base's replies.

Not the simulated people of the learning benchmark, who chat through the public interface.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from data.prompts import context_key
from data.types import Observation, Reply, Turn

Pool = dict[str, list[Reply]]
Taste = Callable[[Reply], float]

KINDS = ("thumb", "stars", "edit", "ranking", "comment")
SHARES = (0.38, 0.25, 0.20, 0.12, 0.05)


def base_replies(pool: Pool) -> dict[str, list[Reply]]:
    """The pool as `build_design` takes it."""
    return {context_key((Turn("user", prompt),)): replies for prompt, replies in pool.items()}


ATTRIBUTES: dict[str, Taste] = {
    "length": lambda r: float(np.log(1 + len(r.text))),
    "near 60 words": lambda r: -abs(float(np.log((1 + len(r.text.split())) / 61))),
    "numbered": lambda r: float(sum(line.strip()[:2] in ("1.", "2.", "3.") for line in r.text.split("\n"))),
    "lines": lambda r: float(np.log(1 + r.text.strip().count("\n"))),
    "exclaims": lambda r: float(min(2, r.text.count("!"))),
    "about me": lambda r: float(f" {r.text.lower()}".count(" i ") > 0),
    "about you": lambda r: float(f" {r.text.lower()}".count(" you") / (5 + len(r.text.split()))),
    "long sentences": lambda r: float(np.log(len(r.text) / (1 + r.text.count(".")))),
    "ends": lambda r: float(r.finished),
    "commas": lambda r: r.text.count(",") / (10 + len(r.text.split())),
}


def standardised(attribute: Taste, pool: Pool) -> Taste:
    """The attribute with mean 0 and sd 1 over the pool."""
    values = [attribute(reply) for replies in pool.values() for reply in replies]
    mean, sd = float(np.mean(values)), float(np.std(values)) or 1.0
    return lambda reply: (attribute(reply) - mean) / sd


def no_taste() -> Taste | None:
    return None


def likes_it_short(pool: Pool) -> Taste:
    length = standardised(ATTRIBUTES["length"], pool)
    return lambda reply: -length(reply)


def mixed_taste(pool: Pool, rng: np.random.Generator) -> Taste:
    """Two or three attributes, each liked or disliked; sd 1 over the pool."""
    names = rng.choice(list(ATTRIBUTES), size=int(rng.integers(2, 4)), replace=False)
    parts = [(float(rng.choice([-1.0, 1.0])), standardised(ATTRIBUTES[str(name)], pool)) for name in names]
    return standardised(lambda reply: sum(sign * part(reply) for sign, part in parts), pool)


class Rater:
    """One person. `taste` None flips coins; `strength` is the sd of the utility in logits."""

    def __init__(self, rng: np.random.Generator, taste: Taste | None, pool: Pool, strength: float) -> None:
        self.rng, self.taste, self.pool, self.strength = rng, taste, pool, strength
        self.bias = rng.normal(0, 0.7)

    def utility(self, reply: Reply) -> float:
        return self.strength * self.taste(reply) if self.taste else 0.0

    def heard(self, reply: Reply) -> float:
        """The utility, or in 5 % of the cases something else, before the noise of a choice."""
        return self.utility(reply) if self.rng.random() >= 0.05 else float(self.rng.normal(0, self.strength))

    def pieces(self, n: int) -> list[Observation]:
        """n pieces of feedback, in conversations of one to three."""
        out: list[Observation] = []
        while len(out) < n:
            prompt, root = str(self.rng.choice(list(self.pool))), f"{self.rng.integers(1 << 60):x}"
            out += [self._piece(len(out) + i, prompt, root) for i in range(int(self.rng.integers(1, 4)))]
        return out[:n]

    def _piece(self, number: int, prompt: str, root: str) -> Observation:
        kind = str(self.rng.choice(KINDS, p=SHARES))
        shown = [self.pool[prompt][i] for i in self.rng.permutation(len(self.pool[prompt]))]
        outcome: object = None
        if kind == "comment" and (self.taste is None or self._length_wish(shown[0]) is None):
            kind = "thumb"
        if kind == "thumb":
            shown = shown[:1]
            outcome = 1 if self.heard(shown[0]) + self.rng.logistic() > self.bias else -1
        elif kind == "stars":
            shown = shown[:1]
            heard = self.heard(shown[0]) + self.rng.logistic() + self.bias
            outcome = 1 + int(np.sum(heard > np.array([-2.0, -0.7, 0.7, 2.0])))
        elif kind == "edit":
            shown = self._edited(shown)
        elif kind == "ranking":
            shown = shown[: int(self.rng.integers(2, 5))]
            noise = [self.heard(reply) + float(self.rng.gumbel()) for reply in shown]
            outcome = tuple((int(i),) for i in np.argsort(noise)[::-1])
        else:
            shown, outcome = shown[:1], self._length_wish(shown[0])
        held_out = hashlib.sha256(root.encode()).digest()[0] < 51
        context = (Turn("user", prompt),)
        return Observation(
            f"f{number}", kind, context, tuple(shown), outcome, 1.0, held_out, "", root  # type: ignore[arg-type]
        )

    def _cut(self, reply: Reply) -> Reply:
        return Reply(". ".join(reply.text.split(". ")[:2])[:160].strip() + ".", True)

    def _edited(self, shown: list[Reply]) -> list[Reply]:
        """(edited, original): the best of the other replies and of a cut version, if it is any better."""
        if self.taste is None:
            return [shown[1], shown[0]]
        best = max([*shown[1:], self._cut(shown[0])], key=self.utility)
        return [best, shown[0]] if self.utility(best) > self.utility(shown[0]) else [shown[0], best]

    def _length_wish(self, reply: Reply) -> str | None:
        gain = self.utility(self._cut(reply)) - self.utility(reply)
        return "too long" if gain > self.strength else "too short" if gain < -self.strength else None
