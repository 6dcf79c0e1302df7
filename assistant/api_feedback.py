"""/v1/feedback: what people say about replies, and what became of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from assistant.api_people import Person, ServicesOf
from assistant.api_requests import as_whole
from data.evidence import outcomes
from data.feedback_values import MAX_COMMENT_CHARS, MAX_EDIT_CHARS
from data.types import FeedbackEvent, FeedbackKind, FeedbackOutcome

router = APIRouter(prefix="/v1/feedback")


def _document_kinds(schema: dict[str, Any]) -> None:
    """In the document: what `value` is for each kind, and which id goes with it. The store checks it."""
    text = {"type": "string", "pattern": r"\S"}
    group = {"type": "array", "items": {"type": "string"}, "minItems": 1}
    order = {"type": "array", "items": group, "minItems": 1}
    values: dict[str, dict[str, Any]] = {
        "thumb": {"enum": ["up", "down"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "comment": {**text, "maxLength": MAX_COMMENT_CHARS},
        "edit": {**text, "maxLength": MAX_EDIT_CHARS},
        "ranking": {
            "type": "object", "properties": {"order": order}, "required": ["order"], "additionalProperties": False,
        },
    }  # fmt: skip
    seen_s = schema["properties"]["seen_s"]
    schema.clear()
    schema["oneOf"] = [
        {
            "type": "object",
            "properties": {
                "kind": {"const": kind},
                "value": value,
                _target(kind): {"type": "string", "maxLength": 64},
                "seen_s": seen_s,
            },
            "required": ["kind", "value", _target(kind)],
            "additionalProperties": False,
        }
        for kind, value in values.items()
    ]


def _target(kind: str) -> str:
    return "comparison_id" if kind == "ranking" else "message_id"


class FeedbackRequest(BaseModel):
    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, json_schema_extra=_document_kinds
    )

    kind: FeedbackKind
    value: Any = Field(description="by kind: up/down, 1..5, text, text, {order: [[best ids], [next]]}")
    message_id: Annotated[str | None, Field(max_length=64)] = None
    comparison_id: Annotated[str | None, Field(max_length=64)] = None
    seen_s: Annotated[float | None, Field(ge=0, description="for how long the reply had been shown")] = None


@router.post("")
def add(body: FeedbackRequest, services: ServicesOf, person: Person) -> dict[str, Any]:
    event = services.store.add_feedback(
        person.id, body.kind, as_whole(body.value), message_id=body.message_id, comparison_id=body.comparison_id,
        seen_s=body.seen_s,
    )  # fmt: skip
    return shown(event, services.store.outcome(person.id, event.id))


@router.get("")
def listed(
    services: ServicesOf,
    person: Person,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    if after is not None:
        services.store.feedback_event(person.id, after)  # NotFound for what is not this person's
    events = services.store.list_feedback(person.id, after=after, limit=limit + 1)
    outcome = outcomes(services.store, person.id, events[:limit])
    data = [shown(event, outcome[event.id]) for event in events[:limit]]
    return {"object": "list", "data": data, "has_more": len(events) > limit}


@router.get("/{feedback_id}")
def one(feedback_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    event = services.store.feedback_event(person.id, feedback_id)
    return shown(event, outcomes(services.store, person.id, [event])[event.id])


@router.delete("/{feedback_id}")
def retract(feedback_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    event = services.store.retract_feedback(person.id, feedback_id)
    return shown(event, services.store.outcome(person.id, event.id))


def shown(event: FeedbackEvent, outcome: FeedbackOutcome) -> dict[str, Any]:
    target = "message_id" if event.message_id is not None else "comparison_id"
    return {
        "id": event.id,
        target: event.message_id or event.comparison_id,
        "kind": event.kind,
        "value": event.value,
        "created": event.created_at,
        "outcome": {
            "code": outcome.code, "version": outcome.version, "reason": outcome.reason, "text": outcome.text,
        },
    }  # fmt: skip
