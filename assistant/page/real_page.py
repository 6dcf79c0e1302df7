"""The real page for pictures and measurements: a server on a home of its own, and a real browser over it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from assistant.supervisor import lower_priority, own_group
from data.errors import AttuneError
from data.home import CHECKOUT, Home
from data.store import Store
from data.store.runs import ENDED
from learner.modeling.embedded import prepare_embedded

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
START_TIMEOUT_S = 300


def share_model(home: Home) -> None:
    """Use the model that is already there (the usual home's, else the tests') or prepare it."""
    for models in (Home.locate(None).models_dir, CHECKOUT / "build" / "models"):
        if models.is_dir() and any(models.iterdir()):
            home.models_dir.rmdir()
            home.models_dir.symlink_to(models, target_is_directory=True)
            break
    prepare_embedded(home.models_dir)


@contextmanager
def served(home: Home) -> Iterator[str]:
    """A chat server on `home`; its address."""
    command = [sys.executable, "-m", "assistant.server", "--home", str(home.root), "--port", "0"]
    log = home.logs_dir / "server.txt"
    process = _started(command, log)
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


@contextmanager
def learning(home: Home) -> Iterator[None]:
    """The learner beside the server, as a person has it: the page says what it waits for."""
    command = [sys.executable, "-m", "learner.worker", "--home", str(home.root)]
    log = home.logs_dir / "learner.txt"
    store = Store(home)
    process = _started(command, log)
    lower_priority(process.pid)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while store.lease_holder() is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AttuneError(f"The learner did not start: {log.read_text()[-400:]}")
            time.sleep(0.2)
        yield
    finally:
        store.close()
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:  # it may be in the middle of a minute's sampling
            process.kill()
            process.wait()


def _started(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as out:
        return subprocess.Popen(command, cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT, **own_group())


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Serving on (http://\S+)", log.read_text())
        if found:
            time.sleep(1)  # the port is bound; the application starts within the second
            return found[1]
        time.sleep(0.2)
    raise AttuneError(f"The chat server did not start: {log.read_text()[-400:]}")


def ended(client: httpx.Client, run: dict[str, Any]) -> dict[str, Any]:
    """Wait until an update has ended; the run as `GET /v1/learner/runs/{id}` then has it."""
    while run["state"] not in ENDED:
        time.sleep(2)
        run = dict(client.get(f"/v1/learner/runs/{run['id']}").raise_for_status().json())
    return run


@contextmanager
def chromium() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    chromium = (
        os.environ.get("ATTUNE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    )
    if chromium is None:
        raise AttuneError("There is no Chromium here: install it (Debian: apt install chromium).")
    launch: dict[str, Any] = {"executable_path": chromium, "args": CHROMIUM_ARGS}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(**launch)
        try:
            yield browser
        finally:
            browser.close()
