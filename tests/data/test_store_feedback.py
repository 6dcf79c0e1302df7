"""Feedback: what is accepted, what counts, and what a person is told about it."""

from __future__ import annotations

import pytest

from data.errors import Conflict, Invalid, NotFound
from data.evidence import load_evidence, outcomes
from data.quality import WHY, quality_counts
from data.types import FeedbackUse


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("stars", 9), ("stars", 0), ("stars", True), ("stars", 4.0), ("stars", "5"), ("stars", None),
        ("thumb", "sideways"), ("thumb", 1), ("thumb", ["up"]), ("comment", ""), ("comment", " \n"),
        ("comment", "x" * 10_001), ("comment", "\ud800"), ("edit", ""), ("edit", 7),
        ("edit", "Rain is water that falls from clouds."), ("edit", "x" * 100_001), ("smile", "up"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_with_one_line_and_its_field(store, chatted, kind, value):
    with pytest.raises(Invalid) as caught:
        store.add_feedback(chatted.user.id, kind, value, message_id=chatted.reply.id)
    assert caught.value.param in ("value", "kind")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200
    assert store.list_feedback(chatted.user.id) == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [("stars", 1), ("stars", 5), ("thumb", "up"), ("thumb", "down"), ("comment", "x" * 10_000),
     ("comment", "太长了"), ("edit", "Rain is water.")],
)  # fmt: skip
def test_a_good_value_comes_back_as_it_was_said(store, chatted, kind, value):
    event = store.add_feedback(chatted.user.id, kind, value, message_id=chatted.reply.id)
    assert store.feedback_event(chatted.user.id, event.id) == event
    assert (event.kind, event.value, event.message_id) == (kind, value, chatted.reply.id)
    assert store.standing_feedback(chatted.user.id) == [event]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 10**400, "1", True])
def test_seconds_that_no_clock_counts_are_refused(store, chatted, seconds):
    with pytest.raises(Invalid) as caught:
        store.add_feedback(chatted.user.id, "stars", 5, message_id=chatted.reply.id, seen_s=seconds)
    assert caught.value.param == "seen_s"


def test_only_an_own_finished_reply_with_text_takes_feedback(store, chatted):
    user, conversation = chatted.user.id, chatted.conversation.id
    other = store.ensure_user("other").id
    with pytest.raises(NotFound):
        store.add_feedback(other, "stars", 5, message_id=chatted.reply.id)
    with pytest.raises(Invalid):
        store.add_feedback(user, "stars", 5, message_id=chatted.question.id)
    unfinished = store.begin_reply(user, conversation, chatted.question.id, 0, {})
    with pytest.raises(Conflict):
        store.add_feedback(user, "stars", 5, message_id=unfinished.id)
    store.finish_reply(unfinished.id, " ", "cancelled", 1, 0)
    with pytest.raises(Invalid):
        store.add_feedback(user, "stars", 5, message_id=unfinished.id)
    with pytest.raises(Invalid):
        store.add_feedback(user, "ranking", {"order": []}, message_id=chatted.reply.id)
    with pytest.raises(Invalid):
        store.add_feedback(user, "stars", 5)


def test_a_changed_mind_supersedes_and_both_stay_on_record(store, chatted):
    user = chatted.user.id
    first = store.add_feedback(user, "stars", 2, message_id=chatted.reply.id)
    thumb = store.add_feedback(user, "thumb", "up", message_id=chatted.reply.id)
    second = store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    assert second.supersedes == first.id
    assert [e.id for e in store.list_feedback(user)] == [first.id, thumb.id, second.id]
    assert [e.id for e in store.standing_feedback(user)] == [thumb.id, second.id]
    assert store.feedback_event(user, first.id).superseded_by == second.id
    standing = store.standing_for_messages(user, [chatted.reply.id, chatted.sibling.id])
    assert {k: e.value for k, e in standing[chatted.reply.id].items()} == {"thumb": "up", "stars": 5}
    assert chatted.sibling.id not in standing
    assert store.feedback_counts(user) == {"thumb": 1, "stars": 1, "comment": 0, "edit": 0, "ranking": 0}


def test_saying_the_same_again_adds_nothing(store, chatted):
    first = store.add_feedback(chatted.user.id, "stars", 4, message_id=chatted.reply.id)
    assert store.add_feedback(chatted.user.id, "stars", 4, message_id=chatted.reply.id) == first
    assert len(store.list_feedback(chatted.user.id)) == 1


