"""Counts over everybody, for the server's metrics: numbers alone, no person's name or text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from data.store.connection import Connected
from data.store.feedback import FALLEN
from data.types import BASE_VERSION, FeedbackKind, RunState


@dataclass(frozen=True)
class HomeTotals:
    """`feedback` that stands, by kind; `runs` by state; `live` people by the version that answers them."""

    people: int
    feedback: dict[str, int]
    runs: dict[str, int]
    live: dict[int, int]


class Totals(Connected):
    """The part of the store that counts everything at once."""

    def home_totals(self) -> HomeTotals:
        """Every kind and state is there, zeros included; of the versions, the base and those that are live."""
        with self._snapshot() as db:
            people = db.execute("SELECT count(*) FROM users").fetchone()[0]
            feedback = db.execute(
                f"SELECT kind, count(*) FROM feedback WHERE id NOT IN ({FALLEN}) GROUP BY kind"
            ).fetchall()
            runs = db.execute("SELECT state, count(*) FROM learning_runs GROUP BY state").fetchall()
            live = db.execute(
                "SELECT coalesce((SELECT version FROM publications WHERE user_id = users.id"
                f" ORDER BY seq DESC LIMIT 1), {BASE_VERSION}) AS version, count(*) FROM users GROUP BY 1"
            ).fetchall()
        return HomeTotals(
            people=people,
            feedback=dict.fromkeys(get_args(FeedbackKind), 0) | {row[0]: row[1] for row in feedback},
            runs=dict.fromkeys(get_args(RunState), 0) | {row[0]: row[1] for row in runs},
            live={BASE_VERSION: 0} | {row[0]: row[1] for row in live},
        )
