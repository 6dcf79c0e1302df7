"""Every invariant of the store, checked again against what is really there. `doctor` prints the answers."""

from __future__ import annotations

import sqlite3

from data.adapter_files import WEIGHTS, adapter_sha256
from data.store.connection import Connected, from_json

_ORPHANS = {
    "feedback on somebody else's reply": """SELECT feedback.id FROM feedback
        LEFT JOIN messages ON messages.id = feedback.message_id
        LEFT JOIN comparisons ON comparisons.id = feedback.comparison_id
        LEFT JOIN conversations
            ON conversations.id = coalesce(messages.conversation_id, comparisons.conversation_id)
        WHERE conversations.user_id IS NOT feedback.user_id
           OR (messages.id IS NOT NULL AND messages.role <> 'assistant')""",
    "a message whose parent is in another conversation": """SELECT messages.id FROM messages
        JOIN messages AS parents ON parents.id = messages.parent_id
        WHERE parents.conversation_id <> messages.conversation_id""",
    "a comparison that is not of its own person's conversation": """SELECT comparisons.id FROM comparisons
        JOIN conversations ON conversations.id = comparisons.conversation_id
        JOIN messages ON messages.id = comparisons.prompt_message_id
        WHERE conversations.user_id <> comparisons.user_id
           OR messages.conversation_id <> comparisons.conversation_id""",
    "a comparison with a reply that is not there": """SELECT comparisons.id FROM comparisons
        JOIN json_each(comparisons.reply_ids) AS reply LEFT JOIN messages ON messages.id = reply.value
        WHERE messages.parent_id IS NOT comparisons.prompt_message_id""",
    "feedback that supersedes another target's": """SELECT feedback.id FROM feedback
        JOIN feedback AS older ON older.id = feedback.supersedes
        WHERE older.user_id <> feedback.user_id OR older.kind <> feedback.kind
           OR older.message_id IS NOT feedback.message_id
           OR older.comparison_id IS NOT feedback.comparison_id""",
    "a run that names feedback of somebody else": """SELECT run_id FROM feedback_use
        JOIN learning_runs ON learning_runs.id = run_id JOIN feedback ON feedback.id = feedback_id
        WHERE feedback.user_id <> learning_runs.user_id""",
}


class Verify(Connected):
    """The part of the store that checks itself."""

    def verify(self) -> list[str]:
        """Problems, one line each; an empty list means that every invariant holds."""
        try:
            with self._snapshot():
                return [*self._sqlite(), *self._rows(), *self._live(), *self._adapter_files()]
        except sqlite3.DatabaseError as error:
            return [f"The database cannot be read: {error}."]

    def _sqlite(self) -> list[str]:
        problems = [
            f"Database file: {row[0]}."
            for row in self._all_rows("PRAGMA integrity_check(20)")
            if row[0] != "ok"
        ]
        for row in self._all_rows("PRAGMA foreign_key_check"):
            problems.append(f"Table {row[0]}, row {row[1]} refers to a row of {row[2]} that is not there.")
        indexed = self._one_row("SELECT count(*) FROM messages_fts_docsize")
        searchable = self._one_row("SELECT count(*) FROM searchable_messages")
        if indexed is None or searchable is None or indexed[0] != searchable[0]:
            problems.append("The full-text index does not have every message.")
        return problems

    def _rows(self) -> list[str]:
        problems = []
        for what, query in _ORPHANS.items():
            found = sorted({row[0] for row in self._all_rows(query)})
            if found:
                problems.append(f"There is {what} ({len(found)}, first {found[0]}).")
        for table, column in (("feedback", "value"), ("messages", "sampling"), ("learning_runs", "report")):
            bad = self._one_row(f"SELECT id FROM {table} WHERE NOT json_valid({column}) LIMIT 1")
            if bad:
                problems.append(f"Table {table} has unreadable JSON in {column} (row {bad[0]}).")
        return problems

    def _live(self) -> list[str]:
        rows = self._all_rows(
            """SELECT users.name, live.version, status, has_weights FROM users
            JOIN publications AS live ON live.user_id = users.id
                AND live.seq = (SELECT max(seq) FROM publications WHERE user_id = users.id)
            LEFT JOIN adapter_versions AS v ON v.user_id = users.id AND v.number = live.version
            WHERE live.version <> 0 AND (status IS NOT 'accepted' OR has_weights IS NOT 1)"""
        )
        return [
            f"The live version {row['version']} of {row['name']} is "
            f"{'not there' if row['status'] is None else row['status'] + ' or has no weights'}."
            for row in rows
        ]

    def _adapter_files(self) -> list[str]:
        problems = []
        rows = self._all_rows(
            "SELECT user_id, number, sha256, report FROM adapter_versions"
            " WHERE has_weights AND status IN ('accepted', 'unloadable')"
        )
        for row in rows:
            folder = self.home.adapter_dir(row["user_id"], row["number"])
            if not (folder / WEIGHTS).is_file():
                problems.append(f"The adapter file {folder / WEIGHTS} is not there.")
            elif adapter_sha256(folder) != row["sha256"]:
                problems.append(
                    f"The adapter file {folder / WEIGHTS} is not what was published (hash differs)."
                )
            from_json(row["report"])
        return problems
