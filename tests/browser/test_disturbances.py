"""What happens around a conversation: reloads, restarts, other tabs, other people, impatient hands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from assistant.auth import hash_password
from tests.browser.conftest import (
    MAX_TOKENS,
    Served,
    Watched,
    ask,
    end,
    finished,
    replies,
    saved,
    say,
    serving,
    start,
)  # fmt: skip

LONG = "Tell me a very long story about a dragon and a lighthouse."


@pytest.fixture
def long_replies(server: Served) -> Iterator[None]:
    server.store.update_settings(server.user_id, {"max_tokens": 400})
    yield
    server.store.update_settings(server.user_id, {"max_tokens": MAX_TOKENS})


@pytest.mark.usefixtures("long_replies")
def test_a_reload_in_the_middle_of_a_reply_loses_nothing(page: Page, server: Served) -> None:
    say(page, LONG)
    expect(page.locator(".at-writing .at-reply-text")).to_contain_text(" ")
    expect(page).to_have_url(re.compile("#"))
    before = server.newest_reply()
    page.reload()
    reply = replies(page).last
    expect(reply).to_have_attribute("data-id", before.id)
    finished(reply)
    stored = server.store.message(server.user_id, before.id)
    assert stored.content.strip() and stored.finish_reason is not None
    assert [m.role for m in server.store.messages(server.user_id, before.conversation_id)] == [
        "user",
        "assistant",
    ]
    reply.get_by_role("radio", name="3 stars").click()
    saved(reply)
    assert server.feedback(before.id)["stars"].value == 3


def test_a_restart_of_the_server_under_an_open_page(
    browser: Browser, models_dir: Path, tmp_path: Path
) -> None:
    with serving(models_dir, tmp_path / "home") as served:
        port = int(served.address.rpartition(":")[2])
        # `serving` has started one; it is ended and another takes its port.
        end(served.process)
        first, _ = start(served.home.root, port)
        second = None
        context = browser.new_context()
        try:
            page = context.new_page()
            page.goto(served.address)
            reply = ask(page, "Name a river.")
            end(first)
            reply.get_by_role("radio", name="4 stars").click()
            expect(reply.get_by_test_id("save-state")).to_contain_text("Attune does not answer")
            second, _ = start(served.home.root, port)
            reply = replies(page).last
            reply.get_by_role("radio", name="5 stars").click()
            saved(reply)
            assert served.feedback(reply.get_attribute("data-id") or "")["stars"].value == 5
            ask(page, "Name a lake.")
            conversation = served.store.list_conversations(served.user_id)[0]
            asked = [
                m.content for m in served.store.messages(served.user_id, conversation.id) if m.role == "user"
            ]
            assert asked == ["Name a river.", "Name a lake."]
        finally:
            context.close()
            end(first)
            if second is not None:
                end(second)


def test_two_people_in_two_browsers_see_their_own_alone(
    browser: Browser, models_dir: Path, tmp_path: Path
) -> None:
    with serving(models_dir, tmp_path / "home") as served:
        people = [served.store.add_user(name, hash_password("a long password")) for name in ("ann", "bob")]
        for person in people:
            served.store.update_settings(person.id, {"max_tokens": MAX_TOKENS, "offer_comparisons": False})
        contexts = [browser.new_context() for _ in people]
        try:
            pages = []
            for context, person in zip(contexts, people, strict=True):
                Watched().watch(context)
                page = context.new_page()
                page.goto(served.address)
                page.get_by_label("Name").fill(person.name)
                page.get_by_label("Password").fill("a long password")
                page.get_by_role("button", name="Sign in").click()
                pages.append(page)
            for page, person in zip(pages, people, strict=True):  # both at once: neither waits for the other
                say(page, f"I am {person.name}; name a colour.")
            for page, person, stars in zip(pages, people, (1, 5), strict=True):
                reply = finished(replies(page).last)
                reply.get_by_role("radio", name=f"{stars} star").click()
                saved(reply)
                side = page.get_by_role("navigation", name="Conversations").get_by_role("listitem")
                expect(side).to_have_count(1)
                expect(side).to_contain_text(f"I am {person.name}")
                standing = served.store.standing_feedback(person.id)
                assert [(event.kind, event.value) for event in standing] == [("stars", stars)]
                assert standing[0].message_id == reply.get_attribute("data-id")
            foreign = served.store.list_conversations(people[0].id)[0]
            pages[1].goto(f"{served.address}/#{foreign.id}")
            pages[1].reload()
            expect(pages[1].get_by_role("heading", name="What can I do for you?")).to_be_visible()
        finally:
            for context in contexts:
                context.close()


@pytest.mark.usefixtures("long_replies")
def test_a_new_chat_is_in_the_list_from_its_first_word_on(page: Page) -> None:
    say(page, "List me at once, and tell a long story.")
    expect(page.locator(".at-writing .at-reply-text")).to_contain_text(" ")
    side = page.get_by_role("navigation", name="Conversations")
    expect(
        side.get_by_role("button", name="List me at once, and tell a long story.", exact=True)
    ).to_be_visible()
    expect(page.locator(".at-writing")).to_have_count(1)
    page.get_by_role("button", name="Stop", exact=True).click()


def test_what_happens_in_one_tab_is_seen_in_the_other(page: Page, server: Served) -> None:
    ask(page, "Name a bridge.")
    other = page.context.new_page()
    other.goto(page.url)
    expect(replies(other)).to_have_count(1)
    second = ask(page, "Name another bridge.").get_attribute("data-id") or ""
    expect(replies(other)).to_have_count(2)
    expect(replies(other).last).to_have_attribute("data-id", second)
    rated = replies(other).last
    rated.get_by_role("button", name="Good reply").click()
    saved(rated)
    expect(replies(page).last.get_by_role("button", name="Good reply")).to_have_attribute(
        "aria-pressed", "true"
    )
    assert server.feedback(second)["thumb"].value == "up"


def test_double_clicks_do_everything_once(page: Page, server: Served) -> None:
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("Name a dance.")
    page.get_by_role("button", name="Send", exact=True).dblclick()
    reply = finished(replies(page).last)
    conversation = server.store.list_conversations(server.user_id, limit=1)[0]
    assert len(server.store.messages(server.user_id, conversation.id)) == 2
    reply.get_by_role("button", name="Regenerate").dblclick()
    again = finished(replies(page).last)
    expect(again.get_by_role("group", name="Variants")).to_contain_text("2/2")
    expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    assert len(server.store.messages(server.user_id, conversation.id)) == 3
    page.get_by_role("button", name="New chat").dblclick()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    assert server.store.list_conversations(server.user_id, limit=1)[0].id == conversation.id
    events = len(server.store.list_feedback(server.user_id, limit=1000))
    page.get_by_role("navigation", name="Conversations").get_by_role(
        "button", name="Name a dance.", exact=True
    ).first.click()
    reply = finished(replies(page).last)
    reply.get_by_role("button", name="Good reply").dblclick()  # given and taken back: nothing stands
    expect(reply.get_by_test_id("save-state")).to_contain_text("Taken back")
    assert server.feedback(reply.get_attribute("data-id") or "") == {}
    assert len(server.store.list_feedback(server.user_id, limit=1000)) == events + 1
