"""A turn is stored before it is answered, and whatever happens to the reply, what was written stays."""

from __future__ import annotations

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from assistant.adapters import Live
from assistant.prompting import encode_within
from assistant.sampling import Sampling
from data.errors import Conflict, Invalid, NotFound
from data.evidence import load_evidence
from data.profile.resetting import reset
from data.types import Message, Turn
from tests.assistant.conftest import Parts

SHORT = Sampling(temperature=0, max_tokens=6)
LONG = Sampling(temperature=0, max_tokens=400)


def test_question_and_reply_are_stored_and_the_conversation_gets_a_title(parts: Parts) -> None:
    stream = parts.chat.reply(parts.user_id, None, "What is the capital of France, please?", sampling=SHORT)
    assert stream.conversation is not None and stream.user_message is not None and stream.message is not None
    assert parts.store.message(parts.user_id, stream.user_message.id).content.startswith("What is")
    text = "".join(stream)
    stored = parts.store.message(parts.user_id, stream.message.id)
    assert (stored.content, stored.finish_reason, stored.completion_tokens) == (text, "length", 6)
    assert stored.parent_id == stream.user_message.id
    assert stored.adapter_version == 0
    assert stored.sampling["temperature"] == 0
    assert stream.conversation.title == "What is the capital of France, please?"


def test_the_next_message_goes_after_the_newest_and_is_answered_in_its_context(parts: Parts) -> None:
    first = parts.chat.reply(parts.user_id, None, "My cat is called Miso.", sampling=SHORT)
    first.wait()
    assert first.conversation is not None
    second = parts.chat.reply(parts.user_id, first.conversation.id, "And my dog?", sampling=SHORT)
    second.wait()
    assert second.user_message is not None and second.user_message.parent_id == first.message_id
    assert second.prompt_tokens > first.prompt_tokens + 6


def test_a_conversation_is_answered_once_at_a_time_and_nothing_of_the_second_is_stored(parts: Parts) -> None:
    stream = parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG)
    assert stream.conversation is not None
    with pytest.raises(Conflict):
        parts.chat.reply(parts.user_id, stream.conversation.id, "And now?", sampling=SHORT)
    assert stream.message_id is not None
    with pytest.raises(Conflict):
        parts.chat.regenerate(parts.user_id, stream.message_id)
    assert len(parts.store.messages(parts.user_id, stream.conversation.id)) == 2
    stream.cancel()
    stream.wait()
    parts.chat.reply(parts.user_id, stream.conversation.id, "And now?", sampling=SHORT).wait()


def test_a_reply_that_is_erased_while_it_is_written_ends_and_leaves_nothing_in_the_log(
    parts: Parts, caplog: pytest.LogCaptureFixture
) -> None:
    stream = parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG)
    next(stream)
    reset(parts.store, parts.home, parts.user_id, "all", erase_now=True)
    stream.cancel()
    with pytest.raises(NotFound, match="no such reply"):
        for _ in stream:
            pass
    assert stream.finish_reason == "interrupted"
    assert not [record for record in caplog.records if record.name.startswith("assistant")]


def test_a_reply_that_is_erased_is_not_written_to_its_end(parts: Parts) -> None:
    stream = parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG)
    next(stream)
    reset(parts.store, parts.home, parts.user_id, "all", erase_now=True)
    with pytest.raises(NotFound):
        for _ in stream:
            pass
    until = time.monotonic() + 30
    while parts.engine.active:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert stream.writer.generation.finish_reason == "cancelled"


def test_stop_keeps_what_was_written(parts: Parts) -> None:
    stream = parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG)
    seen = next(stream) + next(stream)
    assert stream.conversation is not None
    assert parts.chat.stop(parts.user_id, stream.conversation.id)
    message = stream.wait()
    assert message is not None
    assert message.finish_reason == "cancelled"
    assert message.content.startswith(seen)
    assert not parts.chat.stop(parts.user_id, stream.conversation.id)


