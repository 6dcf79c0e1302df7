"""GET /metrics on the real server, read with Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.assistant.conftest import Running

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(client: httpx.Client) -> Samples:
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def grown(before: Samples, after: Samples, name: str, **labels: str) -> float:
    key = (name, frozenset(labels.items()))
    return after[key] - before.get(key, 0.0)


def test_tokens_latencies_feedback_runs_and_versions_are_counted(server: Running) -> None:
    with server.client() as client:
        before = scrape(client)
        question = {"role": "user", "content": "What is the capital of France, please?"}
        # Greedily: a reply that is drawn may end before the fourth token.
        body = {"model": "attune", "messages": [question], "max_tokens": 4, "temperature": 0}
        answer = client.post("/v1/chat/completions", json=body).json()
        message = answer["choices"][0]["message_id"]
        client.post("/v1/feedback", json={"message_id": message, "kind": "stars", "value": 5})
        client.post("/v1/feedback", json={"message_id": message, "kind": "stars", "value": 4})  # supersedes
        run = client.post("/v1/learner/run").json()["id"]
        client.post(f"/v1/learner/runs/{run}/cancel")
        assert client.get("/v1/conversations/nope").status_code == 404
        after = scrape(client)
    usage = answer["usage"]
    assert grown(before, after, "attune_tokens_total", kind="prompt") == usage["prompt_tokens"]
    assert grown(before, after, "attune_tokens_total", kind="reply") == usage["completion_tokens"]
    assert grown(before, after, "attune_replies_total", finish_reason="length") == 1
    for name in ("attune_queue_seconds", "attune_first_text_seconds", "attune_reply_seconds"):
        assert grown(before, after, f"{name}_count") == 1
    queue, first, whole = (
        grown(before, after, f"attune_{name}_seconds_sum") for name in ("queue", "first_text", "reply")
    )
    assert 0 <= queue <= first <= whole < 60
    assert grown(before, after, "attune_feedback", kind="stars") == 1
    assert grown(before, after, "attune_feedback", kind="thumb") == 0
    assert grown(before, after, "attune_learning_runs", state="cancelled") == 1
    assert after["attune_live_versions", frozenset({("version", "0")})] == 1
    assert after["attune_replies_active", frozenset()] == after["attune_replies_waiting", frozenset()] == 0
    route = {"method": "GET", "route": "/v1/conversations/{conversation_id}"}
    assert grown(before, after, "attune_http_requests_total", **route, status="404") == 1
    assert grown(before, after, "attune_http_request_seconds_count", **route) == 1


def test_a_strangers_addresses_make_no_new_series(server: Running) -> None:
    with server.client() as client:
        for path in ("/v1/made-up", "/v1/conversations/x/y/z", "/made-up"):
            client.get(path)
        client.request("BREW", "/v1/models")
        client.get("/v1/models", headers={"Host": "evil.example"})
        text = client.get("/metrics").text
        assert 'route="other",status="404"' in text and 'route="other",status="403"' in text
        assert "made-up" not in text and "BREW" not in text and "evil" not in text


def test_metrics_are_read_only(server: Running) -> None:
    with server.client() as client:
        assert client.post("/metrics", json={}).status_code == 405
