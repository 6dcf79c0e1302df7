"""/v1/profile: what is known and learnt about this person, and taking it away, back, or along."""

from __future__ import annotations

import os
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from starlette.background import BackgroundTask

from assistant.api_people import Person, ServicesOf
from assistant.api_requests import Whole, as_whole
from assistant.api_streaming import in_thread
from assistant.learner_state import learnt
from assistant.watching import watched
from data import profile
from data.errors import Invalid, NotFound
from data.evidence import load_evidence
from data.home import Home
from data.quality import quality_counts
from data.store.settings import MAX_MUTED, MAX_NOTE_CHARS, MAX_NOTES, MAX_PROMPT_CHARS
from data.types import BASE_VERSION, REWARD_KINDS, AdapterVersion
from learner.reward.muting import STATED

router = APIRouter(prefix="/v1/profile")


class RollbackRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    version: Annotated[int, Field(ge=0, le=2**31), Whole]


class ResetRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    what: Literal["model", "feedback", "all"]
    erase_now: bool = False


# Checked by the store; this is for the document.
SETTINGS = {
    "type": "object",
    "properties": {
        "temperature": {"type": "number", "minimum": 0, "maximum": 2},
        "top_p": {"type": "number", "minimum": 0.001, "maximum": 1},
        "max_tokens": {"type": "integer", "minimum": 1, "maximum": 8192},
        "system_prompt": {"type": "string", "maxLength": MAX_PROMPT_CHARS},
        "learning": {"type": "boolean"},
        "paused": {"type": "boolean"},
        "learn_after": {"type": "integer", "minimum": 1, "maximum": 10_000},
        "quiet_minutes": {"type": "number", "minimum": 0, "maximum": 1440},
        "language": {"enum": ["en", "zh"]},
        "theme": {"enum": ["auto", "light", "dark"]},
        "reward_model": {"enum": list(REWARD_KINDS)},
        "offer_comparisons": {"type": "boolean"},
        "muted": {
            "type": "array", "maxItems": MAX_MUTED, "uniqueItems": True, "items": {"enum": list(STATED)},
            "description": "what was learnt and is switched off: held at zero from the next update on",
        },
    },
    "additionalProperties": False,
}
SettingsPatch = Annotated[dict[str, Any], WithJsonSchema(SETTINGS)]


class Note(BaseModel):
    """`id` and `created_at` as they were read, or left out for a new note."""

    model_config = ConfigDict(strict=True, extra="forbid")

    text: Annotated[str, Field(pattern=r"\S", max_length=MAX_NOTE_CHARS)]
    source: Annotated[str, Field(max_length=200)] = "person"
    enabled: bool = True
    id: str | None = None
    created_at: str | None = None


class LearntRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    enabled: bool


class NotesRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    notes: Annotated[list[Note], Field(max_length=MAX_NOTES)]


@router.get("")
def whole(services: ServicesOf, person: Person) -> dict[str, Any]:
    store = services.store
    live = services.adapters.live_version(person.id)
    counts = store.feedback_counts(person.id)
    compared = watched(store, person.id)
    return {
        "user": person.name,
        "base_model": services.base.spec.id,
        "live_version": live,
        "feedback": counts,
        "new_feedback": store.new_feedback_count(person.id),
        "learnt": learnt(store, person.id, live),
        "compared": asdict(compared) if compared else None,  # the newest version with the one before it
        "muted": store.settings(person.id)["muted"],
        "data_quality": quality_counts(load_evidence(store, person.id)),
    }


@router.put("/learnt/{feature}")
def switch_learnt(
    feature: Annotated[str, WithJsonSchema({"enum": list(STATED)})], body: LearntRequest, services: ServicesOf,
    person: Person,
) -> dict[str, Any]:  # fmt: skip
    """Switch one thing that may be learnt (`feature` of a statement) off, or on again. What is off is held at zero in
    the reward model: at once in scores and in what is asked about, and in every update that begins from now on."""
    if feature not in STATED:
        raise NotFound(f"There is no {feature[:60]!r} among what can be learnt.")
    muted = services.store.mute(person.id, feature, not body.enabled)["muted"]
    return {"feature": feature, "enabled": body.enabled, "muted": muted}


