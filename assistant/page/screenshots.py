"""`python launch.py screenshots`: the pictures in README and docs, taken of the real page.

A home of its own in a temporary folder, the real server and learner with the real model, a few turns and ratings by
a real browser. Nothing is painted in: where the model writes nonsense, the picture shows nonsense. The last picture is
of a profile after a whole update, about a quarter of an hour with the default model on two cores.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from assistant.page.real_page import chromium, ended, learning, served, share_model
from data.errors import AttuneError
from data.home import CHECKOUT, Home
from data.prompts import general_prompts
from data.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

OUT = CHECKOUT / "docs" / "images"
DESKTOP: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
NAMES = ("chat.png", "compare.png", "profile.png", "settings.png", "chat-dark-phone.png", "chat-chinese.png")
REPLY_TIMEOUT_MS = 180_000
MAX_KB = 300
SETTLE_MS = 700  # transitions and the poll of the learning status
QUESTIONS = ("How do I keep bread fresh?", "Why does the moon change its shape?")
LEARNT = "learnt.png"
PIECES = 60  # of feedback before the update
STARS = ((25, 5), (40, 4), (60, 3), (90, 2))  # at most so many words: so many stars, and one beyond


def main(options: argparse.Namespace) -> int:
    """Take every picture anew into docs/images/. Raises AttuneError with what is missing."""
    with tempfile.TemporaryDirectory(prefix="attune-screenshots-") as folder:
        home = Home(Path(folder) / "home").create()
        share_model(home)
        _set_up(home)
        with served(home) as address, learning(home), chromium() as browser:
            for path in (*take(browser, address, OUT), learnt(browser, address, OUT)):
                size_kb = path.stat().st_size / 1024
                print(f"{path.relative_to(CHECKOUT)}  {size_kb:.0f} kB")
                if size_kb > MAX_KB:
                    raise AttuneError(f"{path.name} has {size_kb:.0f} kB; at most {MAX_KB} are wanted.")
    return 0


def take(browser: Browser, address: str, out: Path) -> list[Path]:
    """Pictures of the page at `address`: chat, comparison, profile, settings; dark on a phone; in Chinese."""
    out.mkdir(parents=True, exist_ok=True)
    paths = [out / name for name in NAMES]
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
    page.locator('[data-kind="ranking"] strong', has_text="1").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=paths[2])
    page.get_by_role("tab", name="Settings").click()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=paths[3])
    phone = browser.new_page(viewport=PHONE, color_scheme="dark")
    phone.goto(f"{address}/{conversation}")
    phone.get_by_role("article", name="Reply", exact=True).first.wait_for()
    phone.wait_for_timeout(SETTLE_MS)
    phone.screenshot(path=paths[4])
    page.get_by_role("radio", name="中文").click()  # not check(): the page is drawn anew with it
    page.get_by_role("button", name="新对话").click()
    page.locator(".at-empty").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=paths[5])
    return paths


def learnt(browser: Browser, address: str, out: Path) -> Path:
    """The profile of somebody who likes it short, after an update; what comes of the update is not known beforehand."""
    with httpx.Client(base_url=address, timeout=600, trust_env=False) as client:
        # the picture before is Chinese
        client.patch("/v1/profile/settings", json={"language": "en"}).raise_for_status()
        for number, prompt in enumerate(general_prompts("rollout")[:PIECES]):
            _rate_length(client, prompt, number)
        run = client.post("/v1/learner/run", json={}).raise_for_status().json()
        run = ended(client, run)
    print(f"{run['state']}: {run['reason']}")
    page = browser.new_page(viewport=DESKTOP)
    page.goto(address)
    page.get_by_role("tab", name="Profile").click()
    page.locator("#at-profile").get_by_role("heading", name="What I have learnt about you").wait_for()
    page.wait_for_timeout(SETTLE_MS)
    page.screenshot(path=out / LEARNT)
    return out / LEARNT


def _rate_length(client: httpx.Client, prompt: str, number: int) -> None:
    """Stars by the number of words, and each third time the reply as it should have been: its first sentence."""
    body = {"model": "attune", "messages": [{"role": "user", "content": prompt}], "seed": number}
    choice = client.post("/v1/chat/completions", json=body).raise_for_status().json()["choices"][0]
    text = choice["message"]["content"]
    first = re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]
    feedback: dict[str, Any] = {"kind": "edit", "value": first}
    if number % 3 or first == text:
        stars = next((stars for words, stars in STARS if len(text.split()) <= words), 1)
        feedback = {"kind": "stars", "value": stars}
    client.post("/v1/feedback", json={"message_id": choice["message_id"], **feedback}).raise_for_status()


def _set_up(home: Home) -> None:
    store = Store(home)
    store.update_settings(store.ensure_user().id, {"max_tokens": 120, "temperature": 0.3, "offer_comparisons": False})
    store.close()


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
