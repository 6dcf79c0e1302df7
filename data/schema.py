"""The database's tables, as migrations that are only ever appended to.

`migrate(home)` is what both processes and the command line call before they open a `Store`: it takes a file
lock (sqlite-utils looks up what is pending outside its transaction), switches foreign keys off, applies what
is pending in one transaction, checks every foreign key, and only then commits.
"""

from __future__ import annotations

import sqlite3

from filelock import FileLock, Timeout
from sqlite_utils import Database, Migrations

from data.errors import AttuneError
from data.home import Home

LOCK_TIMEOUT_S = 120.0
migrations = Migrations("attune")


def migrate(home: Home) -> None:
    """Bring `home`'s database to the present schema, creating it if need be. Safe to call at any time."""
    home.create()
    try:
        with FileLock(home.migrate_lock, timeout=LOCK_TIMEOUT_S):
            _migrate(home)
    except Timeout as error:
        raise AttuneError(
            f"Another process has been migrating {home.db_path} for over {LOCK_TIMEOUT_S:.0f} seconds; "
            "stop it and start again."
        ) from error
    except sqlite3.Error as error:
        raise AttuneError(f"The database {home.db_path} cannot be opened or migrated: {error}.") from error


def _migrate(home: Home) -> None:
    connection = sqlite3.connect(home.db_path, timeout=30.0)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = OFF")
        db = Database(connection)
        known = {migration.name for migration in migrations._migrations}
        unknown = [done.name for done in migrations.applied(db) if done.name not in known]
        if unknown:
            raise AttuneError(
                f"The database {home.db_path} was written by a newer Attune ({unknown[-1]}); update this one."
            )
        if not migrations.pending(db):
            return
        with db.atomic():
            migrations.apply(db)
            broken = connection.execute("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise AttuneError(
                    f"The database {home.db_path} has {len(broken)} broken references (first in table "
                    f"{broken[0][0]}); it was left as it was."
                )
    finally:
        connection.close()


def _run(db: Database, *statements: str) -> None:
    """One at a time: executescript would commit the transaction that it runs in."""
    for statement in statements:
        db.conn.execute(statement)


@migrations()
def m001_people(db: Database) -> None:
    _run(
        db,
        # The greatest id handed out: ids rise in the order of commits, across processes and clock changes.
        "CREATE TABLE id_clock (one INTEGER PRIMARY KEY CHECK (one = 1), last_id TEXT NOT NULL)",
        "INSERT INTO id_clock VALUES (1, '')",
        """CREATE TABLE users (
            id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, password_hash TEXT,
            is_admin INTEGER NOT NULL DEFAULT 0 CHECK (is_admin IN (0, 1)), created_at TEXT NOT NULL)""",
        """CREATE TABLE api_keys (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            name TEXT NOT NULL, key_hash TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL,
            last_used_at TEXT, expires_at TEXT)""",
        "CREATE INDEX api_keys_user ON api_keys(user_id)",
        """CREATE TABLE sign_ins (
            token_hash TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            created_at TEXT NOT NULL, expires_at TEXT NOT NULL)""",
        "CREATE INDEX sign_ins_user ON sign_ins(user_id)",
        """CREATE TABLE settings (
            user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE, key TEXT NOT NULL,
            value TEXT NOT NULL, PRIMARY KEY (user_id, key))""",
        "CREATE TABLE home_settings (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
        """CREATE TABLE notes (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            text TEXT NOT NULL, source TEXT NOT NULL, enabled INTEGER NOT NULL CHECK (enabled IN (0, 1)),
            created_at TEXT NOT NULL)""",
        "CREATE INDEX notes_user ON notes(user_id)",
        """CREATE TABLE lease (
            one INTEGER PRIMARY KEY CHECK (one = 1), owner TEXT NOT NULL, heartbeat_at REAL NOT NULL,
            expires_at REAL NOT NULL)""",
    )


