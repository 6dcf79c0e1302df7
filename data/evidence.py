"""Reads from the store what `preferences.evidence` needs, and calls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from data.preferences import evidence
from data.store import Store
from data.store.outcomes import left_out
from data.types import Comparison, Conversation, Evidence, FeedbackEvent, FeedbackOutcome, Message


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


def outcomes(
    store: Store, user_id: str, events: Iterable[FeedbackEvent], evidence: Evidence | None = None
) -> dict[str, FeedbackOutcome]:
    """What became of each piece, by id. Of what no update has seen yet it says already what the next one will find:
    that it contradicts, repeats, or counts less. Who has the person's evidence at hand passes it on."""
    found = {event.id: store.outcome(user_id, event.id) for event in events}
    waiting = [feedback_id for feedback_id, outcome in found.items() if outcome.code == "waiting"]
    if not waiting:
        return found
    evidence = evidence or load_evidence(store, user_id)
    doubtful = {use.feedback_id: use.why for use in evidence.left_out}
    weaker = {observation.feedback_id: observation.why for observation in evidence.observations}
    for feedback_id in waiting:
        if feedback_id in doubtful:
            found[feedback_id] = left_out(doubtful[feedback_id])
        elif why := weaker.get(feedback_id):
            text = f"{found[feedback_id].text.removesuffix('.')} ({why})."
            found[feedback_id] = replace(found[feedback_id], reason=why, text=text)
    return found


def _path(known: Mapping[str, Message], message_id: str) -> list[Message]:
    path: list[Message] = []
    at: str | None = message_id
    while at is not None:
        path.append(known[at])
        at = known[at].parent_id
    return path[::-1]
