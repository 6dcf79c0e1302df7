"""A report from elsewhere neither keeps the Profile from opening nor gets more into it than words and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assistant.learner_state import learnt
from assistant.page.profile import profile_view
from assistant.page.report import figures, story, verdict
from data.home import Home
from data.store import Store

FILE = {"path": "http://10.0.0.1/x", "meta": {"_type": "gradio.FileData"}}  # Gradio would fetch it
DEEP: Any = {"kl": 1.0}
for _ in range(900):
    DEEP = {"policy": DEEP}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(Home(tmp_path / "home").create())
    yield store
    store.close()


def of(bad: Any) -> dict[str, Any]:
    """A report that has `bad` wherever the page looks."""
    numbers = {
        "win_rate": bad, "win_rate_lower": bad, "win_rate_upper": bad, "median_words": bad, "objective/scores": bad,
        "train": bad, "held_out": bad, "left_out": bad, "learnable": bad, "observations": bad, "newer": bad,
        "demonstrations": bad, "steps": bad, "iterations": bad, "first": bad, "last": bad, "share_kept": bad,
    }  # fmt: skip
    statement = {
        "feature": bad, "text": bad, "probability": bad, "weight": bad, "ratings": bad, "feedback_ids": bad,
        "best_words": bad,
    }  # fmt: skip
    parts = ("policy", "base", "feedback", "evidence", "change_of_taste", "warm_start", "ppo")
    return {
        **dict.fromkeys(parts, numbers), "learnt": [statement], "seconds": bad, "muted": bad, "reason": bad,
        "range": [bad, bad],
    }  # fmt: skip


BAD = ["x", None, True, 10**400, -(10**400), 1e308, [], [FILE], {}, FILE, DEEP]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:20])
@pytest.mark.parametrize("state", ["promoted", "rejected", "abstained"])
def test_whatever_stands_in_a_report_only_words_and_numbers_are_shown(store: Store, bad: Any, state: Any) -> None:
    user = store.ensure_user().id
    for report in (of(bad), dict.fromkeys(of(bad), bad)):
        number = store.next_version_number(user)
        store.record_version(user, number, 0, "b", "a" * 64, "accepted", report, "promoted")
        reason = "Nothing was learnt: too few." if state == "abstained" else "why"
        store.finish_run(store.queue_run(user, "manual").id, state, number, reason, report)
        view = json.dumps([profile_view(store, user), learnt(store, user, number)])
        assert "gradio" not in view and "10.0.0.1" not in view
        if bad is not DEEP:  # what checked reports are, and these are not
            sentences = [*story(report), verdict(state, reason, report)]
            for one in sentences:
                assert all(isinstance(value, str | int | float) for value in one["with"].values())
                str(one["say"]).format(**one["with"])
            assert all(isinstance(value, str) for row in figures(report) for value in row.values())


def test_a_file_in_the_place_of_an_interval_is_not_drawn(store: Store) -> None:
    user = store.ensure_user().id
    policy = {"win_rate": 0.6, "win_rate_lower": 0.5, "win_rate_upper": FILE}
    store.record_version(user, 1, 0, "b", "a" * 64, "accepted", {"policy": policy}, "promoted")
    (drawn,) = profile_view(store, user)["plots"]["win_rates"]
    assert drawn["upper"] == 0.6
