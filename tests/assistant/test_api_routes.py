"""Feedback, learner, profile and conversations over HTTP; errors always in one shape."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.assistant.conftest import Running

CHAT = '{"model": "attune", "messages": [%s]}'


def ask(client: httpx.Client, text: str = "Say hello.", **more: Any) -> dict[str, Any]:
    body = {"model": "attune", "messages": [{"role": "user", "content": text}], "max_tokens": 4, **more}
    answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def error_of(answer: httpx.Response) -> dict[str, Any]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "\n" not in body["error"]["message"]
    return dict(body["error"])


def test_every_kind_of_feedback_is_taken_listed_and_retracted(server: Running) -> None:
    with server.client() as client:
        message = ask(client)["choices"][0]["message_id"]
        given = [("thumb", "up"), ("stars", 4), ("comment", "too formal"), ("edit", "Hi!")]
        ids = []
        for kind, value in given:
            made = client.post("/v1/feedback", json={"message_id": message, "kind": kind, "value": value})
            assert made.status_code == 200, made.text
            assert made.json()["outcome"]["code"] == "waiting"
            assert made.json()["message_id"] == message
            ids.append(made.json()["id"])
        compared = client.post(
            "/v1/comparisons",
            json={
                "messages": [{"role": "user", "content": "Say hello."}],
                "n": 2,
                "max_tokens": 6,
                "seed": 5,
            },
        )
        assert compared.status_code == 200, compared.text
        assert {reply["finish_reason"] for reply in compared.json()["replies"]} <= {"stop", "length"}
        replies = [reply["message_id"] for reply in compared.json()["replies"]]
        ranking = {
            "comparison_id": compared.json()["id"],
            "kind": "ranking",
            "value": {"order": [[replies[1]], [replies[0]]]},
        }  # fmt: skip
        ids.append(client.post("/v1/feedback", json=ranking).json()["id"])
        first = client.get("/v1/feedback", params={"limit": 3}).json()
        rest = client.get("/v1/feedback", params={"after": first["data"][-1]["id"]}).json()
        assert [f["id"] for f in first["data"] + rest["data"]] == ids
        assert (first["has_more"], rest["has_more"]) == (True, False)
        gone = client.delete(f"/v1/feedback/{ids[0]}")
        assert gone.json()["outcome"]["code"] == "retracted"
        assert client.get("/v1/profile").json()["feedback"]["thumb"] == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [("stars", 9), ("stars", True), ("stars", "3"), ("thumb", "sideways"), ("edit", 5), ("applause", 1)],
)
def test_a_bad_rating_is_refused_in_one_line(server: Running, kind: str, value: Any) -> None:
    with server.client() as client:
        message = ask(client)["choices"][0]["message_id"]
        answer = client.post("/v1/feedback", json={"message_id": message, "kind": kind, "value": value})
        assert answer.status_code == 400
        assert error_of(answer)["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/chat/completions", "{", 400),
        ("POST", "/v1/chat/completions", "[]", 400),
        ("POST", "/v1/chat/completions", "{}", 400),
        ("POST", "/v1/chat/completions", '{"model": "attune", "messages": []}', 400),
        ("POST", "/v1/chat/completions", CHAT % '{"role": "tool", "content": ""}', 400),
        ("POST", "/v1/chat/completions", CHAT % r'{"role": "user", "content": "\ud800"}', 400),
        ("POST", "/v1/chat/completions", CHAT % '{"role": "assistant", "content": "x"}', 400),
        ("POST", "/v1/feedback", '{"kind": "thumb", "value": "up"}', 400),
        ("POST", "/v1/feedback", '{"kind": "thumb", "value": "up", "message_id": "nope"}', 404),
        ("GET", "/v1/feedback?limit=none", None, 400),
        ("GET", "/v1/learner/runs/nope", None, 404),
        ("POST", "/v1/profile/rollback", '{"version": 7}', 404),
        ("POST", "/v1/profile/rollback", '{"version": "1"}', 400),
        ("PATCH", "/v1/profile/settings", '{"temperature": 9}', 400),
        ("PATCH", "/v1/profile/settings", '{"colour": "red"}', 400),
        ("GET", "/v1/conversations/nope", None, 404),
        ("GET", "/v1/nope", None, 404),
        ("GET", "/nope", None, 404),
        ("PUT", "/v1/learner/run", "{}", 405),
        ("DELETE", "/v1/models", None, 405),
        ("POST", "/healthz", "{}", 405),
    ],
)  # fmt: skip
def test_every_refusal_has_the_same_shape(
    server: Running, method: str, path: str, body: str | None, status: int
) -> None:
    with server.client() as client:
        kind = {"Content-Type": "application/json"} if body is not None else {}
        answer = client.request(method, path, content=body, headers=kind)
        assert answer.status_code == status, answer.text
        error_of(answer)
        if status == 405:
            assert answer.headers["allow"]


def test_a_run_is_queued_once_and_can_be_cancelled(server: Running) -> None:
    with server.client() as client:
        assert client.get("/v1/learner").json()["state"] == "idle"
        queued = client.post("/v1/learner/run")
        assert (queued.status_code, queued.json()["state"]) == (202, "queued")
        again = client.post("/v1/learner/run")
        assert (again.status_code, error_of(again)["code"]) == (409, "conflict")
        run = queued.json()["id"]
        assert client.get("/v1/learner").json()["run"] == run
        assert client.post("/v1/learner/pause").json()["state"] == "paused"
        assert client.post("/v1/learner/resume").json()["state"] == "waiting"
        assert client.post(f"/v1/learner/runs/{run}/cancel").json()["state"] == "cancelled"
        assert client.get(f"/v1/learner/runs/{run}").json()["state"] == "cancelled"
        assert client.post("/v1/learner/pause").json()["state"] == "paused"
        assert client.post("/v1/learner/resume").json()["state"] == "idle"
        client.post("/v1/learner/pause")
        run = client.post("/v1/learner/run").json()["id"]  # asking for an update ends the pause
        assert client.get("/v1/learner").json()["state"] == "waiting"
        client.post(f"/v1/learner/runs/{run}/cancel")


def test_settings_and_notes_are_kept_and_settings_are_the_defaults_of_a_request(server: Running) -> None:
    with server.client() as client:
        assert client.patch("/v1/profile/settings", json={"max_tokens": 3}).json()["max_tokens"] == 3
        body = {"model": "attune", "messages": [{"role": "user", "content": "Tell me a story."}]}
        answer = client.post("/v1/chat/completions", json=body).json()
        assert answer["usage"]["completion_tokens"] <= 3
        client.patch("/v1/profile/settings", json={"max_tokens": 256})
        notes = client.put("/v1/profile/notes", json={"notes": [{"text": "Short answers"}]}).json()["notes"]
        assert client.get("/v1/profile/notes").json()["notes"] == notes
        client.put("/v1/profile/notes", json={"notes": []})


def test_a_conversation_can_be_read_found_renamed_and_deleted(server: Running) -> None:
    with server.client() as client:
        conversation = ask(client, "Tell me about pangolins.")["conversation_id"]
        assert client.get(f"/v1/conversations/{conversation}").json()["messages"][0]["role"] == "user"
        found = client.get("/v1/search", params={"q": "pangolins"}).json()["data"]
        assert conversation in [message["conversation_id"] for message in found]
        client.patch(f"/v1/conversations/{conversation}", json={"title": "Scales"})
        assert client.get("/v1/conversations").json()["data"][0]["title"] == "Scales"
        assert client.delete(f"/v1/conversations/{conversation}").json()["deleted"] is True
        assert client.get(f"/v1/conversations/{conversation}").status_code == 404


def test_the_exported_file_is_a_zip_that_imports_again(server: Running) -> None:
    with server.client() as client:
        ask(client)
        exported = client.get("/v1/profile/export")
        assert exported.status_code == 200
        assert exported.content[:2] == b"PK"
        zipped = {"Content-Type": "application/zip"}
        imported = client.post("/v1/profile/import", content=exported.content, headers=zipped)
        assert imported.status_code == 200, imported.text
        broken = client.post("/v1/profile/import", content=exported.content[:500], headers=zipped)
        assert broken.status_code == 400
        error_of(broken)
        assert list((server.services.home.root / "transfers").iterdir()) == []


def test_the_document_lists_the_routes_and_promises_no_422(server: Running) -> None:
    with server.client() as client:
        document = client.get("/v1/openapi.json").json()
    assert "/v1/chat/completions" in document["paths"]
    assert "422" not in str(document)


def test_others_are_answered_while_a_reply_is_written(server: Running) -> None:
    with server.client() as client, server.client() as other:
        done = threading.Event()

        def long() -> None:
            ask(client, "Tell me a long story.", max_tokens=40)
            done.set()

        threading.Thread(target=long).start()
        while not server.services.engine.active and not done.is_set():
            assert other.get("/healthz").status_code == 200
        assert other.get("/v1/conversations").elapsed.total_seconds() < 2
        assert not done.is_set()
        assert done.wait(60)