@migrations()
def m002_chat(db: Database) -> None:
    _run(
        db,
        """CREATE TABLE conversations (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            title TEXT NOT NULL, system_prompt TEXT NOT NULL, created_at TEXT NOT NULL,
            updated_at TEXT NOT NULL, deleted_at TEXT)""",
        "CREATE INDEX conversations_user ON conversations(user_id, updated_at)",
        # seq is the full-text index's rowid (VACUUM would renumber an implicit one) and the tree's order.
        # parent_id does not cascade: a long conversation would exceed SQLite's depth of 1,000 triggers.
        """CREATE TABLE messages (
            seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
            conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            parent_id TEXT REFERENCES messages(id) DEFERRABLE INITIALLY DEFERRED,
            role TEXT NOT NULL CHECK (role IN ('system', 'user', 'assistant')), content TEXT NOT NULL,
            finish_reason TEXT CHECK (finish_reason IN ('stop', 'length', 'cancelled', 'interrupted')),
            prompt_tokens INTEGER, completion_tokens INTEGER, sampling TEXT NOT NULL DEFAULT '{}',
            adapter_version INTEGER, created_at TEXT NOT NULL)""",
        "CREATE INDEX messages_conversation ON messages(conversation_id, seq)",
        "CREATE INDEX messages_parent ON messages(parent_id)",
        "CREATE INDEX messages_unfinished ON messages(id) WHERE role = 'assistant' AND finish_reason IS NULL",
        """CREATE TABLE comparisons (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            conversation_id TEXT NOT NULL REFERENCES conversations(id) ON DELETE CASCADE,
            prompt_message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
            reply_ids TEXT NOT NULL, versions TEXT NOT NULL, created_at TEXT NOT NULL)""",
        "CREATE INDEX comparisons_user ON comparisons(user_id)",
        "CREATE INDEX comparisons_conversation ON comparisons(conversation_id)",
        "CREATE INDEX comparisons_prompt ON comparisons(prompt_message_id)",
        # A reply is indexed when it is finished: partial saves many times a second would bloat the index.
        """CREATE VIEW searchable_messages AS SELECT seq, content FROM messages
            WHERE role <> 'assistant' OR finish_reason IS NOT NULL""",
        """CREATE VIRTUAL TABLE messages_fts USING fts5(
            content, content='searchable_messages', content_rowid='seq', tokenize='trigram')""",
        """CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages
            WHEN new.role <> 'assistant' OR new.finish_reason IS NOT NULL BEGIN
            INSERT INTO messages_fts(rowid, content) VALUES (new.seq, new.content); END""",
        """CREATE TRIGGER messages_fts_delete BEFORE DELETE ON messages
            WHEN old.role <> 'assistant' OR old.finish_reason IS NOT NULL BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, content)
                VALUES ('delete', old.seq, old.content); END""",
        """CREATE TRIGGER messages_fts_before BEFORE UPDATE OF content, finish_reason ON messages
            WHEN old.role <> 'assistant' OR old.finish_reason IS NOT NULL BEGIN
            INSERT INTO messages_fts(messages_fts, rowid, content)
                VALUES ('delete', old.seq, old.content); END""",
        """CREATE TRIGGER messages_fts_after AFTER UPDATE OF content, finish_reason ON messages
            WHEN new.role <> 'assistant' OR new.finish_reason IS NOT NULL BEGIN
            INSERT INTO messages_fts(rowid, content) VALUES (new.seq, new.content); END""",
    )


@migrations()
def m003_feedback(db: Database) -> None:
    _run(
        db,
        """CREATE TABLE feedback (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            message_id TEXT REFERENCES messages(id) ON DELETE CASCADE,
            comparison_id TEXT REFERENCES comparisons(id) ON DELETE CASCADE,
            kind TEXT NOT NULL CHECK (kind IN ('thumb', 'stars', 'comment', 'edit', 'ranking')),
            value TEXT NOT NULL,
            supersedes TEXT REFERENCES feedback(id) DEFERRABLE INITIALLY DEFERRED,
            created_at TEXT NOT NULL,
            CHECK ((message_id IS NULL) = (kind = 'ranking')),
            CHECK ((comparison_id IS NULL) <> (kind = 'ranking')))""",
        "CREATE INDEX feedback_user ON feedback(user_id, id)",
        "CREATE INDEX feedback_message ON feedback(message_id, kind)",
        "CREATE INDEX feedback_comparison ON feedback(comparison_id)",
        "CREATE UNIQUE INDEX feedback_supersedes ON feedback(supersedes) WHERE supersedes IS NOT NULL",
        """CREATE TABLE retractions (
            id TEXT PRIMARY KEY,
            feedback_id TEXT NOT NULL UNIQUE REFERENCES feedback(id) ON DELETE CASCADE,
            created_at TEXT NOT NULL)""",
    )


