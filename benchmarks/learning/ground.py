"""What all people of the learning benchmark share: the model, held-out prompts, what the base says to them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.learning.ifeval import Instructed, instructed, share_followed
from benchmarks.people.live import Reader, utilities
from benchmarks.people.tastes import Measured, Person, draw_taste
from benchmarks.replies import bank
from benchmarks.results import RESULTS
from data.home import CHECKOUT, Home
from data.prompts import general_prompts
from data.types import Reply, Turn
from learner.config import GateConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.modeling.loading import load_base
from learner.policy.rollouts import sample_replies
from learner.reward.features import Array

SEED = 301  # of the reported people; tuning ones have another
TUNING_SEED = 302
OPPONENTS = 2  # base replies to a prompt that every arm's reply is compared with
OF_N = 4  # further base replies, for best-of-n
BASE_ASKED = 8  # base replies to an instruction of IFEval
ROWS_AT_ONCE = 48
CONTENT_EVERY = 3  # every third person cares for what a reply is about, which no feature sees


@dataclass(frozen=True)
class Said:
    """Replies to the held-out prompts, one to each, in their order, with their sense."""

    replies: tuple[Reply, ...]
    senses: tuple[float, ...]

    @classmethod
    def read(cls, path: Path) -> Said:
        rows = json.loads(path.read_text(encoding="utf-8"))["replies"]
        return cls(tuple(Reply(text, ended) for text, ended, _ in rows), tuple(sense for _, _, sense in rows))

    def rows(self) -> list[tuple[str, bool, float]]:
        return [(r.text, r.finished, round(s, 4)) for r, s in zip(self.replies, self.senses, strict=True)]


class Ground:
    """Everything is made when it is first asked for, and kept under `folder`."""

    def __init__(self, home: Home, model: str, quick: bool, data: str | None, reported: bool = True) -> None:
        self.home, self.model, self.quick, self.data, self.reported = home, model, quick, data, reported
        name = f"{Path(model).stem}{'-quick' if quick else ''}{'' if reported else '-tuning'}"
        # What the reported table is made of stands beside it, so that another machine can go on with it.
        whole = reported and not quick
        self.folder = (RESULTS if whole else CHECKOUT / "build" / "bench") / "learning" / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.homes = home.root.with_name(f"{home.root.name}-bench-learning") / name  # a home is never in the checkout
        # Neither rated nor trained on, and beyond those that the gate judges with.
        held_out = [*general_prompts("spare"), *general_prompts("gate")[GateConfig().prompts :]]
        self.prompts: list[str] = held_out[:8] if quick else held_out

    @cached_property
    def base(self) -> BaseModel:
        return load_base(self.model, self.home.models_dir, trainable=True)

    @cached_property
    def measured(self) -> Measured:
        return Measured(bank(self.home, self.model, self.quick))

    @cached_property
    def reader(self) -> Reader:
        return Reader(self.measured, self.base)

    @cached_property
    def rated_prompts(self) -> list[str]:
        """Of the bank, for their sense is known, those that may be trained on."""
        known = set(self.measured.bank.prompts)
        return [prompt for prompt in general_prompts("rollout") if prompt in known]

    def person(self, number: int, stage: int = 0) -> Person:
        """Person `number`, with the generator of one stage of their story."""
        content = number % CONTENT_EVERY == CONTENT_EVERY - 1
        seed = SEED if self.reported else TUNING_SEED
        taste = draw_taste(self.measured, seed, number, self.reported, content)
        person = Person(self.measured, taste, np.random.default_rng([seed, number]), keeps_substance=True)
        person.rng = np.random.default_rng([seed, number, stage])  # the bias before it is the same at every stage
        return person

    def sampled(self, adapter: str | None, seed: int, system: str = "") -> Said:
        """One reply to each held-out prompt, at the chat's default settings; what the base says is sampled once."""
        if adapter is None and not system:
            return self._kept(f"base-{seed}", lambda: self._sampled(None, seed))
        return self._sampled(adapter, seed, system)

    def _sampled(self, adapter: str | None, seed: int, system: str = "") -> Said:
        replies = self._replies(self.prompts, adapter, seed, system)
        return Said(replies, tuple(self.reader.senses(self.prompts, replies)))

    def _replies(
        self, prompts: Sequence[str], adapter: str | None, seed: int, system: str = ""
    ) -> tuple[Reply, ...]:
        """One reply to each prompt, at the chat's default settings; `seed` is of all of them together."""
        system_turn = (Turn("system", system),) if system else ()
        queries = [self.base.encode_chat((*system_turn, Turn("user", prompt))) for prompt in prompts]
        seeds = [1000 * seed + i for i in range(len(queries))]
        rollouts = sample_replies(self.base, adapter, queries, SamplingSettings(), seeds, max_rows=ROWS_AT_ONCE)
        return tuple(r.reply for r in rollouts)

    @cached_property
    def instructed(self) -> list[Instructed]:
        found = instructed(self.data)
        return found[:8] if self.quick else found

    def followed(self, adapter: str | None) -> Array:
        """(prompts of IFEval,) share of the instructions that one reply to each follows."""
        return self.followed_by_base if adapter is None else self._followed(adapter, 0)

    def _followed(self, adapter: str | None, seed: int) -> Array:
        replies = self._replies([one.prompt for one in self.instructed], adapter, seed)
        return np.array(share_followed(self.instructed, [reply.text for reply in replies]))

    @cached_property
    def followed_by_base(self) -> Array:
        """The same of the base, the mean of several replies to each: everybody is compared with it, and one reply to
        each was two points above what eight come to."""
        path = self.folder / "ifeval-base.json"
        if not path.exists():
            write_whole(path, np.mean([self._followed(None, seed) for seed in range(BASE_ASKED)], axis=0).tolist())
        return np.array(json.loads(path.read_text(encoding="utf-8")))

    def _kept(self, name: str, make: Callable[[], Said]) -> Said:
        """What a file of this folder holds, made if it is not there."""
        path = self.folder / f"{name}.json"
        if not path.exists():
            write_whole(path, {"replies": make().rows()})
        return Said.read(path)

    @cached_property
    def opponents(self) -> list[Said]:
        return [self.sampled(None, i) for i in range(OPPONENTS)]

    @cached_property
    def of_n(self) -> list[Said]:
        return [self.sampled(None, i) for i in range(OPPONENTS, OPPONENTS + OF_N)]

    def wins(self, person: Person, said: Said) -> Array:
        """(P,) share of the base's replies to each held-out prompt that this one beats for the person, ties half."""
        ours = utilities(person, said.replies, said.senses)
        theirs = [utilities(person, other.replies, other.senses) for other in self.opponents]
        return np.mean([0.5 * (1 + np.sign(ours - other)) for other in theirs], axis=0)


def code() -> str:
    """A hash of the sources that decide what is learnt, and of those of the simulated people who judge it."""
    digest = hashlib.sha256()
    for place in ("learner", "data", "benchmarks/people", "benchmarks/replies.py"):
        found = CHECKOUT / place
        for path in sorted(found.rglob("*.py")) if found.is_dir() else [found]:
            digest.update(path.relative_to(CHECKOUT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def write_whole(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    partial.rename(path)


def words(replies: Sequence[Reply]) -> list[int]:
    return [len(reply.text.split()) for reply in replies]
