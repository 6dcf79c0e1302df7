"""Profile and Settings: versions, taking the profile along, starting anew, what is set."""

from __future__ import annotations

import zipfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from assistant.auth import hash_password
from learner.modeling.base import BaseModel
from tests.browser.conftest import MAX_TOKENS, Served, ask, saved
from tests.publishing import publish_an_adapter


def test_counts_and_learn_now(page: Page, server: Served) -> None:
    ask(page, "Name a number.").get_by_role("radio", name="2 stars").click()
    page.get_by_role("tab", name="Profile").click()
    counts = server.store.feedback_counts(server.user_id)
    expect(page.locator('[data-kind="stars"] strong')).to_have_text(str(counts["stars"]))
    page.get_by_role("button", name="Learn now").click()
    expect(page.get_by_test_id("learning-words")).to_have_text("Learning starts soon")
    run = server.store.list_runs(server.user_id, limit=1)[0]
    assert (run.state, run.trigger) == ("queued", "manual")
    page.get_by_role("button", name="Cancel", exact=True).last.click()
    expect(page.get_by_role("button", name="Learn now")).to_be_enabled()
    assert server.store.run(server.user_id, run.id).state == "cancelled"


def test_what_contradicts_a_later_rating_is_counted_and_says_so(page: Page, server: Served) -> None:
    reply = ask(page, "Name a lake.")
    reply.get_by_role("button", name="Good reply").click()
    saved(reply)
    reply.get_by_role("radio", name="1 star").click()
    expect(reply.get_by_test_id("save-state")).to_have_text("Saved")
    thumb = server.feedback(reply.get_attribute("data-id") or "")["thumb"]
    assert thumb.seen_s is not None and 0 < thumb.seen_s < 60
    page.get_by_role("tab", name="Profile").click()
    expect(page.locator('[data-quality="contradicted"]')).to_contain_text("says the opposite")
    expect(page.locator(f'[data-feedback="{thumb.id}"]')).to_contain_text("Left out: a later one says the opposite")


def test_pause_and_resume(page: Page, server: Served) -> None:
    page.get_by_role("tab", name="Profile").click()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert server.store.settings(server.user_id)["paused"] is True
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert server.store.settings(server.user_id)["paused"] is False


def test_the_export_is_a_whole_profile(page: Page, tmp_path: Path) -> None:
    ask(page, "Name a shape.")
    page.get_by_role("tab", name="Profile").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export profile").click()
    path = tmp_path / "profile.zip"
    download.value.save_as(path)
    assert {"profile.json", "feedback.jsonl", "conversations.jsonl"} <= set(zipfile.ZipFile(path).namelist())


def test_a_broken_import_changes_nothing_and_says_why(page: Page, server: Served, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"not a zip")
    before = len(server.store.list_conversations(server.user_id, limit=200))
    page.get_by_role("tab", name="Profile").click()
    page.get_by_label("Profile file to import").set_input_files(broken)
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(server.store.list_conversations(server.user_id, limit=200)) == before


def test_a_reset_needs_the_word_typed_and_can_be_undone(page: Page, server: Served) -> None:
    ask(page, "Name a season.").get_by_role("button", name="Good reply").click()
    page.get_by_role("tab", name="Profile").click()
    expect(page.locator('[data-kind="thumb"] strong')).not_to_have_text("0")
    page.get_by_text("Reset", exact=True).first.click()
    expect(page.get_by_text("Ratings and conversations stay")).to_be_visible()
    page.get_by_label("What to reset").select_option("feedback")
    expect(page.get_by_text("All conversations go")).to_be_visible()
    button = page.get_by_role("button", name="Reset", exact=True)
    expect(button).to_be_disabled()
    page.get_by_label("Type reset to confirm").fill("reset")
    button.click()
    expect(page.locator('[data-kind="thumb"] strong')).to_have_text("0")
    assert server.store.feedback_counts(server.user_id)["thumb"] == 0
    assert server.store.list_conversations(server.user_id) == []
    expect(page.get_by_text("No conversations yet.")).to_be_visible()
    page.get_by_role("tab", name="Chat").click()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    page.get_by_role("tab", name="Profile").click()
    page.get_by_role("button", name="Undo the last reset").click()
    expect(page.locator('[data-kind="thumb"] strong')).not_to_have_text("0")
    expect(page.get_by_role("button", name="Name a season.", exact=True).first).to_be_visible()


