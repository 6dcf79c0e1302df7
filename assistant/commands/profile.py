"""`export`, `import`, `export-data`, `reset`, `undo-reset`: everything one person has, as a whole."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from assistant.commands.opened import confirm, opened, output_file, show
from data import datasets, profile
from data.errors import NotFound
from data.types import BASE_VERSION


def counted(counts: dict[str, Any]) -> str:
    """`{"messages": 1, "feedback": 3, "notes": 0}` -> "1 message, 3 pieces of feedback"."""
    parts = []
    for name, number in counts.items():
        plural = "pieces of feedback" if name == "feedback" else name.replace("_", " ")
        singular = "piece of feedback" if name == "feedback" else plural.removesuffix("s")
        if number:
            parts.append(f"{number} {singular if number == 1 else plural}")
    return ", ".join(parts) or "nothing"


def export(options: argparse.Namespace) -> int:
    out = output_file(options.out, "attune.zip")
    with opened(options) as this:
        counts = profile.export_profile(this.store, this.home, this.user.id, out)
    show(options, {"file": str(out), "counts": counts}, lambda: f"Wrote {out}: {counted(counts)}.")
    return 0


def import_(options: argparse.Namespace) -> int:
    file = Path(options.file).expanduser()
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    with opened(options) as this:
        report = profile.import_profile(this.store, this.home, this.user.id, file)

    def as_text() -> str:
        lines = [f"Imported {counted(dict(report.counts))}.", *report.notes]
        if report.versions and report.loadable:
            newest = max(report.versions)
            lines.append(f"Nothing of it is live yet; `python launch.py rollback --to {newest}` makes it so.")
        return "\n".join(lines)

    show(options, asdict(report), as_text)
    return 0


def export_data(options: argparse.Namespace) -> int:
    out = Path(options.out).expanduser()
    with opened(options) as this:
        counts = datasets.export_data(this.store, this.user.id, options.format, options.trainer, out)

    def as_text() -> str:
        rows = "1 row" if counts["rows"] == 1 else f"{counts['rows']} rows"
        left = counts["left_out"]
        why = f" {left} left out: in them you and the assistant do not take turns." if left else ""
        return f"Wrote {out}: {rows}.{why}"

    show(options, {"out": str(out), **counts}, as_text)
    return 0


RESET_MEANS = {
    "model": "the adapter (the base model answers again; feedback stays)",
    "feedback": "conversations, the feedback on them and the adapter",
    "all": "conversations, feedback, notes, settings and the adapter",
}


def reset(options: argparse.Namespace) -> int:
    with opened(options) as this:
        if not options.yes:
            how = "for good" if options.erase_now else "(undo-reset takes it back for 30 days)"
            confirm(f"This removes {RESET_MEANS[options.what]} of {this.user.name} {how}. Go on? [y/N] ")
        result = profile.reset(this.store, this.home, this.user.id, options.what, options.erase_now)
    undo = "" if options.erase_now else " `python launch.py undo-reset` takes it back."
    show(options, result, lambda: f"Removed {RESET_MEANS[options.what]}. {result['kept']}{undo}")
    return 0


def undo_reset(options: argparse.Namespace) -> int:
    with opened(options) as this:
        result = profile.undo_reset(this.store, this.home, this.user.id)
    live = result["live_version"]
    back = counted({name: number for name, number in result.items() if name != "live_version"})
    name = "the base model" if live == BASE_VERSION else f"version {live}"
    show(options, result, lambda: f"Taken back: {back}. Live again: {name}.")
    return 0
