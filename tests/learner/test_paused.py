"""Somebody who pauses learning: their update waits, also one that was under way, and nobody else's does. Somebody who
switches it off: what began by itself ends."""

from __future__ import annotations

import threading
from collections.abc import Callable

from data.home import Home
from data.schema import migrate
from data.store import Store
from learner.worker import Learner
from tests.launched import wait_for
from tests.learner.conftest import at_work

ENDED = "abstained"  # there is nothing to learn from


def test_a_pause_leaves_the_update_that_is_under_way(home_with_model: Callable[[str], Home]) -> None:
    home = home_with_model("home")
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    run = store.queue_run(user, "manual")

    def press_pause(phase: str, share: float) -> None:
        store.update_settings(user, {"paused": True})

    for _ in range(3):  # it is no failed attempt, however often
        left = Learner(home, store, "embedded").run(run, press_pause, threading.Event())
        assert (left.state, left.phase, left.progress, left.reason) == ("queued", "", 0.0, "")
    learner = Learner(home, store, "embedded")
    assert learner.learn_now(user, lambda *_: None).id == run.id  # asking for it ends the pause
    assert store.run(user, run.id).state == ENDED and not store.settings(user)["paused"]
    store.close()


def test_whoever_paused_waits_and_others_do_not(home_with_model: Callable[[str], Home]) -> None:
    home = home_with_model("home")
    migrate(home)
    store = Store(home)
    resting, other = store.ensure_user().id, store.add_user("other", None).id
    store.update_settings(resting, {"paused": True})
    first, second = store.queue_run(resting, "manual"), store.queue_run(other, "manual")
    with at_work(home, Store(home)):
        wait_for(lambda: store.run(other, second.id).state == ENDED, 60, "the other's update ends")
        assert store.run(resting, first.id).started_at is None
        store.update_settings(resting, {"paused": False})
        wait_for(lambda: store.run(resting, first.id).state == ENDED, 60, "the paused one's update begins")
    store.close()


def test_switched_off_ends_what_began_by_itself_and_nothing_that_was_asked_for(
    home_with_model: Callable[[str], Home],
) -> None:
    home = home_with_model("home")
    migrate(home)
    store = Store(home)
    user, other = store.ensure_user().id, store.add_user("other", None).id
    under_way = store.queue_run(user, "automatic")

    def switch_off(phase: str, share: float) -> None:
        store.update_settings(user, {"learning": False})

    ended = Learner(home, store, "embedded").run(under_way, switch_off, threading.Event())
    assert (ended.state, ended.reason) == ("cancelled", "Learning was switched off; nothing of it was kept.")
    store.update_settings(other, {"learning": False})
    waiting, asked_for = store.queue_run(user, "automatic"), store.queue_run(other, "manual")
    with at_work(home, Store(home)):
        wait_for(lambda: store.run(user, waiting.id).state == "cancelled", 60, "what waits ends")
        wait_for(lambda: store.run(other, asked_for.id).state == ENDED, 60, "what was asked for is carried out")
        assert store.run(user, waiting.id).started_at is None
    store.close()
