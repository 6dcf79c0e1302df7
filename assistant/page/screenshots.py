"""`python launch.py screenshots`: the pictures in README and docs, taken of the real page.

A home of its own in a temporary folder, the real server with the real model, a few turns and ratings by a
real browser. Nothing is painted in: where the model writes nonsense, the picture shows nonsense.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import AttuneError
from data.home import CHECKOUT, Home
from data.store import Store
from learner.modeling.embedded import prepare_embedded

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

OUT = CHECKOUT / "docs" / "images"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
CHROMIUM_ARGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
START_TIMEOUT_S = 300
REPLY_TIMEOUT_MS = 180_000
MAX_KB = 300
SETTLE_MS = 700  # transitions and the poll of the learning status
QUESTIONS = (
    "How do I keep bread fresh?",
    "Write a Python function that reverses a string. Use a code block.",
)


def main(options: argparse.Namespace) -> int:
    """Take every picture anew into docs/images/. Raises AttuneError with what is missing."""
    with tempfile.TemporaryDirectory(prefix="attune-screenshots-") as folder:
        home = Home(Path(folder) / "home").create()
        _share_model(home)
        with _server(home) as address, _browser() as browser:
            for path in take(browser, address, OUT):
                size_kb = path.stat().st_size / 1024
                print(f"{path.relative_to(CHECKOUT)}  {size_kb:.0f} kB")
                if size_kb > MAX_KB:
                    raise AttuneError(f"{path.name} has {size_kb:.0f} kB; at most {MAX_KB} are wanted.")
    return 0


def take(browser: Browser, address: str, out: Path) -> list[Path]:
    """chat.png, compare.png, profile.png and chat-dark-phone.png of the page at `address`."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / name for name in ("chat.png", "compare.png", "profile.png", "chat-dark-phone.png")]
    page = browser.new_page(viewport=DESKTOP)
    page.goto(address)
    for question in QUESTIONS:
        _ask(page, question)
    _rate(page)
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=paths[0])
    conversation = page.evaluate("location.hash")
    _compare(page, "Suggest a name for a small sailing boat.")
    page.screenshot(path=paths[1])
    page.get_by_role("button", name="A is better").click()
    page.get_by_role("tab", name="Profile").click()
    page.get_by_text("Waiting for the next update.").first.wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=paths[2])
    phone = browser.new_page(viewport=PHONE, color_scheme="dark")
    phone.goto(f"{address}/{conversation}")
    phone.get_by_role("article", name="Reply", exact=True).first.wait_for()
    phone.wait_for_timeout(SETTLE_MS)
    phone.screenshot(path=paths[3])
    return paths


def _ask(page: Page, question: str) -> None:
    box = page.get_by_role("textbox", name="Message", exact=True)
    replies = page.get_by_role("article", name="Reply", exact=True)
    before = replies.count()
    box.fill(question)
    box.press("Enter")
    replies.nth(before).wait_for()
    page.locator('.at-reply[aria-busy="false"]').nth(before).wait_for(timeout=REPLY_TIMEOUT_MS)


def _rate(page: Page) -> None:
    """A thumb and a comment on the first reply, stars on the last."""
    first, last = (page.get_by_role("article", name="Reply", exact=True).nth(i) for i in (0, 1))
    saved = '[data-testid="save-state"][data-state="saved"]'
    first.get_by_role("button", name="Good reply").click()
    first.locator(saved).wait_for()
    first.get_by_role("button", name="Comment", exact=True).click()
    first.get_by_role("textbox", name="Your comment").fill("Good, but shorter please.")
    first.get_by_role("button", name="Save comment").click()
    last.get_by_role("radio", name="4 stars").click()
    last.locator(saved).wait_for()


def _compare(page: Page, question: str) -> None:
    page.get_by_role("button", name="New chat").click()
    page.get_by_role("button", name="Compare two answers").click()
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill(question)
    box.press("Enter")
    page.get_by_role("button", name="A is better").wait_for(timeout=REPLY_TIMEOUT_MS)
    page.wait_for_timeout(SETTLE_MS)


def _share_model(home: Home) -> None:
    """Use the model that is already there (the usual home's, else the tests') or prepare it."""
    for models in (Home.locate(None).models_dir, CHECKOUT / "build" / "models"):
        if models.is_dir() and any(models.iterdir()):
            home.models_dir.rmdir()
            home.models_dir.symlink_to(models, target_is_directory=True)
            break
    prepare_embedded(home.models_dir)


@contextmanager
def _server(home: Home) -> Iterator[str]:
    """A chat server on `home`; its address."""
    store = Store(home)
    store.update_settings(store.ensure_user().id, {"max_tokens": 120, "temperature": 0.3})
    store.close()
    command = [sys.executable, "-m", "assistant.server", "--home", str(home.root), "--port", "0"]
    log = home.logs_dir / "server.txt"
    with log.open("w") as out:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield _address(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"Serving on (http://\S+)", log.read_text())
        if found:
            time.sleep(1)  # the port is bound; the application starts within the second
            return found[1]
        time.sleep(0.2)
    raise AttuneError(f"The chat server did not start: {log.read_text()[-400:]}")


@contextmanager
def _browser() -> Iterator[Browser]:
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
