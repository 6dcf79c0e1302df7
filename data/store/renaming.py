"""Pure: what a profile's ids and version numbers become in a home that has some already."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# No home counts up to it by learning: a file in which some number would be greater has its numbers dealt anew.
MANY_VERSIONS = 1_000_000


def ids_by_table(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Every id of a profile's rows, but for those of notes, by the table that it is in."""

    def ids(items: Iterable[Mapping[str, Any]]) -> list[str]:
        return [item["id"] for item in items]

    conversations, feedback = content["conversations"], content["feedback"]
    return {
        "conversations": ids(conversations),
        "messages": ids(message for item in conversations for message in item["messages"]),
        "comparisons": ids(comparison for item in conversations for comparison in item["comparisons"]),
        "feedback": ids(feedback),
        "retractions": ids(event["retracted"] for event in feedback if event["retracted"]),
        "learning_runs": ids(content["runs"]),
    }


def renumbering(content: Mapping[str, Any], last: int) -> dict[int, int]:
    """Old version number -> new one, behind `last`, for every number that the content names.

    All go up by as much, gaps included: a version keeps its number in an empty home. Only where that led to numbers
    which no profile file may hold in the end are they dealt without gaps.
    """
    named = {version[key] for version in content["versions"] for key in ("number", "parent")}
    named |= {run["version"] for run in content["runs"]}
    for conversation in content["conversations"]:
        named |= {message["adapter_version"] for message in conversation["messages"]}
        named |= {version for comparison in conversation["comparisons"] for version in comparison["versions"]}
    numbers = sorted(named - {None, 0})
    if not numbers or last + numbers[-1] <= MANY_VERSIONS:
        return {number: last + number for number in numbers}
    return {number: last + place for place, number in enumerate(numbers, start=1)}


def moved_watermark(
    watermark: str | None, said: Sequence[str], rename: Mapping[str, str], newest: str
) -> str | None:
    """A run's watermark among renamed feedback: what the run had seen, it has seen.

    `said`: the ids of the feedback as they were, sorted; `newest` the greatest id there is now.
    """
    if watermark is None:
        return None
    seen = bisect_right(said, watermark)
    if seen and rename[said[seen - 1]] != said[seen - 1]:
        return rename[said[seen - 1]]
    return min(watermark, newest)
