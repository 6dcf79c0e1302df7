"""Conversations, messages and the search over them."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import AttuneError, Conflict, Invalid, NotFound
from data.home import CHECKOUT, Home
from data.store import Store
from data.types import Turn


def test_a_tree_comes_back_as_it_was_written(store, chatted):
    follow_up = store.add_message(
        chatted.user.id, chatted.conversation.id, chatted.sibling.id, "user", "Why?"
    )
    tree = store.messages(chatted.user.id, chatted.conversation.id)
    assert [m.id for m in tree] == [chatted.question.id, chatted.reply.id, chatted.sibling.id, follow_up.id]
    path = store.path(chatted.user.id, follow_up.id)
    assert [m.content for m in path] == ["What is rain?", "Water, falling.", "Why?"]
    assert tree[1].finish_reason == "stop" and tree[1].completion_tokens == 9
    assert tree[1].sampling == {"temperature": 0.7} and tree[1].adapter_version == 0


def test_ids_rise_in_the_order_of_writing_also_when_the_clock_goes_back(store, chatted, monkeypatch):
    ids = []
    for now in (2_000_000_000.0, 1_000_000_000.0, 1_000_000_000.0):
        monkeypatch.setattr("data.ids.time.time", lambda now=now: now)
        ids.append(store.create_conversation(chatted.user.id).id)
    assert ids == sorted(ids) and ids[0] > chatted.reply.id and len(set(ids)) == 3


def test_a_turn_of_several_messages_is_one_chain(store, chatted):
    turns = [Turn("user", "Hello"), Turn("assistant", "Hi"), Turn("user", "Bye")]
    added = store.add_turn(chatted.user.id, chatted.conversation.id, chatted.reply.id, turns)
    assert [m.parent_id for m in added] == [chatted.reply.id, added[0].id, added[1].id]
    assert added[1].finish_reason == "stop"


def test_an_unfinished_reply_is_interrupted_at_the_next_start_and_keeps_its_text(store, chatted):
    reply = store.begin_reply(chatted.user.id, chatted.conversation.id, chatted.question.id, 2, {})
    store.save_partial(reply.id, "Rain is")
    assert store.message(chatted.user.id, reply.id).finish_reason is None
    assert store.interrupt_unfinished() == 1
    after = store.message(chatted.user.id, reply.id)
    assert (after.content, after.finish_reason, after.adapter_version) == ("Rain is", "interrupted", 2)
    with pytest.raises(Conflict):
        store.finish_reply(reply.id, "Rain is wet.", "stop", 1, 1)


def test_what_belongs_to_somebody_else_is_not_found(store, chatted):
    other = store.ensure_user("other")
    for ask in (
        lambda: store.conversation(other.id, chatted.conversation.id),
        lambda: store.message(other.id, chatted.reply.id),
        lambda: store.messages(other.id, chatted.conversation.id),
        lambda: store.path(other.id, chatted.reply.id),
        lambda: store.add_message(other.id, chatted.conversation.id, None, "user", "x"),
        lambda: store.rename_conversation(other.id, chatted.conversation.id, "x"),
        lambda: store.delete_conversation(other.id, chatted.conversation.id),
        lambda: store.restore_conversation(other.id, chatted.conversation.id),
    ):
        with pytest.raises(NotFound):
            ask()
    assert store.search(other.id, "rain") == []


def test_a_parent_in_another_conversation_is_not_found(store, chatted):
    elsewhere = store.create_conversation(chatted.user.id)
    with pytest.raises(NotFound):
        store.add_message(chatted.user.id, elsewhere.id, chatted.reply.id, "user", "x")
    assert store.messages(chatted.user.id, elsewhere.id) == []


def test_a_deleted_conversation_is_gone_until_it_is_restored(store, chatted):
    store.delete_conversation(chatted.user.id, chatted.conversation.id)
    with pytest.raises(NotFound):
        store.message(chatted.user.id, chatted.reply.id)
    assert store.search(chatted.user.id, "clouds") == []
    assert store.list_conversations(chatted.user.id) == []
    store.restore_conversation(chatted.user.id, chatted.conversation.id)
    assert store.message(chatted.user.id, chatted.reply.id) == chatted.reply


def test_conversations_are_listed_by_last_use_and_paged(store, chatted):
    user = chatted.user.id
    others = [store.create_conversation(user, f"c{i}") for i in range(4)]
    store.add_message(user, chatted.conversation.id, None, "user", "again")
    with store._write() as db:  # times of their own, as if minutes apart
        for i, conversation in enumerate([*others, chatted.conversation]):
            db.execute(
                "UPDATE conversations SET updated_at = ? WHERE id = ?", (f"2026-01-0{i}", conversation.id)
            )
    everything = [c.id for c in store.list_conversations(user)]
    assert everything == [chatted.conversation.id, *[c.id for c in reversed(others)]]
    first = store.list_conversations(user, limit=2)
    rest = store.list_conversations(user, before=first[-1].id)
    assert [c.id for c in first + rest] == everything


def test_search_finds_words_in_english_and_in_chinese(store, chatted):
    user, conversation = chatted.user.id, chatted.conversation.id
    chinese = store.add_message(user, conversation, None, "user", "今天下雨吗？我要带伞。")
    assert [m.id for m in store.search(user, "下雨")] == [chinese.id]
    assert [m.id for m in store.search(user, "要带伞")] == [chinese.id]
    assert [m.id for m in store.search(user, "CLOUDS falls")] == [chatted.reply.id]
    assert [m.id for m in store.search(user, "water")] == [chatted.sibling.id, chatted.reply.id]
    assert store.search(user, "water snow") == []
    assert store.search(user, "  ") == []


@pytest.mark.parametrize("query", ['"', '" OR "', "NEAR(", "a*", "100%", "_", "\\", "rain'); DROP TABLE x"])
def test_search_takes_any_character_as_itself(store, chatted, query):
    assert store.search(chatted.user.id, query) == []
    written = store.add_message(chatted.user.id, chatted.conversation.id, None, "user", f"xx {query} yy")
    assert [m.id for m in store.search(chatted.user.id, query)] == [written.id]


def test_conversations_are_found_by_title_and_by_every_word_of_a_message(store, chatted, monkeypatch):
    user, rain = chatted.user.id, chatted.conversation.id
    named = store.create_conversation(user, "Über Öl und 100% Wolle").id
    later = store.create_conversation(user, "Weather").id
    for i in range(120):  # more about it than a search for messages gives
        store.add_message(user, later, None, "user", f"Of clouds, {i}.")

    def found(query: str, **how: int) -> list[str]:
        return [conversation.id for conversation in store.find_conversations(user, query, **how)]

    assert found("clouds") == [later, rain]
    assert found("clouds", limit=1) == [later]
    assert found("CLOUDS falls") == [rain]
    assert found("rain") == [rain]
    assert found("über  öl") == found("ÜBER") == found("100%") == [named]
    assert found("100_") == found("zebra") == found("clouds zebra") == found("\0") == found("x" * 60_000) == []
    assert found("clouds fa\0lls") == [rain]
    assert found("Rain \ud83d") == [rain]
    monkeypatch.setattr("data.store.search.MAX_TRIGRAMS", 0)  # as if very many words began like this
    assert found("of") == [later]
    assert found("is water") == [rain]
    store.delete_conversation(user, later)
    assert found("clouds") == [rain]
    assert store.find_conversations(store.ensure_user("other").id, "clouds") == []


def test_search_does_not_find_what_is_still_being_written_nor_an_earlier_text(store, chatted):
    user = chatted.user.id
    reply = store.begin_reply(user, chatted.conversation.id, chatted.question.id, 0, {})
    store.save_partial(reply.id, "zebra")
    assert store.search(user, "zebra") == []
    store.finish_reply(reply.id, "giraffe", "stop", 1, 1)
    assert store.search(user, "zebra") == []
    assert [m.id for m in store.search(user, "giraffe")] == [reply.id]
    assert store.verify() == []


def test_half_a_character_is_refused_in_one_line(store, chatted):
    user, conversation = chatted.user.id, chatted.conversation.id
    for ask in (
        lambda: store.add_message(user, conversation, None, "user", "x\ud800y"),
        lambda: store.rename_conversation(user, conversation, "\ud800"),
        lambda: store.put_notes(user, [{"text": "\ud800"}]),
        lambda: store.message(user, "\ud800"),
        lambda: store.list_conversations(user, before="\ud800"),
    ):
        with pytest.raises(Invalid, match="surrogate"):
            ask()
    assert len(store.messages(user, conversation)) == 3


def test_search_looks_past_what_stands_in_no_message(store, chatted):
    """A NUL would end the index's words in the middle of a phrase."""
    for query in ("clo\0uds", "\0clouds", "clouds\0", "clouds \ud800", "clouds \0"):
        assert [m.id for m in store.search(chatted.user.id, query)] == [chatted.reply.id], repr(query)
    for query in ("\0", "\ud800"):
        assert store.search(chatted.user.id, query) == []


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80))
def test_any_text_comes_back_to_the_letter_and_is_found(store, chatted, text):
    user = chatted.user.id
    message = store.add_message(user, chatted.conversation.id, None, "user", text)
    assert store.message(user, message.id).content == text
    words = text.split()
    if words and "\0" not in text:  # SQLite's text functions end at a NUL
        assert message.id in [found.id for found in store.search(user, words[0], limit=10_000)]


def test_a_home_inside_the_checkout_is_refused():
    with pytest.raises(AttuneError, match="--home"):
        Home.locate(str(CHECKOUT / "data" / "x"))


def test_a_file_that_is_no_database_gets_one_line(tmp_path):
    home = Home(tmp_path).create()
    home.db_path.write_bytes(b"this is no database at all, but long enough to look at" * 40)
    with pytest.raises(AttuneError, match=r"attune\.db"):
        Store(home)
