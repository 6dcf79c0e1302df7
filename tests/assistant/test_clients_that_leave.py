"""Clients that go away, do not read, or send slowly: nothing more is written for them, and nobody waits for them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.assistant.conftest import Running
from tests.launched import wait_for

STORY: dict[str, Any] = {
    "model": "attune",
    "messages": [{"role": "user", "content": "Tell me a very long story about a dragon."}],
    "max_tokens": 1500,
    "temperature": 0,  # the likeliest words go on for long; a sampled story may end at once
}
COLOUR = {"model": "attune", "messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 5}
SOON_S = 5.0


@pytest.fixture(autouse=True)
def nothing_is_being_written(server: Running) -> None:
    wait_for(lambda: idle(server), SOON_S, "the engine is idle")


def idle(server: Running) -> bool:
    engine = server.services.engine
    return engine.active == 0 and engine.waiting == 0


def writing(server: Running) -> bool:
    return server.services.engine.active > 0


def newest_reply(server: Running) -> Any:
    user = server.store.ensure_user().id
    [conversation] = server.store.list_conversations(user, limit=1)
    return server.store.messages(user, conversation.id)[-1]


def test_who_leaves_a_stream_stops_it(server: Running) -> None:
    with (
        server.client() as client,
        client.stream("POST", "/v1/chat/completions", json={**STORY, "stream": True}) as answer,
    ):
        lines = answer.iter_lines()
        while '"content": ""' in (line := next(lines)) or not line:
            pass  # the first event has no text yet
        assert writing(server)
    wait_for(lambda: idle(server), SOON_S, "the reply is stopped")
    reply = newest_reply(server)
    assert reply.finish_reason == "cancelled" and reply.content  # what was written by then is kept


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/comparisons"])
def test_who_does_not_wait_for_a_whole_reply_stops_it(server: Running, path: str) -> None:
    body = STORY if "chat" in path else {k: v for k, v in STORY.items() if k != "model"} | {"n": 3}
    with server.client() as client, pytest.raises(httpx.ReadTimeout):
        client.post(path, json=body, timeout=httpx.Timeout(30, read=2.0))
    wait_for(lambda: idle(server), SOON_S, "the reply is stopped")


def test_who_leaves_the_queue_is_never_begun(server: Running) -> None:
    engine = server.services.engine
    all_places = {**STORY, "n": engine.max_rows, "stream": True}
    with (
        server.client() as first,
        server.client() as second,
        first.stream("POST", "/v1/chat/completions", json=all_places) as running,
    ):
        lines = running.iter_lines()  # (dropping it would end the stream)
        next(lines)
        with pytest.raises(httpx.ReadTimeout):
            second.post("/v1/chat/completions", json=STORY, timeout=httpx.Timeout(30, read=2.0))
        wait_for(lambda: engine.waiting == 0, SOON_S, "the one that waited is gone")
        assert engine.active == engine.max_rows
    wait_for(lambda: idle(server), SOON_S, "all are stopped")


@contextmanager
def connection(server: Running) -> Iterator[socket.socket]:
    address = urlsplit(server.address)
    with socket.create_connection((address.hostname, address.port), timeout=30) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        yield raw


def head(server: Running, length: int) -> bytes:
    lines = ("POST /v1/chat/completions HTTP/1.1", f"Host: {urlsplit(server.address).netloc}",
             "Content-Type: application/json", f"Content-Length: {length}")  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode()


def test_who_does_not_read_holds_nobody_up(server: Running) -> None:
    with connection(server) as raw:
        body = json.dumps({**STORY, "stream": True}).encode()
        raw.sendall(head(server, len(body)) + body)
        wait_for(lambda: writing(server), 30, "the reply begins")
        with server.client() as client:
            assert client.post("/v1/chat/completions", json=COLOUR, timeout=30).status_code == 200
    wait_for(lambda: idle(server), SOON_S, "the reply is stopped")


def test_who_sends_slowly_holds_nobody_up(server: Running) -> None:
    with connection(server) as raw:
        raw.sendall(head(server, 1000) + b'{"model": ')
        with server.client() as client:
            assert client.post("/v1/chat/completions", json=COLOUR, timeout=30).status_code == 200
        assert idle(server)
