"""Learning runs, their progress and metrics, and the lease that lets one learner at a time work on a home."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from data.errors import Conflict, Invalid, NotFound
from data.ids import utc_now
from data.store.connection import Connected, Connection, Row, from_json, to_json
from data.types import FeedbackUse, LearningRun, RunState

ENDED: tuple[RunState, ...] = ("promoted", "rejected", "abstained", "cancelled", "failed")
MAX_ATTEMPTS = 2  # a run whose learner died is tried once more


class Runs(Connected):
    """The part of the store about learning runs and the learner's lease."""

    def queue_run(self, user_id: str, trigger: Literal["manual", "automatic"]) -> LearningRun:
        """Raises Conflict while one of this person's runs is queued or running."""
        with self._write() as db:
            if db.execute("SELECT 1 FROM users WHERE id = ?", (user_id,)).fetchone() is None:
                raise NotFound("There is no such user.")
            run_id = self._new_id(db)
            try:
                db.execute(
                    'INSERT INTO learning_runs (id, user_id, state, phase, progress, "trigger", queued_at,'
                    " watermark, reason, report) VALUES (?, ?, 'queued', '', 0, ?, ?,"
                    " (SELECT max(id) FROM feedback WHERE user_id = ?), '', '{}')",
                    (run_id, user_id, trigger, utc_now(), user_id),
                )
            except sqlite3.IntegrityError as error:
                raise Conflict("A learning run is queued or running already.") from error
        return self.run(user_id, run_id)

    def queued_runs(self) -> list[LearningRun]:
        """Everybody's queued runs, oldest first."""
        return [run_of(row) for row in self._all_rows(
            "SELECT * FROM learning_runs WHERE state = 'queued' ORDER BY id")]  # fmt: skip

    def start_run(self, run_id: str, watermark: str | None) -> LearningRun:
        """A queued run becomes running, without what an attempt before it measured and used. Raises Conflict if it is
        no longer queued (cancelled, say)."""
        now = utc_now()
        with self._write() as db:
            done = db.execute(
                "UPDATE learning_runs SET state = 'running', started_at = ?, heartbeat_at = ?, watermark = ?,"
                " attempts = attempts + 1, phase = '', progress = 0 WHERE id = ? AND state = 'queued'",
                (now, now, watermark, run_id),
            )
            if not done.rowcount:
                raise Conflict(f"The run {run_id} is not queued (any more).")
            db.execute("DELETE FROM run_metrics WHERE run_id = ?", (run_id,))
            db.execute("DELETE FROM feedback_use WHERE run_id = ?", (run_id,))
        return self._run(run_id)

    def report_progress(self, run_id: str, phase: str, progress: float) -> None:
        """Phase, progress 0..1 and heartbeat of a running run; one that has ended stays as it is."""
        with self._write() as db:
            db.execute(
                "UPDATE learning_runs SET phase = ?, progress = ?, heartbeat_at = ?"
                " WHERE id = ? AND state = 'running'",
                (phase, min(1.0, max(0.0, float(progress))), utc_now(), run_id),
            )

    def requeue_run(self, run_id: str) -> None:
        """A running run whose learner is asked to end begins again with the next learner; it is no failed attempt."""
        with self._write() as db:
            db.execute(
                "UPDATE learning_runs SET state = 'queued', phase = '', progress = 0, attempts = attempts - 1"
                " WHERE id = ? AND state = 'running'",
                (run_id,),
            )

    def finish_run(
        self,
        run_id: str,
        state: RunState,
        version: int | None = None,
        reason: str = "",
        report: Mapping[str, Any] | None = None,
    ) -> LearningRun:
        """End a run for good. Raises Conflict if it has ended already, Invalid for a state that is no end."""
        with self._write() as db:
            end_run(db, run_id, state, version, reason, report or {})
        return self._run(run_id)

    def request_cancel(self, user_id: str, run_id: str) -> LearningRun:
        """A queued run is cancelled at once, a running one asked to stop. Raises Conflict if it has ended."""
        with self._write() as db:
            row = db.execute(
                "SELECT state FROM learning_runs WHERE id = ? AND user_id = ?", (run_id, user_id)
            ).fetchone()
            if row is None:
                raise NotFound("There is no such learning run.")
            if row["state"] in ENDED:
                raise Conflict(f"This run has ended already ({row['state']}).")
            db.execute("UPDATE learning_runs SET cancel_requested = 1 WHERE id = ?", (run_id,))
            if row["state"] == "queued":
                self.finish_run(run_id, "cancelled", reason="Cancelled before it began.")
        return self._run(run_id)

    def cancel_requested(self, run_id: str) -> bool:
        """Also True when the run is gone (its person was removed): there is nothing to go on for."""
        row = self._one_row("SELECT cancel_requested FROM learning_runs WHERE id = ?", (run_id,))
        return row is None or bool(row["cancel_requested"])

    def run(self, user_id: str, run_id: str) -> LearningRun:
        """Raises NotFound also for somebody else's."""
        row = self._one_row("SELECT * FROM learning_runs WHERE id = ? AND user_id = ?", (run_id, user_id))
        if row is None:
            raise NotFound("There is no such learning run.")
        return run_of(row)

    def list_runs(self, user_id: str, limit: int = 20) -> list[LearningRun]:
        """Newest first."""
        rows = self._all_rows(
            "SELECT * FROM learning_runs WHERE user_id = ? ORDER BY id DESC LIMIT ?", (user_id, limit)
        )
        return [run_of(row) for row in rows]

    def fail_orphaned_runs(self, why: str) -> list[LearningRun]:
        """For a learner that has just taken the lease: what its dead predecessor left running.

        Each such run is queued again once; the second time it has failed, with `why`. Returns them all.
        """
        with self._write() as db:
            rows = db.execute(
                "SELECT id, attempts, cancel_requested FROM learning_runs WHERE state = 'running'"
            )
            orphans = rows.fetchall()
            for orphan in orphans:
                if orphan["cancel_requested"]:
                    self.finish_run(orphan["id"], "cancelled", reason="Cancelled.")
                elif orphan["attempts"] >= MAX_ATTEMPTS:
                    self.finish_run(orphan["id"], "failed", reason=why)
                else:
                    db.execute(
                        "UPDATE learning_runs SET state = 'queued', phase = '', progress = 0 WHERE id = ?",
                        (orphan["id"],),
                    )
        return [self._run(orphan["id"]) for orphan in orphans]

    def _run(self, run_id: str) -> LearningRun:
        row = self._one_row("SELECT * FROM learning_runs WHERE id = ?", (run_id,))
        if row is None:
            raise NotFound("There is no such learning run.")
        return run_of(row)

    # --- What a run measured and used ------------------------------------------------------------

    def add_metrics(self, run_id: str, step: int, mapping: Mapping[str, float]) -> None:
        """Numbers of one step (`objective/kl`, ...). What is not finite cannot be plotted and is left out."""
        rows = [(run_id, step, name, float(v)) for name, v in mapping.items() if math.isfinite(float(v))]
        with self._write() as db:
            db.executemany("INSERT OR REPLACE INTO run_metrics VALUES (?, ?, ?, ?)", rows)

    def metrics(self, run_id: str) -> list[tuple[int, str, float]]:
        """(step, name, value), ordered by step and name."""
        rows = self._all_rows("SELECT * FROM run_metrics WHERE run_id = ? ORDER BY step, name", (run_id,))
        return [(row["step"], row["name"], row["value"]) for row in rows]

    def record_feedback_use(self, run_id: str, uses: Sequence[FeedbackUse]) -> None:
        """How a run used each piece of feedback. One that was erased meanwhile is passed over."""
        with self._write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO feedback_use SELECT ?, id, ?, ? FROM feedback WHERE id = ?",
                [(run_id, use.role, use.why, use.feedback_id) for use in uses],
            )

    # --- The lease: one learner a home -----------------------------------------------------------

    def acquire_lease(self, owner: str, ttl_s: float) -> bool:
        """Take the lease for `ttl_s` seconds if it is free, expired, or this owner's already."""
        now = time.time()
        with self._write() as db:
            row = db.execute("SELECT owner, expires_at FROM lease").fetchone()
            if row is not None and row["owner"] != owner and row["expires_at"] > now:
                return False
            db.execute("INSERT OR REPLACE INTO lease VALUES (1, ?, ?, ?)", (owner, now, now + ttl_s))
        return True

    def renew_lease(self, owner: str, ttl_s: float) -> bool:
        """False when somebody else has it: then stop working at once."""
        now = time.time()
        with self._write() as db:
            done = db.execute(
                "UPDATE lease SET heartbeat_at = ?, expires_at = ? WHERE owner = ?", (now, now + ttl_s, owner)
            )
        return bool(done.rowcount)

    def release_lease(self, owner: str) -> None:
        with self._write() as db:
            db.execute("DELETE FROM lease WHERE owner = ?", (owner,))

    def lease_holder(self) -> str | None:
        """Who has the lease now; None when nobody, or when it has expired."""
        row = self._one_row("SELECT owner FROM lease WHERE expires_at > ?", (time.time(),))
        return row["owner"] if row else None