def test_a_new_version_is_announced_and_can_be_left_again(
    page: Page, server: Served, base_model: BaseModel
) -> None:
    ask(page, "Name a star.")
    learnt = {"text": "prefers shorter replies, 97 % sure, from 12 ratings", "probability": 0.97, "ratings": 12}
    number = publish_an_adapter(server.home, server.store, server.user_id, base_model, {"learnt": [learnt]})
    try:
        line = page.get_by_text(f"Version {number} is live: it writes from the next reply on.")
        expect(line).to_be_visible()
        written = ask(page, "Name another star.").get_attribute("data-id") or ""
        assert server.store.message(server.user_id, written).adapter_version == number
        expect(line).to_be_visible()  # what is written below it leaves it where it was
        page.get_by_role("tab", name="Profile").click()
        expect(page.get_by_text("prefers shorter replies, 97 % sure, from 12 ratings")).to_have_count(1)
        page.get_by_role("button", name="Use the base").click()
        expect(page.locator('[data-version="0"]')).to_contain_text("live")
        assert server.store.live_version(server.user_id) == 0
        assert server.store.publications(server.user_id)[-1].reason == "rollback"
    finally:
        server.store.publish(server.user_id, 0, "rollback")


def open_settings(page: Page) -> None:
    page.get_by_role("tab", name="Settings").click()
    expect(page.get_by_role("spinbutton", name="Reply length")).to_have_value(str(MAX_TOKENS))


def test_settings_are_stored_and_come_back(page: Page, server: Served) -> None:
    open_settings(page)
    prompt = page.get_by_role("textbox", name="System prompt")
    prompt.fill("Answer like a pirate.")
    prompt.blur()
    expect(page.get_by_text("Saved: System prompt")).to_be_visible()
    page.get_by_role("checkbox", name="Learn from my ratings").click()
    expect(page.get_by_text("Saved: Learn from my ratings")).to_be_visible()
    stored = server.store.settings(server.user_id)
    assert (stored["system_prompt"], stored["learning"]) == ("Answer like a pirate.", False)
    page.reload()
    open_settings(page)
    expect(prompt).to_have_value("Answer like a pirate.")
    server.store.update_settings(server.user_id, {"system_prompt": "", "learning": True})


def test_dark_is_kept_from_the_first_paint_on(page: Page) -> None:
    open_settings(page)
    page.get_by_role("radio", name="Dark").check()
    page.wait_for_function("document.body.classList.contains('dark')")
    expect(page.get_by_text("Saved: Colours")).to_be_visible()
    page.reload()
    page.wait_for_function("document.body.classList.contains('dark')")
    open_settings(page)
    expect(page.get_by_role("radio", name="Dark")).to_be_checked()
    page.get_by_role("radio", name="As the system").check()
    page.wait_for_function("!document.body.classList.contains('dark')")
    expect(page.get_by_text("Saved: Colours")).to_be_visible()


def test_colours_chosen_in_another_browser_hold_here_too(page: Page, server: Served) -> None:
    server.store.update_settings(server.user_id, {"theme": "dark"})
    try:
        page.reload()
        page.wait_for_function("document.body.classList.contains('dark')")
    finally:
        server.store.update_settings(server.user_id, {"theme": "auto"})


def sign_in(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill("somebody")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("tab", name="Settings").click()


def test_one_who_has_a_password_can_sign_out_here_and_everywhere(browser: Browser, server: Served) -> None:
    person = server.store.add_user("somebody", hash_password("a long password"))
    contexts = [browser.new_context() for _ in range(2)]
    try:
        here, elsewhere = (context.new_page() for context in contexts)
        sign_in(here, server.address)
        sign_in(elsewhere, server.address)
        here.get_by_role("button", name="Sign out", exact=True).click()
        expect(here.get_by_role("heading", name="Attune")).to_be_visible()
        here.goto(server.address)
        expect(here.get_by_role("button", name="Sign in")).to_be_visible()
        elsewhere.reload()  # this one is still signed in
        elsewhere.get_by_role("tab", name="Settings").click()
        sign_in(here, server.address)
        here.get_by_role("button", name="Sign out everywhere").click()
        expect(here.get_by_role("button", name="Sign in")).to_be_visible()
        elsewhere.goto(server.address)
        expect(elsewhere.get_by_role("button", name="Sign in")).to_be_visible()
    finally:
        for context in contexts:
            context.close()
        server.store.remove_user(person.id)  # an account would ask everybody to sign in


def test_where_nobody_signs_in_nobody_signs_out(page: Page) -> None:
    open_settings(page)
    expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
