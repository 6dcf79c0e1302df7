"""What the page costs a person: `python launch.py bench page`.

The real server with the embedded model, the real page in Chromium, nothing cached.

- `page_ready_s`: from the request to a composer in which one can write.
- `page_kb`: what came over the wire till then and in the two seconds after, headers included, as the browser counts it.
- `chunk_ms`: time of the page's main thread for each change of a reply that is streamed below 100 messages, beyond what
  it takes while it waits. CPU time: the model may use the same cores.
- `rating_saved_ms`: from the click on a star until "Saved" is shown, the database's fsync in it.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assistant.page.real_page import chromium, served, share_model
from benchmarks.results import Result
from data.home import Home
from data.schema import migrate
from data.store import Store

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

LIMITS = {
    "page_ready_s": 1.5, "page_kb": 600.0, "chunk_ms": 20.0, "rating_saved_ms": 100.0,
}  # fmt: skip
MESSAGES = 100  # in the conversation below which a reply is streamed
SETTLE_MS = 2000
REPLY = """Here is what there is to say about it, in **three** points:

1. The first point, which is about `code` and other things.
2. The second point, a little longer than the first, so that lines wrap on every screen.
3. The third.

```python
def answer(question: str) -> str:
    return question.upper()
```
"""
# Runs before the page's own scripts: notes when the composer can be written in.
NOTE_READY = """
new MutationObserver((_, watching) => {
  const box = document.querySelector(".at-composer textarea");
  if (!box || !document.querySelector(".at-sidebar") || !box.offsetParent) return;
  window.readyAt = performance.now();
  watching.disconnect();
}).observe(document, { childList: true, subtree: true });
"""
COUNT_CHANGES = """
window.changes = 0;
new MutationObserver(() => { window.changes += document.querySelector(".at-writing") ? 1 : 0; })
  .observe(document.querySelector(".at-messages"), { childList: true, subtree: true, characterData: true });
"""
RATE = """
([reply, stars]) => new Promise((done) => {
  const state = reply.querySelector('[data-testid="save-state"]');
  const started = performance.now();
  const watching = new MutationObserver(() => {
    if (state.dataset.state !== "saved") return;
    watching.disconnect();
    done(performance.now() - started);
  });
  watching.observe(state, { attributes: true, attributeFilter: ["data-state"] });
  reply.querySelectorAll('[role="radio"]')[stars - 1].click();
})
"""


def main(options: argparse.Namespace) -> Result:
    loads, ratings, tokens = (2, 6, 40) if options.quick else (9, 40, 200)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        home = Home(Path(folder) / "home").create()
        share_model(home)
        migrate(home)
        conversation = fill(home, tokens)
        with served(home) as address, chromium() as browser:
            load(browser, address)  # the server's own first time is not the page's
            found = [load(browser, address) for _ in range(loads)]
            figures = {name: float(np.median([one[name] for one in found])) for name in found[0]}
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.goto(f"{address}/#{conversation}")
            page.locator(".at-reply").nth(MESSAGES // 2 - 1).wait_for()
            page.wait_for_timeout(SETTLE_MS)
            figures |= stream(page)
            figures |= rate(page, ratings)
    settings = {"loads": loads, "messages": MESSAGES, "tokens": tokens, "ratings": ratings}
    return Result("page", "embedded", settings, figures, time.monotonic() - started, limits=LIMITS)


def fill(home: Home, tokens: int) -> str:
    """A conversation of MESSAGES messages; its id."""
    store = Store(home)
    user = store.ensure_user().id
    store.update_settings(user, {"max_tokens": tokens, "offer_comparisons": False})
    made = store.create_conversation(user, "A hundred messages")
    parent = None
    for number in range(MESSAGES):
        role = "assistant" if number % 2 else "user"
        text = REPLY if role == "assistant" else f"Question {number}: what is there to say about it?"
        version = {"adapter_version": 0} if role == "assistant" else {}
        parent = store.add_message(user, made.id, parent, role, text, **version).id  # type: ignore[arg-type]
    store.close()
    return made.id


def load(browser: Browser, address: str) -> dict[str, float]:
    """One visit with nothing cached."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(NOTE_READY)
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    received: list[float] = []
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(address)
    page.wait_for_function("window.readyAt")
    page.wait_for_timeout(SETTLE_MS)
    ready_s = page.evaluate("window.readyAt") / 1000
    context.close()
    return {"page_ready_s": ready_s, "page_kb": sum(received) / 1000, "requests": float(len(received))}


def stream(page: Page) -> dict[str, float]:
    """A reply written below all the messages. What the page takes while it only waits (Gradio's and our animations)
    is measured before the first word and subtracted; `busy_share` is all of it."""
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.evaluate(COUNT_CHANGES)
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("Tell me a very long story about a dragon and a lighthouse.")
    box.press("Enter")
    writing = page.locator(".at-writing")
    writing.wait_for()
    page.wait_for_timeout(200)  # the question has been drawn
    waited = [(time.monotonic(), _task_s(session), page.evaluate("window.changes"))]
    page.locator(".at-writing .at-reply-text p").first.wait_for(timeout=300_000)
    waited.append((time.monotonic(), _task_s(session), page.evaluate("window.changes")))
    writing.wait_for(state="detached", timeout=600_000)
    waited.append((time.monotonic(), _task_s(session), page.evaluate("window.changes")))
    session.detach()
    (sent_at, sent, _), (began_at, began, before), (ended_at, ended, after) = waited
    if after - before < 5:
        raise SystemExit("The reply came in too few pieces to tell what one costs.")
    idle = (began - sent) / (began_at - sent_at)
    seconds, chunks = ended_at - began_at, after - before
    spent = ended - began
    return {
        "chunk_ms": 1000 * (spent - idle * seconds) / chunks,
        "chunks": float(chunks),
        "busy_share": spent / seconds,
        "busy_share_waiting": idle,
    }


def _task_s(session: Any) -> float:
    metrics = session.send("Performance.getMetrics")["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))


def rate(page: Page, count: int) -> dict[str, float]:
    """Stars on as many replies, one after the other."""
    replies = page.locator(".at-reply").element_handles()
    taken = [page.evaluate(RATE, [replies[i % len(replies)], 1 + i % 5]) for i in range(count)]
    return {
        "rating_saved_ms": float(np.median(taken)),
        "rating_saved_p95_ms": float(np.percentile(taken, 95)),
    }
