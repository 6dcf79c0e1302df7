"""The schema of a profile's rows: every field's type, every reference, before anything is written.

`checked_content` takes what was parsed from a file by whoever and returns exactly the shapes that
`Store.add_profile_content` takes; every failure is `Invalid` with one line that says where.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, get_args

from data.characters import is_whole
from data.errors import Invalid
from data.feedback_values import checked_value
from data.ids import is_id
from data.profile.format import MAX_MEASURES, MAX_ROWS
from data.reports import checked_report, is_number
from data.store.chat import MAX_TITLE_CHARS
from data.store.runs import ENDED
from data.store.settings import checked_notes, checked_settings
from data.types import FEEDBACK_KINDS, FinishReason, VersionStatus

Check = Callable[[Any], bool]
_TIME = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{3}Z")
MAX_TEXT_CHARS = 4_000_000
MAX_LINE_CHARS = 4_000  # of a reason, a phase, a base model's name
MAX_SAMPLING = 20  # settings of a reply
MAX_VERSION = 10**9


def _text(value: Any) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= MAX_TEXT_CHARS
        and is_whole(value)
    )


def _line(value: Any) -> bool:
    return _text(value) and len(value) <= MAX_LINE_CHARS


def _time(value: Any) -> bool:
    """Also a day that there is: the learner counts the time since."""
    if not isinstance(value, str) or _TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_VERSION


def _finite(value: Any) -> bool:
    """Whatever the store takes for a number; an integer that no float can hold is none."""
    most = sys.float_info.max
    return isinstance(value, int | float) and not isinstance(value, bool) and -most <= value <= most


def _share(value: Any) -> bool:
    return is_number(value) and 0 <= value <= 1


def _sampling(value: Any) -> bool:
    """How a reply was drawn (assistant/sampling.py) and what it read: numbers, texts, and the edits before it by their
    place on the path."""
    if not isinstance(value, dict) or len(value) > MAX_SAMPLING:
        return False
    edited = value.get("edited", {})
    stop = value.get("stop", [])
    return (
        isinstance(edited, dict)
        and all(re.fullmatch("[0-9]{1,9}", place) and _text(text) for place, text in edited.items())
        and _list_of(_line)(stop)
        and len(stop) <= MAX_SAMPLING
        and all(
            _line(name) and (item is None or isinstance(item, bool) or is_number(item) or _text(item))
            for name, item in value.items()
            if name not in ("edited", "stop")
        )
    )


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _list(value: Any) -> bool:
    return isinstance(value, list)


def _or_none(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _one_of(*allowed: str) -> Check:
    return lambda value: isinstance(value, str) and value in allowed


def _list_of(check: Check) -> Check:
    return lambda value: isinstance(value, list) and all(check(item) for item in value)


_CONVERSATION: dict[str, Check] = {
    "id": is_id, "title": _text, "system_prompt": _text, "created": _time, "updated": _time,
    "messages": _list, "comparisons": _list,
}  # fmt: skip
_MESSAGE: dict[str, Check] = {
    "id": is_id, "parent_id": _or_none(is_id), "role": _one_of("system", "user", "assistant"),
    "content": _text, "finish_reason": _or_none(_one_of(*get_args(FinishReason))),
    "prompt_tokens": _or_none(_count), "completion_tokens": _or_none(_count), "sampling": _sampling,
    "adapter_version": _or_none(_count), "created": _time,
}  # fmt: skip
_COMPARISON: dict[str, Check] = {
    "id": is_id, "prompt_message_id": is_id, "reply_ids": _list_of(is_id), "versions": _list_of(_count),
    "created": _time,
}  # fmt: skip
_EVENT: dict[str, Check] = {
    "id": is_id, "message_id": _or_none(is_id), "comparison_id": _or_none(is_id),
    "kind": _one_of(*FEEDBACK_KINDS), "value": lambda value: True, "created": _time,
    "seen_s": _or_none(lambda value: _finite(value) and value >= 0), "supersedes": _or_none(is_id),
    "retracted": _or_none(_object),
}  # fmt: skip
_RUN: dict[str, Check] = {
    "id": is_id, "state": _one_of(*ENDED), "phase": _line, "progress": _share,
    "trigger": _one_of("manual", "automatic"), "queued_at": _time, "started_at": _or_none(_time),
    "ended_at": _time, "heartbeat_at": _or_none(_time), "watermark": _or_none(is_id),
    "version": _or_none(_count), "reason": _line, "report": _object, "uses": _list, "metrics": _list,
}  # fmt: skip
_USE: dict[str, Check] = {
    "feedback_id": is_id, "role": _one_of("train", "held-out", "left out"), "why": _line,
}  # fmt: skip
_VERSION: dict[str, Check] = {
    "number": lambda value: _count(value) and value >= 1, "parent": _count, "base_id": _line,
    "sha256": lambda value: isinstance(value, str) and re.fullmatch("([0-9a-f]{64})?", value) is not None,
    "status": _one_of(*get_args(VersionStatus)), "has_weights": lambda value: isinstance(value, bool),
    "report": _object, "created": _time,
}  # fmt: skip


def checked_content(
    conversations: Iterable[Any],
    feedback: Iterable[Any],
    runs: Iterable[Any],
    versions: Any,
    notes: Any,
    settings: Any,
) -> dict[str, Any]:
    """The rows of a profile file, checked; the first three may be read while they are. Raises Invalid."""
    ids: set[str] = set()
    checked_conversations = []
    messages: dict[str, Mapping[str, Any]] = {}
    comparisons: dict[str, Mapping[str, Any]] = {}
    for item in conversations:
        conversation = _fields(item, _CONVERSATION, "conversations.jsonl")
        _new(conversation["id"], ids, "conversations.jsonl")
        own = _messages(conversation, ids)
        comparisons |= _comparisons(conversation, own, ids)
        messages |= own
        if len(messages) + len(comparisons) > MAX_ROWS:
            raise _refuse("conversations.jsonl", f"has more than {MAX_ROWS:,} messages")
        checked_conversations.append({**conversation, "title": conversation["title"][:MAX_TITLE_CHARS]})
    events = _events(feedback, messages, comparisons, ids)
    if not isinstance(versions, list):
        raise Invalid("The profile file is broken: versions in profile.json is not a list.")
    checked_versions = [_with_report(_fields(item, _VERSION, "profile.json (versions)")) for item in versions]
    numbers = [version["number"] for version in checked_versions]
    if len(set(numbers)) != len(numbers):
        raise Invalid("The profile file is broken: profile.json names a version twice.")
    if not isinstance(settings, dict):
        raise Invalid("The profile file is broken: settings.json is not an object.")
    if not isinstance(notes, list):
        raise Invalid("The profile file is broken: notes.json is not a list.")
    return {
        "conversations": checked_conversations,
        "feedback": list(events.values()),
        "runs": _runs(runs, events, ids),
        "versions": checked_versions,
        "notes": checked_notes(notes),
        "settings": checked_settings(settings),
    }


def _fields(item: Any, checks: Mapping[str, Check], where: str) -> dict[str, Any]:
    """`item` if it is an object with exactly these fields, each of which passes its check."""
    if not isinstance(item, dict) or set(item) != set(checks):
        raise Invalid(f"The profile file is broken: an entry of {where} has not the fields it should have.")
    for name, check in checks.items():
        if not check(item[name]):
            shown = repr(item[name])[:60]
            raise Invalid(f"The profile file is broken: {where} has {shown} as {name}.")
    return item


def _new(entry_id: str, ids: set[str], where: str) -> None:
    if entry_id in ids:
        raise Invalid(f"The profile file is broken: {where} has the id {entry_id} twice.")
    ids.add(entry_id)


def _with_report(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "report": checked_report(row["report"])}


def _refuse(where: str, what: str) -> Invalid:
    return Invalid(f"The profile file is broken: {where} {what}.")


def _messages(conversation: Mapping[str, Any], ids: set[str]) -> dict[str, Mapping[str, Any]]:
    own: dict[str, Mapping[str, Any]] = {}
    for item in conversation["messages"]:
        message = _fields(item, _MESSAGE, "conversations.jsonl (messages)")
        _new(message["id"], ids, "conversations.jsonl")
        if message["parent_id"] is not None and message["parent_id"] not in own:
            raise _refuse(
                "conversations.jsonl", f"has the message {message['id']} before or without its parent"
            )
        if (message["role"] == "assistant") != (message["finish_reason"] is not None):
            raise _refuse(
                "conversations.jsonl", f"has the message {message['id']} with a wrong finish_reason"
            )
        own[message["id"]] = message
    return own


def _comparisons(
    conversation: Mapping[str, Any], own: Mapping[str, Mapping[str, Any]], ids: set[str]
) -> dict[str, Mapping[str, Any]]:
    found: dict[str, Mapping[str, Any]] = {}
    for item in conversation["comparisons"]:
        comparison = _fields(item, _COMPARISON, "conversations.jsonl (comparisons)")
        _new(comparison["id"], ids, "conversations.jsonl")
        replies, prompt = comparison["reply_ids"], comparison["prompt_message_id"]
        answers = [reply in own and own[reply]["parent_id"] == prompt for reply in replies]
        if not 2 <= len(replies) == len(set(replies)) == len(comparison["versions"]) or not all(answers):
            raise _refuse("conversations.jsonl", f"has the comparison {comparison['id']} with wrong replies")
        if any(own[reply]["role"] != "assistant" for reply in replies):
            raise _refuse("conversations.jsonl", f"has the comparison {comparison['id']} with wrong replies")
        found[comparison["id"]] = comparison
    return found


def _events(
    feedback: Iterable[Any],
    messages: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, Mapping[str, Any]],
    ids: set[str],
) -> dict[str, dict[str, Any]]:
    """Every event first, then what each supersedes, which may stand behind it: files were written that way."""
    events: dict[str, dict[str, Any]] = {}
    for item in feedback:
        event = _fields(item, _EVENT, "feedback.jsonl")
        _new(event["id"], ids, "feedback.jsonl")
        if event["retracted"] is not None:
            retraction = _fields(event["retracted"], {"id": is_id, "created": _time}, "feedback.jsonl")
            _new(retraction["id"], ids, "feedback.jsonl")
        _check_target(event, messages, comparisons)
        events[event["id"]] = event
    _check_superseding(events)
    return events


def _check_superseding(events: Mapping[str, Mapping[str, Any]]) -> None:
    """Each supersedes one of its own kind and target, which no other does, and none leads back to itself."""
    older_of = {event_id: event["supersedes"] for event_id, event in events.items() if event["supersedes"]}
    newer_of: dict[str, str] = {}
    for event_id, older_id in older_of.items():
        event, older = events[event_id], events.get(older_id)
        same = older and all(older[key] == event[key] for key in ("kind", "message_id", "comparison_id"))
        if not same or older_id in newer_of:
            raise _refuse("feedback.jsonl", f"has {event_id}, which supersedes what it cannot")
        newer_of[older_id] = event_id
    reached = 0
    for event_id in older_of.keys() - newer_of.keys():  # the newest of each chain; a ring has none
        while event_id in older_of:
            event_id = older_of[event_id]
            reached += 1
    if reached != len(older_of):
        raise _refuse("feedback.jsonl", "has feedback that supersedes itself in a ring")


def _check_target(
    event: Mapping[str, Any],
    messages: Mapping[str, Mapping[str, Any]],
    comparisons: Mapping[str, Mapping[str, Any]],
) -> None:
    """The value fits its kind, and the reply or comparison it is about is in the file."""
    if event["kind"] == "ranking":
        comparison = comparisons.get(event["comparison_id"] or "")
        if comparison is None or event["message_id"] is not None:
            raise _refuse("feedback.jsonl", f"has {event['id']} about a comparison that is not in the file")
        checked_value("ranking", event["value"], reply_ids=comparison["reply_ids"])
        return
    message = messages.get(event["message_id"] or "")
    if message is None or message["role"] != "assistant" or event["comparison_id"] is not None:
        raise _refuse("feedback.jsonl", f"has {event['id']} about a reply that is not in the file")
    checked_value(event["kind"], event["value"], original=message["content"])


def _runs(runs: Iterable[Any], events: Mapping[str, Any], ids: set[str]) -> list[dict[str, Any]]:
    checked = []
    measures = 0
    for item in runs:
        run = _fields(item, _RUN, "runs.jsonl")
        _new(run["id"], ids, "runs.jsonl")
        used: set[str] = set()
        for use in run["uses"]:
            feedback_id = _fields(use, _USE, "runs.jsonl (uses)")["feedback_id"]
            if feedback_id not in events or feedback_id in used:
                raise _refuse("runs.jsonl", f"has the run {run['id']} with feedback that is not in the file")
            used.add(feedback_id)
        steps: set[tuple[int, str]] = set()
        for row in run["metrics"]:
            good = isinstance(row, list) and len(row) == 3 and _count(row[0]) and _line(row[1])
            if not good or not _finite(row[2]) or (row[0], row[1]) in steps:
                raise _refuse("runs.jsonl", f"has the run {run['id']} with wrong metrics")
            steps.add((row[0], row[1]))
        measures += len(used) + len(steps)
        if measures > MAX_MEASURES:
            raise _refuse("runs.jsonl", f"has more than {MAX_MEASURES:,} metrics and uses")
        checked.append(_with_report(run))
    return checked
