"""What a person switched off reaches the update, and the update learns nothing from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from data.home import Home
from data.prompts import context_key
from data.schema import migrate
from data.store import Store
from data.types import Evidence, Reply
from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Cancelled, Unlimited
from learner.snapshot import Snapshot
from learner.update import update
from learner.worker import Learner
from tests.reward.people import observation

PLAIN = "Ten minutes in boiling water. Then cold water."


class EndsAtPractice(Unlimited):
    """Lets an update go until it has found something to learn: what comes then takes minutes."""

    def report(self, phase: str, share: float, metrics: object) -> None:
        if (phase, share) == ("reward model", 1.0):
            raise Cancelled


def edits_out_emoji() -> Evidence:
    said = [observation(i, "edit", [PLAIN, PLAIN + " 🎉"], prompt=f"Question {i}?") for i in range(40)]
    return Evidence(tuple(said), (), None)


BASE_REPLIES = {context_key(one.context): [Reply(PLAIN)] for one in edits_out_emoji().observations}


def test_an_update_finds_nothing_in_what_is_switched_off(tiny_base: BaseModel) -> None:
    config = LearnerConfig()
    with pytest.raises(Cancelled):  # there is something to learn
        update(Snapshot(edits_out_emoji(), BASE_REPLIES), tiny_base, config, EndsAtPractice())
    muted = update(Snapshot(edits_out_emoji(), BASE_REPLIES, muted=("emoji",)), tiny_base, config, EndsAtPractice())
    assert muted.verdict == "abstained" and "chance" in muted.reason
    with pytest.raises(Cancelled):  # something else was switched off
        update(Snapshot(edits_out_emoji(), BASE_REPLIES, muted=("hedges",)), tiny_base, config, EndsAtPractice())


def test_the_worker_takes_it_from_the_store(tmp_path: Path, tiny_base: BaseModel) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    store.update_settings(user, {"muted": ["of_a_newer_version", "emoji"]})
    run = store.queue_run(user, "manual")
    learner = Learner(home, store, "embedded")
    for switched, muted in ((None, ("emoji",)), ("hedges", ("emoji", "hedges"))):
        if switched:
            store.mute(user, switched, True)
        snapshot = learner.snapshot(run, Evidence((), (), None), tiny_base, LearnerConfig(), Unlimited())  # type: ignore[arg-type]
        assert sorted(snapshot.muted) == sorted(muted)
    store.close()
