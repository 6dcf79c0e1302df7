"""A whole profile as plain values: read in one snapshot, put back in one transaction.

The shapes are those of the profile file (docs, "The profile file"); `data.profile.checks` is what a foreign
file passes before it comes here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.ids import new_id
from data.reports import with_new_ids
from data.store.connection import Connection, Row, from_json, to_json
from data.store.learning import IN_USE, Learning
from data.store.renaming import ids_by_table, moved_watermark, renumbering
from data.store.settings import Settings

Content = dict[str, Any]
# An id dated further ahead than this would hold back every id after it; it is given a new one.
FUTURE_MS = 10 * 60 * 1000


class ProfileRows(Settings, Learning):
    """The part of the store that reads and writes everything of one person."""

    def profile_content(self, user_id: str) -> Content:
        """Conversations that are not deleted with their messages and comparisons, the feedback on them,
        ended runs, versions in use, notes and chosen settings, as the profile file has them."""
        with self._snapshot():
            conversations = [self._conversation(row) for row in self._own(
                "SELECT * FROM conversations WHERE user_id = ? AND deleted_at IS NULL ORDER BY id", user_id
            )]  # fmt: skip
            feedback = [_feedback(row) for row in self._own(_FEEDBACK, user_id)]
            known = {event["id"] for event in feedback}
            runs = self._own(
                "SELECT * FROM learning_runs WHERE user_id = ? AND ended_at IS NOT NULL ORDER BY id", user_id
            )
            versions = self._own(
                f"SELECT * FROM adapter_versions WHERE user_id = ? AND {IN_USE} ORDER BY number", user_id
            )
            settings = self._own("SELECT key, value FROM settings WHERE user_id = ? ORDER BY key", user_id)
            return {
                "conversations": conversations,
                "feedback": feedback,
                "runs": [self._run_with_uses(row, known) for row in runs],
                "versions": [_version(row) for row in versions],
                "notes": self.notes(user_id),
                "settings": {row["key"]: from_json(row["value"]) for row in settings},
            }

    def _own(self, sql: str, user_id: str) -> list[Row]:
        return self._all_rows(sql, (user_id,))

    def _conversation(self, row: Row) -> dict[str, Any]:
        messages = self._all_rows(
            "SELECT * FROM messages WHERE conversation_id = ? ORDER BY seq", (row["id"],)
        )
        comparisons = self._all_rows(
            "SELECT * FROM comparisons WHERE conversation_id = ? ORDER BY id", (row["id"],)
        )
        return {
            "id": row["id"],
            "title": row["title"],
            "system_prompt": row["system_prompt"],
            "created": row["created_at"],
            "updated": row["updated_at"],
            "messages": [
                {
                    "id": message["id"],
                    "parent_id": message["parent_id"],
                    "role": message["role"],
                    "content": message["content"],
                    # one that is being written right now is as good as cut off in the file
                    "finish_reason": message["finish_reason"]
                    or ("interrupted" if message["role"] == "assistant" else None),
                    "prompt_tokens": message["prompt_tokens"],
                    "completion_tokens": message["completion_tokens"],
                    "sampling": from_json(message["sampling"]),
                    "adapter_version": message["adapter_version"],
                    "created": message["created_at"],
                }
                for message in messages
            ],
            "comparisons": [
                {
                    "id": comparison["id"],
                    "prompt_message_id": comparison["prompt_message_id"],
                    "reply_ids": from_json(comparison["reply_ids"]),
                    "versions": from_json(comparison["versions"]),
                    "created": comparison["created_at"],
                }
                for comparison in comparisons
            ],
        }

    def _run_with_uses(self, row: Row, known: set[str]) -> dict[str, Any]:
        uses = self._all_rows(
            "SELECT * FROM feedback_use WHERE run_id = ? ORDER BY feedback_id", (row["id"],)
        )
        metrics = self._all_rows(
            "SELECT * FROM run_metrics WHERE run_id = ? ORDER BY step, name", (row["id"],)
        )
        return {
            **{key: row[key] for key in _RUN_COLUMNS},
            "report": from_json(row["report"]),
            "uses": [
                {"feedback_id": use["feedback_id"], "role": use["role"], "why": use["why"]}
                for use in uses
                if use["feedback_id"] in known
            ],
            "metrics": [[metric["step"], metric["name"], metric["value"]] for metric in metrics],
        }

    def add_profile_content(
        self,
        user_id: str,
        content: Content,
        *,
        with_versions: bool,
        before_commit: Callable[[Mapping[int, int]], None] | None = None,
    ) -> dict[str, int]:
        """Put a checked profile's rows in, in one transaction; returns how many of each kind.

        Where an id is taken (or dated in the future) all are replaced, everywhere. With `with_versions`, version
        numbers go behind those that were ever used here; `before_commit(numbers)`, old number -> new one, is where
        the files go into place: if it raises, no row stays. No version goes live by this.
        """
        with self._write() as db:
            numbers = renumbering(content, self._next_number(db, user_id) - 1) if with_versions else {}
            rename = self._renaming(db, content)
            for conversation in content["conversations"]:
                _put_conversation(db, user_id, conversation, rename, numbers)
            for event in content["feedback"]:
                _put_feedback(db, user_id, event, rename)
            said = sorted(event["id"] for event in content["feedback"])
            for run in content["runs"]:
                _put_run(db, user_id, run, rename, numbers, said)
            if with_versions:
                for version in content["versions"]:
                    _put_version(db, user_id, version, rename, numbers)
            self._put_missing_notes(user_id, content["notes"])
            if content["settings"]:
                self.update_settings(user_id, content["settings"])
            if before_commit is not None:
                before_commit(numbers)
        return counts_of(content)

    def _put_missing_notes(self, user_id: str, notes: Sequence[Mapping[str, Any]]) -> None:
        present = self.notes(user_id)
        texts = {note["text"] for note in present}
        missing = [note for note in notes if note["text"] not in texts]
        if missing:
            self.put_notes(user_id, [*present, *missing], keep_ids=True)

    def _renaming(self, db: Connection, content: Content) -> dict[str, str]:
        """Old id -> new id for every id of the content: each stays what it is, or all are new, in the order they had.

        What came later has the greater id, within a table (the newest message of a conversation) and between two (a
        comparison and the replies after it); new ids for some alone would turn that round.
        """
        horizon = new_id(now_ms=int(time.time() * 1000) + FUTURE_MS)
        ids = ids_by_table(content)
        everything = sorted({item for found in ids.values() for item in found})
        is_new = bool(everything) and everything[-1] >= horizon
        for table, found in ids.items():
            taken = f"SELECT 1 FROM {table} WHERE id IN (SELECT value FROM json_each(?)) LIMIT 1"
            is_new = is_new or db.execute(taken, (to_json(found),)).fetchone() is not None
        rename = {old: self._new_id(db) if is_new else old for old in everything}
        newest = max(rename.values(), default="")
        db.execute("UPDATE id_clock SET last_id = max(last_id, ?)", (newest,))
        return rename


_FEEDBACK = """SELECT feedback.*, retractions.id AS retraction_id, retractions.created_at AS retracted
    FROM feedback LEFT JOIN retractions ON retractions.feedback_id = feedback.id
    LEFT JOIN messages ON messages.id = feedback.message_id
    LEFT JOIN comparisons ON comparisons.id = feedback.comparison_id
    JOIN conversations ON conversations.id = coalesce(messages.conversation_id, comparisons.conversation_id)
    WHERE feedback.user_id = ? AND conversations.deleted_at IS NULL ORDER BY feedback.id"""
_RUN_COLUMNS = (
    "id", "state", "phase", "progress", "trigger", "queued_at", "started_at", "ended_at", "heartbeat_at",
    "watermark", "version", "reason",
)  # fmt: skip


def counts_of(content: Content) -> dict[str, int]:
    """How many conversations, messages, comparisons, feedback events, versions, runs and notes."""
    return {
        "conversations": len(content["conversations"]),
        "messages": sum(len(item["messages"]) for item in content["conversations"]),
        "comparisons": sum(len(item["comparisons"]) for item in content["conversations"]),
        "feedback": len(content["feedback"]),
        "versions": len(content["versions"]),
        "runs": len(content["runs"]),
        "notes": len(content["notes"]),
    }


def _feedback(row: Row) -> dict[str, Any]:
    retracted = {"id": row["retraction_id"], "created": row["retracted"]} if row["retraction_id"] else None
    return {
        "id": row["id"],
        "message_id": row["message_id"],
        "comparison_id": row["comparison_id"],
        "kind": row["kind"],
        "value": from_json(row["value"]),
        "created": row["created_at"],
        "seen_s": row["seen_s"],
        "supersedes": row["supersedes"],
        "retracted": retracted,
    }


def _version(row: Row) -> dict[str, Any]:
    return {
        "number": row["number"],
        "parent": row["parent"],
        "base_id": row["base_id"],
        "sha256": row["sha256"],
        "status": row["status"],
        "has_weights": bool(row["has_weights"]),
        "report": from_json(row["report"]),
        "created": row["created_at"],
    }


def _put_conversation(
    db: Connection, user_id: str, item: Mapping[str, Any], rename: Mapping[str, str], numbers: Mapping[int, int]
) -> None:
    conversation_id = rename[item["id"]]
    db.execute(
        "INSERT INTO conversations VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (conversation_id, user_id, item["title"], item["system_prompt"], item["created"], item["updated"]),
    )
    for message in item["messages"]:
        db.execute(
            "INSERT INTO messages (id, conversation_id, parent_id, role, content, finish_reason,"
            " prompt_tokens, completion_tokens, sampling, adapter_version, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                rename[message["id"]], conversation_id,
                rename[message["parent_id"]] if message["parent_id"] else None, message["role"],
                message["content"], message["finish_reason"], message["prompt_tokens"],
                message["completion_tokens"], to_json(message["sampling"]),
                _renumbered(message["adapter_version"], numbers), message["created"],
            ),
        )  # fmt: skip
    for comparison in item["comparisons"]:
        db.execute(
            "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                rename[comparison["id"]], user_id, conversation_id, rename[comparison["prompt_message_id"]],
                to_json([rename[reply] for reply in comparison["reply_ids"]]),
                to_json([_renumbered(version, numbers) for version in comparison["versions"]]), comparison["created"],
            ),
        )  # fmt: skip


def _put_feedback(db: Connection, user_id: str, event: Mapping[str, Any], rename: Mapping[str, str]) -> None:
    value = event["value"]
    if event["kind"] == "ranking":
        value = {"order": [[rename[reply] for reply in group] for group in value["order"]]}

    def renamed(key: str) -> str | None:
        return rename[event[key]] if event[key] else None

    db.execute(
        "INSERT INTO feedback (id, user_id, message_id, comparison_id, kind, value, supersedes, seen_s,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            rename[event["id"]], user_id, renamed("message_id"), renamed("comparison_id"), event["kind"],
            to_json(value), renamed("supersedes"), event["seen_s"], event["created"],
        ),
    )  # fmt: skip
    if event["retracted"]:
        retraction = event["retracted"]
        db.execute(
            "INSERT INTO retractions VALUES (?, ?, ?)",
            (rename[retraction["id"]], rename[event["id"]], retraction["created"]),
        )


def _put_run(
    db: Connection, user_id: str, run: Mapping[str, Any], rename: Mapping[str, str], numbers: Mapping[int, int],
    said: Sequence[str],
) -> None:  # fmt: skip
    """`said`: the ids of all feedback of the content, as they were."""
    run_id = rename[run["id"]]
    newest = db.execute("SELECT last_id FROM id_clock").fetchone()[0]
    values = {
        **run,
        "id": run_id,
        "watermark": moved_watermark(run["watermark"], said, rename, newest),
        "version": _renumbered(run["version"], numbers),
        "report": to_json(with_new_ids(run["report"], rename)),
    }
    columns = (*_RUN_COLUMNS, "report")
    quoted = ", ".join('"' + column + '"' for column in columns)  # trigger is a word of SQL's
    db.execute(
        f"INSERT INTO learning_runs (user_id, {quoted}) VALUES (?{', ?' * len(columns)})",
        (user_id, *(values[column] for column in columns)),
    )
    db.executemany(
        "INSERT INTO feedback_use VALUES (?, ?, ?, ?)",
        [(run_id, rename[use["feedback_id"]], use["role"], use["why"]) for use in run["uses"]],
    )
    db.executemany("INSERT INTO run_metrics VALUES (?, ?, ?, ?)", [(run_id, *row) for row in run["metrics"]])


def _put_version(
    db: Connection, user_id: str, version: Mapping[str, Any], rename: Mapping[str, str], numbers: Mapping[int, int]
) -> None:
    db.execute(
        "INSERT INTO adapter_versions (user_id, number, parent, base_id, sha256, status, has_weights, report,"
        " created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            user_id, _renumbered(version["number"], numbers), _renumbered(version["parent"], numbers),
            version["base_id"], version["sha256"], version["status"], int(version["has_weights"]),
            to_json(with_new_ids(version["report"], rename)), version["created"],
        ),
    )  # fmt: skip


def _renumbered(version: int | None, numbers: Mapping[int, int]) -> int | None:
    return None if version is None else numbers.get(version, version)  # 0, the base, is 0 everywhere
