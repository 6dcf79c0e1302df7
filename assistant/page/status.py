"""What the learner does and which version is live, as the page says it. Plain values from the store."""

from __future__ import annotations

from typing import Any

from data.store import Store
from data.types import LearningRun

RUNNING = ("queued", "running")


def status_view(store: Store, user_id: str) -> dict[str, Any]:
    """{"state", "phase", "progress", "words", "run", "version", "new", "learn_after", "feedback"}; equal views
    mean that nothing on the page need change."""
    settings = store.settings(user_id)
    run = next((run for run in store.list_runs(user_id, limit=5) if run.state in RUNNING), None)
    new = store.new_feedback_count(user_id)
    state = _state(store, settings, run, new)
    return {
        "state": state,
        "phase": run.phase if run else "",
        "progress": round(run.progress, 3) if run else 0.0,
        "run": run.id if run else None,
        "words": _words(state, run, new, int(settings["learn_after"])),
        "version": store.live_version(user_id),
        "new": new,
        "learn_after": settings["learn_after"],
        "paused": settings["paused"],
        "feedback": sum(store.feedback_counts(user_id).values()),
    }


def _state(store: Store, settings: dict[str, Any], run: LearningRun | None, new: int) -> str:
    if run is not None and run.state == "running":
        return "running"
    if run is not None:
        return "waiting"
    if not settings["learning"]:
        return "off"
    if settings["paused"]:
        return "paused"
    if store.lease_holder() is None:
        return "away"
    return "waiting" if new >= settings["learn_after"] else "idle"


def _words(state: str, run: LearningRun | None, new: int, learn_after: int) -> str:
    if state == "running" and run is not None:
        return f"Learning: {run.phase or 'starting'}, {run.progress:.0%}"
    if state == "waiting":
        return "Learning starts soon"
    if state == "off":
        return "Learning is off"
    if state == "paused":
        return "Learning is paused"
    if state == "away":
        return "The learner is not running"
    return f"{new} of {learn_after} ratings until I learn"
