"""What every `bench` ends with: a table to read, a JSON of stable names, and a plot, from the same figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from data.home import CHECKOUT

RESULTS = CHECKOUT / "docs" / "benchmarks"


@dataclass(frozen=True)
class Result:
    """`figures` and `intervals` have names that other programs may rely on; `limits` are what is to be reached."""

    bench: str
    model: str | None
    settings: Mapping[str, Any]
    figures: Mapping[str, float]
    seconds: float
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "bench": self.bench,
            "machine": machine(),
            "model": self.model,
            "settings": dict(self.settings),
            "figures": {name: round(value, 4) for name, value in self.figures.items()},
            "intervals": {name: [round(low, 4), round(high, 4)] for name, (low, high) in self.intervals.items()},
            "seconds": round(self.seconds, 1),
        }


def machine() -> dict[str, Any]:
    """What a reader needs to place the figures; nothing that names this machine."""
    import torch

    return {
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "processor": platform.machine(),
        "python": platform.python_version(),
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
    }


def report(result: Result, options: argparse.Namespace) -> None:
    """Print the result (JSON with --json) and write DIR/<bench>.json beside a plot; DIR is --out or docs/benchmarks.

    A --quick run without --out writes nothing: it must not replace the figures of a whole one.
    """
    values = result.as_json()
    out = Path(options.out).expanduser() if options.out else None if options.quick else RESULTS
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{result.bench}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
        plot(result, out / f"{result.bench}.svg")
    if options.json:
        print(json.dumps(values))
        return
    console = Console()
    console.print(table(result))
    if out is not None:
        console.print(f"Wrote {out / result.bench}.json and .svg")


def table(result: Result) -> Table:
    shown = Table(title=f"bench {result.bench} ({result.seconds:.0f} s)")
    columns = ["figure", "value"] + (["interval"] if result.intervals else []) + (["reach"] if result.limits else [])
    for column in columns:
        shown.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in result.figures.items():
        row = [name, f"{value:.4g}"]
        if result.intervals:
            low, high = result.intervals.get(name, (None, None))
            row.append("" if low is None else f"{low:.4g} to {high:.4g}")
        if result.limits:
            row.append(f"<= {result.limits[name]:g}" if name in result.limits else "")
        shown.add_row(*row)
    return shown


def plot(result: Result, path: Path) -> None:
    """Bars of the figures, with what is to be reached as a mark."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "attune"  # the same figures give the same file
    from matplotlib import pyplot

    names = list(result.figures)
    values = [result.figures[name] for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.35 * len(names) + 1))
    axes.barh(names, values, color="#0f766e")
    for i, name in enumerate(names):
        if name in result.limits:
            axes.plot([result.limits[name]] * 2, [i - 0.4, i + 0.4], color="#b91c1c", label="reach" if i == 0 else None)
    axes.invert_yaxis()
    axes.set_title(f"bench {result.bench}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