@migrations()
def m004_learning(db: Database) -> None:
    _run(
        db,
        """CREATE TABLE adapter_versions (
            user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            number INTEGER NOT NULL CHECK (number >= 1), parent INTEGER NOT NULL CHECK (parent >= 0),
            base_id TEXT NOT NULL, sha256 TEXT NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('candidate', 'accepted', 'rejected', 'unloadable')),
            has_weights INTEGER NOT NULL CHECK (has_weights IN (0, 1)), report TEXT NOT NULL,
            created_at TEXT NOT NULL, PRIMARY KEY (user_id, number))""",
        """CREATE TABLE publications (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
            user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE, version INTEGER NOT NULL,
            reason TEXT NOT NULL CHECK (reason IN
                ('promoted', 'rollback', 'auto_rollback', 'reset', 'import')),
            created_at TEXT NOT NULL)""",
        "CREATE INDEX publications_user ON publications(user_id, seq)",
        """CREATE TABLE learning_runs (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            state TEXT NOT NULL CHECK (state IN
                ('queued', 'running', 'promoted', 'rejected', 'abstained', 'cancelled', 'failed')),
            phase TEXT NOT NULL, progress REAL NOT NULL, "trigger" TEXT NOT NULL, queued_at TEXT NOT NULL,
            started_at TEXT, ended_at TEXT, heartbeat_at TEXT, watermark TEXT, version INTEGER,
            reason TEXT NOT NULL, report TEXT NOT NULL, cancel_requested INTEGER NOT NULL DEFAULT 0,
            attempts INTEGER NOT NULL DEFAULT 0)""",
        "CREATE INDEX learning_runs_user ON learning_runs(user_id, id)",
        """CREATE UNIQUE INDEX learning_runs_active ON learning_runs(user_id)
            WHERE state IN ('queued', 'running')""",
        """CREATE TABLE run_metrics (
            run_id TEXT NOT NULL REFERENCES learning_runs(id) ON DELETE CASCADE, step INTEGER NOT NULL,
            name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (run_id, step, name))""",
        """CREATE TABLE feedback_use (
            run_id TEXT NOT NULL REFERENCES learning_runs(id) ON DELETE CASCADE,
            feedback_id TEXT NOT NULL REFERENCES feedback(id) ON DELETE CASCADE,
            role TEXT NOT NULL CHECK (role IN ('train', 'held-out', 'left out')), why TEXT NOT NULL,
            PRIMARY KEY (run_id, feedback_id))""",
        "CREATE INDEX feedback_use_feedback ON feedback_use(feedback_id)",
        """CREATE TABLE base_replies (
            base_key TEXT NOT NULL, prompt_sha256 TEXT NOT NULL, seed INTEGER NOT NULL, text TEXT NOT NULL,
            finished INTEGER NOT NULL,
            PRIMARY KEY (base_key, prompt_sha256, seed))""",
        """CREATE TABLE resets (
            id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES users(id) ON DELETE CASCADE,
            what TEXT NOT NULL CHECK (what IN ('model', 'feedback', 'all')),
            live_version INTEGER NOT NULL, last_version INTEGER NOT NULL, kept_file TEXT,
            created_at TEXT NOT NULL, expires_at TEXT NOT NULL, ended_at TEXT)""",
        "CREATE INDEX resets_user ON resets(user_id, id)",
    )


@migrations()
def m005_seconds_seen(db: Database) -> None:
    _run(db, "ALTER TABLE feedback ADD COLUMN seen_s REAL CHECK (seen_s >= 0)")


@migrations()
def m006_short_words(db: Database) -> None:
    """Two line ends after every indexed text: so each of its characters, the last two as well, begins a trigram, and
    a word of one or two characters is found among the beginnings of trigrams."""
    indexed = "{0}.content || char(10, 10)"
    complete = "{0}.role <> 'assistant' OR {0}.finish_reason IS NOT NULL"
    add = f"INSERT INTO messages_fts(rowid, content) VALUES (new.seq, {indexed.format('new')});"
    remove = (
        "INSERT INTO messages_fts(messages_fts, rowid, content)"
        f" VALUES ('delete', old.seq, {indexed.format('old')});"
    )
    old, new = complete.format("old"), complete.format("new")
    _run(
        db,
        *(f"DROP TRIGGER messages_fts_{name}" for name in ("insert", "delete", "before", "after")),
        "DROP TABLE messages_fts",
        "DROP VIEW searchable_messages",
        f"""CREATE VIEW searchable_messages AS SELECT seq, {indexed.format("messages")} AS content FROM messages
            WHERE {complete.format("messages")}""",
        """CREATE VIRTUAL TABLE messages_fts USING fts5(
            content, content='searchable_messages', content_rowid='seq', tokenize='trigram')""",
        f"CREATE TRIGGER messages_fts_insert AFTER INSERT ON messages WHEN {new} BEGIN {add} END",
        f"CREATE TRIGGER messages_fts_delete BEFORE DELETE ON messages WHEN {old} BEGIN {remove} END",
        f"""CREATE TRIGGER messages_fts_before BEFORE UPDATE OF content, finish_reason ON messages
            WHEN {old} BEGIN {remove} END""",
        f"""CREATE TRIGGER messages_fts_after AFTER UPDATE OF content, finish_reason ON messages
            WHEN {new} BEGIN {add} END""",
        "INSERT INTO messages_fts(messages_fts) VALUES ('rebuild')",
        "CREATE VIRTUAL TABLE messages_terms USING fts5vocab('messages_fts', 'row')",
    )
