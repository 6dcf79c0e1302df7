"""`status`: what has been said, what is live, what the learner does."""

from __future__ import annotations

import argparse
from typing import Any

from assistant.commands.learn import run_values
from assistant.commands.opened import opened, show
from data.store import Store
from data.types import BASE_VERSION, FEEDBACK_KINDS, User


def status(options: argparse.Namespace) -> int:
    with opened(options) as this:
        found = status_values(this.store, this.user)
    show(options, found, lambda: status_text(found))
    return 0


def status_values(store: Store, user: User) -> dict[str, Any]:
    """Everything `status --json` prints; the names are a contract."""
    counts = store.feedback_counts(user.id)
    base = store.base()
    return {
        "user": user.name,
        "feedback": {kind: counts.get(kind, 0) for kind in FEEDBACK_KINDS},
        "live_version": store.live_version(user.id),
        "base_model": base.id if base else None,
        "learner": learner_values(store, user.id),
        "runs": [run_values(run, user.name) for run in store.list_runs(user.id, limit=5)],
    }


def learner_values(store: Store, user_id: str) -> dict[str, Any]:
    """The learner as one person sees it: state, phase, progress 0..1."""
    run = next((run for run in store.list_runs(user_id, limit=5) if run.state in ("queued", "running")), None)
    if run is not None and run.state == "running":
        return {"state": "running", "phase": run.phase, "progress": run.progress}
    settings = store.settings(user_id)
    if not settings["learning"] or store.lease_holder() is None:
        state = "off"
    elif settings["paused"]:
        state = "paused"
    elif run is not None or store.new_feedback_count(user_id) >= settings["learn_after"]:
        state = "waiting"
    else:
        state = "idle"
    return {"state": state, "phase": run.phase if run else "", "progress": 0.0}


def status_text(found: dict[str, Any]) -> str:
    said = ", ".join(f"{number} {kind}" for kind, number in found["feedback"].items() if number)
    live = found["live_version"]
    learner = found["learner"]
    doing = f": {learner['phase']}, {learner['progress']:.0%}" if learner["state"] == "running" else ""
    lines = [
        f"Person    {found['user']}",
        f"Feedback  {said or 'none yet'}",
        f"Live      {'the base model' if live == BASE_VERSION else f'version {live}'}"
        + (f" on {found['base_model']}" if found["base_model"] else ""),
        f"Learner   {learner['state']}{doing}",
    ]
    for run in found["runs"]:
        when = run["ended"] or run["started"] or ""
        lines.append(f"Run       {when}  {run['state']}  {run['reason']}".rstrip())
    return "\n".join(lines)
