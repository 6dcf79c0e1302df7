"""The server as a process: how it starts, refuses to start, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from assistant.server import bind
from data.errors import Conflict
from data.home import CHECKOUT, Home
from data.store import Store


def start(home: Path, *more: str) -> subprocess.Popen[str]:
    options = ["--no-page", "--device", "cpu", "--home", str(home), *more]
    return subprocess.Popen(
        [sys.executable, "-m", "assistant.server", *options],
        cwd=CHECKOUT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_in_use_is_one_line_before_the_model_is_loaded(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start(tmp_path / "home", "--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert len(errors.splitlines()) == 1
    assert "choose another with --port" in errors


def test_a_port_is_taken_as_soon_as_it_is_bound() -> None:
    with bind("127.0.0.1", 0) as first, pytest.raises(Conflict, match="choose another with --port"):
        bind("127.0.0.1", first.getsockname()[1])


def test_another_address_without_an_account_is_refused(tmp_path: Path) -> None:
    process = start(tmp_path / "home", "--host", "0.0.0.0", "--port", str(free_port()))
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "users add" in errors


STORY = {
    "model": "attune",
    "messages": [{"role": "user", "content": "Tell me a long story."}],
    "max_tokens": 1000,
    "stream": True,
}


def test_a_server_that_is_asked_to_stop_ends_its_replies_and_leaves_cleanly(
    home_with_model: Callable[[str], Home],
) -> None:
    home = home_with_model("home")
    port = free_port()
    process = start(home.root, "--port", str(port))
    wait_until_ready(process, port)
    with httpx.stream(
        "POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=STORY, timeout=60
    ) as answer:
        lines = [line for line in answer.iter_lines() if stop_after_first(line, process)]
    assert lines[-1] == "data: [DONE]"
    assert process.wait(timeout=30) == 0
    _, errors = process.communicate()
    assert "Traceback" not in errors
    store = Store(home)
    me = store.ensure_user().id
    [conversation] = store.list_conversations(me)
    assert store.messages(me, conversation.id)[1].finish_reason == "interrupted"
    store.close()


def stop_after_first(line: str, process: subprocess.Popen[str]) -> bool:
    """Asks the server to stop at the first text; True for lines that hold something."""
    if '"content": "' in line and process.poll() is None:
        process.send_signal(signal.SIGTERM)
    return bool(line)


def wait_until_ready(process: subprocess.Popen[str], port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.3)
    raise AssertionError("the server did not become ready")