@router.get("/notes")
def notes(services: ServicesOf, person: Person) -> dict[str, Any]:
    return {"notes": services.store.notes(person.id)}


@router.put("/notes")
def put_notes(body: NotesRequest, services: ServicesOf, person: Person) -> dict[str, Any]:
    return {"notes": services.store.put_notes(person.id, [note.model_dump() for note in body.notes])}


@router.get("/settings")
def settings(services: ServicesOf, person: Person) -> dict[str, Any]:
    return services.store.settings(person.id)


@router.patch("/settings")
def patch_settings(body: SettingsPatch, services: ServicesOf, person: Person) -> dict[str, Any]:
    muted = body.get("muted")
    if isinstance(muted, list) and not set(filter(_is_text, muted)) <= set(STATED):
        raise Invalid(f"The setting muted must be some of {', '.join(STATED)}.", "muted")
    whole_numbers: dict[str, Any] = {key: as_whole(body[key]) for key in ("max_tokens", "learn_after") if key in body}
    return services.store.update_settings(person.id, {**body, **whole_numbers})


@router.get("/versions")
def versions(services: ServicesOf, person: Person) -> dict[str, Any]:
    """Newest first; the last one, 0, is the base."""
    live = services.store.live_version(person.id)
    rows = [_shown(row, live) for row in reversed(services.store.versions(person.id))]
    base = {
        "version": BASE_VERSION, "status": "accepted", "live": live == BASE_VERSION, "parent": None,
        "base_model": services.base.spec.id, "created": None, "sha256": "", "report": {},
    }  # fmt: skip
    return {"object": "list", "data": [*rows, base], "has_more": False}


@router.post("/rollback")
def rollback(body: RollbackRequest, services: ServicesOf, person: Person) -> dict[str, Any]:
    done = services.store.publish(person.id, body.version, "rollback")
    return {"live_version": done.version, "created": done.created_at}


@router.get("/export")
def export(services: ServicesOf, person: Person) -> FileResponse:
    handle, name = tempfile.mkstemp(suffix=".zip", dir=transfers(services.home))
    os.close(handle)
    out = Path(name)
    try:
        profile.export_profile(services.store, services.home, person.id, out)
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return FileResponse(
        out, media_type="application/zip", filename="attune-profile.zip",
        background=BackgroundTask(out.unlink, missing_ok=True),
    )  # fmt: skip


@router.post("/import")
async def import_(request: Request, services: ServicesOf, person: Person) -> dict[str, Any]:
    """The zip is the request's body (application/zip). Nothing of it goes live by itself."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/zip", "application/octet-stream"):
        raise Invalid("Send the exported file itself, as application/zip.", "content-type")
    handle, name = tempfile.mkstemp(suffix=".zip", dir=transfers(services.home))
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            async for piece in request.stream():
                await in_thread(partial(file.write, piece))
        report = await in_thread(
            partial(profile.import_profile, services.store, services.home, person.id, path)
        )
    finally:
        path.unlink(missing_ok=True)
    return asdict(report)


@router.post("/reset")
def reset(body: ResetRequest, services: ServicesOf, person: Person) -> dict[str, Any]:
    return dict(profile.reset(services.store, services.home, person.id, body.what, body.erase_now))


@router.post("/undo-reset")
def undo_reset(services: ServicesOf, person: Person) -> dict[str, Any]:
    return dict(profile.undo_reset(services.store, services.home, person.id))


def transfers(home: Home) -> Path:
    """Where files on their way in or out lie. Not the home's tmp: the page serves files from there."""
    folder = home.root / "transfers"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _shown(row: AdapterVersion, live: int) -> dict[str, Any]:
    return {
        "version": row.number,
        "status": row.status,
        "live": row.number == live,
        "parent": row.parent,
        "base_model": row.base_id,
        "created": row.created_at,
        "sha256": row.sha256,
        "report": dict(row.report),
    }
