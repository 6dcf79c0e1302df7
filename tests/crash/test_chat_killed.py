"""kill -9 of the chat server in the middle of a reply: it comes back, and nothing acknowledged is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import httpx

from data.home import CHECKOUT
from data.store import Store
from tests.launched import assistant_message

SERVER = "assistant.server"


def pieces_until(client: httpx.Client, count: int, kill) -> str:
    """Stream a long reply, call `kill` after `count` pieces of text; what had arrived until then."""
    body = {
        "model": "attune",
        "stream": True,
        "max_tokens": 400,
        "messages": [{"role": "user", "content": "Tell me a long story about a fox."}],
    }
    text, pieces = "", 0
    with client.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.status_code == 200
        try:
            for line in response.iter_lines():
                if not line.startswith("data: {"):
                    continue
                delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"].get("content")
                text += delta or ""
                pieces += bool(delta)
                if pieces == count:
                    kill()
                    count = -1
        except httpx.TransportError:
            pass  # the connection ends with the process
    return text


def test_the_chat_comes_back_by_itself_and_keeps_every_rating(launched):
    attune = launched("--no-learner")
    first = assistant_message(attune.client, "Name a colour.")
    message_id = first["choices"][0]["message_id"]
    rated = []
    for kind, value in (("thumb", "up"), ("stars", 4), ("comment", "shorter, please")):
        body = {"message_id": message_id, "kind": kind, "value": value}
        response = attune.client.post("/v1/feedback", json=body)
        assert response.status_code in (200, 201), response.text
        rated.append(response.json()["id"])

    seen = pieces_until(attune.client, 12, lambda: attune.kill(SERVER))
    assert seen, "the server was killed in the middle of a reply"
    attune.wait_until_healthy()

    found = attune.client.get("/v1/feedback").json()["data"]
    assert sorted(event["id"] for event in found) == sorted(rated)
    store = Store(attune.home)
    me = store.ensure_user()
    messages = [m for c in store.list_conversations(me.id) for m in store.messages(me.id, c.id)]
    broken_off = [message for message in messages if message.finish_reason == "interrupted"]
    assert len(broken_off) == 1  # the reply is there as far as it went, and marked
    assert [
        message for message in messages if message.role == "assistant" and not message.finish_reason
    ] == []
    assert store.verify() == []
    store.close()
    assert assistant_message(attune.client, "Name an animal.")["choices"][0]["message"]["content"]
    assert "ended with signal SIGKILL; starting it again" in attune.log.read_text()
    assert "is back" in attune.log.read_text()

    # A second Attune on the same home would break off the first one's replies: it is refused.
    command = [sys.executable, str(CHECKOUT / "launch.py"), "--home", str(attune.home.root), "--no-browser"]
    second = subprocess.run([*command, "--port", str(attune.port + 1)], capture_output=True, text=True)
    assert second.returncode == 1
    assert "already running" in second.stderr

    # Ctrl-C ends it, and its children, cleanly.
    server = attune.child(SERVER)
    attune.process.send_signal(signal.SIGINT)
    assert attune.process.wait(30) == 0
    assert not server.is_running()
