"""/v1/conversations and /v1/search: what was said, to read, name and delete."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from assistant.api_people import Person, ServicesOf
from data.types import Conversation, Message

router = APIRouter(prefix="/v1")
MAX_PROMPT_CHARS = 20_000


class NewConversation(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    title: Annotated[str, Field(max_length=200)] = ""
    system_prompt: Annotated[str, Field(max_length=MAX_PROMPT_CHARS)] = ""


class ConversationPatch(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    title: Annotated[str | None, Field(max_length=200)] = None
    system_prompt: Annotated[str | None, Field(max_length=MAX_PROMPT_CHARS)] = None


@router.post("/conversations", status_code=201)
def create(body: NewConversation, services: ServicesOf, person: Person) -> dict[str, Any]:
    return shown(services.store.create_conversation(person.id, body.title, body.system_prompt))


@router.get("/conversations")
def listed(
    services: ServicesOf,
    person: Person,
    after: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """The most recently used first; `after` is the id of the last one of the page before."""
    found = services.store.list_conversations(person.id, limit=limit + 1, before=after)
    return {"object": "list", "data": [shown(c) for c in found[:limit]], "has_more": len(found) > limit}


@router.get("/conversations/{conversation_id}")
def one(conversation_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    conversation = services.store.conversation(person.id, conversation_id)
    messages = services.store.messages(person.id, conversation_id)
    return {**shown(conversation), "messages": [shown_message(m) for m in messages]}


@router.patch("/conversations/{conversation_id}")
def change(
    conversation_id: str, body: ConversationPatch, services: ServicesOf, person: Person
) -> dict[str, Any]:
    if body.title is not None:
        services.store.rename_conversation(person.id, conversation_id, body.title)
    if body.system_prompt is not None:
        services.store.set_system_prompt(person.id, conversation_id, body.system_prompt)
    return shown(services.store.conversation(person.id, conversation_id))


@router.delete("/conversations/{conversation_id}")
def delete(conversation_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    services.chat.stop(person.id, conversation_id)  # NotFound for what is not this person's
    services.store.delete_conversation(person.id, conversation_id)
    return {"id": conversation_id, "object": "conversation", "deleted": True}


@router.get("/search")
def search(
    services: ServicesOf,
    person: Person,
    q: Annotated[str, Query(min_length=1, max_length=500)],
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> dict[str, Any]:
    found = services.store.search(person.id, q, limit=limit + 1)
    return {
        "object": "list",
        "data": [shown_message(m) for m in found[:limit]],
        "has_more": len(found) > limit,
    }


def shown(conversation: Conversation) -> dict[str, Any]:
    return {
        "id": conversation.id,
        "object": "conversation",
        "title": conversation.title,
        "system_prompt": conversation.system_prompt,
        "created": conversation.created_at,
        "updated": conversation.updated_at,
    }


def shown_message(message: Message) -> dict[str, Any]:
    fields = asdict(message)
    fields["created"] = fields.pop("created_at")
    return {"object": "message", **fields}
