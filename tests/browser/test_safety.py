"""Text of a reply stays text; nothing leaves the machine (the `page` fixture asserts that for every test)."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from assistant.page.markdown import render
from tests.browser.conftest import PHONE, Served, ask, replies

HOSTILE = """${window.hacked = 1} {{value}} `${window.hacked = 2}`

<script>window.hacked = 3</script>
<img src="http://example.com/pixel.png" onerror="window.hacked = 4">
![a picture](http://example.com/picture.png)
[a link](javascript:window.hacked=5) [another](http://example.com/page)
<svg onload="window.hacked = 6"></svg><iframe src="http://example.com"></iframe>

```html" onmouseover="window.hacked=7
<script>window.hacked = 8</script>
```
"""


def _stored_reply(server: Served, content: str) -> str:
    """A conversation with `content` as its reply, stored as if the model had written it; its id."""
    conversation = server.store.create_conversation(server.user_id, "Hostile")
    asked = server.store.add_message(server.user_id, conversation.id, None, "user", HOSTILE)
    server.store.add_message(
        server.user_id,
        conversation.id,
        asked.id,
        "assistant",
        content,
        finish_reason="stop",
        adapter_version=0,
    )
    return conversation.id


def test_a_hostile_reply_stays_text(page: Page, server: Served) -> None:
    page.goto(f"{server.address}/#{_stored_reply(server, HOSTILE)}")
    page.reload()
    reply = replies(page).first
    for text in ("${window.hacked = 1}", "{{value}}", "<script>window.hacked = 3</script>", "<svg onload="):
        expect(reply).to_contain_text(text)
    expect(page.get_by_role("article", name="You")).to_contain_text("<script>window.hacked = 3</script>")
    reply.hover()
    assert page.evaluate("window.hacked") is None
    assert reply.locator("img, script, iframe, svg:not(.at-icon), [onerror], [onmouseover]").count() == 0
    links = reply.locator(".at-reply-text a").evaluate_all("all => all.map((a) => a.href)")
    assert links == ["http://example.com/picture.png", "http://example.com/page"]


def test_a_reply_of_100_kb_is_shown_and_can_be_rated(page: Page, server: Served) -> None:
    page.goto(f"{server.address}/#{_stored_reply(server, 'many words and <b>tags</b> ' * 4000)}")
    page.reload()
    expect(replies(page).first).to_contain_text("many words and <b>tags</b>")
    replies(page).first.get_by_role("button", name="Good reply").click()
    expect(replies(page).first.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")


def test_a_conversation_of_somebody_else_opens_empty(page: Page, server: Served) -> None:
    other = server.store.add_user("somebody", "not a real hash")
    try:
        foreign = server.store.create_conversation(other.id, "Secret")
        server.store.add_message(other.id, foreign.id, None, "user", "my secret")
    finally:
        server.store.remove_user(other.id)  # an account would ask everybody to sign in
    page.goto(f"{server.address}/#{foreign.id}")
    page.reload()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    expect(page.get_by_text("my secret")).to_have_count(0)


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("<script>x</script>", "<script"),
        ("![p](http://example.com/p.png)", "<img"),
        ("[l](javascript:alert(1))", "href"),
        ("[l](data:text/html,x)", "href"),
        ("[l](  JaVaScRiPt:alert(1))", "href"),
        ('```a"b\nx\n```', 'language="a"'),
        ("<a href='http://x' onclick='y'>z</a>", "<a"),
    ],
)
def test_markdown_never_makes_this_live(text: str, never: str) -> None:
    assert never not in render(text)


def test_markdown_renders_tables_lists_and_coloured_code() -> None:
    html = render("| a | b |\n|---|---|\n| 1 | 2 |\n\n- x\n\n```python\ndef f(): pass\n```")
    assert "<table>" in html
    assert "<li>x</li>" in html
    assert '<pre data-language="python"><code><span class="k">def</span>' in html


def test_a_phone_shows_everything_without_scrolling_sideways(phone: Page) -> None:
    reply = ask(phone, "Name a long word.")
    reply.get_by_role("radio", name="5 stars").click()
    expect(reply.get_by_test_id("save-state")).to_have_attribute("data-state", "saved")
    for tab in ("Chat", "Profile", "Settings"):
        phone.get_by_role("tab", name=tab).click()
        expect(phone.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    side = phone.get_by_role("navigation", name="Conversations")
    expect(side).to_be_hidden()
    phone.get_by_role("button", name="Open the list").click()
    side.get_by_role("listitem").first.get_by_role("button").first.click()
    expect(side).to_be_hidden()
    expect(replies(phone).first).to_be_visible()
