"""`status`: what has been said, what is live, what the learner does."""

from __future__ import annotations

import argparse
from typing import Any

from assistant.commands.opened import opened, show
from assistant.learner_state import learner_state, learnt, run_values
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
    learner = learner_state(store, user.id)
    base, live = store.base(), store.live_version(user.id)
    return {
        "user": user.name,
        "feedback": {kind: counts.get(kind, 0) for kind in FEEDBACK_KINDS},
        "live_version": live,
        "base_model": base.id if base else None,
        "learner": {name: learner[name] for name in ("state", "phase", "progress", "next")},
        "learnt": learnt(store, user.id, live),
        "runs": [run_values(run, user.name) for run in store.list_runs(user.id, limit=5)],
    }


def status_text(found: dict[str, Any]) -> str:
    said = ", ".join(f"{number} {kind}" for kind, number in found["feedback"].items() if number)
    live = found["live_version"]
    lines = [
        f"Person    {found['user']}",
        f"Feedback  {said or 'none yet'}",
        f"Live      {'the base model' if live == BASE_VERSION else f'version {live}'}"
        + (f" on {found['base_model']}" if found["base_model"] else ""),
        f"Learner   {learner_text(found['learner'])}",
    ]
    lines += [f"Learnt    {one['text']}{'' if one['enabled'] else ' (switched off)'}" for one in found["learnt"]]
    for run in found["runs"]:
        when = run["ended"] or run["started"] or ""
        lines.append(f"Run       {when}  {run['state']}  {run['reason']}".rstrip())
    return "\n".join(lines)


def learner_text(learner: dict[str, Any]) -> str:
    if learner["state"] == "running":
        return f"running: {learner['phase']}, {learner['progress']:.0%}"
    upcoming = learner["next"]
    waits = f"{upcoming['new_feedback']} of {upcoming['learn_after']} new pieces of feedback"
    alive = upcoming["learner_alive"]
    asleep = "" if alive else "; no learner is running (`python launch.py` starts one)"
    return f"{learner['state']}, {waits}{asleep}"
