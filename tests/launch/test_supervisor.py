"""The supervisor over real processes: small Python programs that live, die and come back."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from assistant import supervisor as supervision
from assistant.supervisor import ChildSpec, Supervisor, describe_exit, last_line
from data.errors import AttuneError

SERVER = """
import http.server, os, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        self.wfile.write(('{"instance": "%s"}' % os.environ.get("ATTUNE_INSTANCE")).encode())
    def log_message(self, *arguments): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Health).serve_forever()
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Running:
    """A supervisor on a thread of its own, with what it said."""

    def __init__(self, *specs: ChildSpec) -> None:
        self.said: list[str] = []
        self.ready: list[str] = []
        self.error: AttuneError | None = None
        self.supervisor = Supervisor(specs, self.said.append, self.ready.append)
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            self.supervisor.run()
        except AttuneError as error:
            self.error = error

    def process(self, number: int = 0) -> subprocess.Popen[bytes] | None:
        return self.supervisor.children[number].process

    def __enter__(self) -> Running:
        self.thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.supervisor.stop.set()
        self.thread.join(15)


@pytest.fixture(autouse=True)
def signals_stay_with_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handlers can be set on the main thread only; here the supervisor runs on another."""
    monkeypatch.setattr(supervision, "_stop_signals", list)


def program(tmp_path: Path, code: str, *arguments: str, **more: object) -> ChildSpec:
    name = str(more.pop("name", "server"))
    return ChildSpec(name, [sys.executable, "-c", code, *arguments], tmp_path / f"{name}.log", **more)


def test_a_killed_child_is_started_again_and_answers_again(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"
    with Running(program(tmp_path, SERVER, str(port), health_url=url)) as running:
        wait_for(lambda: running.ready == ["server"])
        first = running.process()
        first.kill()
        wait_for(lambda: "The server is back." in running.said)
        assert running.process().pid != first.pid
        assert supervision.answers(url, running.supervisor.children[0].instance)
        assert running.ready == ["server"]  # the address is announced once
        assert "signal SIGKILL" in running.said[0]
        last = running.process().pid
    assert not psutil.pid_exists(last)  # stopping ends the children


def test_another_server_on_the_port_is_not_taken_for_the_child(tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}/healthz"
    stranger = subprocess.Popen([sys.executable, "-c", SERVER, str(port)])
    try:
        wait_for(lambda: supervision.answers(url, "None"))
        with Running(program(tmp_path, "import time; time.sleep(60)", health_url=url)) as running:
            wait_for(lambda: running.process() is not None)
            time.sleep(1.0)
            assert running.ready == []
    finally:
        stranger.kill()
        stranger.wait()


def test_an_essential_child_that_says_why_it_cannot_run_ends_everything_with_its_line(tmp_path):
    code = "import sys; print('loading'); sys.exit('There is no model x.')"
    with Running(program(tmp_path, code, health_url="http://127.0.0.1:9/")) as running:
        running.thread.join(10)
        assert str(running.error) == "There is no model x."


def test_a_child_that_dies_at_once_three_times_is_given_up(tmp_path):
    code = "import os, signal; print('about to fall', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    with Running(program(tmp_path, code, health_url="http://127.0.0.1:9/")) as running:
        running.thread.join(20)
        assert str(running.error) == (
            "The server cannot be kept running: it ended with signal SIGSEGV, after: about to fall"
        )
    assert (tmp_path / "server.log").read_text().count("about to fall") == 3


def test_the_chat_goes_on_without_a_learner_that_cannot_run(tmp_path):
    port = free_port()
    server = program(tmp_path, SERVER, str(port), health_url=f"http://127.0.0.1:{port}/")
    learner = program(tmp_path, "raise SystemExit('no room')", name="learner", essential=False)
    with Running(server, learner) as running:
        wait_for(lambda: any("goes on without it" in line and "no room" in line for line in running.said))
        assert running.ready == ["server"]
        assert running.thread.is_alive()
        assert running.process(0).poll() is None


@pytest.mark.skipif(os.name == "nt", reason="POSIX priorities")
def test_the_learner_runs_at_lower_priority(tmp_path):
    with Running(program(tmp_path, "import time; time.sleep(60)", background=True)) as running:
        wait_for(lambda: running.process() is not None)
        process = psutil.Process(running.process().pid)
        assert process.nice() == 19
        shared_out = Path(f"/proc/{process.pid}/autogroup")
        if shared_out.exists():  # the kernel shares the cores out by session
            assert shared_out.read_text().split()[-1] == "19"


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the kernel's parent-death signal is Linux's"
)
def test_children_end_when_the_supervisor_itself_is_killed(tmp_path):
    code = f"""
import sys; from pathlib import Path
from assistant.supervisor import ChildSpec, Supervisor
command = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(60)"]
Supervisor([ChildSpec("child", command, Path({str(tmp_path / "child.log")!r}))], print, print).run()
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=supervision.CHECKOUT)
    try:
        wait_for(lambda: last_line(tmp_path / "child.log", 0).isdigit())
        child = psutil.Process(int(last_line(tmp_path / "child.log", 0)))
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    child.wait(10)


def test_a_child_that_ignores_being_asked_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "STOP_S", 0.5)
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)"
    code += "; time.sleep(60)"
    with Running(program(tmp_path, code)) as running:
        wait_for(lambda: last_line(tmp_path / "server.log", 0) == "deaf")
        pid = running.process().pid
    assert not psutil.pid_exists(pid)


def test_the_last_line_is_of_this_start_only(tmp_path):
    log = tmp_path / "x.log"
    log.write_text("old words\n")
    assert last_line(log, 0) == "old words"
    assert last_line(log, log.stat().st_size) == ""
    assert last_line(tmp_path / "absent.log", 0) == ""


def test_a_log_that_grew_large_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr(supervision, "LOG_BYTES", 10)
    log = tmp_path / "chat.log"
    log.write_text("more than ten bytes\n")
    supervision.open_log(log).close()
    assert log.read_text() == ""
    assert (tmp_path / "chat.log.1").read_text() == "more than ten bytes\n"


def test_exits_are_named():
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "signal SIGKILL"
