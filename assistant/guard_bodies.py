"""How much of a request's body is taken."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

JSON_BYTES = 4_000_000
PAGE_BYTES = 4_000_000  # one event of the page
FORM_BYTES = 10_000
FILE_BYTES = 2_000_000_000  # a profile with its adapters


class BodyTooLarge(Exception):
    pass


def limit_of(path: str) -> int:
    if path in ("/login", "/logout"):
        return FORM_BYTES
    if path == "/v1/profile/import":
        return FILE_BYTES
    return JSON_BYTES if path.startswith("/v1/") else PAGE_BYTES


async def whole(receive: Receive, most: int) -> tuple[bytes, Receive]:
    """Read the body now (raising BodyTooLarge); it and a `receive` that hands it on in one piece."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", _replaying(message, receive)
        body += message.get("body", b"")
        if len(body) > most:
            raise BodyTooLarge
        more = message.get("more_body", False)
    taken = bytes(body)
    return taken, _replaying({"type": "http.request", "body": taken, "more_body": False}, receive)


def _replaying(first: Message, receive: Receive) -> Receive:
    pending: list[Message] = [first]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


async def bounded(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, most: int, too_large: ASGIApp
) -> None:
    """Run `app` on a body that streams in; where it grows too large, `too_large` answers instead."""
    taken = 0
    over = started = False

    async def counting() -> Message:
        nonlocal taken, over
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > most:
                over = True
                return {"type": "http.disconnect"}  # the app gives up reading
        return message

    async def sending(message: Message) -> None:
        nonlocal started
        if over and not started:
            return  # whatever the app says about a body that broke off, the reason is another
        started = True
        await send(message)

    try:
        await app(scope, counting, sending)
    except Exception:
        if not over:
            raise
    if over and not started:
        await too_large(scope, receive, send)
