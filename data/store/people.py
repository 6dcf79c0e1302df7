"""Who may use this home: people, their API keys and their sign-ins (hashes only, never the secret)."""

from __future__ import annotations

import sqlite3
from typing import Any

from data.errors import Conflict, Invalid, NotFound
from data.ids import utc_now
from data.store.connection import Connected, Connection, Row
from data.types import User

MAX_NAME_CHARS = 64


class People(Connected):
    """The part of the store about people."""

    def ensure_user(self, name: str = "me") -> User:
        """The person called `name`, made without a password if not there yet."""
        return self.user_named(name) or self._insert_user(name, None, is_admin=False, existing_ok=True)

    def user(self, user_id: str) -> User:
        """Raises NotFound."""
        row = self._one_row("SELECT * FROM users WHERE id = ?", (user_id,))
        if row is None:
            raise NotFound("There is no such user.")
        return _user(row)

    def user_named(self, name: str) -> User | None:
        row = self._one_row("SELECT * FROM users WHERE name = ?", (name,))
        return _user(row) if row else None

    def list_users(self) -> list[User]:
        return [_user(row) for row in self._all_rows("SELECT * FROM users ORDER BY id")]

    def add_user(self, name: str, password_hash: str | None, is_admin: bool = False) -> User:
        """Raises Conflict where the name is taken (upper and lower case are one), Invalid for a bad name."""
        return self._insert_user(name, password_hash, is_admin, existing_ok=False)

    def _insert_user(self, name: str, password_hash: str | None, is_admin: bool, existing_ok: bool) -> User:
        _check_name(name)
        with self._write() as db:
            taken = db.execute("SELECT * FROM users WHERE name = ?", (name,)).fetchone()
            if taken and existing_ok:
                return _user(taken)
            if taken:
                raise Conflict(f"There is a user {name} already; choose another name.")
            user_id = self._new_id(db)
            db.execute(
                "INSERT INTO users (id, name, password_hash, is_admin, created_at) VALUES (?, ?, ?, ?, ?)",
                (user_id, name, password_hash, int(is_admin), utc_now()),
            )
        return self.user(user_id)

    def rename_user(self, user_id: str, name: str, password_hash: str | None) -> User:
        """Give a person another name and password: how a new account takes over the data of `me`.

        Raises as `add_user`.
        """
        _check_name(name)
        with self._write() as db:
            self._require_user(db, user_id)
            try:
                db.execute(
                    "UPDATE users SET name = ?, password_hash = ? WHERE id = ?",
                    (name, password_hash, user_id),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict(f"There is a user {name} already; choose another name.") from error
        return self.user(user_id)

    def set_password(self, user_id: str, password_hash: str | None) -> None:
        """Set (or, with None, take away) a password. Every sign-in of this person ends."""
        with self._write() as db:
            self._require_user(db, user_id)
            db.execute("UPDATE users SET password_hash = ? WHERE id = ?", (password_hash, user_id))
            db.execute("DELETE FROM sign_ins WHERE user_id = ?", (user_id,))

    def set_admin(self, user_id: str, is_admin: bool) -> User:
        """Whether this person may add and remove people on the page."""
        with self._write() as db:
            self._require_user(db, user_id)
            db.execute("UPDATE users SET is_admin = ? WHERE id = ?", (int(is_admin), user_id))
        return self.user(user_id)

    def remove_user(self, user_id: str) -> None:
        """Remove a person and every row of theirs. Their files, and `scrub`, are left to the caller."""
        with self._write() as db:
            self._require_user(db, user_id)
            db.execute("DELETE FROM users WHERE id = ?", (user_id,))
            db.execute("DELETE FROM base_replies")  # a cache of replies to what people asked; anybody's

    def has_accounts(self) -> bool:
        """Whether anybody has a password, so that signing in is required."""
        return self._one_row("SELECT 1 FROM users WHERE password_hash IS NOT NULL LIMIT 1") is not None

    def _require_user(self, db: Connection, user_id: str) -> None:
        if db.execute("SELECT 1 FROM users WHERE id = ?", (user_id,)).fetchone() is None:
            raise NotFound("There is no such user.")

    # --- API keys --------------------------------------------------------------------------------

    def add_api_key(self, user_id: str, name: str, key_hash: str, expires_at: str | None = None) -> str:
        """Store a key's hash; returns the row's id, by which it is listed and revoked."""
        with self._write() as db:
            self._require_user(db, user_id)
            key_id = self._new_id(db)
            db.execute(
                "INSERT INTO api_keys (id, user_id, name, key_hash, created_at, expires_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (key_id, user_id, name, key_hash, utc_now(), expires_at),
            )
        return key_id

    def api_key_owner(self, key_hash: str) -> User | None:
        """Whose key this is, noting that it was used; None where unknown, revoked or expired."""
        now = utc_now()
        row = self._one_row(
            "SELECT users.*, api_keys.id AS key_id, last_used_at FROM api_keys"
            " JOIN users ON users.id = api_keys.user_id"
            " WHERE key_hash = ? AND (expires_at IS NULL OR expires_at > ?)",
            (key_hash, now),
        )
        if row is None:
            return None
        # To the minute is enough for a person who looks, and spares a disk write with every request.
        if row["last_used_at"] is None or row["last_used_at"][:16] != now[:16]:
            with self._write() as db:
                db.execute("UPDATE api_keys SET last_used_at = ? WHERE id = ?", (now, row["key_id"]))
        return _user(row)

    def list_api_keys(self, user_id: str) -> list[dict[str, Any]]:
        """Id, name, created_at, last_used_at, expires_at of every key; never the hash."""
        rows = self._all_rows(
            "SELECT id, name, created_at, last_used_at, expires_at FROM api_keys"
            " WHERE user_id = ? ORDER BY id",
            (user_id,),
        )
        return [dict(row) for row in rows]

    def revoke_api_key(self, user_id: str, key_id: str) -> None:
        """Raises NotFound."""
        with self._write() as db:
            done = db.execute("DELETE FROM api_keys WHERE id = ? AND user_id = ?", (key_id, user_id))
            if not done.rowcount:
                raise NotFound("There is no such API key.")

    # --- Sign-ins --------------------------------------------------------------------------------

    def add_sign_in(self, user_id: str, token_hash: str, expires_at: str) -> None:
        """Remember a sign-in until `expires_at`; expired ones of anybody are swept on the way."""
        now = utc_now()
        with self._write() as db:
            self._require_user(db, user_id)
            db.execute("DELETE FROM sign_ins WHERE expires_at <= ?", (now,))
            db.execute("INSERT INTO sign_ins VALUES (?, ?, ?, ?)", (token_hash, user_id, now, expires_at))

    def sign_in_owner(self, token_hash: str) -> User | None:
        row = self._one_row(
            "SELECT users.* FROM sign_ins JOIN users ON users.id = sign_ins.user_id"
            " WHERE token_hash = ? AND expires_at > ?",
            (token_hash, utc_now()),
        )
        return _user(row) if row else None

    def remove_sign_in(self, token_hash: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM sign_ins WHERE token_hash = ?", (token_hash,))

    def remove_sign_ins(self, user_id: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM sign_ins WHERE user_id = ?", (user_id,))


def _check_name(name: str) -> None:
    if not name.strip() or name != name.strip() or len(name) > MAX_NAME_CHARS or not name.isprintable():
        raise Invalid(
            f"A user name is 1 to {MAX_NAME_CHARS} printable characters without spaces around it.", "name"
        )


def _user(row: Row) -> User:
    return User(row["id"], row["name"], row["password_hash"], bool(row["is_admin"]), row["created_at"])
