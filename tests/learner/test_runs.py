"""What a run leaves behind, however it ends: no base model in memory, and no run that nobody carries out."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.errors import AttuneError
from data.home import Home
from data.schema import migrate
from data.store import Store
from data.types import LearningRun
from learner import memory, worker
from learner.policy.task import LearningError
from learner.worker import Learner
from tests.launched import wait_for
from tests.learner.conftest import at_work


@pytest.mark.parametrize("how", ["abstained", "failed"])
def test_the_base_is_gone_when_memory_is_given_back(
    home_with_model: Callable[[str], Home], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    home = home_with_model("home")
    migrate(home)
    store = Store(home)
    loaded: list[weakref.ref[Any]] = []
    there: list[bool] = []
    load, give_back, update = worker.load_base, memory.give_back, worker.update

    def load_base(*arguments: Any) -> Any:
        base = load(*arguments)
        loaded.append(weakref.ref(base))
        return base

    def gave_back() -> None:
        give_back()
        there.extend(base() is not None for base in loaded)

    def updated(*arguments: Any) -> Any:
        candidate = update(*arguments)
        if how == "failed":
            raise LearningError("It went wrong.")
        return candidate

    monkeypatch.setattr(worker, "load_base", load_base)
    monkeypatch.setattr(memory, "give_back", gave_back)
    monkeypatch.setattr(worker, "update", updated)
    run = store.queue_run(store.ensure_user().id, "manual")
    assert Learner(home, store, "embedded").run(run, lambda *_: None, threading.Event()).state == how
    assert len(loaded) == 1 and there == [False]
    store.close()


def test_an_end_that_could_not_be_stored_is_stored_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store, own = Store(home), Store(home)
    user = store.ensure_user().id
    run = store.queue_run(user, "manual")
    finish, full = own.finish_run, [True]

    def no_model(*_: Any) -> None:
        raise LearningError("There is no model.")

    def finish_run(*arguments: Any, **more: Any) -> LearningRun:
        if full and full.pop():
            raise AttuneError("The disk is full.")
        return finish(*arguments, **more)

    monkeypatch.setattr(worker, "load_base", no_model)
    monkeypatch.setattr(own, "finish_run", finish_run)
    with at_work(home, own):
        wait_for(lambda: store.run(user, run.id).state == "failed", 30, "the run ends")
        assert not full and store.run(user, run.id).reason == "There is no model."
        assert store.queue_run(user, "manual").state == "queued"
    store.close()
