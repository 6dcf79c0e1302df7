"""Conversations and their trees of messages. What is deleted is hidden at once, also from learning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from data.errors import Conflict, Invalid, NotFound
from data.ids import utc_now
from data.store.connection import Connected, Connection, Row, from_json, to_json
from data.types import Conversation, FinishReason, Message, Role, Turn

OWN = (
    "JOIN conversations ON conversations.id = messages.conversation_id"
    " WHERE conversations.user_id = ? AND conversations.deleted_at IS NULL"
)
MAX_TITLE_CHARS = 200


class Chat(Connected):
    """The part of the store about conversations and messages."""

    def create_conversation(self, user_id: str, title: str = "", system_prompt: str = "") -> Conversation:
        now = utc_now()
        with self._write() as db:
            if db.execute("SELECT 1 FROM users WHERE id = ?", (user_id,)).fetchone() is None:
                raise NotFound("There is no such user.")
            conversation_id = self._new_id(db)
            db.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, NULL)",
                (conversation_id, user_id, _title(title), system_prompt, now, now),
            )
        return self.conversation(user_id, conversation_id)

    def conversation(self, user_id: str, conversation_id: str) -> Conversation:
        """Raises NotFound also for what is deleted or somebody else's."""
        row = self._one_row(
            "SELECT * FROM conversations WHERE id = ? AND user_id = ? AND deleted_at IS NULL",
            (conversation_id, user_id),
        )
        if row is None:
            raise NotFound("There is no such conversation.")
        return conversation_of(row)

    def list_conversations(
        self, user_id: str, limit: int = 50, before: str | None = None
    ) -> list[Conversation]:
        """The most recently used first; `before` is the id of the last one of the page before."""
        position = self._one_row(
            "SELECT updated_at, id FROM conversations WHERE id = ? AND user_id = ?", (before, user_id)
        )
        if before is not None and position is None:
            raise NotFound("There is no such conversation.")
        rows = self._all_rows(
            "SELECT * FROM conversations WHERE user_id = ? AND deleted_at IS NULL"
            " AND (? IS NULL OR (updated_at, id) < (?, ?)) ORDER BY updated_at DESC, id DESC LIMIT ?",
            (user_id, before, *(tuple(position) if position else (None, None)), limit),
        )
        return [conversation_of(row) for row in rows]

    def rename_conversation(self, user_id: str, conversation_id: str, title: str) -> None:
        self._set(user_id, conversation_id, "title = ?", _title(title))

    def set_system_prompt(self, user_id: str, conversation_id: str, text: str) -> None:
        self._set(user_id, conversation_id, "system_prompt = ?", text)

    def delete_conversation(self, user_id: str, conversation_id: str) -> None:
        """Hide a conversation; its feedback teaches nothing from now on."""
        self._set(user_id, conversation_id, "deleted_at = ?", utc_now())

    def restore_conversation(self, user_id: str, conversation_id: str) -> None:
        """Undo `delete_conversation`. Raises NotFound where there is nothing of that id."""
        with self._write() as db:
            done = db.execute(
                "UPDATE conversations SET deleted_at = NULL WHERE id = ? AND user_id = ?",
                (conversation_id, user_id),
            )
            if not done.rowcount:
                raise NotFound("There is no such conversation.")

    def _set(self, user_id: str, conversation_id: str, assignment: str, value: str) -> None:
        with self._write() as db:
            done = db.execute(
                f"UPDATE conversations SET {assignment} WHERE id = ? AND user_id = ? AND deleted_at IS NULL",
                (value, conversation_id, user_id),
            )
            if not done.rowcount:
                raise NotFound("There is no such conversation.")

    # --- Messages --------------------------------------------------------------------------------

    def add_message(
        self,
        user_id: str,
        conversation_id: str,
        parent_id: str | None,
        role: Role,
        content: str,
        *,
        finish_reason: FinishReason | None = None,
        sampling: Mapping[str, Any] | None = None,
        adapter_version: int | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> Message:
        """Store one finished message under `parent_id` (None: a new root).

        An assistant message without a finish reason is taken as finished ("stop"): one that is still being
        written begins with `begin_reply`. Raises NotFound for a foreign conversation or parent.
        """
        if role == "assistant" and finish_reason is None:
            finish_reason = "stop"
        with self._write() as db:
            self._require_place(db, user_id, conversation_id, parent_id)
            message_id = self._insert_message(
                db, conversation_id, parent_id, role, content, finish_reason, sampling, adapter_version,
                prompt_tokens, completion_tokens,
            )  # fmt: skip
        return self.message(user_id, message_id)

    def add_turn(
        self, user_id: str, conversation_id: str, parent_id: str | None, turns: Sequence[Turn]
    ) -> list[Message]:
        """Store a chain of messages, each under the one before, in one transaction."""
        added: list[str] = []
        with self._write() as db:
            self._require_place(db, user_id, conversation_id, parent_id)
            for turn in turns:
                finish: FinishReason | None = "stop" if turn.role == "assistant" else None
                parent_id = self._insert_message(
                    db, conversation_id, parent_id, turn.role, turn.content, finish, None, None, None, None
                )
                added.append(parent_id)
        return [self.message(user_id, message_id) for message_id in added]

    def begin_reply(
        self,
        user_id: str,
        conversation_id: str,
        parent_id: str | None,
        adapter_version: int,
        sampling: Mapping[str, Any] | None = None,
    ) -> Message:
        """An empty reply that is being written; `finish_reply` or `interrupt_unfinished` ends it."""
        with self._write() as db:
            self._require_place(db, user_id, conversation_id, parent_id)
            message_id = self._insert_message(
                db, conversation_id, parent_id, "assistant", "", None, sampling, adapter_version, None, None
            )
        return self.message(user_id, message_id)

    def save_partial(self, message_id: str, content: str) -> None:
        """Keep what there is of an unfinished reply, for the case that the server dies now."""
        with self._write() as db:
            self._update_unfinished(db, message_id, "content = ?", (content,))

    def finish_reply(
        self,
        message_id: str,
        content: str,
        finish_reason: FinishReason,
        prompt_tokens: int | None,
        completion_tokens: int | None,
    ) -> Message:
        """End a reply. Raises Conflict if it has ended already, NotFound if it is not there (any more)."""
        with self._write() as db:
            self._update_unfinished(
                db,
                message_id,
                "content = ?, finish_reason = ?, prompt_tokens = ?, completion_tokens = ?",
                (content, finish_reason, prompt_tokens, completion_tokens),
            )
            return message_of(db.execute("SELECT * FROM messages WHERE id = ?", (message_id,)).fetchone())

    def _update_unfinished(
        self, db: Connection, message_id: str, assignments: str, values: tuple[Any, ...]
    ) -> None:
        done = db.execute(
            f"UPDATE messages SET {assignments}"
            " WHERE id = ? AND role = 'assistant' AND finish_reason IS NULL",
            (*values, message_id),
        )
        if done.rowcount:
            return
        if db.execute("SELECT 1 FROM messages WHERE id = ?", (message_id,)).fetchone():
            raise Conflict("This reply has ended already.")
        raise NotFound("There is no such reply (any more).")

    def interrupt_unfinished(self) -> int:
        """At the server's start: replies that nobody is writing any more are `interrupted`. How many."""
        with self._write() as db:
            return db.execute(
                "UPDATE messages SET finish_reason = 'interrupted'"
                " WHERE role = 'assistant' AND finish_reason IS NULL"
            ).rowcount

    def message(self, user_id: str, message_id: str) -> Message:
        """Raises NotFound also for what is deleted or somebody else's."""
        row = self._one_row(
            f"SELECT messages.* FROM messages {OWN} AND messages.id = ?", (user_id, message_id)
        )
        if row is None:
            raise NotFound("There is no such message.")
        return message_of(row)

    def messages(self, user_id: str, conversation_id: str) -> list[Message]:
        """The whole tree, every message after its parent. Raises NotFound."""
        self.conversation(user_id, conversation_id)
        rows = self._all_rows(
            "SELECT * FROM messages WHERE conversation_id = ? ORDER BY seq", (conversation_id,)
        )
        return [message_of(row) for row in rows]

    def newest_replies(self, user_id: str, until: str, limit: int) -> list[Message]:
        """A person's complete replies with text, from `until` on backwards in time."""
        rows = self._all_rows(
            "SELECT messages.* FROM messages JOIN conversations ON conversations.id = conversation_id"
            " WHERE messages.id <= ? AND user_id = ? AND deleted_at IS NULL AND role = 'assistant'"
            " AND finish_reason IN ('stop', 'length') AND trim(content) <> '' ORDER BY messages.id DESC LIMIT ?",
            (until, user_id, limit),
        )
        return [message_of(row) for row in rows]

    def path(self, user_id: str, message_id: str) -> list[Message]:
        """From the root down to `message_id`, both included. Raises NotFound."""
        self.message(user_id, message_id)
        rows = self._all_rows(
            "WITH RECURSIVE up(id, depth) AS (SELECT ?, 0 UNION ALL SELECT messages.parent_id, depth + 1"
            " FROM messages JOIN up ON messages.id = up.id WHERE messages.parent_id IS NOT NULL)"
            " SELECT messages.* FROM up JOIN messages ON messages.id = up.id ORDER BY depth DESC",
            (message_id,),
        )
        return [message_of(row) for row in rows]

    def _require_place(
        self, db: Connection, user_id: str, conversation_id: str, parent_id: str | None
    ) -> None:
        """Inside the writing transaction, so that nobody deletes the place meanwhile."""
        done = db.execute(
            "UPDATE conversations SET updated_at = ? WHERE id = ? AND user_id = ? AND deleted_at IS NULL",
            (utc_now(), conversation_id, user_id),
        )
        if not done.rowcount:
            raise NotFound("There is no such conversation.")
        if parent_id is not None:
            found = db.execute(
                "SELECT 1 FROM messages WHERE id = ? AND conversation_id = ?", (parent_id, conversation_id)
            )
            if found.fetchone() is None:
                raise NotFound("There is no such message in this conversation.")

    def _insert_message(
        self,
        db: Connection,
        conversation_id: str,
        parent_id: str | None,
        role: Role,
        content: str,
        finish_reason: FinishReason | None,
        sampling: Mapping[str, Any] | None,
        adapter_version: int | None,
        prompt_tokens: int | None,
        completion_tokens: int | None,
    ) -> str:
        if role not in ("system", "user", "assistant"):
            raise Invalid(f"The role {role!r} is not one of system, user, assistant.", "role")
        message_id = self._new_id(db)
        db.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, finish_reason, sampling,"
            " adapter_version, prompt_tokens, completion_tokens, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                message_id, conversation_id, parent_id, role, content, finish_reason,
                to_json(dict(sampling or {})), adapter_version, prompt_tokens, completion_tokens, utc_now(),
            ),
        )  # fmt: skip
        return message_id


def conversation_of(row: Row) -> Conversation:
    return Conversation(**dict(row))


def message_of(row: Row) -> Message:
    return Message(
        id=row["id"],
        conversation_id=row["conversation_id"],
        parent_id=row["parent_id"],
        role=row["role"],
        content=row["content"],
        created_at=row["created_at"],
        finish_reason=row["finish_reason"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        sampling=from_json(row["sampling"]),
        adapter_version=row["adapter_version"],
    )


def _title(text: str) -> str:
    """One line, not too long for a list."""
    return " ".join(text.split())[:MAX_TITLE_CHARS]
