"""/login and /logout: plain HTML forms, no script. The session is a token in an HttpOnly cookie."""

from __future__ import annotations

import html
from functools import partial
from urllib.parse import parse_qs, urlsplit

import anyio
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from assistant.auth import COOKIE, SIGN_IN_DAYS, Auth, SignInRefused, TooManyAttempts
from assistant.guard import session_token

router = APIRouter(include_in_schema=False)

_PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{sign_in} · Attune</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ display: grid; place-items: center; min-height: 100vh; margin: 0 }}
main {{ width: min(20rem, 90vw) }}
label, input, button {{ display: block; width: 100%; box-sizing: border-box; font: inherit }}
input {{ margin: .25rem 0 1rem; padding: .5rem }}
button {{ padding: .6rem; cursor: pointer }}
p {{ color: #b3261e }}
@media (prefers-color-scheme: dark) {{ p {{ color: #ffb4ab }} }}
</style></head><body><main>
<h1>Attune</h1>{message}
<form method="post" action="/login">
<input type="hidden" name="next" value="{next}">
<label for="name">{name}</label>
<input id="name" name="name" autocomplete="username" autofocus required maxlength="64">
<label for="password">{password}</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<button type="submit">{sign_in}</button>
</form></main></body></html>
"""

# Nobody has signed in yet, so that only the browser can say in which language.
_WORDS = {
    "en": {"lang": "en", "sign_in": "Sign in", "name": "Name", "password": "Password"},
    "zh": {"lang": "zh-Hans", "sign_in": "登录", "name": "名字", "password": "密码"},
}
_REFUSED = {"en": "The name or the password is wrong.", "zh": "名字或密码不对。"}
_TOO_MANY = {
    "en": "Too many attempts to sign in; try again in {seconds} seconds.",
    "zh": "登录尝试太多；请在 {seconds} 秒后再试。",
}


@router.get("/login")
async def form(request: Request, next: str = "/") -> Response:
    auth = auth_of(request)
    if not await anyio.to_thread.run_sync(auth.required):
        return RedirectResponse("/", 303)
    return _page(request, _local(next))


@router.post("/login")
async def sign_in(request: Request) -> Response:
    # Parsed by hand: four short fields need no form library, and the guard has bounded the body.
    fields = parse_qs((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
    name, password, target = (fields.get(key, [""])[0] for key in ("name", "password", "next"))
    address = request.client.host if request.client else ""
    try:
        token = await anyio.to_thread.run_sync(partial(auth_of(request).sign_in, name, password, address))
    except SignInRefused:
        return _page(request, _local(target), _REFUSED[_language(request)], 401)
    except TooManyAttempts as error:
        text = _TOO_MANY[_language(request)].format(seconds=error.retry_s)
        page = _page(request, _local(target), text, 429)
        page.headers["Retry-After"] = str(error.retry_s)
        return page
    answer = RedirectResponse(_local(target), 303)
    answer.set_cookie(
        COOKIE, token, max_age=SIGN_IN_DAYS * 86_400, httponly=True, samesite="lax",
        secure=request.url.scheme == "https",
    )  # fmt: skip
    return answer


@router.post("/logout")
async def sign_out(request: Request) -> Response:
    """Ends this sign-in; with `everywhere=1` in the form, all of this person's, on whatever machine."""
    token = session_token(request.headers)
    everywhere = parse_qs((await request.body()).decode("utf-8", "replace")).get("everywhere") == ["1"]
    if token:
        auth = auth_of(request)
        await anyio.to_thread.run_sync(auth.sign_out_everywhere if everywhere else auth.sign_out, token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


def auth_of(request: Request) -> Auth:
    found = request.app.state.auth
    assert isinstance(found, Auth)
    return found


def _page(request: Request, target: str, message: str = "", status: int = 200) -> HTMLResponse:
    shown = f'<p role="alert">{html.escape(message)}</p>' if message else ""
    words = _WORDS[_language(request)]
    return HTMLResponse(_PAGE.format(next=html.escape(target), message=shown, **words), status)


def _language(request: Request) -> str:
    """The first of English and Chinese that the browser asks for."""
    wanted = [part.strip()[:2].lower() for part in request.headers.get("accept-language", "").split(",")]
    return next((language for language in wanted if language in _WORDS), "en")


def _local(target: str) -> str:
    """A path on this server, never an address elsewhere (`//host`, `/\\host` and control characters are)."""
    parts = urlsplit(target)
    fine = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if fine and not parts.scheme and not parts.netloc and "\\" not in target else "/"
