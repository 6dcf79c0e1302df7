"""Characters that the database does not take are answered for in the shape of every other refusal."""

from __future__ import annotations

import pytest

from tests.assistant.conftest import Running
from tests.assistant.test_api_routes import ask, error_of


def test_a_nul_in_a_search_is_passed_over(server: Running) -> None:
    with server.client() as client:
        ask(client, "Where does the zebra live?")
        for query in ("zeb%00ra", "zebra%00", "%00zebra", "zebra%20%00"):
            answer = client.get(f"/v1/search?q={query}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"], query


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/profile/settings", r'{"system_prompt": "\ud800"}'),
        ("PUT", "/v1/profile/notes", r'{"notes": [{"text": "\ud800"}]}'),
        ("POST", "/v1/conversations", r'{"title": "\ud800"}'),
        ("POST", "/v1/conversations", r'{"system_prompt": "\udfff"}'),
        ("POST", "/v1/feedback", r'{"message_id": "\ud800", "kind": "thumb", "value": "up"}'),
    ],
)
def test_half_a_character_is_a_bad_value(server: Running, method: str, path: str, body: str) -> None:
    with server.client() as client:
        answer = client.request(method, path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        error_of(answer)


def test_a_number_that_no_float_holds_is_a_bad_value(server: Running) -> None:
    with server.client() as client:
        body = '{"temperature": 1%s}' % ("0" * 400)
        answer = client.patch("/v1/profile/settings", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, answer.text
        assert error_of(answer)["param"] == "temperature"
