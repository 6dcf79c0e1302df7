"""How the store talks to SQLite: one connection a thread, writes that are all or nothing.

Measured: sqlite-utils' `atomic()` begins deferred, so a read followed by a write against another writer
fails at once whatever the busy timeout. Writes therefore start with BEGIN IMMEDIATE, which waits its turn.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from data.errors import AttuneError, Invalid
from data.home import Home
from data.ids import new_id
from data.schema import migrate

BUSY_TIMEOUT_S = 30.0
BUSY_POLL_S = 0.0002
Row = sqlite3.Row


class Connection(sqlite3.Connection):
    """A plain connection; a class of its own because sqlite3's cannot be weakly referenced."""


class _PerThread(threading.local):
    connection: Connection | None = None
    depth = 0


class Connected:
    """What every part of the store shares: reading, writing, ids, JSON columns."""

    connection_class: type[Connection] = Connection

    def __init__(self, home: Home) -> None:
        """Open `home`'s database, migrating it first where needed. Raises AttuneError if it cannot be."""
        self.home = home
        migrate(home)
        self._local = _PerThread()
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        # SQLite's waiting is a poll that a busy neighbour thread can starve; a lock takes turns.
        self._writer = threading.RLock()
        self._opening = threading.Lock()
        self._closed = False

    def close(self) -> None:
        """Close every thread's connection. Nothing is lost: what was acknowledged is on the disk."""
        with self._opening:
            self._closed = True
            for connection in list(self._all):
                connection.close()
            self._all.clear()

    def _db(self) -> Connection:
        connection = self._local.connection
        if connection is None or self._closed:
            connection = self._open()
            self._local.connection = connection
        return connection

    def _open(self) -> Connection:
        with self._opening:
            if self._closed:
                raise AttuneError("The store is closed.")
            connection = sqlite3.connect(
                self.home.db_path,
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,  # transactions are begun and ended here alone
                check_same_thread=False,  # close() comes from another thread; use does not
                factory=self.connection_class,
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
            self._all.add(connection)
            return connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        """A write transaction; inside another of the same thread it joins that one.

        Everything in it is committed together, or, whatever goes wrong, nothing.
        """
        db = self._db()
        if self._local.depth:
            self._local.depth += 1
            try:
                yield db
            finally:
                self._local.depth -= 1
            return
        with self._writer:
            try:
                _begin_immediate(db)
                self._local.depth = 1
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError | UnicodeEncodeError):
                    raise _plain(error) from error
                raise
            finally:
                self._local.depth = 0

    @contextmanager
    def _snapshot(self) -> Iterator[Connection]:
        """Several reads that see one and the same state."""
        db = self._db()
        if db.in_transaction:
            yield db
            return
        db.execute("BEGIN")
        try:
            yield db
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")  # nothing was written

    def _all_rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        try:
            return self._db().execute(sql, parameters).fetchall()
        except UnicodeEncodeError as error:
            raise _plain(error) from error

    def _one_row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        try:
            row: Row | None = self._db().execute(sql, parameters).fetchone()
        except UnicodeEncodeError as error:
            raise _plain(error) from error
        return row

    def _new_id(self, db: Connection) -> str:
        """A ULID greater than every one before it in this home; only inside `_write`."""
        last = db.execute("SELECT last_id FROM id_clock").fetchone()[0]
        fresh = new_id(after=last)
        db.execute("UPDATE id_clock SET last_id = ?", (fresh,))
        return fresh


def _begin_immediate(db: Connection) -> None:
    """Begin to write; while the other process does, ask again a few times a millisecond.

    SQLite's own waiting sleeps for up to 100 ms at a time (`bench store` measures two processes writing).
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    db.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                db.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # the extended codes of it too
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(BUSY_POLL_S)
    finally:
        db.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")


def to_json(value: object) -> str:
    """Compact JSON. NaN and infinity, which JSON has not, become null: a report is kept all the same."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def from_json(text: str) -> Any:
    return json.loads(text)


def _plain(error: Exception) -> AttuneError:
    if isinstance(error, UnicodeEncodeError):
        return Invalid("The text has half a character in it (a lone surrogate), which cannot be stored.")
    if "full" in str(error):
        return AttuneError("The disk is full: nothing was saved. Free some space and try again.")
    if "locked" in str(error):
        return AttuneError(f"The database was busy for over {BUSY_TIMEOUT_S:.0f} seconds: nothing was saved.")
    return AttuneError(f"The database could not be written ({error}): nothing was saved.")
