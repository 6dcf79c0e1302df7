"""The numbers behind the Profile's plots; static/plots.js draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from data.reports import is_number
from data.store import Store
from data.types import AdapterVersion, LearningRun

DAYS_SHOWN = 30


def plots_view(
    store: Store, user_id: str, versions: Sequence[AdapterVersion], runs: Sequence[LearningRun]
) -> dict[str, Any]:
    """{"win_rates": by version, "practice": by round of the last run that practised, "ratings": by day}."""
    return {
        "win_rates": [found for version in versions if (found := _win_rate(version))],
        "practice": _practice(store, runs),
        "ratings": store.ratings_by_day(user_id, DAYS_SHOWN),
    }


def _win_rate(version: AdapterVersion) -> dict[str, Any] | None:
    policy = version.report.get("policy")
    policy = policy if isinstance(policy, dict) else {}
    rate, lower, upper = (policy.get(name) for name in ("win_rate", "win_rate_lower", "win_rate_upper"))
    if not is_number(rate) or not is_number(lower):
        return None
    # Reports of earlier releases know the gate's lower bound alone: the interval is then drawn up to the rate itself.
    upper = upper if is_number(upper) else rate
    return {"version": version.number, "status": version.status, "rate": rate, "lower": lower, "upper": upper}


def _practice(store: Store, runs: Sequence[LearningRun]) -> list[dict[str, float]]:
    """Reward and distance from the base in each round of PPO."""
    for run in runs:
        steps: dict[int, dict[str, float]] = {}
        for step, name, value in store.metrics(run.id):
            steps.setdefault(step, {})[name] = value
        rounds = [found for _, found in sorted(steps.items()) if "objective/scores" in found]
        if rounds:
            return [{"reward": r["objective/scores"], "kl": r.get("objective/kl", 0.0)} for r in rounds]
    return []
