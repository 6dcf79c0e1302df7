"""A real server in a process of its own, with the real embedded model, and Debian's Chromium over it."""

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
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from data.home import CHECKOUT, Home
from data.store import Store
from data.types import FeedbackEvent, Message

CHROMIUM = os.environ.get("ATTUNE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}
MAX_TOKENS = 24  # short replies: what is tested is the page, not the model
START_TIMEOUT_S = 180
expect.set_options(timeout=20_000)


@dataclass(frozen=True)
class Served:
    """A running server and, beside it, its database, read as any other process would."""

    address: str
    home: Home
    store: Store
    user_id: str
    process: subprocess.Popen[bytes]

    def newest_reply(self) -> Message:
        conversation = self.store.list_conversations(self.user_id, limit=1)[0]
        return [m for m in self.store.messages(self.user_id, conversation.id) if m.role == "assistant"][-1]

    def feedback(self, message_id: str) -> dict[str, FeedbackEvent]:
        return dict(self.store.standing_for_messages(self.user_id, [message_id]).get(message_id, {}))


@pytest.fixture(scope="session")
def server(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(models_dir, tmp_path_factory.mktemp("home")) as served:
        yield served


@contextmanager
def serving(models_dir: Path, root: Path) -> Iterator[Served]:
    """A server on a home of its own, until the end of the block."""
    home = Home(root).create()
    home.models_dir.rmdir()
    home.models_dir.symlink_to(models_dir, target_is_directory=True)
    store = Store(home)
    user = store.ensure_user()
    store.update_settings(user.id, {"max_tokens": MAX_TOKENS, "offer_comparisons": False})
    process, address = start(root)
    try:
        yield Served(address, home, store, user.id, process)
    finally:
        end(process)
        store.close()


def start(root: Path, port: int = 0) -> tuple[subprocess.Popen[bytes], str]:
    """A server process and its address, once it answers."""
    command = [
        sys.executable, "-m", "assistant.server", "--home", str(root), "--port", str(port), "--device", "cpu",
    ]  # fmt: skip
    log = root / "logs" / "server.txt"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT)
    try:
        return process, _address(process, log)
    except BaseException:
        end(process)
        raise


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        found = re.search(r"Serving on (http://\S+)", log.read_text())
        if found:
            try:
                httpx.get(found[1] + "/healthz", timeout=5).raise_for_status()
                return found[1]
            except httpx.HTTPError:
                pass
        time.sleep(0.2)
    raise AssertionError(f"the server did not start within {START_TIMEOUT_S} s:\n{log.read_text()}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Chromium: apt install chromium")
        pytest.skip("no Chromium here (apt install chromium, or set ATTUNE_CHROMIUM)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@dataclass
class Watched:
    """What went on behind a page: requests to elsewhere and errors of scripts; both must stay empty."""

    foreign: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("request", self._on_request)
        context.on("weberror", lambda error: self.errors.append(str(error.error)))

    def _on_request(self, request: Request) -> None:
        if not request.url.startswith(("http://127.0.0.1", "data:", "blob:")):
            self.foreign.append(request.url)


@pytest.fixture
def page(browser: Browser, server: Served) -> Iterator[Page]:
    """An open page on an empty chat. Fails the test if anything left the machine or a script broke."""
    yield from _open(browser, server, DESKTOP)


@pytest.fixture
def phone(browser: Browser, server: Served) -> Iterator[Page]:
    yield from _open(browser, server, PHONE)


def _open(browser: Browser, server: Served, size: dict[str, int]) -> Iterator[Page]:
    context = browser.new_context(viewport=size, locale="en-GB")  # type: ignore[arg-type]
    watched = Watched()
    watched.watch(context)
    page = context.new_page()
    page.goto(server.address)
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    yield page
    context.close()
    assert watched.foreign == []
    assert watched.errors == []


def say(page: Page, text: str) -> None:
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill(text)
    box.press("Enter")


def replies(page: Page) -> Locator:
    return page.get_by_role("article", name="Reply", exact=True)


def finished(reply: Locator) -> Locator:
    """`reply` once it is complete and can be rated."""
    expect(reply).to_have_attribute("aria-busy", "false")
    expect(reply.get_by_role("group", name="About this reply")).to_be_visible()
    return reply


def ask(page: Page, text: str) -> Locator:
    """Send `text` and wait for the whole reply."""
    before = replies(page).count()
    say(page, text)
    expect(replies(page)).to_have_count(before + 1)
    return finished(replies(page).last)


def saved(reply: Locator) -> None:
    expect(reply.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")
