"""`backup`: the whole database in one file, while Attune runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from assistant.commands.opened import opened_store, show
from data.errors import Invalid, NotFound


def backup(options: argparse.Namespace) -> int:
    out = Path(options.out).expanduser()
    if out.is_dir():
        raise Invalid(f"{out} is a folder; name a file, such as {out / 'attune-backup.db'}.", param="out")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"There is no folder {out.absolute().parent} to write the backup into.")
    with opened_store(options) as (home, store):
        if out.absolute().is_relative_to(home.root.absolute()):
            raise Invalid(f"{out} is inside the home folder; a backup belongs elsewhere.", param="out")
        store.backup(out)
    size = out.stat().st_size
    show(options, {"file": str(out), "bytes": size}, lambda: f"Wrote {out} ({size / 2**20:.1f} MB): everybody's data.")
    return 0
