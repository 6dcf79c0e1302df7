"""`backup`: the whole database in one file, while Attune runs."""

from __future__ import annotations

import argparse

from assistant.commands.opened import opened_store, output_file, show
from data.errors import Invalid


def backup(options: argparse.Namespace) -> int:
    out = output_file(options.out, "attune-backup.db")
    with opened_store(options) as (home, store):
        if out.absolute().is_relative_to(home.root.absolute()):
            raise Invalid(f"{out} is inside the home folder; a backup belongs elsewhere.", param="out")
        store.backup(out)
    size = out.stat().st_size
    show(options, {"file": str(out), "bytes": size}, lambda: f"Wrote {out} ({size / 2**20:.1f} MB): everybody's data.")
    return 0
