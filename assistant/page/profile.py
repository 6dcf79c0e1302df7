"""The Profile tab: what was said, what was learnt from it, which versions there are, and the way out.

The panel shows what `profile_view` says and acts through the HTTP interface (/v1/learner, /v1/profile), so
that the page can do nothing that is not checked there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import gradio as gr

from assistant.page.component import make_panel
from assistant.page.plots import plots_view
from assistant.page.report import Sentence, compared, figures, story, verdict
from assistant.page.status import RUNNING, status_view
from assistant.page.view import wanted_length
from assistant.services import Services
from assistant.watching import watched
from data.errors import NotFound
from data.evidence import load_evidence, outcomes
from data.ids import is_id
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
from learner.reward.muting import STATED
from learner.reward.phrases import Language, phrase

RATINGS_SHOWN = 50  # until more are asked for
EXCERPT_CHARS = 90
AS_IT_CAME = {"say": "The model as it came, before anything was learnt.", "with": {}}


def build_profile(services: Services) -> gr.HTML:
    """The tab's content; the panel asks for it whenever the tab is opened or something changed."""
    panel = make_panel("profile.js", ["reload"], elem_id="at-profile")

    def read(event: gr.EventData, request: gr.Request) -> dict[str, Any]:
        asked = event._data if isinstance(event._data, dict) else {}
        ratings = wanted_length(asked.get("ratings"), RATINGS_SHOWN)
        return profile_view(services.store, services.current_user(request).id, ratings)

    panel.reload(
        read, None, panel, show_progress="hidden", api_visibility="private", trigger_mode="always_last"
    )
    return panel


def profile_view(store: Store, user_id: str, ratings: int = RATINGS_SHOWN) -> dict[str, Any]:
    """Everything that the Profile tab shows, as plain values; of the ratings as many as are asked for, newest first."""
    live = store.live_version(user_id)
    versions = store.versions(user_id)
    runs = store.list_runs(user_id, limit=20)
    reasons = {run.version: run.reason for run in reversed(runs) if run.version is not None}
    ended = next((run for run in runs if run.state not in RUNNING), None)
    counts = store.feedback_counts(user_id)
    newest = store.newest_standing_feedback(user_id, ratings)
    evidence = load_evidence(store, user_id)
    compared_with = _comparisons(store, user_id)
    outcome = outcomes(store, user_id, newest, evidence)
    return {
        "status": status_view(store, user_id),
        "counts": [{"kind": kind, "count": counts.get(kind, 0)} for kind in FEEDBACK_KINDS],
        "quality": [
            {"code": code, "count": count, "text": WHY[code]}
            for code, count in quality_counts(evidence).items() if count
        ],
        "learnt": _learnt(store, user_id, versions, live),
        "last_run": _run(ended) if ended else None,
        "plots": plots_view(store, user_id, versions, runs),
        "versions": [
            *(_version(v, live, reasons.get(v.number, ""), compared_with.get(v.number)) for v in reversed(versions)),
            {"number": BASE_VERSION, "live": live == BASE_VERSION, "status": "accepted", "created": None,
             "usable": live != BASE_VERSION, "verdict": AS_IT_CAME, "story": [], "figures": []},
        ],
        "ratings": [_rating(store, user_id, event, outcome[event.id]) for event in newest],
        "more_ratings": sum(counts.values()) > len(newest),
    }  # fmt: skip


def _learnt(store: Store, user_id: str, versions: Sequence[AdapterVersion], live: int) -> dict[str, Any]:
    """What the live version was taught; where the base answers, what the last accepted version had been taught.

    What is switched off stays in the list, so that it can be switched on again: in the words in which it was last said.
    """
    accepted = [v for v in versions if v.status == "accepted"]
    shown = next((v for v in versions if v.number == live), accepted[-1] if accepted else None)
    settings = store.settings(user_id)
    spoken: Language = "zh" if settings["language"] == "zh" else "en"
    now = _statements(shown) if shown else []
    said_now = {found.get("feature") for found in now}
    once = {str(found.get("feature")): found for version in versions for found in _statements(version)}
    off = [once.get(name, {"feature": name}) for name in settings["muted"] if name in STATED and name not in said_now]
    return {
        "version": shown.number if shown else None,
        "live": shown is not None and shown.number == live,
        "statements": [_statement(store, user_id, found, spoken, settings["muted"]) for found in now],
        "off": [{"feature": str(found["feature"]), "phrase": _phrase(found, spoken)} for found in off],
    }


