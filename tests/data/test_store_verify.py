"""verify() names what is wrong: each invariant is broken here on purpose."""

from __future__ import annotations

import sqlite3

import pytest

from data.adapter_files import WEIGHTS, adapter_sha256


@pytest.fixture
def published(store, home, chatted):
    """A live version 1 with its file, and feedback with a comparison."""
    user = chatted.user.id
    folder = home.adapter_dir(user, 1)
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    store.record_version(user, 1, 0, "b", adapter_sha256(folder), "accepted", {}, "promoted")
    store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    replies = [chatted.reply.id, chatted.sibling.id]
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, replies)
    store.add_feedback(user, "ranking", {"order": [replies]}, comparison_id=comparison.id)
    assert store.verify() == []
    return folder


def test_a_changed_or_missing_adapter_file_is_found(store, published):
    (published / WEIGHTS).write_bytes(b"other")
    assert len(store.verify()) == 1 and "hash differs" in store.verify()[0]
    (published / WEIGHTS).unlink()
    assert len(store.verify()) == 1 and "not there" in store.verify()[0]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DELETE FROM adapter_versions", "live version 1"),
        ("UPDATE adapter_versions SET status = 'rejected'", "live version 1"),
        ("UPDATE adapter_versions SET has_weights = 0", "live version 1"),
        ("DELETE FROM users", "refers to a row"),
        ("DELETE FROM messages WHERE content = 'Water, falling.'", "reply that is not there"),
        ("UPDATE feedback SET user_id = (SELECT id FROM users WHERE name = 'other')", "somebody else"),
        ("UPDATE feedback SET value = 'x'", "JSON"),
        ("UPDATE comparisons SET user_id = (SELECT id FROM users WHERE name = 'other')", "own person"),
        ("INSERT INTO messages_fts(messages_fts) VALUES ('delete-all')", "full-text"),
        ("UPDATE feedback SET message_id = (SELECT id FROM messages WHERE role = 'user') WHERE kind = 'stars'",
         "somebody else"),
    ],
)  # fmt: skip
def test_a_broken_row_is_found(store, home, published, sql, says):
    store.ensure_user("other")
    connection = sqlite3.connect(home.db_path)  # without the store's foreign keys
    connection.execute(sql)
    connection.commit()
    connection.close()
    assert any(says in problem for problem in store.verify()), store.verify()
