"""A backup is the database of one moment, taken while others write."""

from __future__ import annotations

import sqlite3
import threading

import pytest

from data.errors import AttuneError
from data.home import Home
from data.store import Store


def test_a_backup_taken_while_others_write_is_a_whole_home(store, chatted, tmp_path):
    user = chatted.user.id
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            conversation = store.create_conversation(user, "More")
            store.add_message(user, conversation.id, None, "user", "And rain?")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        store.backup(tmp_path / "backup.db")
    finally:
        stop.set()
        writer.join()
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    elsewhere = Home(tmp_path / "elsewhere").create()
    (tmp_path / "backup.db").rename(elsewhere.db_path)
    restored = Store(elsewhere)
    assert restored.verify() == []
    assert restored.message(user, chatted.reply.id) == store.message(user, chatted.reply.id)
    assert [m.id for m in restored.search(user, "clouds")] == [chatted.reply.id]
    restored.close()


def test_a_backup_that_fails_leaves_the_one_before(store, chatted, tmp_path):
    out = tmp_path / "backup.db"
    store.backup(out)
    before = out.read_bytes()
    (tmp_path / "backup.db.part").mkdir()  # where the copy would be written
    with pytest.raises(AttuneError, match="could not be written"):
        store.backup(out)
    assert out.read_bytes() == before
    with sqlite3.connect(out) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
