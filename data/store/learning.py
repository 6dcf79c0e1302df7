"""Adapter versions, and the append-only list of publications whose newest row says what is live."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data.errors import Conflict, Invalid, NotFound, TakenBack
from data.ids import utc_now
from data.store.connection import Connected, Connection, Row, from_json, to_json
from data.store.feedback import ABOUT
from data.store.runs import end_run
from data.types import (
    BASE_VERSION,
    AdapterVersion,
    Publication,
    PublicationReason,
    RunEnd,
    VersionStatus,
)

# A reset takes the versions up to its own out of use for as long as it can be undone; their rows stay.
IN_USE = """number > (SELECT coalesce(max(last_version), 0) FROM resets
    WHERE resets.user_id = adapter_versions.user_id AND resets.ended_at IS NULL)"""


class Learning(Connected):
    """The part of the store about versions and publications."""

    def live_version(self, user_id: str) -> int:
        """The version that answers this person now; 0 is the base."""
        row = self._one_row(
            "SELECT version FROM publications WHERE user_id = ? ORDER BY seq DESC LIMIT 1", (user_id,)
        )
        return int(row["version"]) if row else BASE_VERSION

    def versions(self, user_id: str) -> list[AdapterVersion]:
        """Every version (not the base) that no reset has taken out of use, oldest first."""
        rows = self._all_rows(
            f"SELECT * FROM adapter_versions WHERE user_id = ? AND {IN_USE} ORDER BY number", (user_id,)
        )
        return [version_of(row) for row in rows]

    def numbers_with_weights(self, user_id: str) -> set[int]:
        """The versions whose folders are to be kept, those included that undoing a reset brings back."""
        rows = self._all_rows(
            "SELECT number FROM adapter_versions WHERE user_id = ? AND has_weights", (user_id,)
        )
        return {row["number"] for row in rows}

    def version(self, user_id: str, number: int) -> AdapterVersion:
        """Raises NotFound; version 0, the base, has no row."""
        row = self._one_row(
            "SELECT * FROM adapter_versions WHERE user_id = ? AND number = ?", (user_id, number)
        )
        if row is None:
            raise NotFound(f"There is no version {number}.")
        return version_of(row)

    def next_version_number(self, user_id: str) -> int:
        """One more than any number ever used: what version 3 means in an old message never changes."""
        return self._next_number(self._db(), user_id)

    def record_version(
        self,
        user_id: str,
        number: int | None,
        parent: int,
        base_id: str,
        sha256: str,
        status: VersionStatus,
        report: Mapping[str, Any],
        publish_reason: PublicationReason | None,
        ends: RunEnd | None = None,
        put_files: Callable[[int], None] | None = None,
    ) -> AdapterVersion:
        """The version's row, with a reason its publication, and with `ends` the end of its run, in one
        transaction.

        Without a `number` it is the next one; `put_files(number)` puts its files in place inside the
        transaction, when nobody else can take the number any more. `sha256` is
        `data.adapter_files.adapter_sha256(folder)` ("" where there are no weights: a rejected version keeps
        only its report). Raises Conflict where the number is taken, and for a promotion by a run that was
        asked to stop meanwhile (as by a reset), or where `parent` is no longer what is live (the person went
        back to another version); TakenBack where a rating that the run was trained on was retracted or went
        with its conversation: nothing goes live behind a person's back.
        """
        if publish_reason is not None and status != "accepted":
            raise Invalid(f"A version that is {status} cannot go live.", "status")
        with self._write() as db:
            free = self._next_number(db, user_id)
            number = free if number is None else number
            if number < free:
                raise Conflict(f"Version {number} is there already.")
            db.execute(
                "INSERT INTO adapter_versions (user_id, number, parent, base_id, sha256, status, has_weights,"
                " report, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    user_id, number, parent, base_id, sha256, status,
                    int(status != "rejected" and bool(sha256)), to_json(dict(report)), utc_now(),
                ),
            )  # fmt: skip
            if (
                publish_reason == "promoted"
                and db.execute(
                    "SELECT 1 FROM learning_runs"
                    " WHERE user_id = ? AND state = 'running' AND cancel_requested",
                    (user_id,),
                ).fetchone()
            ):
                raise Conflict("The update was cancelled before its version could go live.")
            if ends is not None and publish_reason == "promoted" and self.live_version(user_id) != parent:
                raise Conflict("Another version was chosen during the update; the new one did not go live.")
            if ends is not None and publish_reason == "promoted":
                self._require_trained_on(db, ends.run_id)
            if put_files is not None:
                put_files(number)
            if ends is not None:
                end_run(db, ends.run_id, ends.state, number, ends.reason, report)
            if publish_reason is not None:
                self._insert_publication(db, user_id, number, publish_reason)
        return self.version(user_id, number)

    def _require_trained_on(self, db: Connection, run_id: str) -> None:
        gone = db.execute(
            f"""SELECT count(*) AS n FROM feedback_use
            JOIN feedback ON feedback.id = feedback_use.feedback_id
            LEFT JOIN retractions ON retractions.feedback_id = feedback.id {ABOUT}
            WHERE run_id = ? AND feedback_use.role <> 'left out'
                AND (retractions.id IS NOT NULL OR conversations.deleted_at IS NOT NULL)""",
            (run_id,),
        ).fetchone()["n"]
        if gone:
            ratings = "a rating" if gone == 1 else f"{gone} ratings"
            raise TakenBack(f"You took back {ratings} during the update; it begins again with what still stands.")

    def publish(
        self, user_id: str, version: int, reason: PublicationReason, instead_of: int | None = None
    ) -> Publication:
        """Make a version live (0: the base).

        Raises NotFound unless it is accepted, has its weights, and was not taken out of use by a reset; Conflict where
        it is to be live `instead_of` a version that is live no longer.
        """
        with self._write() as db:
            if instead_of is not None and self.live_version(user_id) != instead_of:
                raise Conflict(f"Version {instead_of} is not live any more.")
            if version != BASE_VERSION:
                row = db.execute(
                    f"SELECT status, has_weights, {IN_USE} AS in_use FROM adapter_versions"
                    " WHERE user_id = ? AND number = ?",
                    (user_id, version),
                ).fetchone()
                if row is None:
                    raise NotFound(f"There is no version {version}.")
                if not row["in_use"]:
                    raise NotFound(
                        f"There is no version {version} any more; undoing the reset brings it back."
                    )
                if row["status"] != "accepted":
                    raise NotFound(f"Version {version} is {row['status']} and cannot go live.")
                if not row["has_weights"]:
                    raise NotFound(f"The weights of version {version} are no longer kept.")
            return self._insert_publication(db, user_id, version, reason)

    def mark_unloadable(self, user_id: str, number: int) -> None:
        """Note that a version does not load here; where it is live, the base goes live instead."""
        with self._write() as db:
            self._update_version(db, user_id, number, "status = 'unloadable'")
            if self.live_version(user_id) == number:
                self._insert_publication(db, user_id, BASE_VERSION, "auto_rollback")

    def drop_weights(self, user_id: str, number: int) -> None:
        """Note that a version's folder is about to be removed. Raises Conflict for the live version."""
        with self._write() as db:
            if self.live_version(user_id) == number:
                raise Conflict(f"Version {number} is live; its weights are kept.")
            self._update_version(db, user_id, number, "has_weights = 0")

    def publications(self, user_id: str) -> list[Publication]:
        """Oldest first: the last one is what is live."""
        rows = self._all_rows("SELECT * FROM publications WHERE user_id = ? ORDER BY seq", (user_id,))
        return [publication_of(row) for row in rows]

    def _next_number(self, db: Connection, user_id: str) -> int:
        # resets remember the numbers of versions whose rows were erased
        row = db.execute(
            "SELECT max(coalesce((SELECT max(number) FROM adapter_versions WHERE user_id = :user), 0),"
            " coalesce((SELECT max(last_version) FROM resets WHERE user_id = :user), 0)) AS n",
            {"user": user_id},
        ).fetchone()
        return int(row["n"]) + 1

    def _update_version(self, db: Connection, user_id: str, number: int, assignment: str) -> None:
        done = db.execute(
            f"UPDATE adapter_versions SET {assignment} WHERE user_id = ? AND number = ?", (user_id, number)
        )
        if not done.rowcount:
            raise NotFound(f"There is no version {number}.")

    def _insert_publication(
        self, db: Connection, user_id: str, version: int, reason: PublicationReason
    ) -> Publication:
        publication = Publication(self._new_id(db), user_id, version, reason, utc_now())
        db.execute(
            "INSERT INTO publications (id, user_id, version, reason, created_at) VALUES (?, ?, ?, ?, ?)",
            (publication.id, user_id, version, reason, publication.created_at),
        )
        return publication


def version_of(row: Row) -> AdapterVersion:
    return AdapterVersion(
        user_id=row["user_id"],
        number=row["number"],
        parent=row["parent"],
        base_id=row["base_id"],
        sha256=row["sha256"],
        status=row["status"],
        report=from_json(row["report"]),
        created_at=row["created_at"],
        has_weights=bool(row["has_weights"]),
    )


def publication_of(row: Row) -> Publication:
    return Publication(row["id"], row["user_id"], row["version"], row["reason"], row["created_at"])