def test_a_reply_that_was_stopped_while_its_version_was_loaded_is_not_written(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation = parts.store.create_conversation(parts.user_id, "Cold")
    acquire, loading, loaded = parts.adapters.acquire, threading.Event(), threading.Event()

    def slow(user_id: str) -> Live:
        loading.set()
        assert loaded.wait(10)
        return acquire(user_id)

    monkeypatch.setattr(parts.adapters, "acquire", slow)
    with ThreadPoolExecutor(1) as other:
        asked = other.submit(
            parts.chat.reply, parts.user_id, conversation.id, "Tell me a long story.", sampling=LONG
        )
        assert loading.wait(10)
        assert parts.chat.stop(parts.user_id, conversation.id)
        loaded.set()
        message = asked.result(10).wait(10)
    assert message is not None
    assert message.finish_reason == "cancelled"
    assert len(message.content) < 50
    again = parts.chat.reply(parts.user_id, conversation.id, "Then a short one.", sampling=SHORT).wait(10)
    assert again is not None and again.finish_reason == "length"  # what was stopped was that turn alone


def test_where_a_second_reply_cannot_begin_nobody_waits_for_the_first(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin_reply = parts.store.begin_reply
    conversation = parts.store.create_conversation(parts.user_id, "Short-lived")

    def then_deleted(*given: Any) -> Message:
        reply = begin_reply(*given)
        parts.store.delete_conversation(parts.user_id, conversation.id)
        return reply

    monkeypatch.setattr(parts.store, "begin_reply", then_deleted)
    with pytest.raises(NotFound, match="no such conversation"):
        parts.chat.compare(parts.user_id, conversation.id, "Say hello.", sampling=SHORT)
    parts.store.restore_conversation(parts.user_id, conversation.id)
    [_, reply] = parts.store.messages(parts.user_id, conversation.id)
    assert reply.finish_reason == "interrupted"


def test_a_reader_that_goes_away_ends_the_reply(parts: Parts) -> None:
    stream = parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG)
    next(stream)
    message_id, writer = stream.message_id, stream.writer
    del stream
    gc.collect()
    assert writer.done.wait(10)
    assert message_id is not None
    stored = parts.store.message(parts.user_id, message_id)
    assert stored.finish_reason == "cancelled"
    assert stored.content


def test_a_long_reply_is_saved_while_it_is_written(parts: Parts) -> None:
    with parts.chat.reply(parts.user_id, None, "Tell me a long story.", sampling=LONG) as stream:
        assert stream.message_id is not None
        until = time.monotonic() + 20
        while not parts.store.message(parts.user_id, stream.message_id).content:
            assert time.monotonic() < until
            time.sleep(0.1)
        assert stream.finish_reason is None
    assert parts.store.message(parts.user_id, stream.message_id).finish_reason == "cancelled"


def test_regenerating_adds_a_variant_beside_the_reply(parts: Parts) -> None:
    first = parts.chat.reply(parts.user_id, None, "Name three fruits.", sampling=SHORT)
    first.wait()
    assert first.message_id is not None and first.user_message is not None
    second = parts.chat.regenerate(parts.user_id, first.message_id, sampling=SHORT)
    message = second.wait()
    assert message is not None
    assert message.parent_id == first.user_message.id
    assert message.id != first.message_id
    assert second.user_message is None
    assert message.content == first.text  # greedy: the same context gave the same reply


def test_an_edited_message_is_a_new_branch_even_at_the_root(parts: Parts) -> None:
    first = parts.chat.reply(parts.user_id, None, "Name three fruits.", sampling=SHORT)
    first.wait()
    assert first.user_message is not None and first.conversation is not None
    other = parts.chat.edit_message(parts.user_id, first.user_message.id, "Name two birds.", sampling=SHORT)
    other.wait()
    assert other.user_message is not None
    assert other.user_message.parent_id is None
    assert other.conversation is not None and other.conversation.id == first.conversation.id
    with pytest.raises(Invalid):
        parts.chat.edit_message(parts.user_id, str(first.message_id), "no")


def test_a_comparison_is_stored_when_its_replies_have_ended(parts: Parts) -> None:
    made = parts.chat.compare(
        parts.user_id, None, "Say hello.", n=2, sampling=Sampling(temperature=1.0, max_tokens=6, seed=4)
    )
    assert made.comparison is None
    for stream in made.streams:
        stream.wait()
    assert made.comparison is not None
    stored = parts.store.comparison(parts.user_id, made.comparison.id)
    assert list(stored.reply_ids) == [stream.message_id for stream in made.streams]
    assert stored.prompt_message_id == made.user_message.id


def test_turns_that_are_not_to_be_stored_leave_nothing_behind(parts: Parts) -> None:
    [stream] = parts.chat.complete(parts.user_id, [Turn("user", "Say hello.")], SHORT, store=False)
    assert "".join(stream)
    assert stream.message_id is None
    assert parts.store.list_conversations(parts.user_id) == []


def test_a_stored_conversation_is_joined_where_it_says_the_same(parts: Parts) -> None:
    first = parts.chat.reply(parts.user_id, None, "Name three fruits.", sampling=SHORT)
    first.wait()
    assert first.conversation is not None
    history = [Turn("user", "Name three fruits."), Turn("assistant", first.text)]
    [next_one] = parts.chat.complete(
        parts.user_id, [*history, Turn("user", "More.")], SHORT, conversation_id=first.conversation.id
    )
    next_one.wait()
    assert next_one.user_message is not None and next_one.user_message.parent_id == first.message_id
    with pytest.raises(Invalid, match="not what the stored conversation says"):
        parts.chat.complete(
            parts.user_id,
            [Turn("user", "Another start."), Turn("assistant", "x"), Turn("user", "More.")],
            SHORT,
            conversation_id=first.conversation.id,
        )


def test_the_oldest_turns_drop_out_of_a_full_window_and_the_system_prompt_stays(parts: Parts) -> None:
    filler = "word " * 900
    turns = [Turn("system", "Answer in one word.")]
    for i in range(12):
        turns += [Turn("user", f"No. {i}: {filler}"), Turn("assistant", "ok")]
    turns.append(Turn("user", "Last question."))
    ids, room = encode_within(parts.base, turns, 100)
    shown = parts.base.decode(ids)
    assert parts.base.context_length - 1000 < len(ids) <= parts.base.context_length - 100
    assert room == 100
    assert "Answer in one word." in shown
    assert "Last question." in shown
    assert "No. 11:" in shown
    assert "No. 0:" not in shown


def test_a_message_that_alone_is_too_long_is_refused_and_not_stored(parts: Parts) -> None:
    with pytest.raises(Invalid, match="tokens; this model reads"):
        parts.chat.reply(parts.user_id, None, "word " * 9000, sampling=SHORT)
    with pytest.raises(Invalid, match="empty"):
        parts.chat.reply(parts.user_id, None, "  \n", sampling=SHORT)
    assert parts.store.list_conversations(parts.user_id) == []


def test_notes_reach_the_model_only_when_switched_on_and_never_the_base(parts: Parts) -> None:
    parts.store.put_notes(parts.user_id, [{"text": "Likes haiku"}, {"text": "Hates puns", "enabled": False}])

    def prompt_of(model: str) -> str:
        [stream] = parts.chat.complete(
            parts.user_id,
            [Turn("user", "Hi")],
            SHORT,
            store=False,
            model=model,  # type: ignore[arg-type]
        )
        stream.cancel()
        return parts.base.decode(stream.writer.generation.prompt)

    assert "Likes haiku" in prompt_of("attune")
    assert "Hates puns" not in prompt_of("attune")
    assert "Likes haiku" not in prompt_of("base")


def test_nobody_reaches_somebody_elses_messages(parts: Parts) -> None:
    mine = parts.chat.reply(parts.user_id, None, "Name three fruits.", sampling=SHORT)
    mine.wait()
    other = parts.store.add_user("other", None).id
    assert mine.conversation is not None and mine.user_message is not None and mine.message_id is not None
    for attempt in (
        lambda: parts.chat.reply(other, mine.conversation.id, "hi"),
        lambda: parts.chat.regenerate(other, mine.message_id),
        lambda: parts.chat.edit_message(other, mine.user_message.id, "hi"),
        lambda: parts.chat.compare(other, None, parent_id=mine.message_id),
        lambda: parts.chat.stop(other, mine.conversation.id),
        lambda: parts.chat.reply(other, None, "hi", parent_id=mine.message_id).wait(),
    ):
        with pytest.raises((NotFound, Invalid)):
            attempt()


def test_a_conversation_goes_on_from_the_edited_reply_and_keeps_that_it_did(parts: Parts) -> None:
    first = parts.chat.reply(parts.user_id, None, "Name a pet.", sampling=SHORT)
    first.wait()
    assert first.conversation is not None and first.message is not None
    long = "A hamster called Biscuit, who lives in a large box of straw beside the window. " * 4
    event = parts.store.add_feedback(parts.user_id, "edit", long, message_id=first.message.id)
    second = parts.chat.reply(parts.user_id, first.conversation.id, "How old is it?", sampling=SHORT)
    second.wait()
    assert second.prompt_tokens > len(long.split())  # six tokens of the original would be far fewer
    assert second.message is not None and second.message.sampling["edited"] == {"1": long}
    observation = parts.store.add_feedback(parts.user_id, "thumb", "up", message_id=second.message.id)
    found = {o.feedback_id: o for o in load_evidence(parts.store, parts.user_id).observations}
    assert found[observation.id].context[1] == Turn("assistant", long)
    parts.store.retract_feedback(parts.user_id, event.id)
    third = parts.chat.reply(parts.user_id, first.conversation.id, "And its colour?", sampling=SHORT)
    third.wait()
    assert third.message is not None and "edited" not in third.message.sampling


def test_a_reply_keeps_the_notes_that_it_read(parts: Parts) -> None:
    parts.store.put_notes(parts.user_id, [{"text": "Rhyme."}, {"text": "Shout.", "enabled": False}])
    noted = parts.chat.reply(parts.user_id, None, "Name a pet.", sampling=SHORT)
    noted.wait()
    plain = parts.chat.reply(parts.user_id, None, "Name a pet.", sampling=SHORT, model="base")
    plain.wait()
    assert noted.message is not None and plain.message is not None
    assert noted.message.sampling["system_prompt"] == "The person you answer has these wishes:\n- Rhyme."
    assert "system_prompt" not in plain.message.sampling
    rated = parts.store.add_feedback(parts.user_id, "stars", 5, message_id=noted.message.id)
    found = {o.feedback_id: o for o in load_evidence(parts.store, parts.user_id).observations}
    assert found[rated.id].context[0] == Turn("system", noted.message.sampling["system_prompt"])
