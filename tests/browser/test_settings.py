"""Settings: what is set is stored and holds, and what is shown is what is stored."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Page, expect

from assistant.auth import check_password, hash_password, secret_hash
from data.types import REWARD_KINDS
from tests.browser.axe import violations
from tests.browser.conftest import MAX_TOKENS, Served, ask


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


def test_a_refused_setting_is_named_as_the_page_names_it_and_shows_what_is_stored(page: Page, server: Served) -> None:
    open_settings(page)
    state = page.get_by_test_id("settings-saved")
    length = page.get_by_role("spinbutton", name="Reply length")
    for typed, why in (
        ("99999", "Not saved: Reply length must be a whole number from 1 to 8192, not 99999."),
        ("", "Not saved: Reply length needs a number."),
    ):
        length.fill(typed)
        length.blur()
        expect(state).to_have_text(why)
        expect(length).to_have_value(str(MAX_TOKENS))
        assert server.store.settings(server.user_id)["max_tokens"] == MAX_TOKENS


def test_how_liking_is_worked_out_can_be_chosen(page: Page, server: Served) -> None:
    open_settings(page)
    group = page.get_by_role("group", name="How I work out what you like")
    expect(group.get_by_role("radio")).to_have_count(len(REWARD_KINDS))
    expect(group.get_by_role("radio", name="A careful one")).to_be_checked()
    try:
        group.get_by_role("radio", name="Whichever predicts my ratings best").check()
        expect(page.get_by_text("Saved: How I work out what you like")).to_be_visible()
        assert server.store.settings(server.user_id)["reward_model"] == "auto"
        page.reload()
        open_settings(page)
        expect(group.get_by_role("radio", name="Whichever predicts my ratings best")).to_be_checked()
    finally:
        server.store.update_settings(server.user_id, {"reward_model": "bayesian"})


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


def test_notes_are_added_changed_switched_off_and_deleted(page: Page, server: Served) -> None:
    def stored() -> list[tuple[str, bool]]:
        return [(note["text"], note["enabled"]) for note in server.store.notes(server.user_id)]

    server.store.put_notes(server.user_id, [])
    open_settings(page)
    page.get_by_role("textbox", name="New note").fill("Answer in rhymes <b>always</b>.")
    page.get_by_role("button", name="Add note").click()
    row = page.get_by_role("list", name="Notes").get_by_role("listitem")
    expect(row).to_contain_text("Answer in rhymes <b>always</b>.")
    assert stored() == [("Answer in rhymes <b>always</b>.", True)]
    row.get_by_role("button", name="Edit").click()
    row.get_by_role("textbox", name="Note").fill("Answer in prose.")
    row.get_by_role("button", name="Save").click()
    expect(row).to_contain_text("Answer in prose.")
    row.get_by_role("checkbox").uncheck()
    expect(row.locator(".at-off")).to_be_visible()  # drawn when the server has answered
    assert stored() == [("Answer in prose.", False)]
    page.reload()
    open_settings(page)
    expect(row.get_by_role("checkbox")).not_to_be_checked()
    row.get_by_role("checkbox").check()
    page.get_by_role("tab", name="Chat").click()
    reply = ask(page, "Name a rhyme.")
    kept = server.store.message(server.user_id, reply.get_attribute("data-id") or "").sampling
    assert "- Answer in prose." in kept["system_prompt"]
    page.get_by_role("tab", name="Settings").click()
    row.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("Note deleted.")).to_be_visible()
    assert stored() == []
    page.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text("Answer in prose.")
    assert stored() == [("Answer in prose.", True)]
    server.store.put_notes(server.user_id, [])


def test_an_api_key_is_shown_once_and_can_be_revoked(page: Page, server: Served) -> None:
    open_settings(page)
    page.get_by_role("textbox", name="Name of the key").fill("laptop")
    page.get_by_role("button", name="Make a key").click()
    key = page.get_by_test_id("new-key").inner_text()
    assert key.startswith("attune_")
    owner = server.store.api_key_owner(secret_hash(key))
    assert owner is not None and owner.id == server.user_id
    page.reload()
    open_settings(page)
    expect(page.get_by_role("list", name="API keys")).to_contain_text("laptop")
    expect(page.get_by_text(key)).to_have_count(0)
    page.get_by_role("button", name="Revoke: laptop").click()
    expect(page.get_by_role("list", name="API keys")).to_be_hidden()
    assert server.store.api_key_owner(secret_hash(key)) is None


def test_an_account_can_be_made_and_its_password_changed(page: Page, server: Served) -> None:
    try:
        open_settings(page)
        card = page.get_by_role("region", name="Account")
        page.get_by_text("Make an account").first.click()
        page.get_by_role("textbox", name="Name", exact=True).fill("zoe")
        card.get_by_label("New password").fill("a long password")
        card.get_by_label("The same again").fill("a long password")
        page.get_by_role("button", name="Make an account").click()
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        made = server.store.user(server.user_id)
        assert made.is_admin, "whoever makes the first account adds the others"
        assert made.name == "zoe" and check_password("a long password", made.password_hash or "")
        page.get_by_label("Name").fill("zoe")
        page.get_by_label("Password").fill("a long password")
        page.get_by_role("button", name="Sign in").click()
        open_settings(page)
        page.get_by_text("Change the password").first.click()
        for old in ("wrong", "a long password"):
            card.get_by_label("Present password").fill(old)
            card.get_by_label("New password").fill("another password")
            card.get_by_label("The same again").fill("another password")
            page.get_by_role("button", name="Change the password").click()
            if old == "wrong":
                expect(page.get_by_test_id("settings-saved")).to_contain_text("The present password is wrong")
        expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        assert check_password("another password", server.store.user(server.user_id).password_hash or "")
    finally:
        server.store.rename_user(server.user_id, "me", None)
        server.store.set_admin(server.user_id, False)


def test_an_admin_adds_and_removes_people_and_nobody_else_does(browser: Browser, server: Served) -> None:
    admin = server.store.add_user("somebody", hash_password("a long password"), is_admin=True)
    contexts = [browser.new_context() for _ in range(2)]

    def names() -> set[str]:
        return {user.name for user in server.store.list_users()}

    try:
        here, elsewhere = (context.new_page() for context in contexts)
        sign_in(here, server.address)
        people = here.get_by_role("list", name="People")
        expect(people.get_by_role("listitem").filter(has_text="somebody")).to_contain_text("admin, since")
        here.get_by_text("Add a person").click()

        def add(name: str, password: str) -> None:
            here.get_by_role("textbox", name="Name of the new person").fill(name)
            form = here.locator("form", has=here.get_by_role("textbox", name="Name of the new person"))
            form.get_by_label("New password").fill(password)
            form.get_by_label("The same again").fill(password)
            form.get_by_role("button", name="Add", exact=True).click()

        assert violations(here) == []
        state = here.get_by_test_id("settings-saved")
        add("eve", "short")
        expect(state).to_contain_text("at least 8 characters")
        add("SOMEBODY", "eve's password")
        expect(state).to_contain_text("There is a user SOMEBODY already")
        assert "eve" not in names()
        add("eve", "eve's password")
        expect(state).to_have_text("eve can sign in now.")
        eve = server.store.user_named("eve")
        assert eve is not None and not eve.is_admin and check_password("eve's password", eve.password_hash or "")

        elsewhere.goto(server.address)
        elsewhere.get_by_label("Name").fill("eve")
        elsewhere.get_by_label("Password").fill("eve's password")
        elsewhere.get_by_role("button", name="Sign in").click()
        elsewhere.get_by_role("tab", name="Settings").click()
        expect(elsewhere.get_by_text("Signed in as eve.")).to_be_visible()
        expect(elsewhere.get_by_text("Who may sign in here.")).to_be_hidden()
        server.store.create_conversation(eve.id, "A secret")

        # A page that was opened by an admin who is none any more: the server asks the store, not the page.
        server.store.set_admin(admin.id, False)
        add("mallory", "mallory's password")
        expect(state).to_have_text("Only an admin may add or remove people.")
        assert "mallory" not in names()
        server.store.set_admin(admin.id, True)
        here.reload()
        here.get_by_role("tab", name="Settings").click()

        row = people.locator(f'[data-person="{eve.id}"]')
        row.locator("summary").click()
        button = row.get_by_role("button", name="Remove eve")
        row.get_by_label("Type eve to confirm").fill("ev")
        expect(button).to_be_disabled()
        row.get_by_label("Type eve to confirm").fill("eve")
        button.click()
        expect(state).to_have_text("eve was removed, with everything of theirs.")
        expect(row).to_have_count(0)
        assert "eve" not in names() and server.store.list_conversations(eve.id) == []
        elsewhere.goto(server.address)
        expect(elsewhere.get_by_role("button", name="Sign in")).to_be_visible()
    finally:
        for context in contexts:
            context.close()
        for user in server.store.list_users():
            if user.id != server.user_id:
                server.store.remove_user(user.id)


def test_the_page_speaks_chinese_from_top_to_bottom(page: Page, server: Served) -> None:
    open_settings(page)
    page.get_by_role("textbox", name="System prompt").fill("")
    try:
        page.get_by_role("radio", name="中文").click()  # not check(): the page is drawn anew with it
        expect(page.get_by_role("tab", name="档案")).to_be_visible()
        assert server.store.settings(server.user_id)["language"] == "zh"
        assert page.evaluate("document.documentElement.lang") == "zh-Hans"
        allowed = re.compile(r"^(Attune|English|中文|[AB]|[\W\d_]*|JSON|\S+@\S+|Hostile|.*\?|.*\.)$")
        for tab in ("档案", "设置"):
            page.get_by_role("tab", name=tab).click()
            texts = page.locator(
                ".at-sheet:visible :is(h1, h2, label, legend, button, summary, p.at-small)"
            ).all_inner_texts()
            english = [text for text in texts if text and not re.search(r"[\u4e00-\u9fff]", text)]
            assert [text for text in english if not allowed.match(text)] == []
        length = page.get_by_role("spinbutton", name="回复长度")
        length.fill("99999")
        length.blur()
        refused = "没有保存：“回复长度”必须是1 到 8192 的整数，而不是 99999。"
        expect(page.get_by_test_id("settings-saved")).to_contain_text(refused)
        page.get_by_role("radio", name="English").click()
        expect(page.get_by_role("tab", name="Profile")).to_be_visible()
    finally:
        server.store.update_settings(server.user_id, {"language": "en"})


def test_a_language_chosen_in_another_browser_holds_here_too(page: Page, server: Served) -> None:
    page.get_by_role("textbox", name="Message").fill("Half a thou")
    server.store.update_settings(server.user_id, {"language": "zh"})
    try:
        page.reload()
        expect(page.get_by_role("tab", name="设置")).to_be_visible()
        expect(page.get_by_role("textbox", name="消息")).to_have_value("Half a thou")
    finally:
        server.store.update_settings(server.user_id, {"language": "en"})
