"""Profile and Settings: versions, taking the profile along, starting anew, what is set."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Page, expect

from assistant.page.status import minutes_left
from data.types import LearningRun
from learner.modeling.base import BaseModel
from tests.browser.conftest import Served, ask, saved
from tests.publishing import publish_an_adapter

LEARNT = {
    "feature": "log_length", "text": "prefers shorter replies, 97 % sure, from 12 ratings", "weight": -0.8,
    "probability": 0.97, "ratings": 12, "feedback_ids": [],
}  # fmt: skip
REPORT = {  # as learner/update.py writes it
    "feedback": {"train": 34, "held_out": 8, "left_out": 2},
    "evidence": {"learnable": True, "p_value": 0.001, "observations": 42},
    "warm_start": {"steps": 12, "demonstrations": 9},
    "ppo": {
        "iterations": 5,
        "first": {"objective/scores": 0.1},
        "last": {"objective/scores": 0.9},
        "share_kept": 1.0,
    },
    "base": {"median_words": 75.5},
    "policy": {"median_words": 32.0, "win_rate": 0.82, "win_rate_lower": 0.67, "win_rate_upper": 0.93},
    "seconds": 750.0,
}


def open_profile(page: Page, section: str = "Overview") -> None:
    page.get_by_role("tab", name="Profile", exact=True).click()
    page.get_by_role("tab", name=section, exact=True).click()


def test_counts_and_learn_now(page: Page, server: Served) -> None:
    ask(page, "Name a number.").get_by_role("radio", name="2 stars").click()
    open_profile(page)
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
    open_profile(page)
    expect(page.locator('[data-quality="contradicted"]')).to_contain_text("says the opposite")
    open_profile(page, "Ratings")
    expect(page.locator(f'[data-feedback="{thumb.id}"]')).to_contain_text(
        "Left out: a later one says the opposite"
    )


def test_older_ratings_are_shown_on_demand_and_can_be_taken_back(page: Page, server: Served) -> None:
    store, user = server.store, server.user_id
    conversation = store.create_conversation(user, "Much rated").id
    said = [store.add_message(user, conversation, None, "assistant", f"No. {i} it is.").id for i in range(60)]
    rated = [store.add_feedback(user, "thumb", "up", message_id=reply).id for reply in said]
    try:
        open_profile(page, "Ratings")
        rows = page.get_by_role("region", name="What happened to my ratings").get_by_role("listitem")
        oldest = page.locator(f'[data-feedback="{rated[0]}"]')
        expect(rows).to_have_count(50)
        expect(rows.first).to_have_attribute("data-feedback", rated[-1])
        more = page.get_by_role("tabpanel", name="Ratings").get_by_role("button", name="Show more", exact=True)
        more.focus()
        page.keyboard.press("Enter")
        expect(oldest).to_contain_text("No. 0 it is.")
        expect(rows.nth(50)).to_be_focused()  # where one reads on
        oldest.get_by_role("button", name="Take back: Thumb up").click()
        expect(oldest).to_have_count(0)
        assert store.feedback_event(user, rated[0]).retracted_by is not None
        expect(page.locator(f'[data-feedback="{rated[1]}"]')).to_have_count(1)  # still there, beyond the newest
    finally:
        store.delete_conversation(user, conversation)


def test_pause_and_resume(page: Page, server: Served) -> None:
    open_profile(page)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert server.store.settings(server.user_id)["paused"] is True
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert server.store.settings(server.user_id)["paused"] is False


def test_the_export_is_a_whole_profile(page: Page, tmp_path: Path) -> None:
    ask(page, "Name a shape.")
    open_profile(page, "Your data")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export profile").click()
    path = tmp_path / "profile.zip"
    download.value.save_as(path)
    assert {"profile.json", "feedback.jsonl", "conversations.jsonl"} <= set(zipfile.ZipFile(path).namelist())


def test_a_broken_import_changes_nothing_and_says_why(page: Page, server: Served, tmp_path: Path) -> None:
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"not a zip")
    before = len(server.store.list_conversations(server.user_id, limit=200))
    open_profile(page, "Your data")
    page.get_by_label("Profile file to import").set_input_files(broken)
    expect(page.get_by_role("alert")).to_be_visible()
    assert len(server.store.list_conversations(server.user_id, limit=200)) == before


def test_a_reset_needs_the_word_typed_and_can_be_undone(page: Page, server: Served) -> None:
    ask(page, "Name a season.").get_by_role("button", name="Good reply").click()
    open_profile(page)
    expect(page.locator('[data-kind="thumb"] strong')).not_to_have_text("0")
    open_profile(page, "Your data")
    page.get_by_text("Reset", exact=True).first.click()
    expect(page.get_by_text("Ratings and conversations stay")).to_be_visible()
    page.get_by_label("What to reset").select_option("feedback")
    expect(page.get_by_text("All conversations go")).to_be_visible()
    button = page.get_by_role("button", name="Reset", exact=True)
    expect(button).to_be_disabled()
    page.get_by_label("Type reset to confirm").fill("reset")
    button.click()
    open_profile(page)
    expect(page.locator('[data-kind="thumb"] strong')).to_have_text("0")
    assert server.store.feedback_counts(server.user_id)["thumb"] == 0
    assert server.store.list_conversations(server.user_id) == []
    expect(page.get_by_text("No conversations yet.")).to_be_visible()
    page.get_by_role("tab", name="Chat").click()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    open_profile(page)
    open_profile(page, "Your data")
    page.get_by_role("button", name="Undo the last reset").click()
    open_profile(page)
    expect(page.locator('[data-kind="thumb"] strong')).not_to_have_text("0")
    expect(page.get_by_role("button", name="Name a season.", exact=True).first).to_be_visible()


def test_a_new_version_is_announced_and_can_be_left_again(
    page: Page, server: Served, base_model: BaseModel
) -> None:
    ask(page, "Name a star.")
    number = publish_an_adapter(
        server.home, server.store, server.user_id, base_model, {"learnt": [LEARNT], **REPORT}
    )
    try:
        line = page.get_by_text(f"Version {number} is live: it writes from the next reply on.")
        expect(line).to_be_visible()
        written = ask(page, "Name another star.").get_attribute("data-id") or ""
        assert server.store.message(server.user_id, written).adapter_version == number
        expect(line).to_be_visible()  # what is written below it leaves it where it was
        open_profile(page)
        expect(page.get_by_text("prefers shorter replies")).to_have_count(1)
        expect(page.get_by_text("97 % sure, from 12 ratings")).to_have_count(1)
        open_profile(page, "Versions")
        page.get_by_role("button", name="Use the base").click()
        expect(page.locator('[data-version="0"]')).to_contain_text("live")
        assert server.store.live_version(server.user_id) == 0
        assert server.store.publications(server.user_id)[-1].reason == "rollback"
        open_profile(page)
        expect(
            page.get_by_text(f"The base model answers now, so nothing of this is used. Version {number}")
        ).to_be_visible()
    finally:
        server.store.publish(server.user_id, 0, "rollback")


def test_what_was_learnt_can_be_switched_off_one_by_one(
    page: Page, server: Served, base_model: BaseModel
) -> None:
    other = {**LEARNT, "feature": "emoji", "text": "likes emoji, 91 % sure, from 5 ratings", "weight": 0.6}
    publish_an_adapter(server.home, server.store, server.user_id, base_model, {"learnt": [LEARNT, other]})

    def muted() -> list[str]:
        return list(server.store.settings(server.user_id)["muted"])

    try:
        open_profile(page)
        box = page.get_by_role("checkbox", name="Let this count: prefers shorter replies")
        expect(box).to_be_checked()
        box.uncheck()
        expect(page.get_by_text("Switched off. The next update learns without it.")).to_be_visible()
        expect(page.locator('[data-learnt="log_length"]')).to_contain_text("97 % sure, from 12 ratings: switched off")
        assert muted() == ["log_length"]
        page.reload()
        open_profile(page)
        expect(box).not_to_be_checked()
        expect(page.get_by_role("checkbox", name="Let this count: likes emoji")).to_be_checked()
        # The next version was taught nothing of it; it is still there to be switched on again.
        publish_an_adapter(server.home, server.store, server.user_id, base_model, {"learnt": [other]})
        row = page.locator('[data-learnt="log_length"]')
        expect(row).to_contain_text("Switched off; nothing of it is learnt.")
        box.focus()
        page.keyboard.press("Space")
        expect(page.get_by_text("It counts again from the next update on.")).to_be_visible()
        expect(row).to_have_count(0)
        assert muted() == []
    finally:
        server.store.update_settings(server.user_id, {"muted": []})
        server.store.publish(server.user_id, 0, "rollback")


def test_the_report_of_a_version_is_told_in_plain_words(
    page: Page, server: Served, base_model: BaseModel
) -> None:
    number = publish_an_adapter(
        server.home, server.store, server.user_id, base_model, {"learnt": [LEARNT], **REPORT}
    )
    try:
        open_profile(page, "Versions")
        row = page.locator(f'[data-version="{number}"]')
        row.get_by_text("Report", exact=True).click()
        for line in (
            "It learnt from 34 ratings, kept 8 aside to check itself, and left 2 out.",
            "Then it practised 5 rounds: what you would give its replies went from +0.10 to +0.90",
            "in 82 % of comparisons, surely in at least 67 %.",
            "A usual reply has 32 words now; the base model's has 76.",
            "It took 12.5 minutes.",
        ):
            expect(row.get_by_role("listitem").filter(has_text=line)).to_be_visible()
        expect(row.get_by_text("policy / win rate lower")).to_be_hidden()
        row.get_by_text("All figures").click()
        expect(row.get_by_text("policy / win rate lower")).to_be_visible()
        open_profile(page, "Progress")
        plot = page.get_by_role("img", name=f"Version {number} beats the one before in 82 % of comparisons")
        expect(plot).to_be_visible()
        assert plot.locator("circle").count() >= 1
    finally:
        server.store.publish(server.user_id, 0, "rollback")


def test_an_update_says_what_it_does_and_how_it_ended(page: Page, server: Served) -> None:
    reply = ask(page, "Name a cake.")
    reply.get_by_role("radio", name="5 stars").click()
    saved(reply)
    run = server.store.queue_run(server.user_id, "manual")
    server.store.start_run(run.id, None)
    server.store.report_progress(run.id, "policy optimisation", 0.5)
    status = page.get_by_role("status", name="Learning status")
    expect(status).to_contain_text("Practising, 50 %, about a minute left")
    open_profile(page)
    expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "50")
    for step, (score, kl) in enumerate([(0.0, 0.0), (0.4, 1.0), (0.8, 2.5)]):
        server.store.add_metrics(run.id, step, {"objective/scores": score, "objective/kl": kl})
    reason = "Rejected: it is not shown to be better: by all your feedback it wins 55% of comparisons."
    server.store.finish_run(run.id, "rejected", None, reason, REPORT)
    verdict = page.get_by_test_id("verdict")
    expect(verdict).to_have_text(
        "It did not go live: it is not certain enough that you would like it better."
    )
    told = page.get_by_test_id("last-update").get_by_text("First it imitated 9 of your edits")
    expect(told).to_be_hidden()
    page.get_by_text("What it did").click()
    expect(told).to_be_visible()
    expect(page.get_by_text(f"Exactly: {reason}")).to_be_visible()
    open_profile(page, "Progress")
    expect(
        page.get_by_role("img", name="In its last practice, replies came closer to what you like")
    ).to_be_visible()
    expect(page.get_by_role("img", name="It moved away from the base model")).to_be_visible()
    good = page.locator('[data-plot="ratings"]')
    good.get_by_text("Numbers").click()
    counted = server.store.ratings_by_day(server.user_id, 30)[-1]
    expect(good.locator("tbody tr").last).to_contain_text(str(counted["good"]))


def test_time_left_is_told_from_how_far_a_run_has_come() -> None:
    begun = LearningRun("r", "u", "running", "gate", 0.8, "manual", "", started_at="2026-01-01T10:00:00.000Z")
    ten = datetime(2026, 1, 1, 10, 12, tzinfo=UTC)
    assert minutes_left(begun, ten) == 3  # 12 minutes were four fifths
    assert minutes_left(replace(begun, progress=0.01), ten) is None
    assert minutes_left(replace(begun, started_at=None), ten) is None
