"""What a long computation tells while it runs, and how it learns that it should end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Cancelled(Exception):
    """The person cancelled the update: nothing of it is kept."""


class Monitor(Protocol):
    """The learner's core has no clock and no database: whoever runs it passes one of these."""

    def report(self, phase: str, share: float, metrics: Mapping[str, float]) -> None:
        """`share` 0..1 of the phase is done; `metrics` under the literature's names. May raise Cancelled."""

    def seconds_left(self, budget: str) -> float:
        """Seconds left of the budget "learning" or "gate"; it starts with its first question."""

    def elapsed_s(self) -> float:
        """Seconds since the computation began."""


class Unlimited:
    """A monitor that neither tells nor limits anything, for tests and measurements."""

    def report(self, phase: str, share: float, metrics: Mapping[str, float]) -> None:
        pass

    def seconds_left(self, budget: str) -> float:
        return float("inf")

    def elapsed_s(self) -> float:
        return 0.0
