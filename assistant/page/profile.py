"""The Profile tab: what was said, what was learnt from it, which versions there are, and the way out.

The panel shows what `profile_view` says and acts through the HTTP interface (/v1/learner, /v1/profile), so
that the page can do nothing that is not checked there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from assistant.page.component import make_panel
from assistant.page.status import status_view
from assistant.services import Services
from data.evidence import load_evidence, outcomes
from data.quality import WHY, quality_counts
from data.store import Store
from data.types import (
    BASE_VERSION,
    FEEDBACK_KINDS,
    AdapterVersion,
    FeedbackEvent,
    FeedbackOutcome,
    LearningRun,
)

RATINGS_SHOWN = 50
EXCERPT_CHARS = 90


def build_profile(services: Services, tab: gr.Tab) -> gr.HTML:
    """The tab's content; it is read anew whenever the tab is opened or the panel asks."""
    with gr.Column(elem_classes="at-sheet"):
        panel = make_panel("profile.js", ["reload"], elem_id="at-profile")

    def read(request: gr.Request) -> dict[str, Any]:
        return profile_view(services.store, services.current_user(request).id)

    for listen in (panel.reload, tab.select):
        listen(
            read, None, panel, show_progress="hidden", api_visibility="private", trigger_mode="always_last"
        )
    return panel


def profile_view(store: Store, user_id: str) -> dict[str, Any]:
    """Everything that the Profile tab shows, as plain values."""
    live = store.live_version(user_id)
    versions = store.versions(user_id)
    runs = store.list_runs(user_id, limit=20)
    reasons = {run.version: run.reason for run in reversed(runs) if run.version is not None}
    report = next((v.report for v in versions if v.number == live), {})
    ended = next((run for run in runs if run.state not in ("queued", "running")), None)
    counts = store.feedback_counts(user_id)
    newest = store.newest_standing_feedback(user_id, RATINGS_SHOWN)
    evidence = load_evidence(store, user_id)
    outcome = outcomes(store, user_id, newest, evidence)
    return {
        "status": status_view(store, user_id),
        "counts": [{"kind": kind, "count": counts.get(kind, 0)} for kind in FEEDBACK_KINDS],
        "quality": [
            {"code": code, "count": count, "text": WHY[code]}
            for code, count in quality_counts(evidence).items() if count
        ],
        "learnt": [dict(statement) for statement in report.get("learnt", [])],
        "last_run": _run(ended) if ended else None,
        "versions": [
            *(_version(v, live, reasons.get(v.number, "")) for v in reversed(versions)),
            {"number": BASE_VERSION, "live": live == BASE_VERSION, "status": "accepted", "created": None,
             "reason": "The model as it came, before anything was learnt.", "report": []},
        ],
        "ratings": [_rating(store, user_id, event, outcome[event.id]) for event in newest],
    }  # fmt: skip


def _run(run: LearningRun) -> dict[str, Any]:
    return {"state": run.state, "reason": run.reason, "ended": run.ended_at, "version": run.version}


def _version(version: AdapterVersion, live: int, reason: str) -> dict[str, Any]:
    return {
        "number": version.number,
        "live": version.number == live,
        "status": version.status,
        "created": version.created_at,
        "reason": reason or str(version.report.get("reason", "")),
        "report": figures(version.report),
    }


def figures(report: Mapping[str, Any], prefix: str = "") -> list[dict[str, str]]:
    """The numbers of a report as rows {name, value}, nested names joined by " / "."""
    rows: list[dict[str, str]] = []
    for name, value in report.items():
        label = f"{prefix}{name}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += figures(value, f"{label} / ")
        elif isinstance(value, bool):
            rows.append({"name": label, "value": "yes" if value else "no"})
        elif isinstance(value, int | float):
            rows.append({"name": label, "value": f"{value:.4g}"})
        elif _is_interval(value):
            rows.append({"name": label, "value": f"{value[0]:.3g} to {value[1]:.3g}"})
    return rows


def _is_interval(value: Any) -> bool:
    return (
        isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
    )


def _rating(store: Store, user_id: str, event: FeedbackEvent, outcome: FeedbackOutcome) -> dict[str, Any]:
    return {
        "id": event.id,
        "kind": event.kind,
        "said": _said(event),
        "about": _about(store, user_id, event),
        "created": event.created_at,
        "code": outcome.code,
        "text": outcome.text,
    }


def _said(event: FeedbackEvent) -> str:
    if event.kind == "thumb":
        return "Thumb up" if event.value == "up" else "Thumb down"
    if event.kind == "stars":
        return f"{event.value} of 5 stars"
    if event.kind == "comment":
        return f"Comment: {_short(event.value)}"
    if event.kind == "edit":
        return f"Edit: {_short(event.value)}"
    return "Compared answers" + (": a tie" if len(event.value["order"]) == 1 else "")


def _about(store: Store, user_id: str, event: FeedbackEvent) -> str:
    if event.message_id is not None:
        return _short(store.message(user_id, event.message_id).content)
    comparison = store.comparison(user_id, event.comparison_id or "")
    return _short(store.message(user_id, comparison.prompt_message_id).content)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[:EXCERPT_CHARS].rstrip() + "…"
