"""Whatever belongs to somebody else is not found: every route of the OpenAPI document, walked by two people.

Ann has one of everything. Bob calls every operation with Ann's ids, and every operation that needs none; then
Ann looks whether anything of hers has changed. A route that is new in the document fails here until it says
what Bob is to try on it.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.assistant.conftest import Running, sign_in

QUESTION: dict[str, Any] = {"messages": [{"role": "user", "content": "Say pangolin."}], "max_tokens": 4}
# What one may read without an id; none of it may hold anything of another person's.
OPEN_TO_READ = {"/healthz", "/metrics", "/v1/models", "/v1/models/{name}"}
ZIP = {"Content-Type": "application/zip"}


class Ann:
    """What Ann has, by the name of the path parameter under which somebody could ask for it."""

    def __init__(self, client: httpx.Client) -> None:
        made = client.post("/v1/chat/completions", json={"model": "attune", **QUESTION}).json()
        self.message = made["choices"][0]["message_id"]
        compared = client.post("/v1/comparisons", json={**QUESTION, "n": 2, "seed": 5}).json()
        self.comparison = compared["id"]
        self.order = [[reply["message_id"]] for reply in compared["replies"]]
        rated = client.post("/v1/feedback", json={"message_id": self.message, "kind": "thumb", "value": "up"})
        self.ids = {
            "conversation_id": made["conversation_id"],
            "feedback_id": rated.json()["id"],
            "run_id": client.post("/v1/learner/run").json()["id"],
        }
        client.put("/v1/profile/notes", json={"notes": [{"text": "Calls it a scaly anteater"}]})
        self.secrets = [self.message, self.comparison, *self.ids.values(), "pangolin", "anteater", "ann"]

    def attempts(self) -> dict[str, list[tuple[dict[str, Any] | None, int]]]:
        """By operation: (body, the status that Bob must get). 404 wherever the body names something of Ann's."""
        conversation = {"conversation_id": self.ids["conversation_id"]}
        chat, ranking = {"model": "attune", **QUESTION}, {"order": self.order}
        return {
            "POST /v1/chat/completions": [({**chat, **conversation}, 404)],
            "POST /v1/comparisons": [({**QUESTION, **conversation}, 404)],
            "POST /v1/feedback": [
                ({"message_id": self.message, "kind": "thumb", "value": "down"}, 404),
                ({"message_id": self.message, "kind": "edit", "value": "Mine."}, 404),
                ({"comparison_id": self.comparison, "kind": "ranking", "value": ranking}, 404),
            ],
            "DELETE /v1/feedback/{feedback_id}": [(None, 404)],
            "POST /v1/learner/run": [(None, 202)],
            "POST /v1/learner/pause": [(None, 200)],
            "POST /v1/learner/resume": [(None, 200)],
            "POST /v1/learner/runs/{run_id}/cancel": [(None, 404)],
            "PUT /v1/profile/notes": [({"notes": []}, 200)],
            "PATCH /v1/profile/settings": [({"temperature": 0.1}, 200)],
            "PUT /v1/profile/learnt/{feature}": [
                ({"enabled": False}, 200)
            ],  # of what may be learnt of himself
            "POST /v1/profile/rollback": [({"version": 1}, 404)],
            "POST /v1/profile/import": [(None, 400)],
            "POST /v1/profile/reset": [({"what": "all", "erase_now": True}, 200)],
            "POST /v1/profile/undo-reset": [(None, 404)],
            "POST /v1/profile/score": [({"messages": QUESTION["messages"], "replies": ["x"]}, 409)],
            "POST /v1/conversations": [({"title": "mine"}, 201)],
            "PATCH /v1/conversations/{conversation_id}": [({"title": "mine"}, 404), ({}, 404)],
            "DELETE /v1/conversations/{conversation_id}": [(None, 404)],
        }


def test_no_route_shows_or_changes_what_is_somebody_elses(accounts: tuple[Running, str, str]) -> None:
    running, ann_key, bob_key = accounts
    with running.client(ann_key) as ann, running.client(bob_key) as bob:
        document = bob.get("/v1/openapi.json").json()
        operations = [(m.upper(), path) for path, found in document["paths"].items() for m in found]
        hers = Ann(ann)
        before = all_of(ann, operations, hers)
        tried = attempted(bob, operations, hers)
        assert tried == {operation: wanted for operation, (_, wanted) in expected(operations, hers).items()}
        for method, path in operations:
            if method == "GET" and "{" not in path:
                shown = bob.get(path, params={"q": "pangolin"} if path == "/v1/search" else None)
                leaked = [
                    secret for secret in hers.secrets if secret in shown.text.lower().replace("/bob", "")
                ]
                assert shown.status_code == 200, path
                assert path in OPEN_TO_READ or leaked == [], (path, leaked)
        after_hers = {"after": hers.ids["feedback_id"]}, {"after": hers.ids["conversation_id"]}
        assert bob.get("/v1/feedback", params=after_hers[0]).status_code == 404
        assert bob.get("/v1/conversations", params=after_hers[1]).status_code == 404
        assert all_of(ann, operations, hers) == before


def expected(
    operations: list[tuple[str, str]], hers: Ann
) -> dict[tuple[str, str, int], tuple[dict[str, Any] | None, int]]:
    """What Bob does, and what must come of it: (method, path, which attempt) -> (body, status)."""
    attempts = hers.attempts()
    wanted: dict[tuple[str, str, int], tuple[dict[str, Any] | None, int]] = {}
    for method, path in operations:
        if method == "GET" and "{" in path and path not in OPEN_TO_READ:
            wanted[method, path, 0] = (None, 404)
        elif method != "GET":
            for i, attempt in enumerate(attempts[f"{method} {path}"]):
                wanted[method, path, i] = attempt
    return wanted


def attempted(
    bob: httpx.Client, operations: list[tuple[str, str]], hers: Ann
) -> dict[tuple[str, str, int], int]:
    got = {}
    for (method, path, i), (body, _) in expected(operations, hers).items():
        answer = bob.request(
            method,
            path.format(**hers.ids, feature="log_length"),
            json=body,
            headers=ZIP if path.endswith("/import") else None,
        )
        got[method, path, i] = answer.status_code
        if answer.status_code == 404:
            assert not [secret for secret in hers.secrets[5:] if secret in answer.text], answer.text
    return got


def all_of(client: httpx.Client, operations: list[tuple[str, str]], hers: Ann) -> dict[str, Any]:
    """Everything that Ann can read of hers."""
    return {
        path: client.get(path.format(**hers.ids, feature="log_length"), params={"q": "pangolin"}).json()
        for method, path in operations
        if method == "GET" and path not in OPEN_TO_READ and not path.endswith("/export")
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/gradio_api/queue/data?session_hash=annspage"),
        ("GET", "/gradio_api/heartbeat/annspage"),
        ("POST", "/gradio_api/queue/join"),
        ("POST", "/gradio_api/cancel"),
        ("POST", "/gradio_api/reset"),
    ],
)
def test_one_persons_page_events_are_closed_to_another(
    with_page: tuple[Running, str, str], method: str, path: str
) -> None:
    running, _, _ = with_page
    event = (
        {"data": [], "fn_index": 0, "session_hash": "annspage", "event_id": "x"} if method == "POST" else None
    )
    with sign_in(running, "ann") as ann, sign_in(running, "bob") as bob:
        assert ann.post("/gradio_api/queue/join", json={"session_hash": "annspage"}).status_code != 404
        answer = bob.request(method, path, json=event, timeout=10)  # an open heartbeat would never end
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == "There is no such session."
