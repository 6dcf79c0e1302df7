"""What the learner does and which version is live, as the page says it. Plain values from the store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from assistant.learner_state import state_name
from data.store import Store
from data.types import LearningRun

RUNNING = ("queued", "running")
LEAST_PROGRESS = 0.04


def status_view(store: Store, user_id: str) -> dict[str, Any]:
    """What top.js says in words; equal views mean that nothing on the page need change."""
    settings = store.settings(user_id)
    run = next((run for run in store.list_runs(user_id, limit=5) if run.state in RUNNING), None)
    new = store.new_feedback_count(user_id)
    return {
        "state": _state(store, settings, run, new),
        "phase": run.phase if run else "",
        "progress": round(run.progress, 3) if run else 0.0,
        "minutes_left": minutes_left(run, datetime.now(UTC)) if run else None,
        "run": run.id if run else None,
        "version": store.live_version(user_id),
        "new": new,
        "learn_after": settings["learn_after"],
        "quiet_minutes": settings["quiet_minutes"],
        "paused": settings["paused"],
        "feedback": sum(store.feedback_counts(user_id).values()),
    }


def minutes_left(run: LearningRun, now: datetime) -> int | None:
    """How long a run will still take if it goes on as it went, in whole minutes (at least 1); None while too
    little has been done to tell."""
    if run.started_at is None or run.progress < LEAST_PROGRESS:
        return None
    passed_s = (now - datetime.fromisoformat(run.started_at)).total_seconds()
    return max(1, round(passed_s * (1 - run.progress) / run.progress / 60))


def _state(store: Store, settings: dict[str, Any], run: LearningRun | None, new: int) -> str:
    """The learner's, or that nobody is there to begin what it waits for."""
    name = state_name(settings, run, new)
    away = run is None and name in ("waiting", "idle") and store.lease_holder() is None
    return "away" if away else name
