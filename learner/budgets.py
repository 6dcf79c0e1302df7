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

    def left_s(self) -> float:
        """Of all budgets together, in seconds; asking begins none of them."""
        now = time.monotonic()
        passed = {budget: now - began for budget, began in self._asked.items()}
        return sum(max(0.0, seconds - passed.get(budget, 0.0)) for budget, seconds in self._budget_s.items())

    def elapsed_s(self) -> float:
        return time.monotonic() - self._began
