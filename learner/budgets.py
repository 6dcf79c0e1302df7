"""The clock of an update: how long it has run, and what is left of its time budgets."""

from __future__ import annotations

import time

from learner.config import LearnerConfig


class Budgets:
    """The part of a Monitor that has to do with time. A budget begins with the first question about it."""

    def __init__(self, config: LearnerConfig) -> None:
        self._budget_s = {"learning": 60 * config.budget_minutes, "gate": 60 * config.gate_minutes}
        self._began = time.monotonic()
        self._asked: dict[str, float] = {}

    def seconds_left(self, budget: str) -> float:
        began = self._asked.setdefault(budget, time.monotonic())
        return self._budget_s[budget] - (time.monotonic() - began)

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began