def test_taking_back_the_newer_does_not_bring_the_older_back(store, chatted):
    user = chatted.user.id
    store.add_feedback(user, "stars", 2, message_id=chatted.reply.id)
    second = store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    retracted = store.retract_feedback(user, second.id)
    assert retracted.retracted_by and store.standing_feedback(user) == []
    assert store.retract_feedback(user, second.id) == retracted
    third = store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    assert third.id != second.id and third.supersedes == second.id
    assert [e.id for e in store.standing_feedback(user)] == [third.id]
    with pytest.raises(NotFound):
        store.retract_feedback(store.ensure_user("other").id, third.id)


def test_a_ranking_names_every_reply_once(store, chatted):
    user, a, b = chatted.user.id, chatted.reply.id, chatted.sibling.id
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, [a, b])
    assert store.comparison(user, comparison.id) == comparison and comparison.versions == (0, 0)
    for order in ([[a]], [[a], [b], [a]], [[a, b, chatted.question.id]], [[a], []], [], "ab", [[a], [b, 3]]):
        with pytest.raises(Invalid):
            store.add_feedback(user, "ranking", {"order": order}, comparison_id=comparison.id)
    tie = store.add_feedback(user, "ranking", {"order": [[a, b]]}, comparison_id=comparison.id)
    best = store.add_feedback(user, "ranking", {"order": [[b], [a]]}, comparison_id=comparison.id)
    assert best.supersedes == tie.id and store.feedback_counts(user)["ranking"] == 1


def test_a_comparison_is_of_replies_to_one_message(store, chatted):
    user, conversation = chatted.user.id, chatted.conversation.id
    follow_up = store.add_message(user, conversation, chatted.reply.id, "user", "Why?")
    elsewhere = store.add_message(user, conversation, follow_up.id, "assistant", "Because.")
    for replies in (
        [chatted.reply.id],
        [chatted.reply.id, chatted.reply.id],
        [chatted.reply.id, elsewhere.id],
        [chatted.reply.id, chatted.question.id],
    ):
        with pytest.raises(Invalid):
            store.create_comparison(user, conversation, chatted.question.id, replies)


def test_deleting_a_conversation_takes_its_feedback_out_at_once(store, chatted):
    user = chatted.user.id
    event = store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    store.delete_conversation(user, chatted.conversation.id)
    assert store.standing_feedback(user) == [] and store.new_feedback_count(user) == 0
    assert store.outcome(user, event.id).code == "left_out"
    store.restore_conversation(user, chatted.conversation.id)
    assert store.standing_feedback(user) == [event]


def ended_run(store, user, uses, state, version=None, reason=""):
    run = store.queue_run(user, "manual")
    store.start_run(run.id, store.newest_feedback_id(user))
    store.record_feedback_use(run.id, uses)
    return store.finish_run(run.id, state, version=version, reason=reason)


def test_every_piece_of_feedback_has_an_outcome(store, chatted):
    user, reply = chatted.user.id, chatted.reply.id
    stars = store.add_feedback(user, "stars", 5, message_id=reply)
    thumb = store.add_feedback(user, "thumb", "up", message_id=reply)
    note = store.add_feedback(user, "comment", "nice", message_id=reply)

    def codes():
        return [store.outcome(user, event.id).code for event in (stars, thumb, note)]

    assert codes() == ["waiting"] * 3
    uses = [
        FeedbackUse(stars.id, "train"),
        FeedbackUse(thumb.id, "held-out"),
        FeedbackUse(note.id, "left out", "contradicted by a later one"),
    ]
    ended_run(store, user, uses, "abstained", reason="too little feedback")
    assert codes() == ["waiting", "held_out", "left_out"]
    assert store.outcome(user, stars.id).reason == "too little feedback"
    ended_run(store, user, uses, "promoted", version=3)
    used = store.outcome(user, stars.id)
    assert (used.code, used.version, used.text) == ("used", 3, "Used in version 3.")
    assert store.outcome(user, note.id).text == "Left out: contradicted by a later one."
    ended_run(store, user, uses, "rejected", version=4)
    assert store.outcome(user, stars.id).version == 3
    ended_run(store, user, [], "cancelled")
    assert codes() == ["used", "held_out", "left_out"]

    store.add_feedback(user, "stars", 1, message_id=reply)
    store.retract_feedback(user, thumb.id)
    assert codes() == ["superseded", "retracted", "left_out"]


def test_an_edit_of_white_space_is_left_out_and_says_so(store, chatted):
    spaced = chatted.reply.content.replace(" ", "  ") + "\n"
    event = store.add_feedback(chatted.user.id, "edit", spaced, message_id=chatted.reply.id)
    outcome = store.outcome(chatted.user.id, event.id)
    assert outcome.code == "left_out" and "white space" in outcome.text


