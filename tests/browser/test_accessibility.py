"""axe-core finds nothing at WCAG A and AA, and the keyboard alone reaches and does everything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from learner.modeling.base import BaseModel
from tests.browser.axe import violations
from tests.browser.conftest import DESKTOP, PHONE, Served, ask, replies, saved
from tests.browser.test_profile import LEARNT, REPORT, open_profile
from tests.launched import wait_for
from tests.publishing import publish_an_adapter

RICH = """Some **words**, `code` and a [link](http://example.com).

| a | b |
|---|---|
| 1 | 2 |

```python
def f(x: int) -> str:
    return "text"  # a comment
```

> Quoted, and \\(x^2 + \\frac{1}{2}\\).
"""
SECTIONS = ("overview", "progress", "versions", "ratings", "data")


@pytest.fixture(scope="module")
def conversation(server: Served, base_model: BaseModel) -> Iterator[str]:
    """A conversation with everything that a reply can hold, rated; a version that was taught something."""
    store, user = server.store, server.user_id
    made = store.create_conversation(user, "Everything that there is")
    asked = store.add_message(user, made.id, None, "user", "Show me everything.")
    rich = store.add_message(
        user, made.id, asked.id, "assistant", RICH, finish_reason="length", adapter_version=0
    )
    store.add_feedback(user, "stars", 4, message_id=rich.id)
    store.add_feedback(user, "comment", "Too much.", message_id=rich.id)
    more = store.add_message(user, made.id, rich.id, "user", "And two answers?")
    two = [
        store.add_message(user, made.id, more.id, "assistant", text, finish_reason="stop", adapter_version=0)
        for text in ("One answer.", "Another answer.")
    ]
    store.create_comparison(user, made.id, more.id, [reply.id for reply in two])
    store.put_notes(user, [{"text": "I am a nurse."}, {"text": "No lists.", "enabled": False}])
    publish_an_adapter(server.home, store, user, base_model, {"learnt": [LEARNT], **REPORT})
    yield made.id
    store.publish(user, 0, "rollback")
    store.put_notes(user, [])


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(
    browser: Browser, server: Served, conversation: str, size: dict[str, int], theme: str, language: str
) -> None:
    looks = {"theme": theme, "language": language, "muted": ["log_length", "emoji"]}
    server.store.update_settings(server.user_id, looks)
    context = browser.new_context(viewport=size, reduced_motion="reduce")  # type: ignore[arg-type]
    try:
        page = context.new_page()
        page.goto(server.address)
        page.wait_for_function(f"document.documentElement.lang.startsWith('{language}')")
        expect(page.locator(".at-empty")).to_be_visible()
        found = [f"empty: {line}" for line in violations(page)]
        page.goto(f"{server.address}/#{conversation}")
        page.reload()
        expect(page.locator(".at-comparison .at-choice")).to_be_visible()
        page.wait_for_function(f"document.body.classList.contains('dark') === {str(theme == 'dark').lower()}")
        found += [f"chat: {line}" for line in violations(page)]
        page.locator("#at-tab-profile").click()
        for section in SECTIONS:
            page.locator(f"#at-choose-{section}").click()
            for details in page.locator(f"#at-section-{section} details").all():
                details.evaluate("node => { node.open = true; }")
            found += [f"{section}: {line}" for line in violations(page)]
        page.locator("#at-tab-settings").click()
        for details in page.locator("#at-panel-settings details").all():
            details.evaluate("node => { node.open = true; }")
        found += [f"settings: {line}" for line in violations(page)]
        assert found == []
    finally:
        context.close()
        server.store.update_settings(server.user_id, {"theme": "auto", "language": "en", "muted": []})


def test_the_keyboard_alone_sends_rates_and_opens_every_tab(page: Page, server: Served) -> None:
    ask(page, "Name a gem.")
    reply = replies(page).last
    page.get_by_role("textbox", name="Message", exact=True).focus()
    _press_until(page, "Shift+Tab", "1 star")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    saved(reply)
    assert server.feedback(reply.get_attribute("data-id") or "")["stars"].value == 3
    _press_until(page, "Shift+Tab", "Good reply")
    page.keyboard.press("Space")
    expect(reply.get_by_role("button", name="Good reply")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("tab", name="Chat").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("heading", name="Profile", exact=True)).to_be_visible()
    _press_until(page, "Tab", "Overview")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Progress")).to_be_focused()
    page.get_by_role("tab", name="Profile", exact=True).focus()
    page.keyboard.press("ArrowRight")
    _press_until(page, "Tab", "System prompt")


def test_focus_and_what_was_opened_survive_a_redraw(page: Page, server: Served) -> None:
    ask(page, "Name a seed.").get_by_role("radio", name="2 stars").click()
    saved(replies(page).last)
    reply = ask(page, "Name a root.")
    reply.get_by_role("radio", name="5 stars").click()
    saved(reply)
    id_ = reply.get_attribute("data-id") or ""
    open_profile(page, "Ratings")
    rows = page.get_by_role("button", name="Take back: ")
    expect(rows.nth(1)).to_be_visible()
    before = rows.count()
    rows.first.focus()
    page.keyboard.press("Enter")
    expect(rows).to_have_count(before - 1)
    expect(rows.first).to_be_focused()
    assert "stars" not in server.feedback(id_)
    page.get_by_role("tab", name="Settings").click()
    page.get_by_role("textbox", name="New note").fill("Be brief.")
    page.keyboard.press("Enter")
    box = page.get_by_role("checkbox", name="Use: Be brief.")
    box.focus()
    page.keyboard.press("Space")
    expect(page.get_by_role("list", name="Notes").locator(".at-off")).to_have_count(1)
    expect(box).to_be_focused()
    # the page shows it before the server has answered
    wait_for(lambda: not server.store.notes(server.user_id)[-1]["enabled"], 10, "the note is off in the store")
    server.store.put_notes(server.user_id, [])


def _press_until(page: Page, key: str, *names: str) -> None:
    """Press `key` until what has focus bears one of `names`."""
    for _ in range(40):
        page.keyboard.press(key)
        name = page.evaluate(
            "(document.activeElement.ariaLabel ?? document.activeElement.labels?.[0]?.textContent"
            " ?? document.activeElement.textContent).trim()"
        )
        if name in names:
            return
    raise AssertionError(f"{key} never reached {names}; the last was {name!r}")
