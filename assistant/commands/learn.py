"""`learn`: one learning update in the foreground, with a progress bar, ending in its report."""

from __future__ import annotations

import argparse
import os
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from assistant.commands.models import model_of, prepare_model
from assistant.commands.opened import opened, show
from assistant.learner_state import run_values
from assistant.supervisor import lower_priority
from data.errors import AttuneError
from data.store import Store
from data.types import LearningRun


def learn(options: argparse.Namespace) -> int:
    with opened(options) as this:
        model = model_of(options, this.store)
        prepare_model(model, this.home)
        from learner.worker import Learner

        lower_priority(os.getpid())  # a chat may be running beside it
        learner = Learner(this.home, this.store, model, options.device)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left about"),
            TimeRemainingColumn(),
        )
        console = Console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("starting", total=1.0)
            try:
                run = learner.learn_now(
                    this.user.id, lambda phase, share: bar.update(task, description=phase, completed=share)
                )
            except KeyboardInterrupt:
                end_interrupted_run(this.store, this.user.id)
                raise
    if run.state == "failed":
        raise AttuneError(run.reason or "The update failed.")
    show(options, run_values(run, this.user.name), lambda: report_text(run))
    return 0


def end_interrupted_run(store: Store, user_id: str) -> None:
    """Ctrl-C means it: the run ends here, instead of starting again with the next learner."""
    for run in store.list_runs(user_id, limit=1):
        if run.state in ("queued", "running"):
            store.finish_run(run.id, "cancelled", reason="Interrupted on the command line; nothing was kept.")


def report_text(run: LearningRun) -> str:
    """What came of a run, in words: the verdict, then the report's figures one a line."""
    verdict = {
        "promoted": f"Promoted: version {run.version} is live.",
        "rejected": "Rejected: the live version stays.",
        "abstained": "Abstained: nothing was trained.",
        "cancelled": "Cancelled.",
        "queued": "Paused: it begins again when learning is resumed.",
    }.get(run.state, run.state.capitalize() + ".")
    lines = [f"{verdict} {run.reason}".strip()]
    lines += [f"  {name}: {value}" for name, value in flattened(run.report)]
    return "\n".join(lines)


def flattened(report: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested figures as `name.inner: value` rows; long lists are left to --json."""
    rows: list[tuple[str, str]] = []
    for name, value in dict(report).items():
        if isinstance(value, dict):
            rows += flattened(value, f"{prefix}{name}.")
        elif isinstance(value, float):
            rows.append((f"{prefix}{name}", f"{value:.4g}"))
        elif not isinstance(value, list | tuple):
            rows.append((f"{prefix}{name}", str(value)))
    return rows
