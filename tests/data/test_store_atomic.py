"""A write broken half-way leaves the database as it was; many writers lose nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading

import pytest
from filelock import FileLock

from data.errors import AttuneError
from data.home import CHECKOUT, Home
from data.schema import migrate, migrations
from data.store import Store
from data.store.connection import Connected, Connection
from data.types import FeedbackUse, Turn


class Failing(Connection):
    """A connection whose n-th writing statement fails as on a full disk; `left` < 0 never fails."""

    left = -1

    def _count(self, sql: str) -> None:
        if sql.lstrip().split(" ", 1)[0].upper() in ("INSERT", "UPDATE", "DELETE", "COMMIT"):
            if Failing.left == 0:
                raise sqlite3.OperationalError("database or disk is full")
            Failing.left -= 1

    def execute(self, sql, *parameters):
        self._count(sql)
        return super().execute(sql, *parameters)

    def executemany(self, sql, *parameters):
        self._count(sql)
        return super().executemany(sql, *parameters)


def dump(home: Home) -> list[str]:
    connection = sqlite3.connect(home.db_path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


WRITES = {
    "a turn": lambda s, c: s.add_turn(
        c.user.id, c.conversation.id, c.reply.id, [Turn("user", "a"), Turn("assistant", "b")]
    ),
    "feedback": lambda s, c: s.add_feedback(c.user.id, "stars", 1, message_id=c.reply.id),
    "a retraction": lambda s, c: s.retract_feedback(c.user.id, s.list_feedback(c.user.id)[0].id),
    "a version that goes live": lambda s, c: s.record_version(
        c.user.id, 2, 1, "b", "a" * 64, "accepted", {}, "promoted"
    ),
    "a version that does not load": lambda s, c: s.mark_unloadable(c.user.id, 1),
    "notes": lambda s, c: s.put_notes(c.user.id, [{"text": "x"}, {"text": "y"}]),
    "settings": lambda s, c: s.update_settings(c.user.id, {"theme": "dark", "language": "zh"}),
    "something switched off": lambda s, c: s.mute(c.user.id, "emoji", True),
    "the end of a reply": lambda s, c: s.finish_reply(
        s.messages(c.user.id, c.conversation.id)[-1].id, "done", "stop", 1, 1
    ),
    "a password": lambda s, c: s.set_password(c.user.id, "hash"),
    "feedback use": lambda s, c: s.record_feedback_use(
        s.list_runs(c.user.id)[0].id, [FeedbackUse(s.list_feedback(c.user.id)[0].id, "train")]
    ),
    "a reset": lambda s, c: s.reset_rows(c.user.id, "all", "2999-01-01T00:00:00.000Z", erase=True),
    "a whole profile": lambda s, c: s.add_profile_content(
        c.user.id, s.profile_content(c.user.id), with_versions=True
    ),
}


@pytest.mark.parametrize("name", WRITES)
def test_a_write_broken_at_any_statement_leaves_the_database_as_it_was(home, make_chat, monkeypatch, name):
    monkeypatch.setattr(Connected, "connection_class", Failing)
    monkeypatch.setattr(Failing, "left", -1)
    store = Store(home)
    chatted = make_chat(store)
    user = chatted.user.id
    store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    store.record_version(user, 1, 0, "b", "", "accepted", {}, "promoted")
    store.put_notes(user, [{"text": "kept"}])
    store.add_sign_in(user, "token", "2999-01-01T00:00:00.000Z")
    store.finish_run(store.queue_run(user, "manual").id, "abstained")
    store.begin_reply(user, chatted.conversation.id, chatted.question.id, 0, {})
    before = dump(home)
    for broken_at in range(200):
        Failing.left = broken_at
        try:
            WRITES[name](store, chatted)
        except AttuneError as error:
            assert "nothing was saved" in str(error)
        else:
            break
        finally:
            Failing.left = -1
        assert dump(home) == before, f"broken at statement {broken_at}"
    else:
        pytest.fail("the write never succeeded")
    assert broken_at >= 2  # at least one change and the commit were made to fail
    assert dump(home) != before
    assert [p for p in store.verify() if "adapter file" not in p and "live version" not in p] == []
    store.close()


WRITER = """
import sys
from pathlib import Path
from data.home import Home
from data.store import Store
home, name, count = Home(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3])
store = Store(home)
user = store.user_named("me").id
conversation = store.list_conversations(user)[0].id
for i in range(count):
    question = store.add_message(user, conversation, None, "user", f"{name} {i}")
    reply = store.add_message(user, conversation, question.id, "assistant", f"answer {name} {i}")
    store.add_feedback(user, "stars", 1 + i % 5, message_id=reply.id)
