"""What one person sees of the learner: the same for the HTTP interface, the page and the command line.

No model and no web framework: the command line must answer at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.reports import statements
from data.store import Store
from data.types import BASE_VERSION, LearningRun


def learner_state(store: Store, user_id: str) -> dict[str, Any]:
    """One person's view: state, phase, progress of their run, and what the next one waits for."""
    settings = store.settings(user_id)
    runs = store.list_runs(user_id, limit=1)
    run = runs[0] if runs and runs[0].state in ("queued", "running") else None
    new, needed = store.new_feedback_count(user_id), int(settings["learn_after"])
    return {
        "state": state_name(settings, run, new),
        "phase": run.phase if run else "",
        "progress": run.progress if run else 0.0,
        "next": {
            "new_feedback": new,
            "learn_after": needed,
            "quiet_minutes": settings["quiet_minutes"],
            "learner_alive": store.lease_holder() is not None,
        },
        "run": run.id if run else None,
    }


def state_name(settings: Mapping[str, Any], run: LearningRun | None, new: int) -> str:
    """`run`: the one that is queued or running, if any; `new`: pieces of feedback that no run has seen."""
    if run is not None and run.state == "running":
        return "running"
    if settings["paused"] and (run is not None or settings["learning"]):
        return "paused"
    if run is not None:
        return "waiting"
    if not settings["learning"]:
        return "off"
    return "waiting" if new >= int(settings["learn_after"]) else "idle"


def run_values(run: LearningRun, user_name: str) -> dict[str, Any]:
    """A run as plain values, without its metrics."""
    return {
        "id": run.id,
        "user": user_name,
        "state": run.state,
        "phase": run.phase,
        "progress": run.progress,
        "queued": run.queued_at,
        "started": run.started_at,
        "ended": run.ended_at,
        "version": run.version,
        "reason": run.reason,
        "report": dict(run.report),
    }


def shown(store: Store, user_name: str, run: LearningRun) -> dict[str, Any]:
    """A run as `GET /v1/learner/runs/{id}` shows it."""
    metrics = [{"step": s, "name": name, "value": value} for s, name, value in store.metrics(run.id)]
    return {**run_values(run, user_name), "metrics": metrics}


def learnt(store: Store, user_id: str, version: int) -> list[dict[str, Any]]:
    """What a version knows of its person: statements in words, each with its probability, the ratings behind it, and
    whether it counts from the next update on (`enabled`) or the person has switched it off."""
    if version == BASE_VERSION:
        return []
    muted = store.settings(user_id)["muted"]
    said = statements(store.version(user_id, version).report)
    return [{**one, "enabled": one.get("feature") not in muted} for one in said]
