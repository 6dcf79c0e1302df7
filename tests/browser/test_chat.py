"""Chatting: what a person sees, and what then stands in the database."""

from __future__ import annotations

import time

from playwright.sync_api import Page, expect

from tests.browser.conftest import Served, ask, finished, replies, say

LONG = "Tell me a very long story about a dragon and a lighthouse."


def test_the_first_visit_says_that_ratings_teach_and_offers_three_prompts(page: Page) -> None:
    expect(page.get_by_text("that is how I learn to answer the way you like")).to_be_visible()
    examples = page.locator(".at-examples").get_by_role("button")
    expect(examples).to_have_count(3)
    text = examples.first.inner_text()
    examples.first.click()
    expect(page.get_by_role("article", name="You")).to_contain_text(text)
    finished(replies(page).last)


def test_a_reply_streams_and_is_stored_as_shown(page: Page, server: Served) -> None:
    page.evaluate(
        """() => {
          window.lengths = [];
          new MutationObserver(() => {
            const text = document.querySelector(".at-reply.at-writing .at-reply-text");
            if (text) window.lengths.push(text.textContent.length);
          }).observe(document.body, { childList: true, subtree: true, characterData: true });
        }"""
    )
    reply = ask(page, LONG)
    assert len(set(page.evaluate("window.lengths"))) >= 3, "the text did not grow in steps"
    stored = server.newest_reply()
    assert reply.get_attribute("data-id") == stored.id
    assert stored.finish_reason in ("stop", "length")
    assert stored.adapter_version == 0
    expect(reply.get_by_test_id("version")).to_have_text("Base")
    shown = reply.locator(".at-reply-text").inner_text()
    assert "".join(stored.content.split())[:20] == "".join(shown.split())[:20]


def test_stop_keeps_what_was_written(page: Page, server: Served) -> None:
    server.store.update_settings(server.user_id, {"max_tokens": 1000})
    try:
        say(page, LONG)
        expect(replies(page).last.locator(".at-reply-text")).to_contain_text(" ")
        page.get_by_role("button", name="Stop", exact=True).click()
        reply = finished(replies(page).last)
    finally:
        server.store.update_settings(server.user_id, {"max_tokens": 24})
    expect(reply).to_contain_text("You stopped this reply.")
    stored = server.newest_reply()
    assert stored.finish_reason == "cancelled"
    assert stored.content.strip()
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()


def test_a_second_enter_while_a_reply_is_written_stores_nothing(page: Page, server: Served) -> None:
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill(LONG)
    box.press("Enter")
    box.press("Enter")
    expect(replies(page)).to_have_count(1)
    box.fill("And one more")
    box.press("Enter")
    finished(replies(page).last)
    conversation = server.store.list_conversations(server.user_id, limit=1)[0]
    asked = [m.content for m in server.store.messages(server.user_id, conversation.id) if m.role == "user"]
    assert asked == [LONG]


def test_any_reply_can_be_regenerated_and_the_variants_leafed_through(page: Page, server: Served) -> None:
    first = ask(page, "Name a colour.").get_attribute("data-id")
    ask(page, "And another one?")
    replies(page).first.get_by_role("button", name="Regenerate").click()
    expect(replies(page)).to_have_count(1)  # what followed belongs to the other variant
    reply = finished(replies(page).first)
    expect(reply.get_by_role("group", name="Variants")).to_contain_text("2/2")
    second = reply.get_attribute("data-id")
    stored = server.store.message(server.user_id, second or "")
    assert second != first
    assert stored.parent_id == server.store.message(server.user_id, first or "").parent_id
    reply.get_by_role("button", name="Previous variant").click()
    expect(replies(page)).to_have_count(2)
    expect(replies(page).first).to_have_attribute("data-id", first or "")


def test_ones_own_message_can_be_said_again(page: Page, server: Served) -> None:
    ask(page, "Name a fruit.")
    question = page.get_by_role("article", name="You")
    question.hover()
    question.get_by_role("button", name="Edit message").click()
    question.get_by_role("textbox", name="Edit your message").fill("Name a tree.")
    question.get_by_role("button", name="Send again").click()
    expect(page.get_by_role("article", name="You").locator(".at-question-text")).to_have_text("Name a tree.")
    finished(replies(page).last)
    conversation = server.store.list_conversations(server.user_id, limit=1)[0]
    asked = [m for m in server.store.messages(server.user_id, conversation.id) if m.role == "user"]
    assert [m.content for m in asked] == ["Name a fruit.", "Name a tree."]
    assert asked[0].parent_id == asked[1].parent_id


def test_conversations_are_renamed_deleted_brought_back_and_found_again(page: Page, server: Served) -> None:
    ask(page, "Tell me about walruses.")
    side = page.get_by_role("navigation", name="Conversations")
    entry = side.get_by_role("listitem").first
    entry.hover()
    entry.get_by_role("button", name="Rename").click()
    side.get_by_role("textbox", name="New title").fill("Big animals")
    side.get_by_role("textbox", name="New title").press("Enter")
    expect(side.get_by_role("button", name="Big animals", exact=True)).to_be_visible()
    conversation = server.store.list_conversations(server.user_id, limit=1)[0]
    assert conversation.title == "Big animals"

    side.get_by_role("searchbox").fill("walruses")
    expect(side.get_by_role("listitem")).to_have_count(1)
    side.get_by_role("searchbox").fill("")
    expect(side.get_by_role("button", name="Big animals", exact=True)).to_be_visible()

    side.get_by_role("listitem").first.hover()
    side.get_by_role("button", name="Delete Big animals").click()
    expect(side.get_by_role("button", name="Big animals", exact=True)).to_have_count(0)
    assert conversation.id not in {c.id for c in server.store.list_conversations(server.user_id)}
    page.get_by_role("button", name="Undo").click()
    expect(side.get_by_role("button", name="Big animals", exact=True)).to_be_visible()
    expect(replies(page)).to_have_count(1)


def test_a_reload_comes_back_to_the_same_conversation(page: Page) -> None:
    shown = ask(page, "Say hello.").get_attribute("data-id")
    page.reload()
    expect(replies(page)).to_have_count(1)
    expect(replies(page).first).to_have_attribute("data-id", shown or "")
    page.get_by_role("button", name="New chat").click()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()


def test_a_page_that_is_closed_leaves_a_whole_message(page: Page, server: Served) -> None:
    say(page, LONG)
    expect(replies(page)).to_have_count(1)
    page.goto("about:blank")
    deadline = time.monotonic() + 20
    while server.newest_reply().finish_reason is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert server.newest_reply().finish_reason in ("cancelled", "stop", "length")
