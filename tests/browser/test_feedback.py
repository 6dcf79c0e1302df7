"""Every kind of feedback: shown as saved, and then in the database by message id."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from assistant.page.offers import is_offered
from data.types import Message
from learner.modeling.base import BaseModel
from learner.reward.design import build_design
from learner.reward.model import fit
from tests.browser.conftest import MAX_TOKENS, PHONE, Served, ask, finished, replies, saved
from tests.browser.test_profile import open_profile
from tests.publishing import publish_an_adapter


def test_thumbs_exclude_one_another_and_a_second_click_takes_back(page: Page, server: Served) -> None:
    reply = ask(page, "Name a bird.")
    id_ = reply.get_attribute("data-id") or ""
    up, down = (reply.get_by_role("button", name=name) for name in ("Good reply", "Bad reply"))
    up.click()
    saved(reply)
    assert server.feedback(id_)["thumb"].value == "up"
    down.click()
    expect(up).to_have_attribute("aria-pressed", "false")
    saved(reply)
    assert server.feedback(id_)["thumb"].value == "down"
    down.click()
    expect(reply.get_by_test_id("save-state")).to_contain_text("Taken back")
    assert "thumb" not in server.feedback(id_)


def test_stars_by_mouse_and_keyboard_beside_a_thumb(page: Page, server: Served) -> None:
    ask(page, "Name a river.")
    reply = ask(page, "Name a mountain.")
    id_ = reply.get_attribute("data-id") or ""
    reply.get_by_role("button", name="Good reply").click()
    reply.get_by_role("radio", name="4 stars").click()
    saved(reply)
    standing = server.feedback(id_)
    assert (standing["stars"].value, standing["thumb"].value) == (4, "up")
    expect(reply.get_by_role("radio", name="4 stars")).to_have_attribute("aria-checked", "true")
    page.keyboard.press("ArrowLeft")
    expect(reply.get_by_role("radio", name="3 stars")).to_be_focused()
    saved(reply)
    assert server.feedback(id_)["stars"].value == 3
    other = replies(page).first.get_attribute("data-id") or ""
    assert server.feedback(other) == {}, "the rating went to another message too"


def test_rapid_clicks_leave_the_last_one(page: Page, server: Served) -> None:
    reply = ask(page, "Name a fish.")
    for stars in (1, 5, 2, 4):
        reply.get_by_role("radio", name=f"{stars} star").click()
    saved(reply)
    assert server.feedback(reply.get_attribute("data-id") or "")["stars"].value == 4


def test_a_comment(page: Page, server: Served) -> None:
    reply = ask(page, "Name a metal.")
    reply.get_by_role("button", name="Comment", exact=True).click()
    reply.get_by_role("textbox", name="Your comment").fill("Too long, and <b>no</b> example.")
    reply.get_by_role("button", name="Save comment").click()
    saved(reply)
    assert (
        server.feedback(reply.get_attribute("data-id") or "")["comment"].value
        == "Too long, and <b>no</b> example."
    )


def test_an_edit_is_shown_and_the_original_kept(page: Page, server: Served) -> None:
    reply = ask(page, "Name a planet.")
    id_ = reply.get_attribute("data-id") or ""
    original = server.store.message(server.user_id, id_).content
    reply.get_by_role("button", name="Edit reply").click()
    reply.get_by_role("textbox", name="Edit the reply").fill("**Saturn.**")
    reply.get_by_role("button", name="Save edit").click()
    expect(reply.locator(".at-reply-text").first).to_have_text("Saturn.")
    saved(reply)
    assert server.feedback(id_)["edit"].value == "**Saturn.**"
    assert server.store.message(server.user_id, id_).content == original
    reply.get_by_text("Show original").click()
    expect(reply.locator(".at-original")).to_contain_text(original.split()[0])
    page.reload()
    expect(replies(page).last.locator(".at-reply-text").first).to_have_text("Saturn.")


def test_two_answers_are_compared(page: Page, server: Served) -> None:
    page.get_by_role("button", name="Compare two answers").click()
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("Name two colours.")
    box.press("Enter")
    page.get_by_role("button", name="B is better").click()
    expect(replies(page)).to_have_count(1)
    reply = finished(replies(page).first)
    expect(reply.get_by_role("group", name="Variants")).to_contain_text("2/2")
    ranking = [e for e in server.store.standing_feedback(server.user_id) if e.kind == "ranking"][-1]
    comparison = server.store.comparison(server.user_id, ranking.comparison_id or "")
    shown_second, shown_first = comparison.reply_ids[1], comparison.reply_ids[0]
    assert ranking.value["order"] == [[shown_second], [shown_first]]
    expect(reply).to_have_attribute("data-id", shown_second)


def test_what_could_not_be_saved_says_so_and_can_be_tried_again(page: Page, server: Served) -> None:
    reply = ask(page, "Name a flower.")
    id_ = reply.get_attribute("data-id") or ""

    def refuse(route: Route) -> None:
        route.fulfill(status=500, json={"error": {"message": "The disk is full."}})

    page.route("**/v1/feedback", refuse)
    reply.get_by_role("radio", name="5 stars").click()
    state = reply.get_by_test_id("save-state")
    expect(state).to_have_attribute("data-state", "failed")
    expect(state).to_contain_text("The disk is full.")
    expect(reply.get_by_role("radio", name="5 stars")).to_have_attribute("aria-checked", "false")
    assert server.feedback(id_) == {}
    page.unroute("**/v1/feedback")
    state.get_by_role("button", name="Try again").click()
    saved(reply)
    assert server.feedback(id_)["stars"].value == 5


def test_saved_is_never_shown_before_the_server_has_answered(page: Page, server: Served) -> None:
    reply = ask(page, "Name a tool.")
    held: list[Route] = []
    page.route("**/v1/feedback", lambda route: held.append(route))
    reply.get_by_role("button", name="Good reply").click()
    state = reply.get_by_test_id("save-state")
    expect(state).to_have_attribute("data-state", "saving")
    assert server.feedback(reply.get_attribute("data-id") or "") == {}
    held[0].continue_()
    saved(reply)
    assert "thumb" in server.feedback(reply.get_attribute("data-id") or "")


@pytest.mark.parametrize("kind", ["thumb", "comment"])
def test_ratings_are_listed_in_the_profile_and_can_be_taken_back(
    page: Page, server: Served, kind: str
) -> None:
    reply = ask(page, "Name a country.")
    event = server.store.add_feedback(
        server.user_id, kind, "up" if kind == "thumb" else "fine", message_id=reply.get_attribute("data-id")
    )  # type: ignore[arg-type]
    open_profile(page, "Ratings")
    row = page.locator(f'[data-feedback="{event.id}"]')
    expect(row).to_contain_text("Waiting for the next update.")
    row.get_by_role("button", name="Take back").click()
    expect(row).to_have_count(0)
    assert server.store.feedback_event(server.user_id, event.id).retracted_by is not None


def test_the_first_rating_says_what_will_happen_with_it_and_when(page: Page, server: Served) -> None:
    ask(page, "Name a dog.").get_by_role("button", name="Good reply").click()
    state = replies(page).last.get_by_test_id("save-state")
    if server.store.lease_holder() is None:  # no learner runs beside the tests
        expect(state).to_have_text("Saved. The learner is not running, so it waits until it does.")
    assert server.store.acquire_lease("a learner", 60)
    try:
        page.reload()
        expect(page.get_by_role("status", name="Learning status")).to_contain_text("ratings until I learn")
        left = 20 - server.store.new_feedback_count(server.user_id) - 1
        replies(page).last.get_by_role("radio", name="4 stars").click()
        expect(state).to_contain_text("proves better for you goes live. Profile shows it all.")
        if left > 0:
            expect(state).to_contain_text(
                f"Saved. After {left} more and 5 quiet minutes I learn from them by myself"
            )
        page.set_viewport_size(PHONE)  # there the sentence is longer than a line: the check mark stays beside it
        tick, words = state.locator(".at-icon").bounding_box(), state.locator("span").bounding_box()
        assert tick and words and words["height"] > 30
        assert tick["x"] + tick["width"] <= words["x"] and tick["y"] < words["y"] + 20
        replies(page).last.get_by_role("radio", name="5 stars").click()
        expect(state).to_have_text("Saved")
    finally:
        server.store.release_lease("a learner")


def test_an_unjudged_comparison_is_there_again_after_a_reload(page: Page, server: Served) -> None:
    page.get_by_role("button", name="Compare two answers").click()
    box = page.get_by_role("textbox", name="Message", exact=True)
    box.fill("Name two fruits.")
    box.press("Enter")
    expect(page.get_by_role("button", name="A is better")).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Answer B")).to_be_visible()
    expect(replies(page)).to_have_count(0)
    page.get_by_role("button", name="Tie").click()
    expect(replies(page)).to_have_count(1)
    ranking = [e for e in server.store.standing_feedback(server.user_id) if e.kind == "ranking"][-1]
    comparison = server.store.comparison(server.user_id, ranking.comparison_id or "")
    assert ranking.value["order"] == [list(comparison.reply_ids)]
    page.reload()
    expect(replies(page)).to_have_count(1)  # judged is judged
    expect(page.get_by_role("button", name="Tie")).to_have_count(0)


def test_a_comparison_is_offered_now_and_then_and_can_be_refused_for_good(page: Page, server: Served) -> None:
    server.store.update_settings(server.user_id, {"offer_comparisons": True, "max_tokens": 2})
    offer = page.get_by_role("region", name="An offer")
    try:
        _until_offered(page)
        offered = replies(page).last.get_attribute("data-id") or ""
        assert is_offered(
            server.store.message(server.user_id, offered), server.store.settings(server.user_id)
        )
        offer.get_by_role("button", name="Not now").click()
        expect(offer).to_have_count(0)
        _until_offered(page)
        offer.get_by_role("button", name="Compare two answers to this").click()
        expect(page.get_by_role("button", name="B is better")).to_be_visible()
        page.get_by_role("button", name="A is better").click()
        expect(replies(page)).to_have_count(1)
        ranking = [e for e in server.store.standing_feedback(server.user_id) if e.kind == "ranking"][-1]
        comparison = server.store.comparison(server.user_id, ranking.comparison_id or "")
        assert comparison.reply_ids[0] == ranking.value["order"][0][0]
        _until_offered(page)
        offer.get_by_role("button", name="Do not offer this").click()
        expect(page.get_by_text("I will not offer it again")).to_be_visible()
        assert server.store.settings(server.user_id)["offer_comparisons"] is False
    finally:
        server.store.update_settings(server.user_id, {"offer_comparisons": False, "max_tokens": MAX_TOKENS})


def test_where_something_is_learnt_the_offer_compares_the_two_that_say_most(
    page: Page, server: Served, base_model: BaseModel
) -> None:
    number = publish_an_adapter(server.home, server.store, server.user_id, base_model)
    folder = server.home.reward_dir(server.user_id, number)
    folder.mkdir(parents=True)
    fit(build_design([], {})).save(folder)
    server.store.publish(server.user_id, number, "rollback")  # chosen by hand: not compared with the one before it
    server.store.update_settings(server.user_id, {"offer_comparisons": True, "max_tokens": 12, "temperature": 1.3})
    try:
        _until_offered(page)
        offered = replies(page).last.get_attribute("data-id") or ""
        before = {m.id for m in _siblings(server, offered)}
        page.get_by_role("button", name="Compare two answers to this").click()
        expect(page.get_by_text("Of all three you will see the two that tell me most")).to_be_visible()
        expect(page.get_by_role("region", name="Answer A")).to_have_count(0)
        expect(page.get_by_role("button", name="A is better")).to_be_visible()
        new = {m.id for m in _siblings(server, offered)} - before
        comparison = server.store.unjudged_comparison(server.user_id, server.newest_reply().conversation_id)
        assert comparison is not None and len(new) == 2 and set(comparison.reply_ids) <= {offered, *new}
        page.reload()  # whichever of the three it is about, it waits to be judged
        expect(page.get_by_role("button", name="B is better")).to_be_visible()
        for letter, reply_id in zip("AB", comparison.reply_ids, strict=True):
            words = server.store.message(server.user_id, reply_id).content.split()
            expect(page.get_by_role("region", name=f"Answer {letter}")).to_contain_text(words[0].strip("*#\"`"))
        page.get_by_role("button", name="B is better").click()
        expect(replies(page)).to_have_count(1)
        ranking = [e for e in server.store.standing_feedback(server.user_id) if e.kind == "ranking"][-1]
        assert ranking.comparison_id == comparison.id
        assert ranking.value["order"] == [[comparison.reply_ids[1]], [comparison.reply_ids[0]]]
    finally:
        usual = {"offer_comparisons": False, "max_tokens": MAX_TOKENS, "temperature": 0.7}
        server.store.update_settings(server.user_id, usual)
        server.store.publish(server.user_id, 0, "rollback")


def _siblings(server: Served, reply_id: str) -> list[Message]:
    reply = server.store.message(server.user_id, reply_id)
    messages = server.store.messages(server.user_id, reply.conversation_id)
    return [m for m in messages if m.parent_id == reply.parent_id]


def _until_offered(page: Page) -> None:
    """Write replies anew until one comes with an offer (about one in six does)."""
    if replies(page).count() == 0:
        ask(page, "Name a number.")
    for _ in range(60):
        if page.get_by_role("region", name="An offer").count():
            return
        before = replies(page).last.get_attribute("data-id") or ""
        replies(page).last.get_by_role("button", name="Regenerate").click()
        expect(replies(page).last).not_to_have_attribute("data-id", before)
        finished(replies(page).last)
        expect(page.get_by_role("button", name="Send", exact=True)).to_be_visible()
    raise AssertionError("no comparison was offered in 60 replies")


def test_a_conversation_goes_on_from_an_edited_reply(page: Page, server: Served) -> None:
    reply = ask(page, "Name a writer.")
    id_ = reply.get_attribute("data-id") or ""
    reply.get_by_role("button", name="Edit reply").click()
    reply.get_by_role("textbox", name="Edit the reply").fill("Virginia Woolf.")
    reply.get_by_role("button", name="Save edit").click()
    saved(reply)
    after = server.store.message(server.user_id, ask(page, "Who is that?").get_attribute("data-id") or "")
    assert after.sampling["edited"] == {"1": "Virginia Woolf."}
    assert server.store.message(server.user_id, id_).content != "Virginia Woolf."
