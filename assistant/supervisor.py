"""Keeps the chat server and the learner running: starts them, starts them again when they die, stops them.

The two share nothing with this process but their exit. A child that dies is started again after a pause that
doubles; one that dies at once three times in a row is given up with the last line it wrote. Giving up the
chat server ends Attune; giving up the learner leaves the chat running without it.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from data.errors import AttuneError

CHECKOUT = Path(__file__).resolve().parent.parent
QUICK_DEATHS = 3  # this many in a row and a child is given up
SETTLED_S = 30.0  # a child without a health address counts as started after this long
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STOP_S = 10.0  # between asking a child to end and ending it
LOG_BYTES = 5_000_000
INSTANCE = "ATTUNE_INSTANCE"  # the environment variable that tells a child its token
CLEAN_FAILURE = (1, 2)  # exit codes of a process that said itself why it cannot run


@dataclass(frozen=True)
class ChildSpec:
    """One process to keep running. `health_url` (None: it has no address) answers 200 once it is ready, with
    the token that the child found in its environment as `instance`: another server may have the port."""

    name: str
    command: Sequence[str]
    log: Path
    health_url: str | None = None
    essential: bool = True
    background: bool = False  # runs at lower priority


@dataclass
class Child:
    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_again_at: float = 0.0
    log_offset: int = 0
    instance: str = ""
    ready: bool = False
    quick_deaths: int = 0
    given_up: bool = False
    starts: int = field(default=0)


class Supervisor:
    """Runs its children until `stop` is set or an essential one cannot be kept running.

    `say(line)` is told about restarts; `on_ready(name)` once, when a child first answers its health address.
    """

    def __init__(
        self, specs: Sequence[ChildSpec], say: Callable[[str], None], on_ready: Callable[[str], None]
    ) -> None:
        self.children = [Child(spec) for spec in specs]
        self.say = say
        self.on_ready = on_ready
        self.stop = threading.Event()

    def run(self) -> None:
        """Blocks. Raises AttuneError with the child's own last line when an essential child is given up."""
        handlers = {number: signal.signal(number, self._stop_signal) for number in _stop_signals()}
        try:
            while not self.stop.is_set():
                for child in self.children:
                    self._look_after(child, time.monotonic())
                self.stop.wait(0.2)
        finally:
            self._end_all()
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _stop_signal(self, number: int, frame: Any) -> None:
        self.stop.set()

    def _look_after(self, child: Child, now: float) -> None:
        if child.given_up:
            return
        if child.process is None:
            if now >= child.start_again_at:
                self._start(child, now)
            return
        code = child.process.poll()
        if code is not None:
            self._after_death(child, code, now)
        elif not child.ready and self._is_ready(child, now):
            child.ready = True
            child.quick_deaths = 0
            if child.starts == 1:
                self.on_ready(child.spec.name)
            else:
                self.say(f"The {child.spec.name} is back.")

    def _is_ready(self, child: Child, now: float) -> bool:
        if child.spec.health_url is None:
            return now - child.started_at >= SETTLED_S
        return answers(child.spec.health_url, child.instance)

    def _start(self, child: Child, now: float) -> None:
        spec = child.spec
        with open_log(spec.log) as log:
            child.log_offset = log.tell()
            child.instance = secrets.token_hex(16)
            child.process = subprocess.Popen(
                list(spec.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**child_environment(), INSTANCE: child.instance},
                **own_group(),
            )
        if spec.background:
            lower_priority(child.process.pid)
        child.started_at = now
        child.ready = False
        child.starts += 1

    def _after_death(self, child: Child, code: int, now: float) -> None:
        child.process = None
        name, last = child.spec.name, last_line(child.spec.log, child.log_offset)
        child.quick_deaths = 0 if child.ready else child.quick_deaths + 1
        hopeless = code in CLEAN_FAILURE and child.spec.essential and child.starts == 1
        if not child.ready and (hopeless or child.quick_deaths >= QUICK_DEATHS):
            child.given_up = True
            ended = f"it ended with {describe_exit(code)}"
            if code in CLEAN_FAILURE and last:
                why = last
            else:  # nobody can say why one was killed; the last line may help
                why = f"{ended}, after: {last}" if last else ended
            if child.spec.essential:
                raise AttuneError(why if hopeless else f"The {name} cannot be kept running: {why}")
            self.say(f"The {name} cannot be kept running; the chat goes on without it. {why}")
            return
        pause = min(FIRST_PAUSE_S * 2**child.quick_deaths, LONGEST_PAUSE_S)
        child.start_again_at = now + pause
        self.say(f"The {name} ended with {describe_exit(code)}; starting it again.")

    def _end_all(self) -> None:
        running = [child.process for child in self.children if child.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_S
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules; -P keeps the folder of whoever calls out of its sys.path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}


def answers(url: str, instance: str, timeout_s: float = 2.0) -> bool:
    """Whether `url` answers 200 and names `instance`, asked directly (never through a proxy)."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as response:
            return bool(response.status == 200 and json.load(response).get("instance") == instance)
    except (OSError, http.client.HTTPException, ValueError, AttributeError):
        return False  # nobody, or somebody else


def open_log(path: Path) -> IO[bytes]:
    """The log, to append to; one that has grown large is set aside as `.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = path.open("ab")
    log.seek(0, os.SEEK_END)
    return log


def last_line(path: Path, offset: int) -> str:
    """The last line written to a log since `offset`, or an empty text."""
    try:
        with path.open("rb") as log:
            log.seek(max(offset, path.stat().st_size - 10_000))
            lines = log.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    spoken = [line.strip() for line in lines if line.strip()]
    return spoken[-1] if spoken else ""


def describe_exit(code: int) -> str:
    if code < 0:
        try:
            return f"signal {signal.Signals(-code).name}"
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"


def _stop_signals() -> list[signal.Signals]:
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def own_group() -> dict[str, Any]:
    """Ctrl-C reaches this process alone, which then ends its children in order.

    On Linux the kernel also ends them should this process be killed, so that no port stays taken.
    """
    if os.name == "nt":
        return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if not sys.platform.startswith("linux"):
        return {"start_new_session": True}
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def end_with_parent() -> None:
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    return {"start_new_session": True, "preexec_fn": end_with_parent}


def lower_priority(pid: int) -> None:
    """Let everything else go first: what the learner's process runs at."""
    with suppress(psutil.Error):  # it has ended already, or the system forbids it: it runs at normal priority
        psutil.Process(pid).nice(psutil.IDLE_PRIORITY_CLASS if os.name == "nt" else 19)
    # Linux may share the cores out by session first; a session that others live in too is left as it is.
    with suppress(OSError):
        if sys.platform == "linux" and os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text("19")
