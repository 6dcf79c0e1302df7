"""What a report may hold: all that the learner writes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.profile import import_profile
from data.reports import checked_report, is_number, statements
from learner.evaluation.gate import Sanity, WinRate
from learner.evaluation.metrics import ReplyStatistics
from learner.policy.rehearsal import Rehearsed
from learner.policy.warm_start import WarmStartResult
from learner.reward.drift import Change
from learner.reward.evidence import EvidenceTest
from learner.reward.explain import Statement
from tests.data.profile_files import edit_json, run, write

MEASURED = Path(__file__).parents[2] / "docs" / "benchmarks" / "learning"
FILE = {"path": "http://10.0.0.1/x", "meta": {"_type": "gradio.FileData"}}  # what Gradio fetches, wherever it stands
ID = "01J00000000000000000000000"


def reports_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if {"evidence", "feedback"} <= set(value):
            yield value
        for inner in value.values():
            yield from reports_in(inner)


def test_reports_of_real_updates_come_out_as_they_went_in():
    found = [r for path in sorted(MEASURED.rglob("*.json")) for r in reports_in(json.loads(path.read_text()))]
    assert len(found) > 20 and any("warm_start_alone" in report for report in found)
    for report in found:
        assert json.dumps(checked_report(report)) == json.dumps(report)


def sample(kind: type) -> dict[str, Any]:
    """One of a dataclass of the learner's as plain values, with something in every field."""
    values: dict[str, Any] = {"bool": True, "float": 0.25, "int": 3, "str": "words", "int | None": 40}
    values |= {"tuple[float, ...]": (0.5, -0.5), "tuple[str, ...]": (ID,)}
    return asdict(kind(**{field.name: values[str(field.type)] for field in fields(kind)}))


def test_every_field_that_an_update_writes_is_known():
    """A new field of one of these is to be entered in data/reports.py as well, or an import would lose it."""
    gated = sample(ReplyStatistics) | sample(Sanity)
    rates = sample(WinRate)
    report = {
        "feedback": {"train": 1, "held_out": 2, "left_out": 3},
        "evidence": sample(EvidenceTest),
        "change_of_taste": sample(Change) | {"since": ID},
        "learnt": [sample(Statement)],
        "muted": ["emoji"],
        "reward_model": {"kind": "auto", "gains": {"neural on the held-out side": 0.1}},
        "warm_start": sample(WarmStartResult)
        | {"demonstrations": 9, "rehearsal": sample(Rehearsed), "share_kept": 0.9},
        "rehearsal": sample(Rehearsed),
        "ppo": {"iterations": 2, "first": {"objective/kl": None}, "last": {"val/loss": 1e9}, "share_kept": 1.0},
        "algorithm": "ppo",
        "base": sample(ReplyStatistics),
        "live": sample(ReplyStatistics),
        "policy": gated | {f"win_rate_{name}": rate for name, rate in rates.items()},
        "seconds": 1.5,
    }
    assert checked_report(report) == json.loads(json.dumps(report))
    assert checked_report({"change_of_taste": None}) == {"change_of_taste": None}


@pytest.mark.parametrize("bad", ["x", 10**400, True, [0.5], FILE, float("nan"), float("inf"), -1e31])
def test_where_a_number_should_be_nothing_else_is_kept(bad):
    report = {
        "seconds": bad, "policy": {"win_rate": bad, "kl": 1},
        "ppo": {"first": {"objective/kl": bad}, "iterations": bad},
        "learnt": [{"feature": "emoji", "probability": bad, "ratings": bad, "best_words": bad}],
        "rehearsal": {"rises": [bad, 0.5]},
    }  # fmt: skip
    assert checked_report(report) == {
        "policy": {"kl": 1}, "ppo": {"first": {}}, "learnt": [{"feature": "emoji"}], "rehearsal": {"rises": [0.5]},
    }  # fmt: skip


@pytest.mark.parametrize("bad", [5, None, [5], FILE, "x" * 3_000, "\ud800", {"a": FILE}])
def test_where_a_text_a_list_or_a_part_should_be_nothing_else_is_kept(bad):
    for name in ("policy", "base", "ppo", "warm_start", "evidence", "feedback", "reward_model", "rehearsal"):
        assert checked_report({name: bad}) in ({}, {name: {}})
    assert checked_report({"algorithm": bad, "reason": bad, "unheard of": bad, "change_of_taste": 5}) == {}
    assert statements({"learnt": bad}) == [] == statements({})
    said = {"feature": bad, "text": bad, "feedback_ids": [bad, ID]}
    assert statements({"learnt": [said]}) == [{"feedback_ids": [ID]}]


def test_a_test_that_says_not_what_it_found_was_none():
    """The next update would ask of how many pieces the test was, and whether it found anything."""
    whole = {"exchanges": 1_999, "observations": 40, "learnable": False}
    assert checked_report({"evidence": whole}) == {"evidence": whole}
    for name in ("observations", "learnable"):
        lacking = {key: value for key, value in whole.items() if key != name}
        assert "exchanges" not in checked_report({"evidence": lacking})["evidence"]
        assert "exchanges" not in checked_report({"evidence": {**whole, name: "x"}})["evidence"]


PARTS = ["policy", "ppo", "first", "learnt", "evidence", "feature", "kl", "warm_start", "rehearsal", "meta", "path"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(PARTS), inner, max_size=5),
    max_leaves=25,
)


@settings(deadline=None)
@given(report=st.dictionaries(st.sampled_from(PARTS), ANYTHING))
def test_what_is_kept_is_plain_and_stays_as_it_is(report):
    kept = checked_report(report)
    assert checked_report(kept) == kept

    def look(value: Any, depth: int = 0) -> None:
        assert depth < 6
        if isinstance(value, dict):
            assert not isinstance(value.get("meta"), dict)
            for inner in value.values():
                look(inner, depth + 1)
        elif isinstance(value, list):
            for inner in value:
                look(inner, depth + 1)
        else:
            assert value is None or isinstance(value, str | bool) or is_number(value)

    look(kept)


def test_an_import_brings_in_of_reports_what_they_may_hold(store, home, tmp_path, members):
    hostile = {"evidence": None, "learnt": 5, "policy": {"win_rate": "x", "kl": 1.5}, "seconds": FILE, "x": FILE}
    edit_json("profile.json", lambda p: p["versions"][0].update(report=hostile))(members)
    run(report=hostile)(members)
    ann = store.add_user("ann", None).id
    (number,) = import_profile(store, home, ann, write(tmp_path / "x.zip", members)).versions
    assert store.version(ann, number).report == {"policy": {"kl": 1.5}} == store.list_runs(ann)[0].report
