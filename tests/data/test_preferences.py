"""Feedback events become observations: numbers by hand, and what always holds."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.edits import edit_weight, word_edit_distance, words
from data.evidence import load_evidence
from data.preferences import demonstrations, evidence, is_held_out
from data.types import Comparison, Conversation, FeedbackEvent, Message, Reply, Turn

T = "2026-01-01T00:00:00.000Z"
TALK = Conversation("c", "me", "", "Be kind.", T, T)
ASKED = Message("q", "c", None, "user", "What is rain?", T)
LONG = Message("a", "c", "q", "assistant", "Rain is water that falls from clouds today.", T, "stop")
SHORT = Message("b", "c", "q", "assistant", "Falling water.", T, "stop")
CUT = Message("d", "c", "q", "assistant", "Rain is a form of", T, "length")
PATHS = {m.id: [ASKED, m] for m in (LONG, SHORT, CUT)}


def event(number: int, kind: str, value: object, message_id: str | None = "a", **more: str) -> FeedbackEvent:
    return FeedbackEvent(f"E{number:03d}", "me", kind, value, T, message_id=message_id, **more)


def made(*events: FeedbackEvent, comparisons=None):
    return evidence(events, PATHS, {"c": TALK}, comparisons or {})


def test_each_kind_becomes_its_observation():
    comparison = Comparison("k", "me", "c", "q", ("a", "b", "d"), (0, 0, 1), T)
    found = made(
        event(1, "thumb", "up"),
        event(2, "stars", 4),
        event(3, "comment", "shorter please"),
        event(4, "edit", "Rain is water.", "a"),
        event(5, "ranking", {"order": [["b"], ["d", "a"]]}, None, comparison_id="k"),
        comparisons={"k": comparison},
    )
    assert found.left_out == () and found.watermark == "E005"
    thumb, stars, comment, edit, ranking = found.observations
    long, short = Reply(LONG.content), Reply(SHORT.content)
    assert (thumb.kind, thumb.replies, thumb.outcome) == ("thumb", (long,), 1)
    assert (stars.kind, stars.replies, stars.outcome) == ("stars", (long,), 4)
    assert (comment.kind, comment.outcome) == ("comment", "shorter please")
    assert (edit.kind, edit.replies, edit.outcome) == ("edit", (Reply("Rain is water."), long), None)
    assert ranking.replies == (long, short, Reply(CUT.content, finished=False))
    assert ranking.outcome == ((1,), (2, 0))
    for observation in found.observations:
        assert observation.context == (Turn("system", "Be kind."), Turn("user", "What is rain?"))
        assert observation.root_id == "q" and observation.weight == 1.0


def test_the_newest_of_a_kind_counts_and_a_retracted_one_never():
    found = made(
        event(3, "stars", 5),
        event(1, "stars", 2),
        event(2, "stars", 2, "b"),
        event(4, "thumb", "up", retracted_by="E009"),
        event(5, "comment", "x"),
        event(6, "comment", "y", retracted_by="E010"),
    )
    assert [(o.feedback_id, o.outcome) for o in found.observations] == [("E002", 2), ("E003", 5)]


def test_what_cannot_be_used_is_left_out_with_its_reason():
    found = made(
        event(1, "edit", "  Rain is water that\nfalls from clouds  today. "),
        event(2, "stars", 5, "gone"),
        event(3, "ranking", {"order": [["a"], ["b"]]}, None, comparison_id="gone"),
    )
    assert found.observations == ()
    assert [(use.feedback_id, use.role, use.why) for use in found.left_out] == [
        ("E001", "left out", "only white space was changed"),
        ("E002", "left out", "its conversation was deleted"),
        ("E003", "left out", "its conversation was deleted"),
    ]


def test_a_reply_remembers_the_system_prompt_it_was_written_under():
    reply = replace(LONG, sampling={"system_prompt": "Be brief."})
    found = evidence([event(1, "stars", 5)], {"a": [ASKED, reply]}, {"c": TALK}, {})
    assert found.observations[0].context[0] == Turn("system", "Be brief.")
    system = Message("s", "c", None, "system", "Rhyme.", T)
    found = evidence([event(1, "stars", 5)], {"a": [system, ASKED, LONG]}, {"c": TALK}, {})
    assert found.observations[0].context == (Turn("system", "Rhyme."), Turn("user", "What is rain?"))


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [
        ("", "", 0), ("a b c", "a b c", 0), ("a b c", "", 3), ("a b c", "a x c", 1), ("a b c", "b c", 1),
        ("a b c d", "d c b a", 4), ("the cat sat", "the big cat sat down", 2), ("下雨了", "下雪了", 1),
    ],
)  # fmt: skip
def test_word_edit_distances_worked_by_hand(a, b, distance):
    assert word_edit_distance(words(a), words(b)) == distance
    assert word_edit_distance(words(b), words(a)) == distance


def reference_distance(a: list[str], b: list[str]) -> int:
    """The textbook recursion over the full table, with no short cut."""
    table = [[max(i, j) if not i or not j else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            )
    return table[-1][-1]


TEXTS = st.lists(st.sampled_from("abcd"), max_size=12)


@settings(max_examples=300, deadline=None)
@given(a=TEXTS, b=TEXTS, cap=st.integers(1, 14))
def test_the_distance_is_the_textbook_one_up_to_its_cap(a, b, cap):
    assert word_edit_distance(a, b) == reference_distance(a, b)
    assert word_edit_distance(a, b, cap) == min(cap, reference_distance(a, b))


def test_edit_weights_worked_by_hand():
    twenty = " ".join(f"w{i}" for i in range(20))
    assert edit_weight(twenty, twenty.replace("w3", "x")) == pytest.approx(0.5)  # 1 of 20 words: d = .05
    assert edit_weight(twenty, twenty.replace("w3", "x").replace("w9", "y")) == 1.0  # d = .1
    assert edit_weight(twenty, "w0") == 1.0
    assert edit_weight(twenty, twenty + " more") == pytest.approx(1 / 2.1)  # 1 of 21 words
    assert edit_weight("a  b", "a b\n") == 0.0


def test_a_long_edit_is_weighed_at_once():
    text = " ".join(f"w{i}" for i in range(20_000))
    assert edit_weight(text, text.replace("w500 ", "x ").replace("w19000 ", "y ")) == pytest.approx(0.001)


def test_one_conversation_in_five_is_held_out_for_ever_the_same():
    ids = [hashlib.sha256(str(i).encode()).hexdigest()[:26] for i in range(5000)]
    share = sum(map(is_held_out, ids)) / len(ids)
    assert 0.18 < share < 0.22
    # pinned: sha256("q5") begins with 0x28..., of 0x3333... for a fifth; a change would leak held-out data
    assert hashlib.sha256(b"q5").hexdigest()[:16] < "3333333333333333"
    assert is_held_out("q5")
    assert hashlib.sha256(b"q").hexdigest()[:16] > "3333333333333333"
    assert not is_held_out("q")


def test_demonstrations_are_edits_and_five_stars_of_the_training_side():
    five = event(1, "stars", 5, "b")
    four = event(2, "stars", 4, "a")
    up = event(3, "thumb", "up", "a")
    context = (Turn("system", "Be kind."), Turn("user", "What is rain?"))
    assert demonstrations(made(five, four, up)) == [(context, Reply(SHORT.content))]
    assert demonstrations(made(four, up)) == [(context, Reply(LONG.content))]
    assert demonstrations(made(four, event(3, "thumb", "down", "a"))) == []
    assert demonstrations(made(event(1, "stars", 5, "d"))) == []  # cut off: shows no good ending
    edit = event(4, "edit", "Water.", "b")
    assert demonstrations(made(five, edit)) == [(context, Reply("Water."))]  # rated high, yet improved
    held_out = evidence([five, edit], PATHS, {"c": TALK}, {}, {"c": "q5"})
    assert [o.held_out for o in held_out.observations] == [True, True]
    assert demonstrations(held_out) == []


def test_evidence_from_the_store_is_the_pure_functions_and_keeps_branches(store, chatted):
    user, conversation = chatted.user.id, chatted.conversation.id
    edited_question = store.add_message(user, conversation, None, "user", "What is hail?")
    branch = store.add_message(user, conversation, edited_question.id, "assistant", "Ice that falls.")
    events = [
        store.add_feedback(user, "stars", 5, message_id=chatted.reply.id),
        store.add_feedback(user, "stars", 2, message_id=branch.id),
    ]
    comparison = store.create_comparison(
        user, conversation, chatted.question.id, [chatted.reply.id, chatted.sibling.id]
    )
    order = {"order": [[chatted.sibling.id], [chatted.reply.id]]}
    events.append(store.add_feedback(user, "ranking", order, comparison_id=comparison.id))
    withdrawn = store.add_feedback(user, "thumb", "up", message_id=branch.id)
    store.retract_feedback(user, withdrawn.id)
    found = load_evidence(store, user)
    assert [o.feedback_id for o in found.observations] == [e.id for e in events]
    assert [o.context[-1].content for o in found.observations] == [
        "What is rain?", "What is hail?", "What is rain?",
    ]  # fmt: skip
    # an edited first question begins a second root; the conversation stays on one side of the split
    assert {o.root_id for o in found.observations} == {chatted.question.id}
    assert found.observations[2].outcome == ((1,), (0,))
    assert found.watermark == withdrawn.id


KINDS = st.sampled_from([("thumb", "up"), ("thumb", "down"), *[("stars", i) for i in range(1, 6)]])


@settings(max_examples=100, deadline=None)
@given(
    said=st.lists(st.tuples(KINDS, st.sampled_from(["a", "b", "d", "gone"]), st.booleans()), max_size=12),
    shuffled=st.randoms(),
)
def test_nothing_standing_is_lost_and_order_does_not_matter(said, shuffled):
    events = [
        event(i, kind, value, message_id, **({"retracted_by": "Z"} if retracted else {}))
        for i, ((kind, value), message_id, retracted) in enumerate(said)
    ]
    found = made(*events)
    last = {(e.message_id, e.kind): e for e in events}
    standing = {e.id for e in last.values() if not e.retracted_by}
    seen = [o.feedback_id for o in found.observations] + [use.feedback_id for use in found.left_out]
    assert sorted(seen) == sorted(standing) and len(set(seen)) == len(seen)
    shuffled.shuffle(events)
    assert made(*events) == found
