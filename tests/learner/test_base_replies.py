"""What the base says is sampled once, remembered, and never takes more time than it may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from data.home import Home
from data.prompts import context_key
from data.schema import migrate
from data.store import Store
from data.types import Turn
from learner.base_replies import BaseReplies
from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited

CONTEXTS = {context_key((turn,)): (turn,) for turn in (Turn("user", text) for text in ("Hello!", "Sing.", "Why?"))}
DEFAULT = LearnerConfig()
CONFIG = replace(DEFAULT, ppo=replace(DEFAULT.ppo, response_tokens=6))


class Watch(Unlimited):
    """Remembers what it was told; as much of a budget is left as it was given."""

    def __init__(self, left_s: float = float("inf")) -> None:
        self.told: list[tuple[str, float]] = []
        self.left_s = left_s

    def report(self, phase: str, share: float, metrics: Mapping[str, float]) -> None:
        self.told.append((phase, share))

    def seconds_left(self, budget: str) -> float:
        return self.left_s


@pytest.fixture
def store(tmp_path: Path) -> Store:
    home = Home(tmp_path / "home").create()
    migrate(home)
    return Store(home)


def run_of(store: Store) -> str:
    return store.queue_run(store.ensure_user().id, "manual").id


def test_replies_are_sampled_once_and_more_of_them_only_add_to_the_first(store: Store, tiny_base: BaseModel) -> None:
    run = run_of(store)
    watch = Watch()
    two = BaseReplies(store, run, tiny_base, CONFIG, watch).to(CONTEXTS, 2, "base replies")
    assert {key: len(replies) for key, replies in two.items()} == dict.fromkeys(CONTEXTS, 2)
    assert watch.told == [("base replies", 1.0)]
    three = BaseReplies(store, run, tiny_base, CONFIG, watch).to(CONTEXTS, 3, "more")
    assert all(three[key][:2] == two[key] and len(three[key]) == 3 for key in CONTEXTS)
    assert watch.told[1:] == [("more", 1.0)]
    again = BaseReplies(store, run, tiny_base, CONFIG, watch).to(CONTEXTS, 3, "more")
    assert again == three
    assert len(watch.told) == 2  # nothing was sampled


def test_without_time_only_what_is_there_comes_back(store: Store, tiny_base: BaseModel) -> None:
    run = run_of(store)
    first = dict(list(CONTEXTS.items())[:1])
    BaseReplies(store, run, tiny_base, CONFIG, Unlimited()).to(first, 2, "base replies")
    found = BaseReplies(store, run, tiny_base, CONFIG, Watch(left_s=5)).to(CONTEXTS, 2, "more", reserve_s=10)
    assert set(found) == set(first)
    found = BaseReplies(store, run, tiny_base, CONFIG, Watch(left_s=11)).to(CONTEXTS, 2, "more", reserve_s=10)
    assert set(found) == set(CONTEXTS)


def test_what_the_model_cannot_read_is_left_out(store: Store, tiny_base: BaseModel) -> None:
    long = (Turn("user", "word " * 2000),)
    asked = {**CONTEXTS, context_key(long): long}
    found = BaseReplies(store, run_of(store), tiny_base, CONFIG, Unlimited()).to(asked, 1, "base replies")
    assert set(found) == set(CONTEXTS)
