"""What the page shows of a conversation: plain dictionaries for the browser, built from the store.

A conversation is a tree; the page shows one path through it. A view says for every message which other
messages stand in its place (`variants`), what the person said about it, and which version wrote it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from assistant.page.markdown import render
from data.store import Store
from data.types import Comparison, Conversation, FeedbackEvent, FeedbackKind, Message

LIST_LENGTH = 200  # conversations in the side list, until more are asked for
MOST_LISTED = 1_000_000  # what a number from the browser may be


def path_through(messages: Sequence[Message], through: str | None) -> list[Message]:
    """The path root..leaf that goes through the message `through` and, below it, always to the newest
    child. Without `through` the newest message is the leaf. `messages` in the order they were made."""
    by_id = {message.id: message for message in messages}
    if not by_id:
        return []
    newest_child: dict[str | None, Message] = {}
    for message in messages:
        newest_child[message.parent_id] = message
    leaf = by_id.get(through or "", messages[-1])
    while leaf.id in newest_child:
        leaf = newest_child[leaf.id]
    path = [leaf]
    while path[-1].parent_id in by_id:
        path.append(by_id[path[-1].parent_id or ""])
    path.reverse()
    return path


def empty_view() -> dict[str, Any]:
    """The page before the first message."""
    return {"id": None, "title": "", "opened": time.time_ns(), "path": [], "messages": [], "comparison": None}


def conversation_view(
    store: Store, user_id: str, conversation_id: str | None, through: str | None = None
) -> dict[str, Any]:
    """A conversation as the page draws it; an empty one where `conversation_id` is None.

    Raises NotFound where it is somebody else's or deleted. `opened` differs in every view, so that opening
    the same conversation twice draws it twice.
    """
    if conversation_id is None:
        return empty_view()
    conversation = store.conversation(user_id, conversation_id)
    messages = store.messages(user_id, conversation_id)
    path = path_through(messages, through)
    comparison = None if through else store.unjudged_comparison(user_id, conversation_id)
    asked = next((i for i, m in enumerate(path) if comparison and m.id == comparison.prompt_message_id), None)
    # Nothing but what was there to be compared stands in their place: no reply was written since.
    if comparison is not None and asked == len(path) - 2 and path[-1].id < comparison.id:
        path = path[:-1]  # the replies stand side by side until one is chosen
    else:
        comparison = None  # the conversation has gone on after one of them, or on another branch
    return {
        "id": conversation.id,
        "title": conversation.title,
        "opened": time.time_ns(),
        "path": [message.id for message in path],
        "messages": message_views(store, user_id, path, messages),
        "comparison": comparison_view(comparison, messages) if comparison else None,
    }


def comparison_view(comparison: Comparison, messages: Sequence[Message]) -> dict[str, Any]:
    """A comparison that waits to be judged."""
    text = {message.id: message.content for message in messages}
    columns = columns_view(comparison.reply_ids, [text[reply_id] for reply_id in comparison.reply_ids])
    return {"key": comparison.id, "id": comparison.id, "replies": columns}


def columns_view(ids: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Replies that stand side by side."""
    return [{"id": i, "html": render(text)} for i, text in zip(ids, texts, strict=True)]


def message_views(
    store: Store, user_id: str, shown: Sequence[Message], messages: Sequence[Message]
) -> list[dict[str, Any]]:
    """Views of `shown`; `messages` is the whole tree, for the variants of each."""
    variants: dict[tuple[str | None, str], list[str]] = {}
    for message in messages:
        variants.setdefault((message.parent_id, message.role), []).append(message.id)
    replies = [message.id for message in shown if message.role == "assistant"]
    feedback = store.standing_for_messages(user_id, replies) if replies else {}
    return [
        message_view(m, variants.get((m.parent_id, m.role), [m.id]), feedback.get(m.id, {}))
        for m in shown
        if m.role != "system"
    ]


def message_view(
    message: Message, variants: Sequence[str], feedback: Mapping[FeedbackKind, FeedbackEvent]
) -> dict[str, Any]:
    """One message. A reply carries its HTML (and that of the person's edit, which is shown in its place)."""
    view: dict[str, Any] = {
        "id": message.id,
        "parent": message.parent_id,
        "role": message.role,
        "text": message.content,
        "variants": list(variants),
    }
    if message.role != "assistant":
        return view
    edit = feedback.get("edit")
    view.update(
        html=render(message.content),
        state=message.finish_reason or "writing",
        version=message.adapter_version or 0,
        edit={"text": edit.value, "html": render(edit.value)} if edit else None,
        feedback={
            kind: {"id": event.id, "value": event.value}
            for kind, event in feedback.items()
            if kind != "ranking"
        },
    )
    return view


def list_view(store: Store, user_id: str, query: str = "", length: int = LIST_LENGTH) -> dict[str, Any]:
    """The side list: the `length` newest conversations, or those of them whose title or messages hold `query`, and
    whether there are `more`."""
    query = query.strip()
    if query:
        found = store.find_conversations(user_id, query, limit=length + 1)
    else:
        found = store.list_conversations(user_id, limit=length + 1)
    return {
        "query": query,
        "conversations": [_list_entry(c) for c in found[:length]],
        "more": len(found) > length,
    }


def wanted_length(asked: Any, least: int) -> int:
    """How many of a list the browser wants to see; what is no such number is as if it had not been said."""
    return min(max(asked, least), MOST_LISTED) if isinstance(asked, int) else least


def _list_entry(conversation: Conversation) -> dict[str, Any]:
    return {"id": conversation.id, "title": conversation.title, "updated": conversation.updated_at}
