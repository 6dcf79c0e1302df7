"""Feedback that cannot be read fails its own update, and the learner goes on to everybody else's."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from data.home import Home
from data.schema import migrate
from data.store import Store
from learner import worker
from learner.worker import Learner


def test_it_fails_the_update_of_its_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    run = store.queue_run(user, "manual")

    def unreadable(*_: object) -> None:
        raise ValueError("a row that no release has written")

    monkeypatch.setattr(worker, "load_evidence", unreadable)
    ended = Learner(home, store, "embedded").run(run, lambda *_: None, threading.Event())
    assert (ended.state, ended.reason) == ("failed", "ValueError: a row that no release has written")
    assert store.queued_runs() == [] and store.queue_run(user, "manual").state == "queued"
    store.close()
