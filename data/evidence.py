"""Reads from the store what `preferences.evidence` needs, and calls it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from data.preferences import evidence
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
    trees: dict[str, dict[str, Message]] = {}
    paths: dict[str, list[Message]] = {}
    for message_id in targets:
        tree = next((tree for tree in trees.values() if message_id in tree), None)
        if tree is None:
            conversation_id = store.message(user_id, message_id).conversation_id
            conversations[conversation_id] = store.conversation(user_id, conversation_id)
            tree = {message.id: message for message in store.messages(user_id, conversation_id)}
            trees[conversation_id] = tree
        paths[message_id] = _path(tree, message_id)
    roots = {
        conversation_id: next(message.id for message in tree.values() if message.parent_id is None)
        for conversation_id, tree in trees.items()
    }
    found = evidence(events, paths, conversations, comparisons, roots)
    return replace(found, watermark=watermark)


def _path(tree: Mapping[str, Message], message_id: str) -> list[Message]:
    path: list[Message] = []
    at: str | None = message_id
    while at is not None:
        path.append(tree[at])
        at = tree[at].parent_id
    return path[::-1]
