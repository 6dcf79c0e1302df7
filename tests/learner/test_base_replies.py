"""What the base says is sampled once, remembered, and never takes more time than it may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.home import Home
from data.prompts import context_key, general_prompts
from data.schema import migrate
from data.shipped_replies import shipped_replies, write_shipped_replies
from data.store import Store
from data.types import Reply, Turn
from learner import base_replies
from learner.base_replies import BaseReplies, base_key, ship
from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.policy.sequences import batch_sequences, evaluate_policy

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


def test_shipped_replies_come_first_and_are_only_added_to(
    store: Store, tiny_base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    hello, *others = CONTEXTS
    shipped = [Reply("Good morning.", True), Reply("Good", False)]
    keys = []
    monkeypatch.setattr(base_replies, "shipped_replies", lambda key: keys.append(key) or {hello: shipped})
    run, watch = run_of(store), Watch()
    two = BaseReplies(store, run, tiny_base, CONFIG, watch).to({hello: CONTEXTS[hello]}, 2, "base replies")
    assert two == {hello: shipped} and watch.told == []  # nothing was sampled
    assert keys == [f"{tiny_base.spec.weights_sha256}:0.7:6"]
    three = BaseReplies(store, run, tiny_base, CONFIG, watch).to(CONTEXTS, 3, "more")
    assert three[hello][:2] == shipped and len(three[hello]) == 3
    assert store.base_replies(keys[0], hello) == three[hello][2:]
    assert all(store.base_replies(keys[0], name) == three[name] for name in others)
    assert BaseReplies(store, run, tiny_base, CONFIG, watch).to(CONTEXTS, 3, "more") == three
    assert len(watch.told) == 1


def test_the_embedded_models_shipped_replies_are_to_the_prompts_that_they_stand_under(base_model: BaseModel) -> None:
    """As many to each rollout prompt as the first pass takes; likelier there than after another prompt."""
    found = shipped_replies(base_key(base_model, DEFAULT.ppo))
    contexts = [(Turn("user", text),) for text in general_prompts("rollout")]
    assert set(found) == {context_key(context) for context in contexts}
    assert {len(replies) for replies in found.values()} == {DEFAULT.practice.replies}
    some = contexts[::20]
    replies = [min(found[context_key(context)], key=lambda reply: len(reply.text)) for context in some]
    said = [base_model.encode_reply(reply.text, reply.finished) for reply in replies]

    def logprobs(asked: Sequence[Sequence[Turn]]) -> torch.Tensor:
        queries = [base_model.encode_chat(context) for context in asked]
        batch = batch_sequences(queries, said, base_model.pad_id, base_model.device)
        with torch.no_grad():
            return evaluate_policy(base_model, None, batch, 1.0).logprobs.sum(-1)

    assert bool((logprobs(some) > logprobs([*some[1:], some[0]])).all())


def test_what_is_shipped_is_what_would_have_been_sampled(
    store: Store, tiny_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "replies.jsonl.gz"
    ship(tiny_base, CONFIG, [turn.content for (turn,) in CONTEXTS.values()], path)
    monkeypatch.setattr("data.shipped_replies.FILE", path)
    sampled = BaseReplies(store, run_of(store), tiny_base, CONFIG, Unlimited()).to(CONTEXTS, 8, "base replies")
    assert shipped_replies.__wrapped__(base_key(tiny_base, CONFIG.ppo)) == sampled


def test_a_file_of_shipped_replies_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "replies.jsonl.gz"
    monkeypatch.setattr("data.shipped_replies.FILE", path)
    replies = {"a": [Reply("Zeile\u2028 eins", True), Reply("", False)], "b": [Reply("你好", True)]}
    write_shipped_replies("model:0.7:256", replies, path)
    read = shipped_replies.__wrapped__
    assert read("model:0.7:256") == replies
    assert read("model:0.4:256") == {}
