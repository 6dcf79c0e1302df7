"""Errors as OpenAI's API has them: {"error": {"message", "type", "param", "code"}}, and never a 422."""

from __future__ import annotations

import json
import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from assistant.errors import Busy, GenerationFailed
from data.errors import AttuneError, Conflict, Invalid, NotFound

log = logging.getLogger(__name__)

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_CODES = {
    400: "invalid_value", 401: "invalid_api_key", 403: "forbidden", 404: "not_found",
    405: "method_not_allowed", 409: "conflict", 413: "too_large", 415: "unsupported_media_type",
    429: "busy", 500: "server_error",
}  # fmt: skip
BUSY_RETRY_S = 5


def error_body(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code or _CODES.get(status)}}


def error_response(
    status: int, message: str, param: str | None = None, code: str | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:  # fmt: skip
    return JSONResponse(error_body(status, message, param, code), status, headers=headers)


def status_of(error: AttuneError) -> int:
    for kind, status in (
        (Invalid, 400),
        (NotFound, 404),
        (Conflict, 409),
        (Busy, 429),
        (GenerationFailed, 500),
    ):
        if isinstance(error, kind):
            return status
    return 500


def body_of(error: AttuneError) -> dict[str, Any]:
    return error_body(status_of(error), str(error), getattr(error, "param", None))


def install_errors(app: FastAPI) -> None:
    """Every error that leaves a route gets our shape."""

    @app.exception_handler(AttuneError)
    async def ours(request: Request, error: AttuneError) -> JSONResponse:
        status = status_of(error)
        headers = {"Retry-After": str(BUSY_RETRY_S)} if status == 429 else None
        return JSONResponse(body_of(error), status, headers=headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        message, param = _first(error)
        return error_response(400, message, param)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        message = str(error.detail)
        if error.status_code == 404:
            message = f"There is no {request.url.path} here."
        elif error.status_code == 405:
            message = f"{request.method} is not allowed on {request.url.path}."
        headers = dict(error.headers) if error.headers else None
        return error_response(error.status_code, message, headers=headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
        return error_response(500, "Something went wrong here; the server's log has the details.")


def _first(error: RequestValidationError) -> tuple[str, str | None]:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return "The body is not valid JSON.", None
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    param = ".".join(place) or None
    message = first["msg"].removeprefix("Value error, ")
    if param is None:
        return f"The body cannot be accepted: {message}.", None
    shown = _shown(first.get("input"))
    return f"{param}: {message}{'' if first['type'] == 'missing' else f' (got {shown})'}.", param


def _shown(value: Any) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
