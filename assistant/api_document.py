"""The OpenAPI document: FastAPI's, made true. Every refusal that a route can answer with, the key, no 422."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ERROR = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
            "properties": {
                "message": {"type": "string", "description": "one line, for a person"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"], "description": "the field that it is about"},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_WHY = {
    400: "A value that cannot be accepted; `param` names it.",
    401: "No key, or one that is not valid (any more).",
    403: "Another host name or website than this server's own.",
    404: "No such thing, or it is somebody else's.",
    409: "Right in itself, but not now.",
    413: "The body is too large.",
    415: "The body is of another kind than is taken here.",
    429: "Too many requests, or too many replies are waiting.",
}
# Which operations besides those with an id in their path name something that may not be there, or not be possible now.
_NAMES_SOMETHING = {
    "post /v1/chat/completions", "post /v1/comparisons", "get /v1/feedback", "post /v1/feedback",
    "get /v1/conversations", "post /v1/profile/rollback", "post /v1/profile/undo-reset",
}  # fmt: skip
_NOT_ALWAYS_NOW = {
    "post /v1/chat/completions", "post /v1/comparisons", "post /v1/feedback", "delete /v1/feedback/{feedback_id}",
    "post /v1/learner/run", "post /v1/learner/runs/{run_id}/cancel", "post /v1/profile/rollback",
    "post /v1/profile/import", "post /v1/profile/reset", "post /v1/profile/undo-reset", "post /v1/profile/score",
    "delete /v1/conversations/{conversation_id}",
}  # fmt: skip
# Where ids come from: this answer, with this status, has at this place the value of this path parameter.
_LINKS = (
    ("post /v1/conversations", "201", "/id", "conversation_id"),
    ("post /v1/chat/completions", "200", "/conversation_id", "conversation_id"),
    ("post /v1/feedback", "200", "/id", "feedback_id"),
    ("post /v1/learner/run", "202", "/id", "run_id"),
    ("get /v1/models", "200", "/data/0/id", "name"),
)
_OPEN = {"get /healthz"}
_FILE = {"schema": {"type": "string", "format": "binary"}}


def document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title="Attune", version="1", routes=app.routes)
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(f"{method} {path}", method, operation)
    paths = made["paths"]
    paths["/v1/profile/export"]["get"]["responses"]["200"]["content"] = {"application/zip": _FILE}
    paths["/v1/profile/import"]["post"]["requestBody"] = {
        "required": True, "content": {"application/zip": _FILE, "application/octet-stream": _FILE},
    }  # fmt: skip
    streamed = {"schema": {"type": "string", "description": "server-sent events, where `stream` is true"}}
    paths["/v1/chat/completions"]["post"]["responses"]["200"]["content"]["text/event-stream"] = streamed
    _link(paths)
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "an API key"}}
    made["security"] = [{"key": []}]
    return made


def _complete(name: str, method: str, operation: dict[str, Any]) -> None:
    """The refusals of one operation, and whether it asks for a key."""
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI promises it by itself; this server never sends it
    statuses = {400, 403}
    if name in _OPEN:
        operation["security"] = []
    else:
        statuses |= {401, 429}
    if method != "get":
        statuses |= {413, 415}
    if "{" in name or name in _NAMES_SOMETHING:
        statuses.add(404)
    if name in _NOT_ALWAYS_NOW:
        statuses.add(409)
    for status in sorted(statuses):
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
        responses[str(status)] = {"description": _WHY[status], "content": content}
        if status == 429:
            responses["429"]["headers"] = {
                "Retry-After": {"schema": {"type": "string"}, "description": "seconds to wait"}
            }


def _link(paths: dict[str, Any]) -> None:
    """OpenAPI links from every answer that carries an id to the operations that take it."""
    for source, status, place, parameter in _LINKS:
        method, path = source.split()
        links = paths[path][method]["responses"][status].setdefault("links", {})
        for target, operations in paths.items():
            for operation in operations.values() if f"{{{parameter}}}" in target else ():
                links[operation["operationId"]] = {
                    "operationId": operation["operationId"],
                    "parameters": {parameter: f"$response.body#{place}"},
                }
    answered = paths["/v1/chat/completions"]["post"]["responses"]["200"]["links"]
    answered["rate"] = {
        "operationId": paths["/v1/feedback"]["post"]["operationId"],
        "requestBody": {"message_id": "$response.body#/choices/0/message_id"},
    }
