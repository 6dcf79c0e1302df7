"""Conversations that are short enough to learn from."""

from __future__ import annotations

from collections.abc import Sequence

from data.types import Turn
from learner.modeling.base import BaseModel


def within(base: BaseModel, context: Sequence[Turn], tokens: int) -> tuple[Turn, ...] | None:
    """`context` with as few of its oldest turns dropped as `tokens` demand; the system prompt stays.

    None where the newest turn alone is too long, or where there is nothing to answer.
    """
    system = [turn for turn in context[:1] if turn.role == "system"]
    rest = list(context[len(system) :])
    while rest:
        if rest[0].role == "user" and len(base.encode_chat([*system, *rest])) <= tokens:
            return (*system, *rest)
        rest = rest[1:]
    return None


def with_system(system_prompt: str, text: str) -> tuple[Turn, ...]:
    """A first question, after the system prompt where there is one."""
    turns = (Turn("user", text),)
    return (Turn("system", system_prompt), *turns) if system_prompt.strip() else turns