print("done")
"""


@pytest.mark.parametrize("count", [60, pytest.param(9000, marks=pytest.mark.slow)], ids=["seconds", "a minute"])
def test_two_processes_and_threads_writing_at_once_lose_nothing_and_see_no_lock(home, store, chatted, count):
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(home.root), name, str(count)],
            cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in ("one", "two")
    ]  # fmt: skip
    failures: list[BaseException] = []
    user = chatted.user.id

    def write(name: str) -> None:
        try:
            for i in range(count):
                added = store.add_message(user, chatted.conversation.id, None, "user", f"{name} {i}")
                assert store.message(user, added.id).content == f"{name} {i}"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(f"thread {i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for writer in writers:
        out, err = writer.communicate(timeout=600)
        assert out == "done\n", err
    assert failures == []
    contents = {m.content for m in store.messages(user, chatted.conversation.id)}
    for name in ("one", "two", *(f"thread {i}" for i in range(4))):
        assert {f"{name} {i}" for i in range(count)} <= contents
    assert store.feedback_counts(user)["stars"] == 2 * count
    ids = [e.id for e in store.list_feedback(user, limit=2 * count + 1)]
    assert len(set(ids)) == 2 * count
    assert store.verify() == []


def test_both_processes_may_start_at_once_on_an_empty_home(tmp_path):
    home = Home(tmp_path / "fresh")
    code = "import sys; from pathlib import Path; from data.home import Home; from data.store import Store;"
    code += "s = Store(Home(Path(sys.argv[1]))); print(s.ensure_user().id)"
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(home.root)],
            cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    answers = [start.communicate(timeout=120) for start in starts]
    assert len({out for out, _ in answers}) == 1 and answers[0][0].strip(), answers
    assert home.root.stat().st_mode & 0o777 == 0o700


def test_a_migration_waits_for_the_one_at_work(tmp_path):
    home = Home(tmp_path).create()
    with FileLock(home.migrate_lock):
        waiting = threading.Thread(target=migrate, args=(home,))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() and not home.db_path.exists()
    waiting.join(30)
    assert not waiting.is_alive() and home.db_path.exists()


@pytest.mark.parametrize("stop_before", [m.name for m in migrations._migrations])
def test_every_old_schema_migrates(tmp_path, stop_before):
    from sqlite_utils import Database

    home = Home(tmp_path).create()
    old = Database(home.db_path)
    migrations.apply(old, stop_before=stop_before)
    if "users" in old.table_names():
        old["users"].insert({"id": "01J00000000000000000000000", "name": "old", "created_at": "x"})
    had_users = "users" in old.table_names()
    old.close()
    store = Store(home)
    assert [u.name for u in store.list_users()] == (["old"] if had_users else [])
    assert store.verify() == []
    store.close()


def test_a_migration_that_breaks_a_reference_leaves_everything_as_it_was(home, store, chatted, monkeypatch):
    before = dump(home)

    def broken(db):
        db.conn.execute("DELETE FROM users")

    added = [*migrations._migrations, type(migrations._migrations[0])("m999", broken)]
    monkeypatch.setattr(migrations, "_migrations", added)
    with pytest.raises(AttuneError, match="left as it was"):
        migrate(home)
    assert dump(home) == before


def test_a_database_of_a_newer_program_is_not_touched(home, store, monkeypatch):
    monkeypatch.setattr(migrations, "_migrations", migrations._migrations[:-1])
    with pytest.raises(AttuneError, match="newer"):
        migrate(home)
