"""What the guard adds in front of Gradio: doors that the page does not need stay shut, one person's event
stream is not another's, and a wrong address gets the same error as everywhere.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from assistant.api_errors import error_response

# Gradio's doors that this page has no use for: files sent to it (a profile goes to /v1/profile/import),
# fetching other addresses, editing the app, recordings, functions called without a known person, shared links,
# its own documents and statistics.
CLOSED = (
    "/gradio_api/upload",
    "/gradio_api/proxy=", "/gradio_api/vibe-", "/gradio_api/undo-vibe", "/gradio_api/component_server",
    "/gradio_api/process_recording", "/gradio_api/deep_link", "/gradio_api/dev/", "/gradio_api/runs",
    "/gradio_api/custom_component/", "/gradio_api/openapi.json", "/openapi.json", "/monitoring",
)  # fmt: skip
MAX_SESSIONS = 10_000


class PageSessions:
    """Whose page each of Gradio's session hashes is. The first to use one keeps it. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owners: OrderedDict[str, str] = OrderedDict()

    def belongs(self, session: str, user_id: str) -> bool:
        with self._lock:
            owner = self._owners.setdefault(session, user_id)
            self._owners.move_to_end(session)
            while len(self._owners) > MAX_SESSIONS:
                self._owners.popitem(last=False)
            return owner == user_id


def sessions_named(scope: Scope, body: bytes = b"") -> set[str]:
    """Every session hash that a request names: in its address, its query, its JSON body."""
    path: str = scope["path"]
    named = set(parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", []))
    for prefix in ("/gradio_api/heartbeat/", "/gradio_api/stream/"):
        if path.startswith(prefix):
            named.add(path.removeprefix(prefix).partition("/")[0])
    try:
        value = json.loads(body) if body else None
    except ValueError:
        value = None
    if isinstance(value, dict) and isinstance(value.get("session_hash"), str):
        named.add(value["session_hash"])
    return named


def with_our_errors(scope: Scope, receive: Receive, send: Send) -> Send:
    """`send`, but Gradio's `{"detail": "Not Found"}` for a wrong address becomes our error."""
    replaced = False

    async def sending(message: Message) -> None:
        nonlocal replaced
        wrong = message["type"] == "http.response.start" and message["status"] in (404, 405)
        headers = Headers(raw=message["headers"]) if wrong else Headers()
        if headers.get("content-type", "").startswith("application/json"):
            replaced = True
            missing = message["status"] == 404
            text = (
                f"There is no {scope['path']} here." if missing else f"{scope['method']} is not allowed here."
            )
            allow = {"Allow": headers["allow"]} if "allow" in headers else None
            await error_response(message["status"], text, headers=allow)(scope, receive, send)
        if not replaced:
            await send(message)

    return sending
