"""Reads from the store what `preferences.evidence` needs, and calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from data.preferences import evidence
from data.quality import QualityCode, quality_counts
from data.store import Store
from data.types import Comparison, Conversation, Evidence, Message


def load_evidence(store: Store, user_id: str) -> Evidence:
    """A person's standing feedback as observations. Its watermark is the newest event of any standing."""
    watermark = store.newest_feedback_id(user_id)  # before the feedback: what comes later is for next time
    events = store.standing_feedback(user_id)
    comparisons: dict[str, Comparison] = {}
    targets: list[str] = []
    for event in events:
        if event.comparison_id is not None:
            comparisons[event.comparison_id] = store.comparison(user_id, event.comparison_id)
            targets += comparisons[event.comparison_id].reply_ids
        elif event.message_id is not None:
            targets.append(event.message_id)
    conversations: dict[str, Conversation] = {}
    roots: dict[str, str] = {}
    known: dict[str, Message] = {}
    for message_id in targets:
        if message_id not in known:
            conversation_id = store.message(user_id, message_id).conversation_id
            conversations[conversation_id] = store.conversation(user_id, conversation_id)
            tree = store.messages(user_id, conversation_id)
            roots[conversation_id] = next(message.id for message in tree if message.parent_id is None)
            known |= {message.id: message for message in tree}
    paths = {message_id: _path(known, message_id) for message_id in targets}
    found = evidence(events, paths, conversations, comparisons, roots)
    return replace(found, watermark=watermark)


def data_quality(store: Store, user_id: str) -> dict[QualityCode, int]:
    """How much of a person's standing feedback each check of quality.py found."""
    return quality_counts(load_evidence(store, user_id))


def _path(known: Mapping[str, Message], message_id: str) -> list[Message]:
    path: list[Message] = []
    at: str | None = message_id
    while at is not None:
        path.append(known[at])
        at = known[at].parent_id
    return path[::-1]
