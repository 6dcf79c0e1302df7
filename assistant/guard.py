"""The one door: a pure ASGI middleware in front of every path, Gradio's own included.

In this order: is this server meant (Host), did one of its own pages ask (Origin), is the body of a kind and
size that is taken, who is asking. What passes carries its person in the scope; nothing behind the door has
to ask again whether somebody is signed in.

Why Host and Origin although there is a password: with nobody signed in on a loopback address, any website
could otherwise send requests here from the visitor's browser (and, by DNS rebinding, read the answers).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assistant.api_errors import error_response
from assistant.auth import COOKIE, Auth
from assistant.guard_bodies import BodyTooLarge, bounded, limit_of, whole
from assistant.guard_page import (
    GRADIO,
    PageSessions,
    is_closed,
    names_a_file,
    parsed,
    sessions_named,
    with_our_errors,
)
from assistant.guard_rate import RateLimit
from assistant.services import USER_KEY
from data.types import User

SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/healthz", "/login", "/favicon.ico")  # these alone answer people who have not signed in
BY_KEY = ("/v1/", "/metrics")
NOT_JSON = ("/v1/profile/import",)  # takes a zip, too large to be read before it is passed on

# Gradio's own scripts need inline and eval; what keeps chat text from running is that it never becomes HTML
# unescaped. Everything else stays on this server, so a reply cannot call out (pictures included).
PAGE_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; "
    "worker-src 'self' blob:; connect-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'"
)
BARE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)


def is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


class Guard:
    """`host` is the address that the server listens on, `allowed_hosts` more names it is reached under.

    `requests_per_minute` bounds what one person asks of the API (`/v1`); 0 does not.
    """

    def __init__(
        self, app: ASGIApp, *, auth: Auth, host: str, allowed_hosts: Iterable[str] = (),
        requests_per_minute: int = 0,
    ) -> None:  # fmt: skip
        self._app = app
        self._auth = auth
        self._rate = RateLimit(requests_per_minute)
        self._sessions = PageSessions()
        self._loopback_only = is_loopback(host)
        own = {"localhost"} if self._loopback_only else {"localhost", socket.gethostname().lower()}
        self._names = own | {host.lower()} | {name.lower() for name in allowed_hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks WebSocket
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        send = _with_security_headers(scope, send)
        refused = self._refused(scope, headers)
        if refused is None:
            user, refused = await self._person(scope, headers)
            if user is not None:
                scope[USER_KEY] = user
            if scope["path"].startswith("/v1/"):
                address = scope["client"][0] if scope.get("client") else ""
                refused = self._rate.refusal(user.id if user else f"address {address}") or refused
        if refused is not None:
            await refused(scope, receive, send)
            return
        await self._pass_on(scope, headers, receive, send)

    async def _pass_on(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        path, most = scope["path"], limit_of(scope["path"])
        too_large = error_response(413, f"The body is larger than the {most:,} bytes that are taken here.")
        if not path.startswith(("/v1", GRADIO)):
            send = with_our_errors(scope, receive, send)
        length = headers.get("content-length") or "0"
        if not length.isdecimal():
            await error_response(400, "The Content-Length is not a number.")(scope, receive, send)
            return
        body = b""
        try:
            if int(length) > most:
                raise BodyTooLarge
            if scope["method"] not in SAFE and path not in NOT_JSON:
                body, receive = await whole(receive, most)
            if path.startswith(GRADIO):
                event = parsed(body)
                if not self._own_sessions(scope, event):
                    await error_response(404, "There is no such session.")(scope, receive, send)
                    return
                if names_a_file(event):
                    await error_response(400, "The page takes no files by path or address.")(scope, receive, send)
                    return
            await bounded(self._app, scope, receive, send, most, too_large)
        except BodyTooLarge:
            await too_large(scope, receive, send)

    def _own_sessions(self, scope: Scope, event: Any) -> bool:
        user = scope.get(USER_KEY)
        return isinstance(user, User) and all(
            self._sessions.belongs(session, user.id) for session in sessions_named(scope, event)
        )

    # --- is this server meant, and did one of its own pages ask? ---

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(hosts[0]):
            called = hosts[0] if hosts else "(no Host header)"
            message = f"This server is not called {called}; if it is yours, start it with --allow-host NAME."
            return error_response(403, message, code="host_not_allowed")
        if scope["method"] in SAFE:
            # A page elsewhere may link here, but not embed or read what is here.
            foreign = (
                headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate"
            )
        else:
            foreign = not _same_origin(headers, hosts[0])
        if foreign:
            return error_response(
                403, "Requests from other websites are not taken.", code="origin_not_allowed"
            )
        if is_closed(scope["path"]):
            return error_response(404, f"There is no {scope['path']} here.")
        return _wrong_type(scope, headers)

    def _is_own(self, header: str) -> bool:
        try:
            host = (urlsplit(f"//{header}").hostname or "").rstrip(".")
        except ValueError:
            return False
        if host in self._names or is_loopback(host):
            return True
        # A rebound name is a name: an address literal can only be this machine's own.
        return not self._loopback_only and _address(host) is not None

    # --- who is asking? ---

    async def _person(self, scope: Scope, headers: Headers) -> tuple[User | None, Response | None]:
        user, required = await anyio.to_thread.run_sync(self._recognise, scope["path"], headers)
        if user is not None or scope["path"] in OPEN:
            return user, None
        if not required:
            return await anyio.to_thread.run_sync(self._auth.single_person), None
        wants_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if wants_page and not scope["path"].startswith("/v1"):
            query = scope.get("query_string", b"").decode("latin-1")
            target = quote(scope["path"] + (f"?{query}" if query else ""), safe="")
            return None, RedirectResponse(f"/login?next={target}", 303)
        given = "authorization" in headers
        message = "The API key is not valid (any more)." if given else "Sign in, or send an API key."
        challenge = {"WWW-Authenticate": "Bearer"}
        code = "invalid_api_key" if given else "sign_in_required"
        return None, error_response(401, message, code=code, headers=challenge)

    def _recognise(self, path: str, headers: Headers) -> tuple[User | None, bool]:
        """The person by key, else by cookie, and whether there must be one.

        Keys are for programs: the page, whose events make keys and accounts, is opened by signing in alone.
        """
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and key.strip() and path.startswith(BY_KEY):
            owner = self._auth.key_owner(key.strip())
            if owner is not None:
                return owner, True
            required = self._auth.required()
            # A key that is not valid is never replaced by a cookie; but where nobody needs one, programs
            # that cannot do without send any.
            return None, required
        token = session_token(headers)
        owner = self._auth.session_owner(token) if token else None
        return owner, self._auth.required()


def session_token(headers: Headers) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return morsel.value if morsel else None


def _same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    if origin is not None:
        return origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")
    # Browsers that send no Origin say where they come from here; programs send neither.
    return headers.get("sec-fetch-site", "none") in ("none", "same-origin")


def _wrong_type(scope: Scope, headers: Headers) -> Response | None:
    """A form or plain text can be posted by any website without asking; JSON cannot."""
    path = scope["path"]
    if scope["method"] in SAFE or not path.startswith("/v1/") or path in NOT_JSON:
        return None
    has_body = headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (has_body or kind) and kind != "application/json":
        return error_response(
            415, f"Send application/json here, not {kind or 'a body without a Content-Type'}."
        )
    return None


def _with_security_headers(scope: Scope, send: Send) -> Send:
    path = scope["path"]
    private = path.startswith("/v1") or path in OPEN
    bare = private or path == "/logout"

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["X-Frame-Options"] = "DENY"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin"
            headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
            headers["Content-Security-Policy"] = BARE_POLICY if bare else PAGE_POLICY
            if private:
                headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return sending
