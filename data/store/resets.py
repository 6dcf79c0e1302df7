"""Resets: what they take out of use, what they remember so that they can be undone, and erasing for good."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from data.errors import Conflict, NotFound
from data.ids import utc_now
from data.store.connection import Connection, Row
from data.store.learning import Learning
from data.types import BASE_VERSION

ResetWhat = Literal["model", "feedback", "all"]


@dataclass(frozen=True)
class Reset:
    """One reset that can still be undone (`ended_at` is None) or not any more.

    `kept_file` is the name of the zip in the person's undo folder, None where no rows were removed;
    `last_version` the highest version number there was.
    """

    id: str
    user_id: str
    what: ResetWhat
    live_version: int
    last_version: int
    kept_file: str | None
    created_at: str
    expires_at: str
    ended_at: str | None


class Resets(Learning):
    """The part of the store that forgets."""

    def reset_rows(
        self,
        user_id: str,
        what: ResetWhat,
        expires_at: str,
        erase: bool,
        keep: Callable[[], str | None] = lambda: None,
    ) -> tuple[Reset, list[int]]:
        """Take `what` out of use in one transaction: the base goes live, rows are removed as `what` says.

        The versions there are leave use with it. A run that is at work is asked to stop (and cannot publish
        any more). With `erase`, versions are removed for good and the reset cannot be undone. `keep` writes
        down, inside the transaction and so without losing what is said meanwhile, what the undo needs, and
        returns the file's name. Returns the reset and the versions removed.
        """
        with self._write() as db:
            kept_file = keep()
            live = self.live_version(user_id)
            last = self._next_number(db, user_id) - 1
            db.execute(
                "UPDATE learning_runs SET cancel_requested = 1 WHERE user_id = ? AND state = 'running'",
                (user_id,),
            )
            db.execute(
                "UPDATE learning_runs SET state = 'cancelled', reason = 'Cancelled by a reset.', ended_at = ?"
                " WHERE user_id = ? AND state = 'queued'",
                (utc_now(), user_id),
            )
            if what in ("feedback", "all"):
                db.execute("DELETE FROM conversations WHERE user_id = ?", (user_id,))
                db.execute("DELETE FROM learning_runs WHERE user_id = ? AND ended_at IS NOT NULL", (user_id,))
            if what == "all":
                db.execute("DELETE FROM notes WHERE user_id = ?", (user_id,))
                db.execute("DELETE FROM settings WHERE user_id = ?", (user_id,))
            self._insert_publication(db, user_id, BASE_VERSION, "reset")
            removed: list[int] = []
            now = utc_now()
            if erase:
                if what in ("feedback", "all"):  # a cache of replies to what people asked; anybody's
                    db.execute("DELETE FROM base_replies")
                removed = self._remove_versions(db, user_id, last)
                db.execute(
                    "UPDATE resets SET ended_at = ? WHERE user_id = ? AND ended_at IS NULL", (now, user_id)
                )
            reset = Reset(
                self._new_id(db),
                user_id,
                what,
                live,
                last,
                kept_file,
                now,
                expires_at,
                now if erase else None,
            )
            db.execute(
                "INSERT INTO resets (id, user_id, what, live_version, last_version, kept_file, created_at,"
                " expires_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    reset.id, user_id, what, live, last, kept_file, now, expires_at, reset.ended_at,
                ),
            )  # fmt: skip
        return reset, removed

    def open_resets(self, user_id: str) -> list[Reset]:
        """Resets that have neither been undone nor come to an end, oldest first; expired ones too."""
        rows = self._all_rows(
            "SELECT * FROM resets WHERE user_id = ? AND ended_at IS NULL ORDER BY id", (user_id,)
        )
        return [_reset(row) for row in rows]

    def undo_reset_rows(self, reset: Reset) -> int:
        """End a reset by bringing its live version back; returns what is live now.

        To be called together with putting the rows back, inside `add_profile_content`'s transaction.
        Raises Conflict where it was ended meanwhile.
        """
        with self._write() as db:
            done = db.execute(
                "UPDATE resets SET ended_at = ? WHERE id = ? AND ended_at IS NULL", (utc_now(), reset.id)
            )
            if not done.rowcount:
                raise Conflict("This reset was undone or ended already.")
            if reset.live_version != BASE_VERSION:
                try:
                    self.publish(reset.user_id, reset.live_version, "rollback")
                except NotFound:
                    return self.live_version(reset.user_id)  # its weights are gone: the rest comes back
            return self.live_version(reset.user_id)

    def expire_reset(self, reset: Reset) -> list[int]:
        """End a reset whose time is over; the versions from before it go, unless one is live. Which."""
        with self._write() as db:
            db.execute("UPDATE resets SET ended_at = ? WHERE id = ?", (utc_now(), reset.id))
            return self._remove_versions(db, reset.user_id, reset.last_version)

    def scrub(self) -> bool:
        """Make what was deleted unreadable in the database's files. False where another reader was in the
        way: then some of it stays in the write-ahead log until the next time.

        Measured: secure_delete, delete, VACUUM and checkpoint leave words in the full-text index;
        rebuilding it first removes them.
        """
        with self._write() as db:
            db.execute("INSERT INTO messages_fts(messages_fts) VALUES ('rebuild')")
        with self._writer:
            db = self._db()
            try:
                db.execute("VACUUM")
            except sqlite3.OperationalError:
                return False
            busy = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy

    def _remove_versions(self, db: Connection, user_id: str, up_to: int) -> list[int]:
        live = self.live_version(user_id)
        rows: Sequence[Row] = db.execute(
            "DELETE FROM adapter_versions WHERE user_id = ? AND number <= ? AND number <> ? RETURNING number",
            (user_id, up_to, live),
        ).fetchall()
        return sorted(row["number"] for row in rows)


def _reset(row: Row) -> Reset:
    return Reset(**dict(row))
