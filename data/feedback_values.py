"""What a person may say about a reply: the checks that every piece of feedback passes before it is stored.

Pure. Each failure is `Invalid` with one line that names the value and what was expected.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Any

from data.characters import is_whole
from data.errors import Invalid
from data.types import FEEDBACK_KINDS

MAX_COMMENT_CHARS = 10_000
MAX_EDIT_CHARS = 100_000


def checked_value(
    kind: str, value: Any, *, original: str | None = None, reply_ids: Collection[str] = ()
) -> Any:
    """`value` as it is stored.

    `original` is the text of the reply that an edit changes; `reply_ids` are the comparison's replies that a
    ranking must put in order. Raises Invalid.
    """
    if kind == "thumb":
        if value not in ("up", "down") or not isinstance(value, str):
            raise Invalid(f'A thumb is "up" or "down", not {_shown(value)}.', "value")
        return value
    if kind == "stars":
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 5:
            raise Invalid(f"Stars are a whole number from 1 to 5, not {_shown(value)}.", "value")
        return value
    if kind == "comment":
        return _text(value, "A comment", MAX_COMMENT_CHARS)
    if kind == "edit":
        text = _text(value, "An edited reply", MAX_EDIT_CHARS)
        if original is not None and text == original:
            raise Invalid("The edited reply is the same as the original; change something first.", "value")
        return text
    if kind == "ranking":
        return _ranking(value, reply_ids)
    raise Invalid(f"The kind {_shown(kind)} is not one of {', '.join(FEEDBACK_KINDS)}.", "kind")


def checked_seconds(value: Any) -> float | None:
    """For how long the reply had been shown, as it is stored; None stays None. Raises Invalid."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        raise Invalid(f"Seconds are a number from 0 up, not {_shown(value)}.", "seen_s")
    return float(value)


def _text(value: Any, what: str, most: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Invalid(f"{what} is a text with something in it, not {_shown(value)}.", "value")
    if len(value) > most:
        raise Invalid(f"{what} has at most {most:,} characters; this one has {len(value):,}.", "value")
    if not is_whole(value):
        raise Invalid(f"{what} has half a character in it (a lone surrogate).", "value")
    return value


def _ranking(value: Any, reply_ids: Collection[str]) -> dict[str, list[list[str]]]:
    form = 'A ranking is {"order": [[best ids...], [next...]]}'
    if not isinstance(value, dict) or set(value) != {"order"} or not isinstance(value["order"], list):
        raise Invalid(f"{form}, not {_shown(value)}.", "value")
    order = value["order"]
    for group in order:
        if not isinstance(group, list) or not group or not all(isinstance(item, str) for item in group):
            raise Invalid(
                f"{form} with at least one id in every inner list, not {_shown(group)}.", "value.order"
            )
    ranked = [item for group in order for item in group]
    if len(set(ranked)) != len(ranked):
        raise Invalid("The ranking names a reply twice.", "value.order")
    if set(ranked) != set(reply_ids):
        raise Invalid(
            f"The ranking must name every reply of the comparison once ({len(set(reply_ids))} replies) and "
            "no other.",
            "value.order",
        )
    return {"order": [list(group) for group in order]}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
