"""Adapter folders: their hash, and writing a file so that it is whole or not there.

A version's folder is plain PEFT: adapter_model.safetensors, adapter_config.json, and our card.json.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
CARD = "card.json"


def file_sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def adapter_sha256(folder: Path) -> str:
    """The hash that a version's row carries: over its weights file alone."""
    return file_sha256(folder / WEIGHTS)


def fsync_folder(folder: Path) -> None:
    """Make every file of a folder, and the folder's own list of names, survive a power cut."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            _fsync(path)
    for path in [*(p for p in folder.rglob("*") if p.is_dir()), folder]:
        _fsync(path)


def _fsync(path: Path) -> None:
    # Windows has no directory handles to sync; there the rename itself is journalled.
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
