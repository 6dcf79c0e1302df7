"""`versions` and `rollback`: which adapters there are, and which one answers."""

from __future__ import annotations

import argparse

from assistant.commands.opened import opened, show
from data.store import Store
from data.types import BASE_VERSION


def version_rows(store: Store, user_id: str) -> list[dict[str, object]]:
    """Every version as plain values, oldest first; the base model is version 0."""
    live = store.live_version(user_id)
    base = {"version": BASE_VERSION, "status": "base", "parent": None, "created": None}
    rows: list[dict[str, object]] = [{**base, "live": live == BASE_VERSION}]
    for version in sorted(store.versions(user_id), key=lambda version: version.number):
        rows.append(
            {
                "version": version.number,
                "status": version.status,
                "parent": version.parent,
                "created": version.created_at,
                "live": version.number == live,
            }
        )
    return rows


def versions(options: argparse.Namespace) -> int:
    with opened(options) as this:
        rows = version_rows(this.store, this.user.id)

    def as_text() -> str:
        lines = []
        for row in rows:
            made = f"{row['status']}, from version {row['parent']}, {row['created']}"
            what = "the base model" if row["version"] == BASE_VERSION else made
            lines.append(f"{'*' if row['live'] else ' '} {row['version']:>3}  {what}")
        return "\n".join(lines)

    show(options, {"user": this.user.name, "versions": rows}, as_text)
    return 0


def rollback(options: argparse.Namespace) -> int:
    with opened(options) as this:
        this.store.publish(this.user.id, options.to, "rollback")
        live = this.store.live_version(this.user.id)
    name = "the base model" if live == BASE_VERSION else f"version {live}"
    show(options, {"user": this.user.name, "live_version": live}, lambda: f"Live from now on: {name}.")
    return 0
