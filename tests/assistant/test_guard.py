"""The door: who is let in, from where, with what. On the real server, accounts included."""

from __future__ import annotations

import hashlib

import pytest

from assistant.auth import ATTEMPTS, Attempts, TooManyAttempts, check_password, hash_password, new_api_key
from assistant.guard_bodies import JSON_BYTES
from assistant.guard_page import PageSessions, parsed, sessions_named
from learner.modeling.base import BaseModel
from tests.assistant.conftest import Running, serving


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "", "192.168.0.5", "[::2]:80"],
)
def test_a_foreign_host_name_is_refused_on_every_path(server: Running, host: str) -> None:
    with server.client() as client:
        for path in ("/healthz", "/v1/models", "/", "/login"):
            answer = client.get(path, headers={"Host": host})
            assert answer.status_code in (400, 403), (path, answer.status_code)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1", "[::1]:7860"])
def test_the_names_of_this_machine_are_fine(server: Running, host: str) -> None:
    with server.client() as client:
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_websites_cannot_change_anything(server: Running, headers: dict[str, str]) -> None:
    with server.client(**headers) as client:
        assert client.post("/v1/learner/pause").status_code == 403
        assert client.post("/gradio_api/queue/join", json={}).status_code == 403
    with server.client() as client:
        assert client.get("/v1/learner").json()["state"] != "paused"


def test_its_own_pages_and_programs_can(server: Running) -> None:
    with server.client(Origin=server.address) as client:
        assert client.post("/v1/learner/resume").status_code == 200
    with server.client() as client:
        assert client.post("/v1/learner/resume").status_code == 200


def test_json_routes_take_json_only_and_not_too_much(server: Running) -> None:
    body = b'{"model": "attune", "messages": [{"role": "user", "content": "x"}]}'
    with server.client() as client:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = client.post("/v1/chat/completions", content=body, headers={"Content-Type": kind})
            assert answer.status_code == 415, kind
        kind_json = {"Content-Type": "application/json"}
        large = b'{"model": "' + b"x" * JSON_BYTES + b'"}'
        assert client.post("/v1/chat/completions", content=large, headers=kind_json).status_code == 413
        pieces = (large[i : i + 100_000] for i in range(0, len(large), 100_000))
        assert client.post("/v1/chat/completions", content=pieces, headers=kind_json).status_code == 413


def test_doors_that_the_page_does_not_need_are_shut(server: Running) -> None:
    with server.client() as client:
        sent = client.post("/gradio_api/upload", files={"files": b"x" * 10})
        assert (sent.status_code, sent.json()["error"]["code"]) == (404, "not_found")


