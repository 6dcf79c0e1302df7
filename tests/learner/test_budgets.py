"""What is left of an update's time, as the store tells it."""

from __future__ import annotations

import pytest

from learner import budgets
from learner.budgets import Budgets
from learner.config import LearnerConfig


def test_what_is_left_begins_no_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(budgets.time, "monotonic", lambda: now[0])
    clock = Budgets(LearnerConfig(budget_minutes=2.0, gate_minutes=1.0))
    now[0] += 30
    assert clock.left_s() == 180  # neither has begun: the base's replies come before
    assert clock.seconds_left("learning") == 120
    now[0] += 50
    assert clock.left_s() == 130
    now[0] += 100  # learning is over its time: what it took too much is not the gate's
    assert clock.seconds_left("learning") == -30 and clock.left_s() == 60
    assert clock.seconds_left("gate") == 60
    now[0] += 15
    assert clock.left_s() == 45
