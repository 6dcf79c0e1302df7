"""The profile file: one zip, its members, its limits.

profile.json          format, user name, counts, base model, live version, every version's row
conversations.jsonl   a conversation a line, with its messages and comparisons
feedback.jsonl        an event a line, superseded and retracted ones too
runs.jsonl            an ended learning run a line, with how it used each piece of feedback
notes.json, settings.json
adapters/<n>/         adapter_model.safetensors, adapter_config.json, card.json (plain PEFT)
reward/<n>/           safetensors and json
SHA256SUMS            of every other member, in the form of sha256sum
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from data.adapter_files import CARD, CONFIG, WEIGHTS

FORMAT = 1
PROFILE, CONVERSATIONS, FEEDBACK, RUNS = "profile.json", "conversations.jsonl", "feedback.jsonl", "runs.jsonl"
NOTES, SETTINGS, SUMS = "notes.json", "settings.json", "SHA256SUMS"
REQUIRED = (PROFILE, CONVERSATIONS, FEEDBACK, RUNS, NOTES, SETTINGS, SUMS)
ADAPTER_FILES = (WEIGHTS, CONFIG, CARD)

# A hundred thousand messages are some two hundred megabytes; an adapter of a large model under two gigabytes.
MAX_MEMBERS = 500
MAX_TEXT_BYTES = 512 * 2**20
MAX_JSON_BYTES = 64 * 2**20  # profile.json: the reports of some thousand versions
MAX_SMALL_BYTES = 4 * 2**20  # notes and settings at their own limits are under three
MAX_WEIGHTS_BYTES = 2 * 2**30
MAX_TOTAL_BYTES = 8 * 2**30
# What is parsed is held in memory, some ten times its size; nothing that is much smaller on the disk may claim it.
MAX_LINE_BYTES = 64 * 2**20
MAX_ROWS = 1_000_000  # lines of a member; messages with comparisons
MAX_MEASURES = 10_000_000  # metrics and uses of all runs
MAX_RATIO, ANY_RATIO_BYTES = 100, 16 * 2**20  # deflated text is a third to a tenth; a small member may be anything

_ADAPTER_MEMBER = re.compile(r"adapters/([1-9][0-9]{0,8})/([A-Za-z0-9_.]+)")
_REWARD_MEMBER = re.compile(
    r"reward/([1-9][0-9]{0,8})/([A-Za-z0-9_][A-Za-z0-9_-]{0,60}\.(?:json|safetensors))"
)


@dataclass(frozen=True)
class ImportReport:
    """What an import brought in: counts by kind, the version numbers as they are here, whether those load
    on this home's base model, and what the person should know, one sentence each."""

    counts: dict[str, int]
    versions: list[int]
    loadable: bool
    notes: list[str]


def member_limit(name: str) -> int | None:
    """The most bytes that member `name` may have; None for a name that is no part of a profile file."""
    if name in (CONVERSATIONS, FEEDBACK, RUNS):
        return MAX_TEXT_BYTES
    if name in REQUIRED:
        return MAX_JSON_BYTES if name == PROFILE else MAX_SMALL_BYTES
    adapter = _ADAPTER_MEMBER.fullmatch(name)
    if adapter:
        file = adapter.group(2)
        return None if file not in ADAPTER_FILES else MAX_WEIGHTS_BYTES if file == WEIGHTS else MAX_SMALL_BYTES
    if _REWARD_MEMBER.fullmatch(name):
        return MAX_WEIGHTS_BYTES if name.endswith(".safetensors") else MAX_SMALL_BYTES
    return None


def is_bomb(size: int, compressed: int) -> bool:
    """Whether a member that is parsed becomes so much more than it is in the zip that no export would have it so."""
    return size > max(ANY_RATIO_BYTES, MAX_RATIO * compressed)


def member_version(name: str) -> int | None:
    """The version whose folder member `name` is in, if it is in one."""
    match = _ADAPTER_MEMBER.fullmatch(name) or _REWARD_MEMBER.fullmatch(name)
    return int(match.group(1)) if match else None
