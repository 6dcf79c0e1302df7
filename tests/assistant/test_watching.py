"""A promoted version is compared with the one before it, and goes back by itself where people prefer the old one."""

from __future__ import annotations

import time

import pytest

from assistant import watching
from assistant.page.profile import profile_view
from assistant.sampling import Sampling
from assistant.watching import preferred_version, rival, watched
from data.types import Comparison, Turn
from tests.assistant.conftest import Parts
from tests.assistant.test_adapters import publish

SHORT = Sampling(temperature=1.0, max_tokens=4)


def compared(parts: Parts, seed: int, n: int = 2) -> Comparison:
    made = parts.chat.compare_turns(
        parts.user_id, [Turn("user", f"Name {seed} fruits.")], n, Sampling(temperature=1.0, max_tokens=4, seed=seed)
    )
    until = time.monotonic() + 30
    while made.comparison is None:
        assert time.monotonic() < until
        time.sleep(0.01)
    return made.comparison


def prefer(parts: Parts, version: int, comparison: Comparison) -> str:
    first = [i for i, v in zip(comparison.reply_ids, comparison.versions, strict=True) if v == version]
    rest = [i for i in comparison.reply_ids if i not in first]
    order = {"order": [first, rest]}
    return parts.store.add_feedback(parts.user_id, "ranking", order, comparison_id=comparison.id).id


def publications(parts: Parts) -> list[tuple[int, str]]:
    return [(p.version, p.reason) for p in parts.store.publications(parts.user_id)]


def test_a_comparison_after_a_promotion_holds_both_versions_in_an_order_by_lot(parts: Parts) -> None:
    assert set(compared(parts, 1).versions) == {0}
    publish(parts, 1)
    orders = {compared(parts, seed).versions for seed in range(8)}
    assert orders == {(0, 1), (1, 0)}
    assert sorted(compared(parts, 9, n=4).versions) == [0, 0, 1, 1]
    # The odd one is written by either: else an equal version would have the best of three twice as often.
    assert {compared(parts, seed, n=3).versions.count(1) for seed in range(12)} == {1, 2}
    [reply] = parts.chat.complete(parts.user_id, [Turn("user", "Name a fruit.")], SHORT)
    assert reply.version == 1  # what is not a comparison comes from the live version
    parts.chat.wait_until_stored()


def test_people_who_prefer_the_old_version_get_it_back(parts: Parts) -> None:
    publish(parts, 1)
    for seed in range(6):
        prefer(parts, 0, compared(parts, seed))
    time.sleep(2.5)  # longer than the watching thread sleeps
    assert publications(parts) == [(1, "promoted")]
    prefer(parts, 0, compared(parts, 6))
    until = time.monotonic() + 20
    while parts.store.live_version(parts.user_id) != 0:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert publications(parts) == [(1, "promoted"), (0, "auto_rollback")]
    assert set(compared(parts, 7).versions) == {0}  # decided: nothing is compared with it any more


def test_a_version_that_is_preferred_is_watched_no_longer(parts: Parts) -> None:
    publish(parts, 1)
    for seed in range(7):
        prefer(parts, 1, compared(parts, seed))
    assert rival(parts.store, parts.user_id) is None
    assert set(compared(parts, 7).versions) == {1}


def test_ties_and_what_was_taken_back_count_for_neither(parts: Parts) -> None:
    publish(parts, 1)
    tied = compared(parts, 0)
    parts.store.add_feedback(parts.user_id, "ranking", {"order": [list(tied.reply_ids)]}, comparison_id=tied.id)
    parts.store.retract_feedback(parts.user_id, prefer(parts, 0, compared(parts, 1)))
    prefer(parts, 0, compared(parts, 2))
    found = watched(parts.store, parts.user_id)
    assert found is not None
    assert (found.old_preferred, found.new_preferred, found.state) == (1, 0, "watching")


def test_comparisons_of_before_the_promotion_do_not_count(parts: Parts) -> None:
    publish(parts, 1)
    prefer(parts, 0, compared(parts, 0))
    publish(parts, 2)
    found = watched(parts.store, parts.user_id)
    assert found is not None and (found.new, found.old, found.old_preferred) == (2, 1, 0)
    assert set(compared(parts, 1).versions) == {1, 2}


def test_what_somebody_chose_by_hand_is_not_watched(parts: Parts) -> None:
    publish(parts, 1)
    publish(parts, 2)
    parts.store.publish(parts.user_id, 1, "rollback")
    assert watched(parts.store, parts.user_id) is None
    assert set(compared(parts, 0).versions) == {1}


def test_what_goes_live_while_the_comparisons_are_counted_stays(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(parts, 1)
    publish(parts, 2)
    counted = watching.Watched(2, 1, 0, 7, "old is better")

    def counting(*_: object) -> watching.Watched:
        parts.store.publish(parts.user_id, 0, "rollback")  # by hand, in this very moment
        return counted

    with monkeypatch.context() as patched:
        patched.setattr(watching, "watched", counting)
        watching.take_back(parts.store, parts.user_id)
    assert publications(parts)[-1] == (0, "rollback")


def test_an_old_version_without_weights_takes_no_part(parts: Parts) -> None:
    publish(parts, 1)
    publish(parts, 2)
    parts.store.drop_weights(parts.user_id, 1)
    assert set(compared(parts, 0).versions) == {2}


@pytest.mark.parametrize(
    ("order", "expected"),
    [([["a"], ["b"]], 3), ([["b"], ["a"]], 4), ([["a", "b"]], None), ([["a", "c"], ["b"]], 3)],
)
def test_the_preferred_version(order: list[list[str]], expected: int | None) -> None:
    assert preferred_version(order, {"a": 3, "b": 4, "c": 3}) == expected


def test_the_profile_says_what_the_comparisons_said(parts: Parts) -> None:
    publish(parts, 1)
    prefer(parts, 0, compared(parts, 0))
    [row] = [v for v in profile_view(parts.store, parts.user_id)["versions"] if v["number"] == 1]
    assert row["story"][-1]["with"] == {"old": 0, "for_new": 0, "for_old": 1}
    assert "comes back by itself" in row["story"][-1]["say"]
    parts.store.publish(parts.user_id, 0, "auto_rollback")
    [row] = [v for v in profile_view(parts.store, parts.user_id)["versions"] if v["number"] == 1]
    assert "taken back by itself" in row["story"][-1]["say"]