def test_every_answer_carries_the_security_headers(server: Running) -> None:
    with server.client() as client:
        for path in ("/healthz", "/nope", "/v1/models"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["referrer-policy"] == "same-origin"
        assert "img-src 'self' data: blob:" in client.get("/nope").headers["content-security-policy"]


# --- accounts --------------------------------------------------------------------------------------


def test_with_accounts_nothing_but_the_door_answers_strangers(accounts: tuple[Running, str, str]) -> None:
    running, _, _ = accounts
    with running.client() as client:
        for path in ("/v1/models", "/v1/profile", "/", "/gradio_api/info", "/config", "/page/status", "/nope"):
            answer = client.get(path)
            assert answer.status_code == 401, path
            assert answer.json()["error"]["type"] == "authentication_error"
        page = client.get("/", headers={"Accept": "text/html"})
        assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2F")
        assert client.get("/healthz").status_code == 200
        assert client.get("/v1/models", headers={"Authorization": "Bearer attune_wrong"}).status_code == 401


def test_the_door_speaks_the_browsers_language(accounts: tuple[Running, str, str]) -> None:
    running, _, _ = accounts
    with running.client(Origin=running.address) as client:
        for asked, button in (
            ("zh-CN,zh;q=0.9,en", "登录"),
            ("en-GB,zh", "Sign in"),
            ("de, fr", "Sign in"),
            ("fr, zh", "登录"),
            ("", "Sign in"),
        ):
            page = client.get("/login", headers={"Accept-Language": asked}).text
            assert f'<button type="submit">{button}</button>' in page, asked
        wrong = client.post(
            "/login", data={"name": "ann", "password": "no"}, headers={"Accept-Language": "zh"}
        )
        assert wrong.status_code == 401 and "名字或密码不对。" in wrong.text


def test_signing_in_and_out_with_the_form(accounts: tuple[Running, str, str]) -> None:
    running, _, _ = accounts
    with running.client(Origin=running.address) as client:
        assert 'name="password"' in client.get("/login?next=/x").text
        wrong = client.post("/login", data={"name": "ann", "password": "no", "next": "/"})
        assert wrong.status_code == 401
        assert "attune_session" not in wrong.cookies
        right = client.post(
            "/login", data={"name": "ann", "password": "ann's password", "next": "//evil.example"}
        )
        assert (right.status_code, right.headers["location"]) == (303, "/")
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=lax" in cookie
        assert client.get("/v1/profile").json()["user"] == "ann"
        token = client.cookies["attune_session"]
        assert running.store.sign_in_owner(hashlib.sha256(token.encode()).hexdigest()) is not None
        assert client.post("/logout").status_code == 303
        client.cookies.set("attune_session", token)
        assert client.get("/v1/profile").status_code == 401


def test_what_belongs_to_somebody_else_is_not_found(accounts: tuple[Running, str, str]) -> None:
    running, ann_key, bob_key = accounts
    with running.client(ann_key) as ann, running.client(bob_key) as bob:
        question = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
        made = ann.post("/v1/chat/completions", json={"model": "attune", **question}).json()
        conversation, message = made["conversation_id"], made["choices"][0]["message_id"]
        rated = {"message_id": message, "kind": "thumb", "value": "up"}
        feedback = ann.post("/v1/feedback", json=rated).json()["id"]
        run = ann.post("/v1/learner/run").json()["id"]
        compared = ann.post("/v1/comparisons", json={**question, "n": 2, "seed": 5}).json()
        ranking = {"order": [[reply["message_id"]] for reply in compared["replies"]]}
        attempts = [
            bob.get(f"/v1/conversations/{conversation}"),
            bob.patch(f"/v1/conversations/{conversation}", json={"title": "mine"}),
            bob.delete(f"/v1/conversations/{conversation}"),
            bob.post(
                "/v1/chat/completions", json={"model": "attune", **question, "conversation_id": conversation}
            ),
            bob.post("/v1/comparisons", json={**question, "conversation_id": conversation}),
            bob.post("/v1/feedback", json=rated),
            bob.post(
                "/v1/feedback", json={"comparison_id": compared["id"], "kind": "ranking", "value": ranking}
            ),
            bob.get(f"/v1/feedback/{feedback}"),
            bob.delete(f"/v1/feedback/{feedback}"),
            bob.get("/v1/feedback", params={"after": feedback}),
            bob.get("/v1/conversations", params={"after": conversation}),
            bob.get(f"/v1/learner/runs/{run}"),
            bob.post(f"/v1/learner/runs/{run}/cancel"),
        ]
        assert [answer.status_code for answer in attempts] == [404] * len(attempts)
        assert bob.get("/v1/conversations").json()["data"] == []
        assert bob.get("/v1/search", params={"q": "hello"}).json()["data"] == []
        assert bob.get("/v1/learner").json()["run"] is None
        assert ann.get(f"/v1/conversations/{conversation}").json()["title"] == "Say hello."


def test_a_revoked_key_lets_nobody_in(accounts: tuple[Running, str, str]) -> None:
    running, _, _ = accounts
    user = running.store.user_named("bob")
    assert user is not None
    key, key_hash = new_api_key()
    key_id = running.store.add_api_key(user.id, "short-lived", key_hash)
    with running.client(key) as client:
        assert client.get("/v1/models").status_code == 200
        running.store.revoke_api_key(user.id, key_id)
        assert client.get("/v1/models").status_code == 401


def test_only_so_many_wrong_passwords_are_looked_at() -> None:
    now = [0.0]
    attempts = Attempts(lambda: now[0])
    for _ in range(ATTEMPTS):
        attempts.count("name x", "address a")
    with pytest.raises(TooManyAttempts) as caught:
        attempts.count("name x", "address b")
    with pytest.raises(TooManyAttempts):
        attempts.count("name y", "address a")
    attempts.count("name y", "address b")
    now[0] += caught.value.retry_s
    attempts.count("name x", "address a")
    attempts.succeeded("name x")
    for _ in range(ATTEMPTS):
        attempts.count("name x")


def test_passwords_and_keys_are_stored_as_hashes() -> None:
    stored = hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert check_password("correct horse", stored)
    assert not check_password("correct horse ", stored)
    key, key_hash = new_api_key()
    assert len(key) >= 43
    assert key_hash == hashlib.sha256(key.encode()).hexdigest()


def test_a_server_for_other_machines_takes_addresses_but_no_unknown_names(
    base_model: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("open")
    with serving(root, base_model, host="0.0.0.0") as running, running.client() as client:
        assert client.get("/healthz", headers={"Host": "192.168.0.5:7860"}).status_code == 200
        assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/v1/models").status_code == 401


def test_one_persons_page_events_are_not_anothers() -> None:
    sessions = PageSessions()
    assert sessions.belongs("abc", "ann")
    assert not sessions.belongs("abc", "bob")
    assert sessions.belongs("abc", "ann")

    def scope(path: str, query: bytes = b"") -> dict[str, object]:
        return {"path": path, "query_string": query}

    join = scope("/gradio_api/queue/join")
    assert sessions_named(join, parsed(b'{"session_hash": "abc", "data": []}')) == {"abc"}
    assert sessions_named(scope("/gradio_api/queue/data", b"session_hash=abc")) == {"abc"}
    assert sessions_named(scope("/gradio_api/heartbeat/abc")) == {"abc"}
    assert sessions_named(join, parsed(b"[1]")) == sessions_named(join, parsed(b"{")) == set()
