"""The background learner: notices when somebody's feedback is due, runs one update, publishes what the gate passed.

It shares nothing with the chat server but the home folder. One learner works on a home at a time (a lease with a
heartbeat); a run that a dead learner left behind is queued again once. The base model is loaded for a run and freed
after it.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil

from data.errors import AttuneError, Conflict, TakenBack
from data.evidence import load_evidence
from data.home import Home
from data.logs import LEVELS, set_up_logging
from data.prompts import context_key
from data.schema import migrate
from data.store import Store
from data.types import BASE_VERSION, Evidence, LearningRun, RunState, User
from learner import memory
from learner.base_replies import BaseReplies
from learner.config import LEARNER_SETTINGS, LearnerConfig, checked, with_overrides
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.modeling.loading import load_base
from learner.monitor import Cancelled, Monitor
from learner.policy.task import LearningError
from learner.publish import publish
from learner.reward.muting import STATED
from learner.snapshot import Snapshot
from learner.store_monitor import Stopped, StoreMonitor
from learner.update import Candidate, update

log = logging.getLogger("attune.learner")

LEASE_TTL_S = 60.0
HEARTBEAT_S = 10.0
POLL_S = 1.0
UNWANTED = "Learning was switched off; nothing of it was kept."


class Learner:
    """Runs updates for the people of one home."""

    def __init__(self, home: Home, store: Store, model: str, device: str = "auto") -> None:
        self.home, self.store, self.model, self.device = home, store, model, device
        self.owner = f"{socket.gethostname()}:{os.getpid()}"
        self.interruptible = False  # True while nothing is being written that must be whole

    # --- the loop ---

    def serve(self, stop: threading.Event) -> None:
        """Work until `stop` is set. Raises Conflict where another learner has the lease for good."""
        while not self.take_lease():
            if stop.wait(POLL_S):
                return
        try:
            with _Heartbeat(self.store, self.owner):
                while not stop.is_set():
                    self.take_over()
                    self.queue_due()
                    runs = (run for run in self.store.queued_runs() if not self.is_paused(run.user_id))
                    run = next(runs, None)
                    if run is not None and self.is_unwanted(run):
                        self._ended(run, "cancelled", UNWANTED)
                    elif run is not None:
                        self.run(run, lambda phase, share: None, stop)
                    stop.wait(POLL_S)
        finally:
            self.store.release_lease(self.owner)

    def take_lease(self) -> bool:
        """Take the lease if it is free, or if its holder was a process of this machine that is gone."""
        holder = self.store.lease_holder()
        if holder is not None:
            host, _, pid = holder.rpartition(":")
            if host == socket.gethostname() and pid.isdecimal() and not psutil.pid_exists(int(pid)):
                self.store.release_lease(holder)
        return self.store.acquire_lease(self.owner, LEASE_TTL_S)

    def take_over(self) -> None:
        """Runs that nobody carries out, left by a dead predecessor or an end that could not be stored: they are queued
        again (once)."""
        for run in self.store.fail_orphaned_runs("The learner stopped in the middle of this update, twice."):
            log.warning("run %s was left by a learner that stopped; it is now %s", run.id, run.state)

    def queue_due(self) -> None:
        for user in self.store.list_users():
            if self.is_due(user):
                try:
                    self.store.queue_run(user.id, "automatic")
                except Conflict:
                    pass  # one is queued or running already

    def is_due(self, user: User) -> bool:
        """Enough new feedback, and quiet for long enough that more is not just coming."""
        settings = self.store.settings(user.id)
        if not settings["learning"] or settings["paused"]:
            return False
        if self.store.new_feedback_count(user.id) < settings["learn_after"]:
            return False
        newest = self.store.newest_feedback_at(user.id)
        if newest is None:
            return False
        quiet_s = (datetime.now(UTC) - datetime.fromisoformat(newest)).total_seconds()
        return quiet_s >= 60 * float(settings["quiet_minutes"])

    def is_paused(self, user_id: str) -> bool:
        return bool(self.store.settings(user_id)["paused"])

    def is_unwanted(self, run: LearningRun) -> bool:
        """Whether it began by itself, and its person has switched off since that anything is learnt by itself."""
        return run.trigger == "automatic" and not self.store.settings(run.user_id)["learning"]

    def learn_now(self, user_id: str, on_progress: Callable[[str, float], None]) -> LearningRun:
        """One update in the foreground; it ends a pause. Raises Conflict where a background learner has the home."""
        if not self.take_lease():
            raise Conflict(
                f"Another learner ({self.store.lease_holder()}) works on this home: press 'Learn now' on the page, or "
                "stop Attune first."
            )
        try:
            with _Heartbeat(self.store, self.owner):
                self.take_over()
                queued = [run for run in self.store.queued_runs() if run.user_id == user_id]
                run = queued[0] if queued else self.store.queue_run(user_id, "manual")
                self.store.update_settings(user_id, {"paused": False})
                return self.run(run, on_progress, threading.Event())
        finally:
            self.store.release_lease(self.owner)

    # --- one run ---

    def run(self, run: LearningRun, on_progress: Callable[[str, float], None], stop: threading.Event) -> LearningRun:
        """Carry a queued run to its end; whatever goes wrong becomes the run's state and reason."""
        try:
            return self._run(run, on_progress, stop)
        finally:
            memory.give_back()  # here, where nothing of the run is left: not its snapshot, not the frames of its error

    def _run(self, run: LearningRun, on_progress: Callable[[str, float], None], stop: threading.Event) -> LearningRun:
        try:
            evidence = load_evidence(self.store, run.user_id)
            run = self.store.start_run(run.id, evidence.watermark)
        except AttuneError as error:  # cancelled in this very moment, or a reset took its feedback away
            log.info("run %s does not begin: %s", run.id, error)
            return self._ended(run, "cancelled", _one_line(error))
        except Exception as error:  # one person's rows that cannot be read must not keep everybody else from learning
            log.exception("run %s does not begin", run.id)
            return self._ended(run, "failed", f"{type(error).__name__}: {_one_line(error)}")
        log.info("run %s begins with %d observations", run.id, len(evidence.observations))
        user_id = run.user_id
        try:
            monitor = StoreMonitor(
                self.store, run.id, self.config(), on_progress, lambda: self.is_unwanted(run),
                lambda: stop.is_set() or self.is_paused(user_id),
            )  # fmt: skip
            ended = self._carry_out(run, evidence, monitor)
        except Cancelled:
            reason = UNWANTED if self.is_unwanted(run) else "Cancelled; nothing of it was kept."
            ended = self._ended(run, "cancelled", reason)
        except Stopped:  # the learner is to end, or this person's learning to rest: then the run begins again
            self.store.requeue_run(run.id)
            log.info("run %s is interrupted; it will start again", run.id)
            return self.store.run(run.user_id, run.id)
        except TakenBack as error:
            ended = self._ended(run, "cancelled", _one_line(error))
            self._queue_again(run)
        except (AttuneError, LearningError, OSError) as error:
            log.error("run %s failed: %s", run.id, _one_line(error))
            state: RunState = "cancelled" if self.store.cancel_requested(run.id) else "failed"
            ended = self._ended(run, state, _one_line(error))
        except Exception as error:
            log.exception("run %s failed", run.id)
            ended = self._ended(run, "failed", f"{type(error).__name__}: {_one_line(error)}")
        log.info("run %s ended: %s. %s", run.id, ended.state, ended.reason)
        return ended

    def _ended(self, run: LearningRun, state: RunState, reason: str) -> LearningRun:
        """The run as it ended; one that has ended already, or went with its person, is left as it is. Where that cannot
        be stored (a full disk), it stays as it was, and `take_over` begins it again when it can be."""
        try:
            return self.store.finish_run(run.id, state, reason=reason)
        except AttuneError as error:
            log.warning("run %s: that it ended (%s) is not stored: %s", run.id, state, error)
            return replace(run, state=state, reason=reason)

    def _queue_again(self, run: LearningRun) -> None:
        try:
            self.store.queue_run(run.user_id, run.trigger)
        except Conflict:
            pass  # one is queued already

    def config(self) -> LearnerConfig:
        """The defaults with this home's overrides (dotted names, in the home setting "learner")."""
        return checked(with_overrides(LearnerConfig(), self.store.home_setting(LEARNER_SETTINGS, {})))

    def _carry_out(self, run: LearningRun, evidence: Evidence, monitor: StoreMonitor) -> LearningRun:
        config = self.config()
        monitor.report("base replies", 0.0, {})
        base = load_base(self.model, self.home.models_dir, self.device)
        try:
            self.interruptible = True
            snapshot = self.snapshot(run, evidence, base, config, monitor)
            candidate = update(snapshot, base, config, monitor)
            self.interruptible = False
            return self._record(run, snapshot, candidate, base)
        finally:
            self.interruptible = False

    def snapshot(
        self, run: LearningRun, evidence: Evidence, base: BaseModel, config: LearnerConfig, monitor: Monitor
    ) -> Snapshot:
        number = self.store.live_version(run.user_id)
        live = None  # also for a version made for another base model: then the base is what answers here
        if number != BASE_VERSION and self.store.version(run.user_id, number).base_id == base.spec.id:
            live = lora.read_adapter(self.home.adapter_dir(run.user_id, number))
        earlier = [r for r in self.store.list_runs(run.user_id, limit=10_000) if r.id != run.id]
        tests = [r.report["evidence"] for r in earlier if r.report.get("evidence", {}).get("exchanges", 0) > 0]
        settings = self.store.settings(run.user_id)
        said = BaseReplies(self.store, run.id, base, config, monitor)
        asked = {context_key(o.context): o.context for o in evidence.observations}
        return Snapshot(
            evidence=evidence,
            base_replies=said.to(asked, config.base_replies, "base replies"),
            base_says=said.to,
            system_prompt=str(settings["system_prompt"]),
            reward_kind=settings["reward_model"],
            muted=tuple(name for name in STATED if name in settings["muted"]),
            live_version=number,
            live=live,
            tested_before=max((test["observations"] for test in tests), default=0),
            found_before=any(test["learnable"] for test in tests),
        )

    def _record(self, run: LearningRun, snapshot: Snapshot, candidate: Candidate, base: BaseModel) -> LearningRun:
        self.store.record_feedback_use(run.id, candidate.uses)
        if candidate.verdict == "abstained":
            return self.store.finish_run(run.id, "abstained", None, candidate.reason, candidate.report)
        publish(self.home, self.store, run, candidate, base.spec, base.adapter_targets(), snapshot.live_version)
        return self.store.run(run.user_id, run.id)


