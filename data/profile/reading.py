"""Opens a profile file that came from anywhere: names, sizes, hashes and schema, before anything is used.

Nothing is extracted by its own name: a member is looked up in the list of what a profile may hold, and read
up to a limit, whatever its header says. Nothing is unpickled, no path leaves the given folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import AttuneError, Invalid
from data.profile.checks import checked_content
from data.profile.format import (
    CONVERSATIONS,
    FEEDBACK,
    FORMAT,
    MAX_MEMBERS,
    MAX_TOTAL_BYTES,
    NOTES,
    PROFILE,
    REQUIRED,
    RUNS,
    SETTINGS,
    SUMS,
    member_limit,
    member_version,
)
from data.store.profile_rows import Content, counts_of

_SUM_LINE = re.compile(r"([0-9a-f]{64})  ([ -~]{1,200})")
_PIECE = 2**20
_BASE_FIELDS = ("id", "revision", "weights_sha256", "template_sha256")


@dataclass(frozen=True)
class ProfileFile:
    """A profile file's checked rows, its base (None where no model had been loaded), and `folder`, where its
    adapters/<n>/ and reward/<n>/ lie extracted."""

    content: Content
    base: Mapping[str, str] | None
    live_version: int
    folder: Path


def read_profile(path: Path, folder: Path) -> ProfileFile:
    """Check the zip at `path` and extract its adapters below the empty `folder`. Raises Invalid."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
            needed = sum(info.file_size for info in members.values())
            if shutil.disk_usage(folder).free < 2 * needed:
                raise AttuneError(
                    f"There is not enough free disk space to import {path.name} ({needed:,} bytes)."
                )
            texts: dict[str, bytes] = {}
            digests: dict[str, str] = {}
            for name, info in members.items():
                target = None if member_version(name) is None else folder / name
                texts[name], digests[name] = _read(archive, info, target)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        raise Invalid(f"{path.name} is not a whole zip file ({error}).") from error
    except OSError as error:
        raise AttuneError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    _check_sums(texts[SUMS], digests)
    return _parsed(texts, folder, {number for name in members if (number := member_version(name))})


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by name; refuses unknown, doubled, missing, encrypted and oversized ones."""
    infos = archive.infolist()
    if len(infos) > MAX_MEMBERS:
        raise Invalid(f"This is not a profile file: it has {len(infos):,} members (at most {MAX_MEMBERS}).")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        limit = member_limit(info.filename)
        if limit is None or info.filename != info.orig_filename:
            raise Invalid(f"This is not a profile file: it has a member {info.orig_filename[:100]!r}.")
        if info.filename in members:
            raise Invalid(f"The profile file is broken: it has {info.filename} twice.")
        if info.flag_bits & 1:
            raise Invalid(f"The profile file is broken: {info.filename} is encrypted.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Invalid(f"The profile file is broken: {info.filename} is compressed in an unusual way.")
        if info.file_size > limit:
            raise Invalid(f"The profile file is broken: {info.filename} has more than {limit:,} bytes.")
        members[info.filename] = info
    missing = [name for name in REQUIRED if name not in members]
    if missing:
        raise Invalid(f"This is not a profile file: it has no {missing[0]}.")
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        raise Invalid(f"The profile file is broken: it has more than {MAX_TOTAL_BYTES:,} bytes.")
    return members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path | None) -> tuple[bytes, str]:
    """A member's bytes (empty where they went to the file `target`) and their hash.

    `zipfile` reads no more than the directory of the zip announced, which `_members` has limited, and refuses
    what then has another checksum: a bomb stops here.
    """
    digest, pieces = hashlib.sha256(), []
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = target.open("xb") if target is not None else None
    try:
        with archive.open(info) as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                if file is not None:
                    file.write(piece)
                else:
                    pieces.append(piece)
    finally:
        if file is not None:
            file.close()
    return b"".join(pieces), digest.hexdigest()


def _check_sums(sums: bytes, digests: Mapping[str, str]) -> None:
    listed: dict[str, str] = {}
    for line in sums.decode("utf-8", "replace").splitlines():
        match = _SUM_LINE.fullmatch(line)
        if match is None or match.group(2) in listed:
            raise Invalid(f"The profile file is broken: {SUMS} has the line {line[:80]!r}.")
        listed[match.group(2)] = match.group(1)
    for name, digest in digests.items():
        if name == SUMS:
            continue
        if name not in listed:
            raise Invalid(f"The profile file is broken: {SUMS} does not list {name}.")
        if listed.pop(name) != digest:
            raise Invalid(f"The profile file is broken: {name} is not what {SUMS} says (hash differs).")
    if listed:
        raise Invalid(f"The profile file is broken: {SUMS} lists {min(listed)}, which is not there.")


def _parsed(texts: Mapping[str, bytes], folder: Path, numbers: set[int]) -> ProfileFile:
    profile = _json(texts[PROFILE], PROFILE)
    if not isinstance(profile, dict) or not isinstance(profile.get("format"), int):
        raise Invalid(f"This is not a profile file: {PROFILE} has no format version.")
    if profile["format"] != FORMAT:
        raise Invalid(
            f"The profile file has format {profile['format']}; this Attune reads format {FORMAT}. "
            "Update Attune."
        )
    content = checked_content(
        _json_lines(texts[CONVERSATIONS], CONVERSATIONS),
        _json_lines(texts[FEEDBACK], FEEDBACK),
        _json_lines(texts[RUNS], RUNS),
        profile.get("versions"),
        _json(texts[NOTES], NOTES),
        _json(texts[SETTINGS], SETTINGS),
    )
    if profile.get("counts") != counts_of(content):
        raise Invalid(f"The profile file is broken: the counts in {PROFILE} are not what is in the file.")
    with_weights = {version["number"] for version in content["versions"] if version["has_weights"]}
    if numbers != with_weights:
        odd = min(numbers ^ with_weights)
        raise Invalid(
            f"The profile file is broken: version {odd} has files but no row, or a row but no files."
        )
    return ProfileFile(content, _base(profile.get("base")), _live(profile, with_weights), folder)


def _base(base: Any) -> dict[str, str] | None:
    if base is None:
        return None
    if not isinstance(base, dict) or set(base) != set(_BASE_FIELDS):
        raise Invalid(f"The profile file is broken: base in {PROFILE} has not the fields it should have.")
    if not all(isinstance(value, str) and len(value) < 1000 for value in base.values()):
        raise Invalid(f"The profile file is broken: base in {PROFILE} has something that is not a text.")
    return base


def _live(profile: Mapping[str, Any], numbers: set[int]) -> int:
    live = profile.get("live_version")
    if isinstance(live, bool) or not isinstance(live, int) or (live != 0 and live not in numbers):
        raise Invalid(f"The profile file is broken: live_version in {PROFILE} is none of its versions.")
    return live


def _json(raw: bytes, name: str) -> Any:
    try:
        return json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"The profile file is broken: {name} is not JSON in UTF-8.") from error


def _json_lines(raw: bytes, name: str) -> list[Any]:
    # Split at newlines alone: splitlines() would also split at U+2028, which JSON allows inside texts.
    lines = raw.split(b"\n")
    if lines[-1]:
        raise Invalid(f"The profile file is broken: {name} does not end with a whole line.")
    return [_json(line, f"line {number} of {name}") for number, line in enumerate(lines[:-1], start=1)]


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