def test_new_feedback_is_what_no_ended_update_has_seen_and_is_younger_than_a_rollback(store, chatted):
    user, reply = chatted.user.id, chatted.reply.id
    store.add_feedback(user, "stars", 5, message_id=reply)
    store.add_feedback(user, "thumb", "up", message_id=reply)
    assert store.new_feedback_count(user) == 2
    ended_run(store, user, [], "failed")
    assert store.new_feedback_count(user) == 0  # it is not tried again and again by itself
    store.add_feedback(user, "stars", 4, message_id=reply)
    assert store.new_feedback_count(user) == 1
    run = store.queue_run(user, "automatic")
    store.start_run(run.id, store.newest_feedback_id(user))
    store.add_feedback(user, "comment", "said while it ran", message_id=reply)
    store.finish_run(run.id, "abstained")
    assert store.new_feedback_count(user) == 1
    store.publish(user, 0, "rollback")
    assert store.new_feedback_count(user) == 0
    store.add_feedback(user, "stars", 1, message_id=reply)
    assert store.new_feedback_count(user) == 1


def test_what_the_next_update_will_leave_out_or_weigh_less_says_so_before(store, chatted):
    user, reply = chatted.user.id, chatted.reply.id
    liked = store.add_feedback(user, "thumb", "up", message_id=reply)
    low = store.add_feedback(user, "stars", 1, message_id=reply, seen_s=0.1)
    small = store.add_feedback(user, "comment", "Shorter!", message_id=reply)
    found = outcomes(store, user, store.standing_feedback(user))
    assert (found[liked.id].code, found[liked.id].text) == ("left_out", f"Left out: {WHY['contradicted']}.")
    assert (found[low.id].code, found[low.id].text) == (
        "waiting", f"Waiting for the next update ({WHY['too_fast']}).",
    )  # fmt: skip
    assert found[small.id].text == "Waiting for the next update."
    counts = quality_counts(load_evidence(store, user))
    assert counts == {code: int(code in ("contradicted", "too_fast")) for code in WHY}
    store.retract_feedback(user, low.id)
    assert outcomes(store, user, [liked])[liked.id].code == "waiting"


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "3", True])
def test_seconds_seen_are_a_number_from_zero_up(store, chatted, seconds):
    with pytest.raises(Invalid, match="Seconds are a number from 0 up") as caught:
        store.add_feedback(chatted.user.id, "thumb", "up", message_id=chatted.reply.id, seen_s=seconds)
    assert caught.value.param == "seen_s"
    assert store.standing_feedback(chatted.user.id) == []


def test_a_comparison_is_unjudged_until_anything_was_said_about_it(store):
    user = store.ensure_user().id
    conversation = store.create_conversation(user)
    asked = store.add_message(user, conversation.id, None, "user", "Which?")
    two = [store.add_message(user, conversation.id, asked.id, "assistant", text).id for text in "ab"]
    assert store.unjudged_comparison(user, conversation.id) is None
    made = store.create_comparison(user, conversation.id, asked.id, two)
    assert store.unjudged_comparison(user, conversation.id) == made
    assert store.unjudged_comparison("somebody else", conversation.id) is None
    event = store.add_feedback(user, "ranking", {"order": [two]}, comparison_id=made.id)
    assert store.unjudged_comparison(user, conversation.id) is None
    store.retract_feedback(user, event.id)
    assert store.unjudged_comparison(user, conversation.id) is None  # it was judged once: the page does not insist


def test_ratings_are_counted_by_day_and_side(store):
    user = store.ensure_user().id
    conversation = store.create_conversation(user)
    asked = store.add_message(user, conversation.id, None, "user", "Which?")
    said = [("thumb", "up"), ("thumb", "down"), *(("stars", n) for n in (5, 4, 3, 2)), ("comment", "x")]
    for kind, value in said:
        reply = store.add_message(user, conversation.id, asked.id, "assistant", "text").id
        event = store.add_feedback(user, kind, value, message_id=reply)
    day = event.created_at[:10]
    assert store.ratings_by_day(user, 30) == [{"day": day, "good": 3, "bad": 2, "between": 1}]
    taken = next(e for e in store.standing_feedback(user) if e.value == 5)
    store.retract_feedback(user, taken.id)
    assert store.ratings_by_day(user, 30)[0]["good"] == 2
    assert store.ratings_by_day("somebody else", 30) == []
