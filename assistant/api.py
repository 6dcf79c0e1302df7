"""The HTTP interface put together: every route, one shape for every error, an honest 404 and 405."""

from __future__ import annotations

import time
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from assistant import (
    api_chat,
    api_conversations,
    api_feedback,
    api_learner,
    api_profile,
    api_score,
    login,
)
from assistant.api_document import document
from assistant.api_errors import install_errors
from assistant.services import Services

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_PARTS = (api_chat, api_feedback, api_learner, api_profile, api_score, api_conversations)
_STARTED = time.monotonic()


def new_app() -> FastAPI:
    """An application without FastAPI's own pages: they load scripts from elsewhere."""
    return FastAPI(title="Attune", openapi_url=None, docs_url=None, redoc_url=None)


def add_routes(app: FastAPI, services: Services) -> None:
    install_errors(app)
    for left_over in api_profile.transfers(services.home).iterdir():
        left_over.unlink()  # of a server that was killed in the middle of a transfer
    app.include_router(login.router)
    for part in _PARTS:
        app.include_router(part.router)

    @app.get("/healthz")
    def health() -> dict[str, Any]:
        """Ready to answer; the model is loaded before the server takes connections."""
        return {
            "status": "ok",
            "instance": services.options.instance,
            "model": services.base.spec.id,
            "device": str(services.base.device),
            "weights": services.base.held_as,
            "active": services.engine.active,
            "waiting": services.engine.waiting,
            "uptime_s": round(time.monotonic() - _STARTED, 1),
        }

    @app.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> Response:
        """Prometheus text. For whoever may use the API: it counts everybody, but names nobody."""
        text = generate_latest(app.state.metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    @app.api_route("/healthz", methods=[m for m in _METHODS if m != "GET"], include_in_schema=False)
    @app.api_route("/metrics", methods=[m for m in _METHODS if m != "GET"], include_in_schema=False)
    async def these_are_read_only() -> Response:
        raise HTTPException(405, headers={"Allow": "GET"})

    @app.get("/v1/openapi.json", include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return document(app)

    @app.api_route("/v1", methods=_METHODS, include_in_schema=False)
    @app.api_route("/v1/{rest:path}", methods=_METHODS, include_in_schema=False)
    async def nothing_here(request: Request) -> Response:
        # Without this, unknown /v1 paths would fall through to the page.
        raise _not_here(request.url.path)

    @app.get("/favicon.ico", include_in_schema=False)
    async def no_icon() -> Response:
        return Response(status_code=204)


def _not_here(path: str) -> HTTPException:
    """405 where the path exists for other methods, else 404."""
    allowed: set[str] = set()
    for part in _PARTS:
        for route in part.router.routes:
            if isinstance(route, APIRoute) and route.path_regex.match(path):
                allowed |= route.methods or set()
    if allowed:
        return HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
    return HTTPException(404)
