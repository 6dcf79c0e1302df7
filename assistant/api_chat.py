"""POST /v1/chat/completions and /v1/comparisons: OpenAI's request and response, with our additions."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from assistant.api_people import Person, ServicesOf
from assistant.api_requests import ChatRequest, ComparisonRequest
from assistant.api_streaming import EventStream, chunks, finish_reason, finished, in_thread, usage_of
from assistant.services import Services
from assistant.streams import ReplyStream
from data.errors import Conflict, NotFound
from data.ids import new_id

router = APIRouter(prefix="/v1")


@router.get("/models")
async def models(services: ServicesOf, person: Person) -> dict[str, Any]:
    return {
        "object": "list",
        "data": [_model(services, "attune"), _model(services, "base")],
        "has_more": False,
    }


@router.get("/models/{name}")
async def model(name: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    if name not in ("attune", "base"):
        raise NotFound(f"There is no model {name!r}: choose attune or base.")
    return _model(services, name)


@router.post("/chat/completions")
async def chat_completions(
    body: ChatRequest, request: Request, services: ServicesOf, person: Person
) -> Response:
    body.refuse_what_we_lack()
    streams = await in_thread(
        partial(
            services.chat.complete,
            person.id,
            body.turns(),
            body.sampling(),
            model=body.model_name(),
            n=body.n or 1,
            store=body.store is not False,
            conversation_id=body.conversation_id,
        )
    )
    head = _head(body.model, streams)
    if body.stream:
        usage = body.stream_options is not None and bool(body.stream_options.include_usage)
        return EventStream(chunks(head, streams, usage), streams)
    if not await finished(request, streams):
        return Response(status_code=499)
    return JSONResponse(_completion(head, streams))


@router.post("/comparisons")
async def comparisons(
    body: ComparisonRequest, request: Request, services: ServicesOf, person: Person
) -> Response:
    made = await in_thread(
        partial(
            services.chat.compare_turns,
            person.id,
            body.turns(),
            body.n,
            body.sampling(),
            conversation_id=body.conversation_id,
        )
    )
    if not await finished(request, made.streams):
        return Response(status_code=499)
    replies = [
        {
            "message_id": s.message_id,
            "content": s.text,
            "adapter_version": s.version,
            "finish_reason": finish_reason(s),
        }
        for s in made.streams
    ]
    if made.comparison is None:
        raise Conflict(
            "One of the replies came out empty or was stopped, so there is nothing to compare; ask again."
        )
    return JSONResponse(
        {"id": made.comparison.id, "conversation_id": made.conversation.id, "replies": replies}
    )


def _model(services: Services, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "attune",
        "base_model": services.base.spec.id,
    }


def _head(model_name: str, streams: list[ReplyStream]) -> dict[str, Any]:
    conversation = streams[0].conversation
    return {
        "id": f"chatcmpl-{new_id()}",
        "created": int(time.time()),
        "model": model_name,
        "adapter_version": streams[0].version,
        "conversation_id": conversation.id if conversation else None,
    }


def _completion(head: dict[str, Any], streams: list[ReplyStream]) -> dict[str, Any]:
    choices = [
        {
            "index": i,
            "message": {"role": "assistant", "content": s.text, "refusal": None},
            "finish_reason": finish_reason(s),
            "logprobs": None,
            "message_id": s.message_id,
        }
        for i, s in enumerate(streams)
    ]
    return {**head, "object": "chat.completion", "choices": choices, "usage": usage_of(streams)}