def end_run(
    db: Connection, run_id: str, state: RunState, version: int | None, reason: str, report: Mapping[str, Any]
) -> None:
    """End a run inside a transaction of the caller's. Raises as `Runs.finish_run` does."""
    if state not in ENDED:
        raise Invalid(f"A run ends as one of {', '.join(ENDED)}, not as {state}.", "state")
    done = db.execute(
        "UPDATE learning_runs SET state = ?, version = ?, reason = ?, report = ?, ended_at = ?,"
        " progress = CASE WHEN ? IN ('promoted', 'rejected', 'abstained') THEN 1 ELSE progress END"
        " WHERE id = ? AND state IN ('queued', 'running')",
        (state, version, reason, to_json(dict(report)), utc_now(), state, run_id),
    )
    if not done.rowcount:
        raise Conflict(f"The run {run_id} has ended already.")


def run_of(row: Row) -> LearningRun:
    return LearningRun(
        id=row["id"],
        user_id=row["user_id"],
        state=row["state"],
        phase=row["phase"],
        progress=row["progress"],
        trigger=row["trigger"],
        queued_at=row["queued_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        heartbeat_at=row["heartbeat_at"],
        watermark=row["watermark"],
        version=row["version"],
        reason=row["reason"],
        report=from_json(row["report"]),
    )
