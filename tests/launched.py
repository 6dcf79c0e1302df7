"""Attune as a person starts it: `launch.py` in a process of its own, with its real children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil

from data.home import CHECKOUT, Home


def wait_for(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:.0f} s"
        time.sleep(0.1)


class Launched:
    """A running `launch.py chat` on a port of its own."""

    def __init__(self, home: Home, *arguments: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.home = home
        self.log = home.root / "launch.log"
        command = [sys.executable, str(CHECKOUT / "launch.py"), "--home", str(home.root)]
        command += ["--no-browser", "--port", str(self.port), *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120, trust_env=False)

    def healthy(self) -> bool:
        assert self.process.poll() is None, self.everything_said()
        try:
            return self.client.get("/healthz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_until_healthy(self) -> None:
        wait_for(self.healthy, 120, "the chat server answers")

    def child(self, module: str) -> psutil.Process | None:
        """The running child that is `python -m module`."""
        for process in psutil.Process(self.process.pid).children():
            try:
                if module in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                    return process
            except psutil.Error:
                continue
        return None

    def kill(self, module: str) -> None:
        """kill -9, as the kernel does it to a process when memory runs out."""
        child = self.child(module)
        assert child is not None, f"{module} does not run: {self.everything_said()}"
        os.kill(child.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs([child], timeout=10)
        assert not alive

    def everything_said(self) -> str:
        logs = [self.log, *sorted(self.home.logs_dir.glob("*.log"))]
        return "\n".join(f"--- {log.name}\n{log.read_text()[-4000:]}" for log in logs if log.exists())

    def stop(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


def assistant_message(client: httpx.Client, text: str, max_tokens: int = 12, **more: Any) -> dict[str, Any]:
    """A reply of the served model: the response of /v1/chat/completions."""
    body = {"model": "attune", "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
    response = client.post("/v1/chat/completions", json={**body, **more})
    assert response.status_code == 200, response.text
    return dict(response.json())
