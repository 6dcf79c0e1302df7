"""Chatting: what a person sees, and what then stands in the database."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import MAX_TOKENS, Served, ask, finished, replies, say
from tests.launched import wait_for

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


@pytest.fixture
def long_replies(server: Served) -> Iterator[None]:
    """Replies that go on until they are stopped."""
    server.store.update_settings(server.user_id, {"max_tokens": 1000})
    yield
    server.store.update_settings(server.user_id, {"max_tokens": MAX_TOKENS})


def begun(page: Page) -> None:
    """The first words of a new reply are on the page."""
    expect(page.locator(".at-writing .at-reply-text")).to_contain_text(" ")


def stop_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Stop", exact=True)


def send_button(page: Page) -> Locator:
    return page.get_by_role("button", name="Send", exact=True)


@pytest.mark.usefixtures("long_replies")
def test_stop_keeps_what_was_written(page: Page, server: Served) -> None:
    say(page, LONG)
    begun(page)
    stop_button(page).click()
    reply = finished(replies(page).last)
    expect(reply).to_contain_text("You stopped this reply.")
    stored = server.newest_reply()
    assert stored.finish_reason == "cancelled"
    assert stored.content.strip()
    expect(send_button(page)).to_be_visible()


@pytest.mark.usefixtures("long_replies")
def test_stop_is_heard_before_the_server_has_said_anything(page: Page, server: Served) -> None:
    box = page.get_by_role("textbox", name="Message", exact=True)
    for text in (LONG, "Tell me another one, as long."):  # in a chat that is not there yet, and in one that is
        before = replies(page).count()
        box.fill(text)
        box.evaluate(
            """(box) => {
              box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
              document.querySelector(".at-stop").click();
            }"""
        )
        expect(replies(page)).to_have_count(before + 1)
        expect(finished(replies(page).last)).to_contain_text("You stopped this reply.")
        stored = server.newest_reply()
        assert stored.finish_reason == "cancelled"
        assert len(stored.content) < 200
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(send_button(page)).to_be_visible()


@pytest.mark.usefixtures("long_replies")
def test_a_new_chat_stays_empty_while_the_one_before_is_written(page: Page, server: Served) -> None:
    say(page, LONG)
    begun(page)
    left = server.newest_reply()
    page.get_by_role("button", name="New chat").click()
    empty = page.get_by_role("heading", name="What can I do for you?")
    expect(empty).to_be_visible()
    expect(send_button(page)).to_be_visible()
    deadline = time.monotonic() + 20
    while (now := server.store.message(server.user_id, left.id)).content == left.content:
        assert time.monotonic() < deadline, "the reply that was left does not go on"
        page.wait_for_timeout(100)
    assert now.finish_reason is None
    expect(replies(page)).to_have_count(0)  # although its states reach the page all the time
    assert page.evaluate("location.hash") == ""

    server.store.update_settings(server.user_id, {"max_tokens": MAX_TOKENS})
    reply = ask(page, "Name a colour.")
    stored = server.store.message(server.user_id, reply.get_attribute("data-id") or "")
    assert stored.conversation_id != left.conversation_id
    assert len(server.store.messages(server.user_id, left.conversation_id)) == 2


@pytest.mark.usefixtures("long_replies")
def test_a_chat_one_comes_back_to_goes_on_and_can_be_written_in_again(page: Page, server: Served) -> None:
    first = server.store.create_conversation(server.user_id, "First of two")
    second = server.store.create_conversation(server.user_id, "Second of two")
    page.reload()
    side = page.get_by_role("navigation", name="Conversations")
    side.get_by_role("button", name="First of two", exact=True).click()
    expect(page).to_have_url(re.compile(first.id))
    say(page, LONG)
    begun(page)
    side.get_by_role("button", name="Second of two", exact=True).click()
    expect(page).to_have_url(re.compile(second.id))
    expect(replies(page)).to_have_count(0)
    expect(send_button(page)).to_be_visible()
    side.get_by_role("button", name="First of two", exact=True).click()
    begun(page)
    shown = page.locator(".at-writing .at-reply-text").inner_text()
    expect(page.locator(".at-writing .at-reply-text")).not_to_have_text(shown)  # it still grows
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("What comes next")
    stop_button(page).click()
    finished(replies(page).last)
    expect(send_button(page)).to_be_enabled()
    expect(box).to_have_value("What comes next")  # what was begun meanwhile is kept


def test_a_reply_written_for_somewhere_else_is_followed_to_its_end(page: Page, server: Served) -> None:
    conversation = server.store.create_conversation(server.user_id, "Elsewhere")
    asked = server.store.add_message(server.user_id, conversation.id, None, "user", "Name a tree.")
    reply = server.store.begin_reply(server.user_id, conversation.id, asked.id, 0, {})
    page.goto(f"{server.address}/#{conversation.id}")
    page.reload()
    expect(stop_button(page)).to_be_visible()
    server.store.finish_reply(reply.id, "An oak.", "stop", 1, 1)
    expect(finished(replies(page).last)).to_contain_text("An oak.")
    expect(send_button(page)).to_be_visible()


def test_a_server_that_has_gone_does_not_leave_the_composer_waiting(page: Page) -> None:
    ask(page, "Name a cloud.")
    page.context.set_offline(True)
    say(page, "Name a wind.")
    expect(page.get_by_text("Attune does not answer. Is it still running?")).to_be_visible()
    expect(send_button(page)).to_be_visible()
    expect(page.get_by_role("textbox", name="Message", exact=True)).to_have_value("Name a wind.")


def test_a_reply_stopped_before_its_first_word_can_be_written_anew(page: Page, server: Served) -> None:
    conversation = server.store.create_conversation(server.user_id, "Empty")
    asked = server.store.add_message(server.user_id, conversation.id, None, "user", "Name a metal.")
    empty = server.store.add_message(
        server.user_id,
        conversation.id,
        asked.id,
        "assistant",
        "",
        finish_reason="cancelled",
        adapter_version=0,
    )
    page.goto(f"{server.address}/#{conversation.id}")
    page.reload()
    reply = replies(page).first
    expect(reply).to_contain_text("You stopped this reply.")
    for name in ("Good reply", "Bad reply", "Comment", "Edit reply"):
        expect(reply.get_by_role("button", name=name, exact=True)).to_have_count(0)
    expect(reply.get_by_role("radiogroup", name="Stars")).to_have_count(0)
    reply.get_by_role("button", name="Regenerate").click()
    expect(replies(page).first).not_to_have_attribute("data-id", empty.id)
    again = finished(replies(page).first)
    expect(again.get_by_role("group", name="Variants")).to_contain_text("2/2")
    expect(again.get_by_role("button", name="Good reply")).to_be_visible()


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

    def stored() -> bool:
        return server.store.conversation(server.user_id, conversation.id).title == "Big animals"

    wait_for(stored, 10, "the new title in the database")  # the page shows it before

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


@pytest.fixture
def many_conversations(server: Served) -> Iterator[str]:
    """More than the list shows; the title of the oldest."""
    store, user = server.store, server.user_id
    made = [store.create_conversation(user, title) for title in ("Oldest of all", *(f"No. {i}" for i in range(230)))]
    yield made[0].title
    for conversation in made:
        store.delete_conversation(user, conversation.id)


def test_an_old_conversation_is_reached_at_the_end_of_the_list(
    page: Page, server: Served, many_conversations: str
) -> None:
    page.reload()
    side = page.get_by_role("navigation", name="Conversations")
    entries = side.get_by_role("button", name=re.compile(r"^(No\. \d+|Oldest of all)$"))
    oldest = side.get_by_role("button", name=many_conversations, exact=True)
    more = side.get_by_role("button", name="Show more", exact=True)
    expect(entries).to_have_count(200)
    expect(oldest).to_have_count(0)
    more.focus()
    page.keyboard.press("Enter")
    expect(oldest).to_have_count(1)
    expect(entries.nth(200)).to_be_focused()  # where one reads on
    # What comes along with something else does not make it shorter again.
    oldest.hover()
    side.get_by_role("button", name=f"Rename {many_conversations}").click()
    side.get_by_role("textbox", name="New title").fill("Oldest by far")
    side.get_by_role("textbox", name="New title").press("Enter")
    renamed = side.get_by_role("button", name="Oldest by far", exact=True)
    expect(renamed).to_be_visible()
    ask(page, "Name a metal.")
    expect(side.get_by_role("button", name="Name a metal.", exact=True).first).to_be_visible()
    expect(renamed).to_have_count(1)
    renamed.hover()
    side.get_by_role("button", name="Delete Oldest by far").click()
    expect(page.get_by_text("“Oldest by far” deleted.")).to_be_visible()
    expect(renamed).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(renamed).to_have_count(1)


def test_an_old_conversation_is_found_and_stays_found(page: Page, server: Served, many_conversations: str) -> None:
    page.reload()
    side = page.get_by_role("navigation", name="Conversations")
    search = side.get_by_role("searchbox")
    oldest = side.get_by_role("button", name=many_conversations, exact=True)
    search.fill("oldest OF")
    expect(side.get_by_role("listitem")).to_have_count(1)
    ask(page, "Name a gem.")
    expect(side.get_by_role("listitem")).to_have_count(1)
    oldest.hover()
    side.get_by_role("button", name=f"Delete {many_conversations}").click()
    expect(page.get_by_text(f"“{many_conversations}” deleted.")).to_be_visible()
    expect(side.get_by_text("Nothing found.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(oldest).to_be_visible()


@pytest.mark.usefixtures("long_replies")
def test_deleting_a_conversation_stops_what_is_written_in_it(page: Page, server: Served) -> None:
    server.store.create_conversation(server.user_id, "Short-lived")
    page.reload()
    side = page.get_by_role("navigation", name="Conversations")
    side.get_by_role("button", name="Short-lived", exact=True).click()
    expect(side.get_by_role("button", name="Short-lived", exact=True)).to_have_attribute(
        "aria-current", "page"
    )
    say(page, LONG)
    begun(page)
    side.get_by_role("button", name="Short-lived", exact=True).hover()
    side.get_by_role("button", name="Delete Short-lived").click()
    expect(page.get_by_text("“Short-lived” deleted.")).to_be_visible()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    expect(send_button(page)).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(finished(replies(page).last)).to_contain_text("You stopped this reply.")


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
