"""What people said about replies. Append-only: a changed mind and a retraction are new rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from data.errors import Conflict, Invalid, NotFound
from data.feedback_values import checked_seconds, checked_value
from data.ids import utc_now
from data.store.connection import Connected, Connection, Row, from_json, to_json
from data.types import Comparison, FeedbackEvent, FeedbackKind

MIN_REPLIES, MAX_REPLIES = 2, 8

_EVENT = """SELECT feedback.*, newer.id AS superseded_by, retractions.id AS retracted_by FROM feedback
    LEFT JOIN feedback AS newer ON newer.supersedes = feedback.id
    LEFT JOIN retractions ON retractions.feedback_id = feedback.id"""
# The conversation that an event is about, reached through its message or through its comparison.
ABOUT = """LEFT JOIN messages ON messages.id = feedback.message_id
    LEFT JOIN comparisons ON comparisons.id = feedback.comparison_id
    JOIN conversations
        ON conversations.id = coalesce(messages.conversation_id, comparisons.conversation_id)"""
# Ids of all that does not stand, for counting: measured, 20 ms of 50,000 pieces where the joins take 120.
FALLEN = """SELECT supersedes FROM feedback WHERE supersedes IS NOT NULL
    UNION ALL SELECT feedback_id FROM retractions
    UNION ALL SELECT feedback.id FROM conversations
        CROSS JOIN messages ON messages.conversation_id = conversations.id
        CROSS JOIN feedback ON feedback.message_id = messages.id WHERE deleted_at IS NOT NULL
    UNION ALL SELECT feedback.id FROM conversations
        CROSS JOIN comparisons ON comparisons.conversation_id = conversations.id
        CROSS JOIN feedback ON feedback.comparison_id = comparisons.id WHERE deleted_at IS NOT NULL"""
_STANDS = "newer.id IS NULL AND retractions.id IS NULL AND conversations.deleted_at IS NULL"


class Feedback(Connected):
    """The part of the store about feedback and comparisons."""

    def add_feedback(
        self,
        user_id: str,
        kind: FeedbackKind,
        value: Any,
        *,
        message_id: str | None = None,
        comparison_id: str | None = None,
        seen_s: float | None = None,
    ) -> FeedbackEvent:
        """Store one piece of feedback; it supersedes the newest of its kind on the same target.

        `seen_s` is for how many seconds the page had shown what is judged, where that is known.

        Saying again what already stands adds nothing and returns the standing event. Raises Invalid (with
        `param`) for a bad value or an unfinished or empty reply, NotFound for what is not this person's.
        """
        if (comparison_id is not None) != (kind == "ranking") or (message_id is None) != (kind == "ranking"):
            raise Invalid(
                "A ranking needs a comparison_id and no message_id; every other kind a message_id alone.",
                "comparison_id" if kind == "ranking" else "message_id",
            )
        seen_s = checked_seconds(seen_s)
        with self._write() as db:
            if comparison_id is not None:
                reply_ids = from_json(_own_comparison(db, user_id, comparison_id)["reply_ids"])
                value = checked_value(kind, value, reply_ids=reply_ids)
            else:
                reply = _own_finished_reply(db, user_id, str(message_id))
                value = checked_value(kind, value, original=reply["content"])
            # "=" on the one column that is there: with IS on both, SQLite reads all that the person ever said
            target = "message_id" if comparison_id is None else "comparison_id"
            previous = db.execute(
                f"{_EVENT} WHERE feedback.user_id = ? AND feedback.kind = ? AND newer.id IS NULL"
                f" AND feedback.{target} = ?",
                (user_id, kind, comparison_id or message_id),
            ).fetchone()
            if previous and previous["retracted_by"] is None and from_json(previous["value"]) == value:
                return event_of(previous)
            event_id = self._new_id(db)
            db.execute(
                "INSERT INTO feedback (id, user_id, message_id, comparison_id, kind, value, supersedes,"
                " seen_s, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    event_id, user_id, message_id, comparison_id, kind, to_json(value),
                    previous["id"] if previous else None, seen_s, utc_now(),
                ),
            )  # fmt: skip
        return self.feedback_event(user_id, event_id)

    def retract_feedback(self, user_id: str, feedback_id: str) -> FeedbackEvent:
        """Take a piece of feedback back: an event of its own. A second time changes nothing."""
        with self._write() as db:
            event = db.execute(
                f"{_EVENT} WHERE feedback.id = ? AND feedback.user_id = ?", (feedback_id, user_id)
            ).fetchone()
            if event is None:
                raise NotFound("There is no such feedback.")
            if event["retracted_by"] is None:
                db.execute(
                    "INSERT INTO retractions VALUES (?, ?, ?)", (self._new_id(db), feedback_id, utc_now())
                )
        return self.feedback_event(user_id, feedback_id)

    def feedback_event(self, user_id: str, feedback_id: str) -> FeedbackEvent:
        """Raises NotFound."""
        row = self._one_row(
            f"{_EVENT} WHERE feedback.id = ? AND feedback.user_id = ?", (feedback_id, user_id)
        )
        if row is None:
            raise NotFound("There is no such feedback.")
        return event_of(row)

    def list_feedback(self, user_id: str, after: str | None = None, limit: int = 100) -> list[FeedbackEvent]:
        """Every event ever, oldest first, superseded and retracted ones too; `after` is an event's id."""
        rows = self._all_rows(
            f"{_EVENT} WHERE feedback.user_id = ? AND feedback.id > ? ORDER BY feedback.id LIMIT ?",
            (user_id, after or "", limit),
        )
        return [event_of(row) for row in rows]

    def standing_feedback(self, user_id: str) -> list[FeedbackEvent]:
        """What counts now, oldest first: not superseded, not retracted, its conversation not deleted."""
        rows = self._all_rows(
            f"{_EVENT} {ABOUT} WHERE feedback.user_id = ? AND {_STANDS} ORDER BY feedback.id", (user_id,)
        )
        return [event_of(row) for row in rows]

    def newest_standing_feedback(self, user_id: str, limit: int) -> list[FeedbackEvent]:
        """The last pieces that count now, newest first."""
        rows = self._all_rows(
            f"{_EVENT} {ABOUT} WHERE feedback.user_id = ? AND {_STANDS} ORDER BY feedback.id DESC LIMIT ?",
            (user_id, limit),
        )
        return [event_of(row) for row in rows]

    def standing_for_messages(
        self, user_id: str, message_ids: Sequence[str]
    ) -> dict[str, dict[FeedbackKind, FeedbackEvent]]:
        """The standing feedback on each of these messages by kind; messages without any are left out."""
        rows = self._all_rows(
            f"{_EVENT} {ABOUT} WHERE feedback.user_id = ? AND {_STANDS}"
            " AND feedback.message_id IN (SELECT value FROM json_each(?)) ORDER BY feedback.id",
            (user_id, to_json(list(message_ids))),
        )
        found: dict[str, dict[FeedbackKind, FeedbackEvent]] = {}
        for row in rows:
            event = event_of(row)
            found.setdefault(row["message_id"], {})[event.kind] = event
        return found

    def feedback_counts(self, user_id: str) -> dict[FeedbackKind, int]:
        """How much standing feedback there is of each kind, zeros included."""
        counts: dict[FeedbackKind, int] = {"thumb": 0, "stars": 0, "comment": 0, "edit": 0, "ranking": 0}
        rows = self._all_rows(
            f"SELECT kind, count(*) AS n FROM feedback WHERE user_id = ? AND id NOT IN ({FALLEN}) GROUP BY kind",
            (user_id,),
        )
        return counts | {row["kind"]: row["n"] for row in rows}

    def ratings_by_day(self, user_id: str, days: int) -> list[dict[str, Any]]:
        """Of the last `days` (UTC) with thumbs or stars that stand, oldest first: day, good, bad, between.

        Good is a thumb up or 4 to 5 stars, bad a thumb down or 1 to 2.
        """
        rows = self._all_rows(
            f"""SELECT day, sum(side > 0) AS good, sum(side < 0) AS bad, sum(side = 0) AS between_ FROM (
                SELECT substr(created_at, 1, 10) AS day, CASE WHEN value IN ('"up"', '4', '5') THEN 1
                    WHEN value IN ('"down"', '1', '2') THEN -1 ELSE 0 END AS side
                FROM feedback WHERE user_id = ? AND kind IN ('thumb', 'stars') AND id NOT IN ({FALLEN})
            ) GROUP BY day ORDER BY day DESC LIMIT ?""",
            (user_id, days),
        )
        return [
            {"day": row["day"], "good": row["good"], "bad": row["bad"], "between": row["between_"]}
            for row in reversed(rows)
        ]

    def new_feedback_count(self, user_id: str) -> int:
        """Standing feedback that no update has seen yet.

        Counted from the watermark of the last update that ended, however it ended (a cancelled or failed one
        must not be tried again and again by itself), and at the earliest from the last rollback or reset:
        after those nothing is learnt by itself from what was said before.
        """
        row = self._one_row(
            f"""SELECT count(*) AS n FROM feedback WHERE user_id = :user AND id NOT IN ({FALLEN})
                AND id > max(
                    coalesce((SELECT max(watermark) FROM learning_runs WHERE user_id = :user
                              AND state NOT IN ('queued', 'running')), ''),
                    coalesce((SELECT max(id) FROM publications WHERE user_id = :user
                              AND reason IN ('rollback', 'auto_rollback', 'reset')), ''))""",
            {"user": user_id},  # type: ignore[arg-type]
        )
        assert row is not None
        return int(row["n"])

    def newest_feedback_id(self, user_id: str) -> str | None:
        """Id of the newest event, standing or not: what a run takes as its watermark."""
        row = self._one_row("SELECT max(id) AS id FROM feedback WHERE user_id = ?", (user_id,))
        return row["id"] if row else None

    # --- Comparisons -----------------------------------------------------------------------------

    def newest_feedback_at(self, user_id: str) -> str | None:
        """When this person last said anything about a reply; None if never."""
        row = self._one_row("SELECT max(created_at) AS at FROM feedback WHERE user_id = ?", (user_id,))
        return row["at"] if row else None

    def create_comparison(
        self, user_id: str, conversation_id: str, prompt_message_id: str, reply_ids: Sequence[str]
    ) -> Comparison:
        """Replies to one message that were shown together, in the order shown.

        Raises Invalid unless they are 2 to 8 different finished replies with text, all to that message.
        """
        if len(set(reply_ids)) != len(reply_ids) or not MIN_REPLIES <= len(reply_ids) <= MAX_REPLIES:
            raise Invalid(f"A comparison has {MIN_REPLIES} to {MAX_REPLIES} different replies.", "reply_ids")
        with self._write() as db:
            replies = [_own_finished_reply(db, user_id, reply_id) for reply_id in reply_ids]
            for reply in replies:
                if reply["parent_id"] != prompt_message_id or reply["conversation_id"] != conversation_id:
                    raise Invalid(
                        "The replies of a comparison must all answer the same message.", "reply_ids"
                    )
            comparison_id = self._new_id(db)
            versions = [reply["adapter_version"] or 0 for reply in replies]
            db.execute(
                "INSERT INTO comparisons VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    comparison_id, user_id, conversation_id, prompt_message_id, to_json(list(reply_ids)),
                    to_json(versions), utc_now(),
                ),
            )  # fmt: skip
        return self.comparison(user_id, comparison_id)

    def rankings_since(self, user_id: str, since: str) -> list[tuple[list[list[str]], dict[str, int]]]:
        """The standing rankings of comparisons made after `since`: order (ids, best first, ties in one list) and the
        version that wrote each reply."""
        rows = self._all_rows(
            "SELECT feedback.value, comparisons.reply_ids, comparisons.versions FROM comparisons"
            " JOIN conversations ON conversations.id = comparisons.conversation_id"
            " JOIN feedback ON feedback.comparison_id = comparisons.id"
            " LEFT JOIN feedback AS newer ON newer.supersedes = feedback.id"
            " LEFT JOIN retractions ON retractions.feedback_id = feedback.id"
            f" WHERE comparisons.user_id = ? AND comparisons.created_at > ? AND {_STANDS} ORDER BY feedback.id",
            (user_id, since),
        )
        found = []
        for row in rows:
            versions = dict(zip(json.loads(row["reply_ids"]), json.loads(row["versions"]), strict=True))
            found.append((json.loads(row["value"])["order"], versions))
        return found

    def unjudged_comparison(self, user_id: str, conversation_id: str) -> Comparison | None:
        """The newest comparison of a conversation if nothing was ever said about it."""
        row = self._one_row(
            "SELECT comparisons.*, EXISTS (SELECT 1 FROM feedback WHERE comparison_id = comparisons.id) AS judged"
            " FROM comparisons WHERE user_id = ? AND conversation_id = ? ORDER BY id DESC LIMIT 1",
            (user_id, conversation_id),
        )
        return comparison_of(row) if row and not row["judged"] else None

    def comparison(self, user_id: str, comparison_id: str) -> Comparison:
        """Raises NotFound also where its conversation is deleted."""
        return comparison_of(_own_comparison(self._db(), user_id, comparison_id))


