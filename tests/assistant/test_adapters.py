"""What the learner publishes answers from the next reply on; what does not load never takes the chat down."""

from __future__ import annotations

import time

import pytest

from assistant.sampling import Sampling
from data.adapter_files import WEIGHTS, adapter_sha256
from data.types import Turn
from learner.config import LoraSettings
from learner.modeling.lora import save_adapter
from tests.assistant.conftest import Parts
from tests.assistant.test_engine import changed_adapter

GREEDY = Sampling(temperature=0, max_tokens=6)


def publish(parts: Parts, number: int, *, base_id: str | None = None, user_id: str | None = None) -> None:
    user = user_id or parts.user_id
    folder = parts.home.adapter_dir(user, number)
    save_adapter(
        folder, changed_adapter(parts), LoraSettings(), parts.base.spec.id, parts.base.adapter_targets()
    )
    parts.store.record_version(
        user,
        number,
        number - 1,
        base_id or parts.base.spec.id,
        adapter_sha256(folder),
        "accepted",
        {},
        "promoted",
    )


def says(parts: Parts, model: str = "attune") -> tuple[str, int]:
    [stream] = parts.chat.complete(
        parts.user_id,
        [Turn("user", "Name three fruits.")],
        GREEDY,
        store=False,
        model=model,  # type: ignore[arg-type]
    )
    stream.wait()
    return stream.text, stream.version


def test_a_published_version_answers_the_next_reply_and_rollback_brings_the_base_back(parts: Parts) -> None:
    plain, version = says(parts)
    assert version == 0
    publish(parts, 1)
    adapted, version = says(parts)
    assert version == 1
    assert adapted != plain
    assert says(parts, "base") == (plain, 0)
    parts.store.publish(parts.user_id, 0, "rollback")
    assert says(parts) == (plain, 0)


def test_a_new_version_is_loaded_ahead_for_people_who_are_around(parts: Parts) -> None:
    says(parts)
    publish(parts, 1)
    until = time.monotonic() + 20
    while not parts.adapters.loaded():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_version_that_does_not_load_is_marked_and_the_one_before_answers(parts: Parts) -> None:
    publish(parts, 1)
    first, _ = says(parts)
    publish(parts, 2)
    weights = parts.home.adapter_dir(parts.user_id, 2) / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])
    assert says(parts) == (first, 1)
    assert parts.store.version(parts.user_id, 2).status == "unloadable"
    assert parts.store.live_version(parts.user_id) == 1
    assert parts.store.publications(parts.user_id)[-1].reason == "auto_rollback"


def test_a_missing_folder_of_the_only_version_leaves_the_base(parts: Parts) -> None:
    plain, _ = says(parts)
    publish(parts, 1)
    (parts.home.adapter_dir(parts.user_id, 1) / WEIGHTS).unlink()
    assert says(parts) == (plain, 0)
    assert parts.store.version(parts.user_id, 1).status == "unloadable"


def test_a_version_made_on_another_base_sleeps_and_is_not_called_broken(parts: Parts) -> None:
    publish(parts, 1, base_id="another/model")
    assert says(parts)[1] == 0
    assert parts.adapters.live_version(parts.user_id) == 0
    assert parts.store.version(parts.user_id, 1).status == "accepted"
    assert parts.store.live_version(parts.user_id) == 1


def test_the_longest_unused_adapter_leaves_but_never_one_that_is_writing(parts: Parts) -> None:
    people = [parts.store.add_user(name, None).id for name in ("a", "b", "c")]
    for person in people:
        publish(parts, 1, user_id=person)
    held = parts.adapters.acquire(people[0])
    for person in people[1:]:
        parts.adapters.release(parts.adapters.acquire(person))
    assert parts.adapters.loaded() == sorted([str(held.name), f"u{people[2]}v1"])
    assert parts.base.adapter_names() >= set(parts.adapters.loaded())
    parts.adapters.release(held)


@pytest.mark.parametrize("reason", ["promoted", "rollback"])
def test_a_reply_ends_on_the_version_it_began_with(parts: Parts, reason: str) -> None:
    publish(parts, 1)
    other = 2 if reason == "promoted" else 0
    stream = parts.chat.reply(
        parts.user_id, None, "Tell me a long story.", sampling=Sampling(temperature=0, max_tokens=16)
    )
    next(stream)
    if other:
        publish(parts, 2)
    else:
        parts.store.publish(parts.user_id, 0, "rollback")
    message = stream.wait()
    assert message is not None and message.adapter_version == 1
    assert stream.conversation is not None
    following = parts.chat.reply(parts.user_id, stream.conversation.id, "Go on.", sampling=GREEDY)
    assert following.version == other
    following.wait()