class _Heartbeat:
    """Keeps the lease alive from a thread of its own while the main one computes for minutes."""

    def __init__(self, store: Store, owner: str) -> None:
        self._store, self._owner = store, owner
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="lease", daemon=True)

    def __enter__(self) -> _Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _beat(self) -> None:
        alive_at = time.monotonic()
        while not self._stop.wait(HEARTBEAT_S):
            try:
                renewed = self._store.renew_lease(self._owner, LEASE_TTL_S)
            except Exception as error:  # a full disk, say: the lease still has some time to run
                log.warning("the lease could not be renewed: %s", error)
                renewed = time.monotonic() - alive_at < LEASE_TTL_S
            else:
                alive_at = time.monotonic()
            if not renewed:
                log.critical("the lease of this home is lost; ending before another learner begins")
                os._exit(1)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:500]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m learner.worker", description="The background learner of a home.")
    parser.add_argument("--home", required=True, type=Path)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--log-level", default="info", choices=LEVELS)
    parser.add_argument("--log-json", action="store_true")
    options = parser.parse_args()
    set_up_logging(options.log_level, as_json=options.log_json)
    home = Home.locate(str(options.home)).create()
    migrate(home)
    store = Store(home)
    stop = threading.Event()
    learner = Learner(home, store, options.model, options.device)

    def end(*_: object) -> None:
        stop.set()
        if learner.interruptible:  # an iteration takes a minute, and whoever asks does not wait that long
            learner.interruptible = False
            raise Stopped

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, end)
    try:
        learner.serve(stop)
    except AttuneError as error:
        raise SystemExit(str(error)) from error
    finally:
        store.close()


if __name__ == "__main__":
    main()
