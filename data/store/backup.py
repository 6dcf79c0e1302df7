"""A copy of the whole database while everybody goes on working."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from data.errors import AttuneError
from data.store.connection import Connected


class Backup(Connected):
    """The part of the store that copies itself."""

    def backup(self, out: Path) -> None:
        """Write the database, as it is at one moment, to the file `out`; one that is there is replaced only when the
        copy is whole and passes SQLite's check. To go back: stop Attune and put it where attune.db was."""
        part = out.with_name(f"{out.name}.part")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
            with closing(sqlite3.connect(part)) as copy:
                self._db().backup(copy)
                found = copy.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise AttuneError(f"The copy is not sound ({found}); {out} was not written.")
            os.replace(part, out)
        except (OSError, sqlite3.Error) as error:
            raise AttuneError(f"The backup {out} could not be written: {error}.") from error
        finally:
            with suppress(OSError):
                part.unlink()
