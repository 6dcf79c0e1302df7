"""ULIDs and timestamps, the two things that every stored row begins with.

ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, so that the order of the text is
the order of creation (https://github.com/ulid/spec). `new_id(after=...)` keeps that order also within one
millisecond and when the clock goes back.
"""

from __future__ import annotations

import re
import secrets
import time
from datetime import UTC, datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {char: value for value, char in enumerate(_ALPHABET)}
_ID = re.compile(f"[0-7][{_ALPHABET}]{{25}}")
# A successor adds a random step below this, so that ids cannot be counted up by guessing.
_STEP_BITS = 40


def new_id(after: str = "", now_ms: int | None = None) -> str:
    """A fresh ULID, greater than `after` whatever the clock says."""
    milliseconds = int(time.time() * 1000) if now_ms is None else now_ms
    number = (milliseconds << 80) | secrets.randbits(80)
    if after:
        previous = _number(after)
        if number <= previous:
            number = previous + 1 + secrets.randbits(_STEP_BITS)
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def is_id(text: object) -> bool:
    """Whether `text` is a well-formed ULID: safe as a file name and in a query."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def utc_now() -> str:
    """The time now as it is stored: UTC, ISO 8601, milliseconds, trailing Z."""
    return as_text(datetime.now(UTC))


def as_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _number(ulid: str) -> int:
    number = 0
    for char in ulid:
        number = number * 32 + _VALUES[char]
    return number
