"""What an update's report may hold: known parts with plain values; whatever else there is, is dropped.

The learner writes reports (learner/update.py), and a profile file brings them from anywhere. They are shown on the page
and read again by later updates, so nothing may pass but numbers of sane size, short texts and ids, where each belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from data.characters import is_whole
from data.ids import is_id

MAX_NUMBER = 1e30  # 100 times it still is a float; an integer beyond a float's range is none
MAX_TEXT_CHARS, MAX_NAME_CHARS = 2_000, 80
MAX_ENTRIES = 200  # of a list or of named numbers

_DROPPED = object()  # None is a value: what the store keeps of a number that was not finite
_Part = Callable[[Any], Any]  # what may be kept of a value, or _DROPPED


def is_number(value: object) -> bool:
    """A finite number of sane size; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -MAX_NUMBER <= value <= MAX_NUMBER


def checked_report(report: Mapping[str, Any]) -> dict[str, Any]:
    """What may be kept of a report. One that the learner wrote comes out as it went in."""
    kept: dict[str, Any] = _REPORT(report)
    return kept


def statements(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What a report says was learnt; a field that a statement lacks, or had wrong, is not in it."""
    found: list[dict[str, Any]] = checked_report({"learnt": report.get("learnt")}).get("learnt", [])
    return found


def with_new_ids(report: Mapping[str, Any], rename: Mapping[str, str]) -> dict[str, Any]:
    """A checked report about pieces of feedback that have got other ids."""
    renamed = dict(report)
    if "learnt" in report:
        renamed["learnt"] = [
            {**one, "feedback_ids": [rename.get(i, i) for i in one["feedback_ids"]]} if "feedback_ids" in one else one
            for one in report["learnt"]
        ]
    change = report.get("change_of_taste")
    if change and "since" in change:
        renamed["change_of_taste"] = {**change, "since": rename.get(change["since"], change["since"])}
    return renamed


def _if(fits: Callable[[Any], bool]) -> _Part:
    return lambda value: value if fits(value) else _DROPPED


def _or_none(part: _Part) -> _Part:
    return lambda value: None if value is None else part(value)


def _list(item: _Part) -> _Part:
    def kept(value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return _DROPPED
        return [one for one in map(item, value[:MAX_ENTRIES]) if one is not _DROPPED]

    return kept


def _object(parts: Mapping[str, _Part]) -> _Part:
    """The known parts of an object, in its order."""

    def kept(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return _DROPPED
        found = {name: parts[name](part) for name, part in value.items() if name in parts}
        return {name: part for name, part in found.items() if part is not _DROPPED}

    return kept


def _evidence(value: Any) -> Any:
    """Of a test that was made (`exchanges`), the next update counts on its size and its answer being there."""
    found = _TEST(value)
    if found is not _DROPPED and not {"observations", "learnable"} <= found.keys():
        found.pop("exchanges", None)
    return found


def _numbers(value: Any) -> Any:
    """Named numbers, whatever their names: metrics, statistics."""
    if not isinstance(value, Mapping):
        return _DROPPED
    named = {name: n for name, n in value.items() if _is_name(name) and (n is None or is_number(n))}
    return dict(list(named.items())[:MAX_ENTRIES])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_CHARS and is_whole(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARS and value.isprintable()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and is_number(value) and value >= 0


_number, _text, _name = _if(lambda value: value is None or is_number(value)), _if(_is_text), _if(_is_name)
_count, _yes_or_no, _id = _if(_is_count), _if(lambda value: isinstance(value, bool)), _if(is_id)

_REHEARSAL = _object({"steps": _count, "rises_before": _list(_number), "rises": _list(_number)})
_STATEMENT = _object(
    {
        "feature": _name, "text": _text, "probability": _number, "weight": _number, "ratings": _count,
        "feedback_ids": _list(_id), "best_words": _or_none(_count),
    }
)  # fmt: skip
_TEST = _object(
    {
        "learnable": _yes_or_no, "p_value": _number, "alpha": _number, "gain": _number, "held_out_gain": _number,
        "observations": _count, "conversations": _count, "exchanges": _count, "reason": _text,
    }
)  # fmt: skip
_CHANGE = _object({"newer": _count, "older": _count, "old_weight": _number, "gain": _number, "since": _id})
_WARM_START = _object(
    {
        "steps": _count, "train_loss": _number, "held_out_loss": _number, "kl": _number, "why": _text,
        "demonstrations": _count, "rehearsal": _REHEARSAL, "share_kept": _number,
    }
)  # fmt: skip
_REPORT = _object(
    {
        "feedback": _numbers,
        "evidence": _evidence,
        "change_of_taste": _or_none(_CHANGE),
        "learnt": _list(_STATEMENT),
        "muted": _list(_name),
        "reward_model": _object({"kind": _name, "gains": _numbers}),
        "warm_start": _WARM_START,
        "rehearsal": _REHEARSAL,
        "ppo": _object({"iterations": _count, "first": _numbers, "last": _numbers, "share_kept": _number}),
        "algorithm": _name,
        "base": _numbers,
        "live": _numbers,
        "policy": _numbers,
        "warm_start_alone": _numbers,
        "seconds": _number,
        "reason": _text,  # of reports of earlier releases
    }
)
