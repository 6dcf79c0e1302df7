"""Finding one's place in a conversation's tree. Pure: stored messages in, a message out."""

from __future__ import annotations

from collections.abc import Sequence

from data.types import Message, Turn


def newest(messages: Sequence[Message]) -> Message | None:
    """Where a message goes that names no parent: after the one written last."""
    return max(messages, key=lambda m: m.id, default=None)


def saying(messages: Sequence[Message], turns: Sequence[Turn]) -> Message | None:
    """The last message of the branch that says exactly `turns` from its root on; the newest of several."""
    ends: list[str | None] = [None]
    found: list[Message] = []
    for turn in turns:
        found = [
            m for m in messages
            if m.parent_id in ends and m.role == turn.role and m.content.strip() == turn.content.strip()
        ]  # fmt: skip
        ends = [m.id for m in found]
    return newest(found)
