"""`export-metrics`: what every update measured on its way, as TensorBoard reads it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from assistant.commands.opened import opened, show
from data.errors import Invalid, NotFound
from data.store import Store
from data.types import LearningRun


def export_metrics(options: argparse.Namespace) -> int:
    out = Path(options.out).expanduser()
    if out.exists() and not out.is_dir():
        raise Invalid(f"{out} is a file; name a folder.", param="out")
    with opened(options) as this:
        runs = this.store.list_runs(this.user.id, limit=10_000)
        if options.run is not None:
            runs = [run for run in runs if run.id == options.run]
            if not runs:
                raise NotFound(f"There is no run {options.run}; `status --json` lists the last ones.")
        written = write_events(this.store, runs, out)
    found = {"folder": str(out), "runs": written}
    show(options, found, lambda: f"Wrote {len(written)} runs: `tensorboard --logdir {out}` shows them.")
    return 0


def write_events(store: Store, runs: Sequence[LearningRun], out: Path) -> list[str]:
    """A folder of TensorBoard events for each run that measured anything; their names, oldest first."""
    from tensorboardX import SummaryWriter

    written = []
    for run in sorted(runs, key=lambda run: run.id):
        metrics = store.metrics(run.id)
        if not metrics:
            continue
        began_s = datetime.fromisoformat(run.started_at or run.queued_at).timestamp()
        writer = SummaryWriter(str(out / run.id))
        for step, name, value in metrics:
            writer.add_scalar(name, value, global_step=step, walltime=began_s + step)
        writer.close()
        written.append(run.id)
    return written
