"""What earlier updates asked is neither asked of the same feedback again nor forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data.home import Home
from data.schema import migrate
from data.store import Store
from data.types import Evidence
from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Cancelled, Unlimited
from learner.snapshot import Snapshot
from learner.update import update
from learner.worker import Learner
from tests.learner.test_muted import BASE_REPLIES, EndsAtPractice, edits_out_emoji

PIECES = len(edits_out_emoji().observations)


def test_the_same_feedback_gets_no_second_chance(tiny_base: BaseModel) -> None:
    config = LearnerConfig()
    snapshot = Snapshot(edits_out_emoji(), BASE_REPLIES, tested_before=PIECES)
    again = update(snapshot, tiny_base, config, EndsAtPractice())
    assert again.verdict == "abstained" and "no more of them now" in again.reason
    assert again.report["evidence"]["alpha"] == 0
    for before, found in ((PIECES - 20, False), (PIECES, True)):
        with pytest.raises(Cancelled):  # there is something to learn
            snapshot = Snapshot(edits_out_emoji(), BASE_REPLIES, tested_before=before, found_before=found)
            update(snapshot, tiny_base, config, EndsAtPractice())


def test_the_worker_finds_it_in_the_reports_of_earlier_runs(tmp_path: Path, tiny_base: BaseModel) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    learner = Learner(home, store, "embedded")

    def after(report: dict[str, Any]) -> tuple[int, bool]:
        store.finish_run(store.queue_run(user, "manual").id, "abstained", report=report)
        run = store.queue_run(user, "manual")
        nothing = Evidence((), (), None)
        found = learner.snapshot(run, nothing, tiny_base, LearnerConfig(), Unlimited())
        store.request_cancel(user, run.id)
        return found.tested_before, found.found_before

    def tested(pieces: int, exchanges: int, learnable: bool) -> dict[str, Any]:
        return {"evidence": {"observations": pieces, "exchanges": exchanges, "learnable": learnable}}

    assert after({}) == (0, False)
    assert after(tested(6, 0, False)) == (0, False)  # too little to test anything
    assert after(tested(40, 499, False)) == (40, False)
    assert after(tested(38, 499, True)) == (40, True)
    assert after(tested(60, 499, False)) == (60, True)
    store.close()
