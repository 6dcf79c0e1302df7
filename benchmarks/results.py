"""What every `bench` ends with: a table to read, a JSON of stable names, and a plot, from the same figures."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Mapping, Sequence
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
    """`figures` and `intervals` have names that other programs may rely on.

    `limits` are to be reached from above, `at_least` from below. `curves` (x, y, low, high) are drawn as lines with
    their intervals where there are any, with `level` as a dashed line; else the figures are drawn as bars.
    """

    bench: str
    model: str | None
    settings: Mapping[str, Any]
    figures: Mapping[str, float]
    seconds: float
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    at_least: Mapping[str, float] = field(default_factory=dict)
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]] = field(default_factory=dict)
    curve_axes: tuple[str, str] = ("", "")
    level: tuple[str, float] | None = None

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
    reach = {name: f"<= {bound:g}" for name, bound in result.limits.items()}
    reach |= {name: f">= {bound:g}" for name, bound in result.at_least.items()}
    columns = ["figure", "value"] + (["interval"] if result.intervals else []) + (["reach"] if reach else [])
    for column in columns:
        shown.add_column(column, justify="left" if column == "figure" else "right")
    for name, value in result.figures.items():
        row = [name, f"{value:.4g}"]
        if result.intervals:
            low, high = result.intervals.get(name, (None, None))
            row.append("" if low is None else f"{low:.4g} to {high:.4g}")
        if reach:
            row.append(reach.get(name, ""))
        shown.add_row(*row)
    return shown


def plot(result: Result, path: Path) -> None:
    """The figures as an SVG file; the same figures give the same file."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "attune"
    from matplotlib import pyplot

    figure, axes = _lines(result, pyplot) if result.curves else _bars(result, pyplot)
    axes.set_title(f"bench {result.bench}")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _lines(result: Result, pyplot: Any) -> tuple[Any, Any]:
    figure, axes = pyplot.subplots(figsize=(7, 4.2))
    for label, points in result.curves.items():
        x, y, low, high = zip(*points, strict=True)
        (line,) = axes.plot(x, y, marker="o", label=label)
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
    if result.level:
        axes.axhline(result.level[1], color="#64748b", linestyle="--", label=result.level[0])
    axes.set_xlabel(result.curve_axes[0])
    axes.set_ylabel(result.curve_axes[1])
    axes.legend(frameon=False)
    return figure, axes


def _bars(result: Result, pyplot: Any) -> tuple[Any, Any]:
    """With what is to be reached as a mark."""
    names = list(result.figures)
    values = [result.figures[name] for name in names]
    figure, axes = pyplot.subplots(figsize=(7, 0.35 * len(names) + 1))
    axes.barh(names, values, color="#0f766e")
    for i, name in enumerate(names):
        if name in result.limits:
            axes.plot([result.limits[name]] * 2, [i - 0.4, i + 0.4], color="#b91c1c", label="reach" if i == 0 else None)
    axes.invert_yaxis()
    return figure, axes
