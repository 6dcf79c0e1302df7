"""Publication: files before the row, and nothing live that the person took back, cancelled or left meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.adapter_files import CARD, adapter_sha256
from data.errors import Conflict, TakenBack
from data.home import Home
from data.store import Store
from data.types import AdapterVersion, FeedbackUse, LearningRun
from learner.config import LoraSettings
from learner.modeling.base import BaseModel
from learner.publish import KEPT_VERSIONS, publish
from learner.reward.design import build_design
from learner.reward.model import fit
from learner.update import Candidate


class Update:
    """A run at work on one rating, and the candidate that it has made."""

    def __init__(self, folder: Path, base: BaseModel) -> None:
        self.home = Home(folder).create()
        self.store = Store(self.home)
        self.base = base
        self.user = self.store.ensure_user().id
        self.conversation = self.store.create_conversation(self.user, "Talk").id
        asked = self.store.add_message(self.user, self.conversation, None, "user", "Hello?")
        reply = self.store.add_message(self.user, self.conversation, asked.id, "assistant", "Hello.")
        self.rating = self.store.add_feedback(self.user, "stars", 5, message_id=reply.id)
        base.add_adapter("made", LoraSettings())
        self.weights = base.adapter_state("made")
        base.remove_adapter("made")

    def begin(self) -> LearningRun:
        run = self.store.queue_run(self.user, "manual")
        run = self.store.start_run(run.id, self.rating.id)
        self.store.record_feedback_use(run.id, [FeedbackUse(self.rating.id, "train")])
        return run

    def publish(self, run: LearningRun, parent: int = 0, verdict: str = "promoted") -> None:
        candidate = Candidate(
            verdict, "Better.", {"win": 0.8}, (), fit(build_design([], {})), self.weights, LoraSettings()
        )  # type: ignore[arg-type]
        publish(self.home, self.store, run, candidate, self.base.spec, self.base.adapter_targets(), parent)

    def files(self) -> list[str]:
        root = self.home.profile_dir(self.user)
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.fixture
def update(tmp_path: Path, tiny_base: BaseModel):
    update = Update(tmp_path / "home", tiny_base)
    yield update
    update.store.close()


def test_a_promoted_candidate_is_on_disk_and_live_and_its_run_has_ended(update: Update) -> None:
    run = update.begin()
    update.publish(run)
    version = update.store.version(update.user, 1)
    folder = update.home.adapter_dir(update.user, 1)
    assert update.store.live_version(update.user) == 1
    assert (version.status, version.sha256) == ("accepted", adapter_sha256(folder))
    card = json.loads((folder / CARD).read_text())
    assert (card["version"], card["parent"], card["reason"]) == (1, 0, "Better.")
    assert update.home.reward_dir(update.user, 1).is_dir()
    ended = update.store.run(update.user, run.id)
    assert (ended.state, ended.version) == ("promoted", 1)
    assert update.store.verify() == [] and not any(".new-" in name for name in update.files())
    update.base.load_adapter("again", folder)
    update.base.remove_adapter("again")


def test_a_rejected_candidate_leaves_its_report_and_no_file(update: Update) -> None:
    update.publish(update.begin(), verdict="rejected")
    version = update.store.version(update.user, 1)
    assert (version.status, version.report, version.has_weights) == ("rejected", {"win": 0.8}, False)
    assert update.files() == [] and update.store.live_version(update.user) == 0


def test_a_number_that_was_taken_meanwhile_is_not_written_over(update: Update) -> None:
    update.publish(update.begin())
    before = adapter_sha256(update.home.adapter_dir(update.user, 1))
    key = next(iter(update.weights))
    update.weights = {**update.weights, key: update.weights[key] + 1}
    update.publish(update.begin(), parent=1)
    assert adapter_sha256(update.home.adapter_dir(update.user, 1)) == before
    assert update.store.live_version(update.user) == 2 and update.store.verify() == []


@pytest.mark.parametrize("how", ["retracted", "conversation deleted"])
def test_what_was_taken_back_during_the_update_is_in_no_version(update: Update, how: str) -> None:
    run = update.begin()
    if how == "retracted":
        update.store.retract_feedback(update.user, update.rating.id)
    else:
        update.store.delete_conversation(update.user, update.conversation)
    with pytest.raises(TakenBack, match="You took back a rating during the update; it begins again"):
        update.publish(run)
    assert update.store.versions(update.user) == [] and update.files() == []
    assert update.store.live_version(update.user) == 0


def test_nothing_goes_live_behind_a_persons_back(update: Update) -> None:
    update.publish(update.begin())
    run = update.begin()
    update.store.publish(update.user, 0, "rollback")
    before = update.files()
    with pytest.raises(Conflict, match="Another version was chosen"):
        update.publish(run, parent=1)
    update.store.request_cancel(update.user, run.id)
    with pytest.raises(Conflict, match="cancelled"):
        update.publish(run, parent=0)
    assert update.store.live_version(update.user) == 0 and update.files() == before


def test_only_the_newest_weights_and_the_live_ones_are_kept(update: Update) -> None:
    for parent in range(KEPT_VERSIONS + 2):
        update.publish(update.begin(), parent=parent)
    kept = [v.number for v in update.store.versions(update.user) if v.has_weights]
    assert kept == list(range(3, KEPT_VERSIONS + 3))
    assert update.store.verify() == []


def test_what_automatic_rollback_goes_back_to_is_kept(update: Update) -> None:
    """A version is watched beside its parent, however many others were accepted between the two."""
    for parent in range(KEPT_VERSIONS + 1):
        update.publish(update.begin(), parent)
    update.store.publish(update.user, 2, "rollback")
    update.publish(update.begin(), parent=2)
    held = [version.number for version in update.store.versions(update.user) if version.has_weights]
    assert held == [2, *range(3, KEPT_VERSIONS + 3)]
    assert update.home.adapter_dir(update.user, 2).is_dir() and update.store.verify() == []


def test_a_learner_that_dies_between_the_files_and_their_row_publishes_nothing(
    update: Update, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = update.store.record_version

    def dying(*arguments: Any, put_files: Callable[[int], None], **more: Any) -> AdapterVersion:
        def put_and_die(number: int) -> None:
            put_files(number)
            raise KeyboardInterrupt

        return record(*arguments, put_files=put_and_die, **more)

    run = update.begin()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(update.store, "record_version", dying)
        update.publish(run)
    assert update.store.versions(update.user) == [] and update.store.live_version(update.user) == 0
    assert update.store.run(update.user, run.id).state == "running" and update.files() != []
    key = next(iter(update.weights))
    update.weights = {**update.weights, key: update.weights[key] + 1}
    update.publish(run)  # the same number, over what was left there
    version = update.store.version(update.user, 1)
    assert version.sha256 == adapter_sha256(update.home.adapter_dir(update.user, 1))
    assert update.store.live_version(update.user) == 1 and update.store.verify() == []
