"""Gzipped files of rows that ship with the project: JSON a line, of which the first says what the rest was made with.

They are read by line ends alone, for a text may hold U+2028, and written to the same bytes for the same rows.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """What the rows were made with, then the rows, as they are asked for."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_rows(path: Path, made_with: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (made_with, *rows))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
