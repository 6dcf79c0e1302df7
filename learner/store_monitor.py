"""Between a run and the store: how far the run is goes there, and what the person wants of it comes from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from data.store import Store
from learner.budgets import Budgets
from learner.config import LearnerConfig
from learner.monitor import Cancelled

# Shares of the whole bar; they follow the measured times of the default setting on two cores.
PHASES = {
    "base replies": 0.08, "reward model": 0.02, "more base replies": 0.15, "warm start": 0.1, "practice": 0.25,
    "policy optimisation": 0.17, "rehearsal": 0.03, "gate": 0.2,
}  # fmt: skip


class Stopped(BaseException):
    """The update is to be left, and to begin again later.

    Not an Exception: nothing on the way may take it for a failure.
    """


class StoreMonitor(Budgets):
    """Tells the store how far a run is, and the run when to end."""

    def __init__(
        self,
        store: Store,
        run_id: str,
        config: LearnerConfig,
        on_progress: Callable[[str, float], None],
        unwanted: Callable[[], bool],
        resting: Callable[[], bool],
    ) -> None:
        self._store, self._run_id, self._on_progress = store, run_id, on_progress
        self._unwanted, self._resting = unwanted, resting
        super().__init__(config)
        self._step = 0

    def report(self, phase: str, share: float, metrics: Mapping[str, float]) -> None:
        names = list(PHASES)
        before = sum(PHASES[name] for name in names[: names.index(phase)])
        progress = before + PHASES[phase] * share
        self._store.report_progress(self._run_id, phase, progress)
        if metrics:
            self._step += 1
            self._store.add_metrics(self._run_id, self._step, {**metrics, "time/left_s": self.left_s()})
        self._on_progress(phase, progress)
        if self._store.cancel_requested(self._run_id) or self._unwanted():
            raise Cancelled
        if self._resting():
            raise Stopped
