"""What the guard adds in front of Gradio: doors that the page does not need stay shut, one person's event
stream is not another's, no request makes it read a file, and a wrong address gets the same error as everywhere.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from typing import Any
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from assistant.api_errors import error_response

GRADIO, HEARTBEAT = "/gradio_api", "/gradio_api/heartbeat/"
# Of Gradio's doors those that the page uses: events, their streams, and what its client asks when it connects. All
# others are shut: files sent to it or fetched from it (its `file=` also fetches any address on the internet), proxies,
# editing the app, recordings, functions called by name, its own documents and statistics.
DOORS = (
    "/gradio_api/queue/join", "/gradio_api/queue/data", HEARTBEAT, "/gradio_api/cancel",
    "/gradio_api/reset", "/gradio_api/app_id", "/gradio_api/info", "/gradio_api/startup-events",
    "/gradio_api/theme.css",
)  # fmt: skip
CLOSED = ("/openapi.json", "/monitoring")  # elsewhere
# In whatever is sent to an event or answered by one, Gradio takes this mark for a file: it reads the path that stands
# beside it, or fetches the address.
FILE_MARK = "gradio.FileData"
MAX_SESSIONS = 10_000


def is_closed(path: str) -> bool:
    return path.startswith(CLOSED) or (path.startswith(GRADIO) and not path.startswith(DOORS))


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


def parsed(body: bytes) -> Any:
    """A request's JSON; None where it is none."""
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return None


def sessions_named(scope: Scope, event: Any = None) -> set[str]:
    """Every session hash that a request names: in its address, its query, its parsed body."""
    path: str = scope["path"]
    named = set(parse_qs(scope.get("query_string", b"").decode("latin-1")).get("session_hash", []))
    if path.startswith(HEARTBEAT):
        named.add(path.removeprefix(HEARTBEAT).partition("/")[0])
    if isinstance(event, dict) and isinstance(event.get("session_hash"), str):
        named.add(event["session_hash"])
    return named


def names_a_file(event: Any) -> bool:
    """Whether Gradio would take something in a request's parsed body for a file of its own. The page sends none."""
    return FILE_MARK in json.dumps(event)  # of what was parsed: in a body the mark may be written with escapes


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
