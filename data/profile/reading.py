"""Opens a profile file that came from anywhere: names, sizes, hashes and schema, before anything is used.

Nothing is extracted by its own name: a member is looked up in the list of what a profile may hold, and read
up to a limit, whatever its header says. Nothing is unpickled, no path leaves the given folder. Every member is read
twice: for its hash, and once all hashes are right for its rows, a line at a time.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from data.errors import AttuneError, Invalid
from data.profile.checks import checked_content
from data.profile.format import (
    CONVERSATIONS,
    FEEDBACK,
    FORMAT,
    MAX_LINE_BYTES,
    MAX_MEMBERS,
    MAX_ROWS,
    MAX_TOTAL_BYTES,
    NOTES,
    PROFILE,
    REQUIRED,
    RUNS,
    SETTINGS,
    SUMS,
    is_bomb,
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
            members = _members(archive, path.stat().st_size)
            needed = sum(info.file_size for info in members.values())
            if shutil.disk_usage(folder).free < 2 * needed:
                raise AttuneError(
                    f"There is not enough free disk space to import {path.name} ({needed:,} bytes)."
                )
            digests = {}
            for name, info in members.items():
                target = None if member_version(name) is None else folder / name
                digests[name] = _read(archive, info, target)
            _check_sums(archive.read(members[SUMS]), digests)
            return _parsed(archive, members, folder)
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


def _members(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
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
        if not info.filename.endswith(".safetensors") and is_bomb(info.file_size, info.compress_size):
            raise Invalid(
                f"The profile file is broken: {info.filename} grows from {info.compress_size:,} to "
                f"{info.file_size:,} bytes, which no export does."
            )
        members[info.filename] = info
    missing = [name for name in REQUIRED if name not in members]
    if missing:
        raise Invalid(f"This is not a profile file: it has no {missing[0]}.")
    if sum(info.file_size for info in infos) > MAX_TOTAL_BYTES:
        raise Invalid(f"The profile file is broken: it has more than {MAX_TOTAL_BYTES:,} bytes.")
    if sum(info.compress_size for info in infos) > file_bytes:  # members that overlap
        raise Invalid("The profile file is broken: its members have more bytes than the file.")
    return members


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path | None) -> str:
    """A member's hash; its bytes go to the file `target`, if there is one.

    `zipfile` reads no more than the directory of the zip announced, which `_members` has limited, and refuses
    what then has another checksum: a bomb stops here.
    """
    digest = hashlib.sha256()
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = target.open("xb") if target is not None else None
    try:
        with archive.open(info) as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                if file is not None:
                    file.write(piece)
    finally:
        if file is not None:
            file.close()
    return digest.hexdigest()


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


def _parsed(archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: Path) -> ProfileFile:
    def json_of(name: str) -> Any:
        return _json(archive.read(members[name]), name)

    def rows_of(name: str) -> Iterator[Any]:
        return _json_lines(archive, members[name])

    profile = json_of(PROFILE)
    if not isinstance(profile, dict) or not isinstance(profile.get("format"), int):
        raise Invalid(f"This is not a profile file: {PROFILE} has no format version.")
    if profile["format"] != FORMAT:
        raise Invalid(
            f"The profile file has format {str(profile['format'])[:20]}; this Attune reads format {FORMAT}. "
            "Update Attune."
        )
    content = checked_content(
        rows_of(CONVERSATIONS),
        rows_of(FEEDBACK),
        rows_of(RUNS),
        profile.get("versions"),
        json_of(NOTES),
        json_of(SETTINGS),
    )
    numbers = {number for name in members if (number := member_version(name))}
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


def _json_lines(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[Any]:
    """A member's values, one a line; who takes them can refuse the first bad one before the next is read."""
    name = info.filename
    with archive.open(info) as member, io.BufferedReader(cast(io.RawIOBase, member), _PIECE) as lines:
        number = 0
        # Lines end at newlines alone: JSON allows U+2028 and its like inside texts.
        while line := lines.readline(MAX_LINE_BYTES + 1):
            number += 1
            if number > MAX_ROWS or len(line) > MAX_LINE_BYTES:
                raise Invalid(
                    f"The profile file is broken: {name} has more than {MAX_ROWS:,} lines, or one of more than "
                    f"{MAX_LINE_BYTES:,} bytes."
                )
            if not line.endswith(b"\n"):
                raise Invalid(f"The profile file is broken: {name} does not end with a whole line.")
            yield _json(line, f"line {number} of {name}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
