"""Feedback that repeats, contradicts, comes in bursts or too fast: found, weighed less, never lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.quality import WHY, quality_counts, weigh
from data.types import Evidence, Observation, Reply, Turn

ASKED = (Turn("user", "What is rain?"),)
TWENTY = " ".join(["drop"] * 20)  # read in 1.2 s at a thousand words a minute


def said(
    number: int,
    kind: str,
    outcome: object,
    *texts: str,
    at: float | None = None,
    context: tuple[Turn, ...] = ASKED,
    weight: float = 1.0,
) -> Observation:
    """Observation `number`, a minute after the one before unless `at` (seconds) says when."""
    seconds = 60 * number if at is None else at
    created = f"2026-01-01T{int(seconds) // 3600:02d}:{int(seconds) // 60 % 60:02d}:{seconds % 60:06.3f}Z"
    replies = tuple(Reply(text) for text in texts or (f"Reply {number}.",))
    return Observation(f"F{number}", kind, context, replies, outcome, weight, False, created)  # type: ignore[arg-type]


def why(*observations: Observation, seen_s: dict[str, float] | None = None) -> dict[str, tuple[float, str]]:
    """By id (weight, why), weight 0 where it was left out."""
    counting, left_out = weigh(observations, seen_s or {})
    return {o.feedback_id: (o.weight, o.why) for o in counting} | {use.feedback_id: (0.0, use.why) for use in left_out}


OPPOSITES = {
    "a thumb turned in another conversation": (("thumb", 1, "Rain."), ("thumb", -1, "Rain.")),
    "a thumb down and then five stars": (("thumb", -1, "Rain."), ("stars", 5, "Rain.")),
    "two stars and then a thumb up": (("stars", 2, "Rain."), ("thumb", 1, "Rain.")),
    "four stars and then one": (("stars", 4, "Rain."), ("stars", 1, "Rain.")),
    "a ranking turned round": (("ranking", ((0,), (1,)), "A", "B"), ("ranking", ((1,), (0,)), "A", "B")),
    "a ranking of three with one pair turned": (
        ("ranking", ((0,), (1, 2)), "A", "B", "C"), ("ranking", ((1,), (0,)), "A", "C"),
    ),
    "an edit taken back by an edit": (("edit", None, "B", "A"), ("edit", None, "A", "B")),
    "an edit against a ranking": (("edit", None, "B", "A"), ("ranking", ((0,), (1,)), "A", "B")),
}  # fmt: skip


@pytest.mark.parametrize("name", OPPOSITES)
def test_of_two_that_contradict_each_other_the_later_counts(name):
    first, second = OPPOSITES[name]
    found = why(said(1, *first), said(2, *second))
    assert found == {"F1": (0.0, WHY["contradicted"]), "F2": (1.0, "")}


COMPATIBLE = {
    "three stars take no side": (("stars", 3, "Rain."), ("thumb", -1, "Rain.")),
    "four stars and five": (("stars", 4, "Rain."), ("stars", 5, "Rain.")),
    "another text": (("thumb", 1, "Rain."), ("thumb", -1, "Snow.")),
    "a tie takes no side": (("ranking", ((0, 1),), "A", "B"), ("ranking", ((1,), (0,)), "A", "B")),
    "an edit of a good reply": (("thumb", 1, "A"), ("edit", None, "B", "A")),
    "edits of one reply into two": (("edit", None, "B", "A"), ("edit", None, "C", "A")),
}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_what_does_not_contradict_counts_in_full(name):
    first, second = COMPATIBLE[name]
    assert why(said(1, *first), said(2, *second)) == {"F1": (1.0, ""), "F2": (1.0, "")}


def test_the_same_text_in_another_context_is_another_matter():
    elsewhere = (Turn("user", "What is snow?"),)
    found = why(said(1, "thumb", 1, "Yes."), said(2, "thumb", -1, "Yes.", context=elsewhere))
    assert {weight for weight, _ in found.values()} == {1.0}


def test_saying_the_same_twice_counts_once_and_the_first_stays():
    for kind, outcome, texts in (
        ("thumb", 1, ("Rain.",)), ("stars", 3, ("Rain.",)), ("comment", "Shorter.", ("Rain.",)),
        ("edit", None, ("B", "A")), ("ranking", ((0,), (1,)), ("A", "B")),
    ):  # fmt: skip
        found = why(said(1, kind, outcome, *texts), said(2, kind, outcome, *texts))
        assert found == {"F1": (1.0, ""), "F2": (0.0, WHY["duplicate"])}, kind
    turned = why(said(1, "ranking", ((0,), (1,)), "A", "B"), said(2, "ranking", ((1,), (0,)), "B", "A"))
    assert turned["F2"] == (0.0, WHY["duplicate"])  # shown the other way round, the same is said


def test_a_mind_changed_twice_leaves_the_last_word():
    found = why(*(said(i, "thumb", sign, "Rain.") for i, sign in enumerate((1, -1, 1), 1)))
    assert [found[f"F{i}"][0] for i in (1, 2, 3)] == [0.0, 0.0, 1.0]


def test_a_burst_of_alike_ratings_counts_as_five():
    burst = [said(i, "thumb", 1, at=100 + 2 * i) for i in range(10)]
    after = said(10, "thumb", 1, at=300)
    found = why(*burst, after)
    assert [found[o.feedback_id] for o in burst] == [(0.5, WHY["burst"])] * 10
    assert found["F10"] == (1.0, "")


@pytest.mark.parametrize(
    "ratings",
    [
        [said(i, "thumb", 1, at=100 + 2 * i) for i in range(5)],  # too few for a burst
        [said(i, "thumb", 1, at=100 + 4 * i) for i in range(10)],  # slow enough
        [said(i, "thumb", 1 if i % 2 else -1, at=100 + 2 * i) for i in range(10)],  # not alike
        [said(i, "edit", None, f"B{i}", f"A{i}", at=100 + 2 * i) for i in range(10)],  # nobody edits so
    ],
)
def test_what_is_no_burst_counts_in_full(ratings):
    assert set(why(*ratings).values()) == {(1.0, "")}


def test_what_is_judged_faster_than_it_can_be_read_counts_half():
    fast, slow, unknown = (said(i, "stars", 4, f"{TWENTY} {i}") for i in (1, 2, 3))
    found = why(fast, slow, unknown, seen_s={"F1": 1.2, "F2": 1.3})  # 21 words take 1.26 s
    assert found == {"F1": (0.5, WHY["too_fast"]), "F2": (1.0, ""), "F3": (1.0, "")}
    chinese = said(4, "stars", 4, "雨" * 60)  # a character is a unit: sixty take 3.6 s
    assert why(chinese, seen_s={"F4": 3.5})["F4"][0] == 0.5
    both = said(5, "ranking", ((0,), (1,)), TWENTY, TWENTY + " x")  # both have to be read
    assert why(both, seen_s={"F5": 2.0})["F5"] == (0.5, WHY["too_fast"])
    edited = said(6, "edit", None, "B", TWENTY)  # whoever edits has read
    assert why(edited, seen_s={"F6": 0.1})["F6"] == (1.0, "")


def test_reasons_add_up_and_are_counted():
    burst = [said(i, "stars", 5, f"{TWENTY} {i}", at=100 + i) for i in range(8)]
    small = said(20, "edit", None, "B", "A", weight=0.5)
    again = said(21, "edit", None, "B", "A", weight=0.5)
    counting, left_out = weigh([*burst, small, again], {"F0": 0.5})
    first = counting[0]
    assert first.weight == pytest.approx(0.5 * 5 / 8) and WHY["burst"] in first.why and WHY["too_fast"] in first.why
    counts = quality_counts(Evidence(tuple(counting), tuple(left_out), None))
    assert counts == {"white_space": 0, "contradicted": 0, "duplicate": 1, "burst": 8, "too_fast": 1, "small_edit": 1}


PIECES = st.lists(
    st.tuples(
        st.sampled_from([("thumb", 1), ("thumb", -1), ("stars", 1), ("stars", 3), ("stars", 5), ("comment", "Short.")]),
        st.sampled_from(["Rain.", "Snow.", TWENTY]),
        st.floats(0, 5),
        st.none() | st.floats(0, 3),
    ),
    max_size=30,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(PIECES)
def test_everything_is_kept_or_left_out_with_a_reason_and_no_weight_grows(pieces):
    at, observations, seen_s = 0.0, [], {}
    for number, ((kind, outcome), text, pause, seen) in enumerate(pieces):
        at += pause
        observations.append(said(number, kind, outcome, text, at=at))
        if seen is not None:
            seen_s[f"F{number}"] = seen
    counting, left_out = weigh(observations, seen_s)
    order = [o.feedback_id for o in observations]
    kept = [o.feedback_id for o in counting]
    assert sorted([*kept, *(use.feedback_id for use in left_out)]) == sorted(order)
    assert kept == [feedback_id for feedback_id in order if feedback_id in kept]
    assert all(0 < o.weight <= 1 and (o.weight < 1) == bool(o.why) for o in counting)
    assert all(use.why for use in left_out)
    if observations:  # the last word on a text always stands, unless it only repeats what stands
        last = observations[-1].feedback_id
        assert last in kept or next(u.why for u in left_out if u.feedback_id == last) == WHY["duplicate"]
