"""Writes a person's profile into one zip (see `format.py`)."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from data.adapter_files import CONFIG, WEIGHTS
from data.errors import AttuneError
from data.home import Home
from data.ids import new_id, utc_now
from data.profile.format import (
    ADAPTER_FILES,
    CONVERSATIONS,
    FEEDBACK,
    FORMAT,
    MAX_LINE_BYTES,
    MAX_MEASURES,
    MAX_ROWS,
    NOTES,
    PROFILE,
    RUNS,
    SETTINGS,
    SUMS,
    is_bomb,
    member_limit,
)
from data.store import Store
from data.store.profile_rows import Content, counts_of
from data.types import BASE_VERSION

_LINES = {CONVERSATIONS: "conversations", FEEDBACK: "feedback", RUNS: "runs"}  # member: its part of the content
_MODE = 0o600
_COMPRESSION = 3
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same profile gives the same members, whenever it was written


def export_profile(store: Store, home: Home, user_id: str, out: Path) -> dict[str, int]:
    """Write the whole profile of a person to `out` (replaced only when the new file is whole).

    Returns how many there are of each kind. Raises NotFound, and AttuneError where it cannot be written.
    """
    content = store.profile_content(user_id)
    files: dict[str, Path] = {}
    for version in content["versions"]:
        if version["has_weights"]:
            found = version_files(home, user_id, version["number"])
            version["has_weights"] = bool(found)  # the row is in the file all the same, or nothing could be imported
            files |= found
    live = store.live_version(user_id)
    is_there = any(version["number"] == live and version["has_weights"] for version in content["versions"])
    write_profile_zip(store, user_id, content, files, out, live if is_there else BASE_VERSION)
    return counts_of(content)


def version_files(home: Home, user_id: str, number: int) -> dict[str, Path]:
    """Member name -> file, of a version's adapter and reward model; none where the adapter is not whole."""
    adapter = home.adapter_dir(user_id, number)
    files = {f"adapters/{number}/{name}": adapter / name for name in ADAPTER_FILES if (adapter / name).is_file()}
    if not all((adapter / name).is_file() for name in (WEIGHTS, CONFIG)):
        return {}
    reward = home.reward_dir(user_id, number)
    if reward.is_dir():
        for path in sorted(reward.iterdir()):
            if path.suffix in (".safetensors", ".json"):
                files[f"reward/{number}/{path.name}"] = path
    return files


def write_profile_zip(
    store: Store, user_id: str, content: Content, files: dict[str, Path], out: Path, live_version: int
) -> None:
    """Write `content` and `files` as a profile file, through a temporary one beside `out` (mode 0600).

    Raises AttuneError where it cannot be written, or where there is more than can be read again."""
    _check_size(content)
    part = out.with_name(f".{out.name}.{new_id()}.part")
    try:
        handle = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, _MODE)
        with os.fdopen(handle, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=_COMPRESSION) as archive:
                sums = [
                    _write_text(archive, name, text)
                    for name, text in _texts(store, user_id, content, live_version)
                ]
                sums += [_write_file(archive, name, path) for name, path in files.items()]
                _write_text(archive, SUMS, "".join(sums))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, out)
    except OSError as error:
        raise AttuneError(f"The profile could not be written to {out}: {error.strerror or error}.") from error
    finally:
        part.unlink(missing_ok=True)


def _check_size(content: Content) -> None:
    counts = counts_of(content)
    rows = max(counts["conversations"], counts["messages"] + counts["comparisons"], counts["feedback"], counts["runs"])
    measures = sum(len(run["uses"]) + len(run["metrics"]) for run in content["runs"])
    if rows > MAX_ROWS or measures > MAX_MEASURES:
        raise AttuneError(f"The profile is too large for a profile file ({rows:,} rows, {measures:,} measures).")


def _texts(store: Store, user_id: str, content: Content, live_version: int) -> list[tuple[str, str]]:
    base = store.base()
    profile: dict[str, Any] = {
        "format": FORMAT,
        "user": store.user(user_id).name,
        "exported": utc_now(),
        "counts": counts_of(content),
        "base": None
        if base is None
        else {
            "id": base.id,
            "revision": base.revision,
            "weights_sha256": base.weights_sha256,
            "template_sha256": base.template_sha256,
        },
        "live_version": live_version,
        "versions": content["versions"],
    }
    return [
        (PROFILE, _pretty(profile)),
        *((name, _lines(name, content[key])) for name, key in _LINES.items()),
        (NOTES, _pretty(content["notes"])),
        (SETTINGS, _pretty(content["settings"])),
    ]


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _lines(name: str, items: Iterable[Any]) -> str:
    lines = [json.dumps(item, ensure_ascii=False, separators=(",", ":")) + "\n" for item in items]
    for line in lines:
        if 4 * len(line) > MAX_LINE_BYTES and len(line.encode("utf-8")) > MAX_LINE_BYTES:
            raise AttuneError(f"The profile is too large for a profile file (one line of {name} alone).")
    return "".join(lines)


def _info(name: str, compress_type: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = compress_type
    info.external_attr = _MODE << 16
    return info


def _write_text(archive: zipfile.ZipFile, name: str, text: str) -> str:
    """Write a member; returns its line of SHA256SUMS."""
    content = text.encode("utf-8")
    limit = member_limit(name)
    if limit is None or len(content) > limit:
        raise AttuneError(f"The profile is too large for a profile file ({name} has {len(content):,} bytes).")
    # Whoever said one thing over and over has text that deflates as a bomb's does, and must be able to import it.
    is_plain = is_bomb(len(content), 0) and is_bomb(len(content), len(zlib.compress(content, _COMPRESSION, -15)))
    info = _info(name, zipfile.ZIP_STORED if is_plain else zipfile.ZIP_DEFLATED)
    archive.writestr(info, content, compresslevel=_COMPRESSION)
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n"


def _write_file(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source, archive.open(_info(name), "w", force_zip64=True) as target:
        while piece := source.read(2**20):
            digest.update(piece)
            target.write(piece)
    return f"{digest.hexdigest()}  {name}\n"