def _statements(version: AdapterVersion) -> list[Mapping[str, Any]]:
    found = version.report.get("learnt", [])
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _statement(
    store: Store, user_id: str, found: Mapping[str, Any], spoken: Language, muted: Sequence[str]
) -> dict[str, Any]:
    """One thing that was learnt: what, how sure, the ratings that it comes from most, and whether it counts. `feature`
    is None where it cannot be switched off (a report from elsewhere may name anything)."""
    feature = found.get("feature")
    said = []
    ids = found.get("feedback_ids")
    for feedback_id in filter(is_id, ids if isinstance(ids, list) else ()):
        try:
            event = store.feedback_event(user_id, feedback_id)
            said.append({"said": _said(event), "about": _about(store, user_id, event)})
        except NotFound:
            continue  # erased, or its conversation deleted
    return {
        "feature": feature if feature in STATED else None,
        "enabled": feature not in muted,
        "phrase": _phrase(found, spoken),
        "text": str(found.get("text", "")),
        "probability": found.get("probability"),
        "ratings": found.get("ratings"),
        "from": said,
    }


def _phrase(found: Mapping[str, Any], spoken: Language) -> str:
    """What is said of a taste; of one whose direction nobody has said, both sides of it."""
    feature, weight = str(found.get("feature", "")), found.get("weight")
    if isinstance(weight, int | float):
        best = found.get("best_words")
        return phrase(feature, weight, best if isinstance(best, int) else None, spoken)
    if "text" in found:
        return str(found["text"]).partition(",")[0]
    return " / ".join(phrase(feature, side, None, spoken) for side in (1.0, -1.0))


def _run(run: LearningRun) -> dict[str, Any]:
    return {
        "state": run.state,
        "reason": run.reason,
        "ended": run.ended_at,
        "version": run.version,
        "verdict": verdict(run.state, run.reason, run.report),
        "story": story(run.report),
    }


def _comparisons(store: Store, user_id: str) -> dict[int, Sentence]:
    """By version, what comparisons with the one before it say: of the one that is watched, and of those taken back."""
    found: dict[int, Sentence] = {}
    publications = store.publications(user_id)
    for before, after in pairwise(publications):
        if before.reason == "promoted" and after.reason == "auto_rollback":
            found[before.version] = compared(after.version, 0, 0, taken_back=True)
    now = watched(store, user_id)
    if now is not None and now.state == "watching":
        found[now.new] = compared(now.old, now.new_preferred, now.old_preferred, taken_back=False)
    return found


def _version(version: AdapterVersion, live: int, reason: str, comparisons: Sentence | None) -> dict[str, Any]:
    is_live = version.number == live
    ended = {"accepted": "promoted", "rejected": "rejected"}.get(version.status, "")
    return {
        "number": version.number,
        "live": is_live,
        "status": version.status,
        "created": version.created_at,
        "usable": version.status == "accepted" and version.has_weights and not is_live,
        "verdict": verdict(ended, reason or str(version.report.get("reason", "")), version.report),
        "story": [*story(version.report), *([comparisons] if comparisons else [])],
        "figures": figures(version.report),
    }


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


def _said(event: FeedbackEvent) -> dict[str, Any]:
    """A sentence as in report.py."""
    if event.kind == "thumb":
        return {"say": "Thumb up" if event.value == "up" else "Thumb down", "with": {}}
    if event.kind == "stars":
        return {"say": "{n} of 5 stars", "with": {"n": event.value}}
    if event.kind == "comment":
        return {"say": "Comment: {text}", "with": {"text": _short(event.value)}}
    if event.kind == "edit":
        return {"say": "Edit: {text}", "with": {"text": _short(event.value)}}
    tie = len(event.value["order"]) == 1
    return {"say": "Compared answers: a tie" if tie else "Compared answers", "with": {}}


def _about(store: Store, user_id: str, event: FeedbackEvent) -> str:
    if event.message_id is not None:
        return _short(store.message(user_id, event.message_id).content)
    comparison = store.comparison(user_id, event.comparison_id or "")
    return _short(store.message(user_id, comparison.prompt_message_id).content)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[:EXCERPT_CHARS].rstrip() + "…"
