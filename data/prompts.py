"""General prompts and neutral texts that ship with Attune, and the key that names a prompt.

The prompts were written for this project, in many kinds (about one in ten is Chinese). Each has one use
for ever: `rollout` prompts may be trained on, `gate` prompts only judge a candidate, `spare` ones are for
trials. The neutral texts measure whether a trained model still reads plain prose as the base does; those for
rehearsal are others, which training may see.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from data.types import Turn

PromptUse = Literal["rollout", "gate", "spare"]

_HERE = Path(__file__).parent


def context_key(context: Sequence[Turn]) -> str:
    """SHA-256 (64 hex digits) over the roles and texts of a conversation so far.

    It names the prompt of base replies, in the store and in memory: two contexts have the same key
    exactly when every turn of theirs is the same.
    """
    turns = [[turn.role, turn.content] for turn in context]
    return hashlib.sha256(json.dumps(turns, ensure_ascii=True).encode("ascii")).hexdigest()


@lru_cache(maxsize=1)
def prompt_table() -> tuple[dict[str, str], ...]:
    """Every row of prompts.jsonl: `id`, `text`, `use` and `kind`."""
    lines = (_HERE / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines if line.strip())


def general_prompts(use: PromptUse) -> list[str]:
    """The texts of one use, in file order. Raises ValueError for an unknown use."""
    if use not in get_args(PromptUse):
        raise ValueError(f"prompts are for {', '.join(get_args(PromptUse))}; not for {use!r}")
    return [row["text"] for row in prompt_table() if row["use"] == use]


def neutral_text() -> str:
    """About 1,500 words of plain expository prose, for raw perplexity."""
    return (_HERE / "neutral.txt").read_text(encoding="utf-8")


def neutral_chat() -> list[tuple[str, str]]:
    """Neutral (question, answer) pairs, for perplexity of answers in the chat template."""
    return _pairs("neutral_chat.jsonl")


def rehearsal_text() -> str:
    """About 640 words of plain expository prose that may be trained on; about other things than `neutral_text`."""
    return (_HERE / "rehearsal.txt").read_text(encoding="utf-8")


def rehearsal_chat() -> list[tuple[str, str]]:
    """Neutral (question, answer) pairs that may be trained on; none of them is in `neutral_chat`."""
    return _pairs("rehearsal_chat.jsonl")


def _pairs(name: str) -> list[tuple[str, str]]:
    lines = (_HERE / name).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    return [(row["question"], row["answer"]) for row in rows]