def _own_comparison(db: Connection, user_id: str, comparison_id: str) -> Row:
    row: Row | None = db.execute(
        "SELECT comparisons.* FROM comparisons JOIN conversations ON conversations.id = conversation_id"
        " WHERE comparisons.id = ? AND comparisons.user_id = ? AND conversations.deleted_at IS NULL",
        (comparison_id, user_id),
    ).fetchone()
    if row is None:
        raise NotFound("There is no such comparison.")
    return row


def _own_finished_reply(db: Connection, user_id: str, message_id: str) -> Row:
    row: Row | None = db.execute(
        "SELECT messages.* FROM messages JOIN conversations ON conversations.id = conversation_id"
        " WHERE messages.id = ? AND user_id = ? AND deleted_at IS NULL",
        (message_id, user_id),
    ).fetchone()
    if row is None:
        raise NotFound("There is no such message.")
    if row["role"] != "assistant":
        raise Invalid("Feedback is about the assistant's replies; this message is not one.", "message_id")
    if row["finish_reason"] is None:
        raise Conflict("This reply is still being written; wait until it has ended.")
    if not row["content"].strip():
        raise Invalid("This reply is empty, so there is nothing to judge.", "message_id")
    return row


def event_of(row: Row) -> FeedbackEvent:
    return FeedbackEvent(
        id=row["id"],
        user_id=row["user_id"],
        kind=row["kind"],
        value=from_json(row["value"]),
        created_at=row["created_at"],
        message_id=row["message_id"],
        comparison_id=row["comparison_id"],
        supersedes=row["supersedes"],
        seen_s=row["seen_s"],
        superseded_by=row["superseded_by"],
        retracted_by=row["retracted_by"],
    )


def comparison_of(row: Row) -> Comparison:
    return Comparison(
        id=row["id"],
        user_id=row["user_id"],
        conversation_id=row["conversation_id"],
        prompt_message_id=row["prompt_message_id"],
        reply_ids=tuple(from_json(row["reply_ids"])),
        versions=tuple(from_json(row["versions"])),
        created_at=row["created_at"],
    )
