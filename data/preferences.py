"""Pure: a person's feedback events become the observations that the reward model is fitted to.

The table "Feedback becomes observations" of docs/learning.md. The newest event of each kind on each target
counts, retracted ones never. Nothing standing is dropped silently: what cannot be used is in `left_out`, and what
counts less says why (quality.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from data.edits import edit_weight, ends_anew
from data.quality import WHY, weigh
from data.types import (
    Comparison,
    Conversation,
    Evidence,
    FeedbackEvent,
    FeedbackUse,
    Message,
    Observation,
    Reply,
    Turn,
)

HELD_OUT_SHARE = 0.2


def is_held_out(root_message_id: str) -> bool:
    """Whether feedback in the conversation with this root is held out: one in five, for ever the same."""
    digest = hashlib.sha256(root_message_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def evidence(
    events: Sequence[FeedbackEvent],
    paths: Mapping[str, Sequence[Message]],
    conversations: Mapping[str, Conversation],
    comparisons: Mapping[str, Comparison],
    roots: Mapping[str, str] | None = None,
) -> Evidence:
    """Observations from `events`, in their order.

    `paths` maps every message that an event or comparison is about to the messages from the root down to it,
    `conversations` conversation ids, `comparisons` comparison ids, and `roots` conversation ids to the first
    root message (by default the path's own: an edited first question would be a root of its own).
    """
    observations: list[Observation] = []
    left_out: list[FeedbackUse] = []
    for event in _counting(events):
        made = _observe(event, paths, conversations, comparisons, roots or {})
        if isinstance(made, Observation):
            observations.append(made)
        else:
            left_out.append(FeedbackUse(event.id, "left out", made))
    seen_s = {event.id: event.seen_s for event in events if event.seen_s is not None}
    observations, doubtful = weigh(observations, seen_s)
    watermark = max((event.id for event in events), default=None)
    return Evidence(tuple(observations), (*left_out, *doubtful), watermark)


def _counting(events: Sequence[FeedbackEvent]) -> list[FeedbackEvent]:
    """The newest event of each kind on each target, unless it is retracted."""
    newest: dict[tuple[str | None, str | None, str], FeedbackEvent] = {}
    for event in sorted(events, key=lambda event: event.id):
        newest[event.message_id, event.comparison_id, event.kind] = event
    standing = [event for event in newest.values() if not (event.retracted_by or event.superseded_by)]
    return sorted(standing, key=lambda event: event.id)


def _observe(
    event: FeedbackEvent,
    paths: Mapping[str, Sequence[Message]],
    conversations: Mapping[str, Conversation],
    comparisons: Mapping[str, Comparison],
    roots: Mapping[str, str],
) -> Observation | str:
    """The observation, or why there is none."""
    if event.kind == "ranking":
        comparison = comparisons.get(event.comparison_id or "")
        shown = comparison.reply_ids if comparison else ()
    else:
        shown = (event.message_id or "",)
    if not shown or any(message_id not in paths for message_id in shown):
        return "its conversation was deleted"
    messages = [paths[message_id][-1] for message_id in shown]
    if not all(message.content.strip() for message in messages):
        return "the reply is empty"
    path = paths[shown[0]]
    root_id = roots.get(path[-1].conversation_id, path[0].id)
    replies = tuple(Reply(message.content, message.finish_reason == "stop") for message in messages)
    outcome, weight = event.value, 1.0
    if event.kind == "thumb":
        outcome = 1 if event.value == "up" else -1
    elif event.kind == "edit":
        weight = edit_weight(messages[0].content, event.value)
        if weight == 0.0:
            return WHY["white_space"]
        edited = Reply(event.value, replies[0].finished or ends_anew(messages[0].content, event.value))
        replies, outcome = (edited, replies[0]), None
    elif event.kind == "ranking":
        places = {message_id: index for index, message_id in enumerate(shown)}
        outcome = tuple(tuple(places[reply_id] for reply_id in group) for group in event.value["order"])
        if len({reply.text for reply in replies}) == 1:
            return "the replies shown were all the same"
    return Observation(
        feedback_id=event.id,
        kind=event.kind,
        context=_context(path, conversations),
        replies=replies,
        outcome=outcome,
        weight=weight,
        held_out=is_held_out(root_id),
        created_at=event.created_at,
        root_id=root_id,
    )


def _context(path: Sequence[Message], conversations: Mapping[str, Conversation]) -> tuple[Turn, ...]:
    """What the reply at the end of `path` answered, the system prompt first.

    A reply's own record of its system prompt (`sampling["system_prompt"]`) comes before the conversation's,
    which may have been changed since; so does its record of the replies before it that the person had edited
    (`sampling["edited"]`, texts by place on the path).
    """
    reply = path[-1]
    edited = reply.sampling.get("edited", {})
    edited = edited if isinstance(edited, Mapping) else {}
    turns = tuple(
        Turn(message.role, str(edited.get(str(i), message.content))) for i, message in enumerate(path[:-1])
    )
    if turns and turns[0].role == "system":
        return turns
    conversation = conversations.get(reply.conversation_id)
    prompt = reply.sampling.get("system_prompt", conversation.system_prompt if conversation else "")
    return (Turn("system", prompt), *turns) if isinstance(prompt, str) and prompt.strip() else turns


def demonstrations(evidence: Evidence, held_out: bool = False) -> list[tuple[tuple[Turn, ...], Reply]]:
    """What a warm start imitates: (context, reply) in order of time, from the training side alone unless
    `held_out` is set.

    Edited texts, and replies of five stars that were not edited; thumbs up only where there is neither
    anywhere. A reply that was cut off shows no good ending and is not imitated.
    """
    train = [observation for observation in evidence.observations if held_out or not observation.held_out]
    edited = {(o.context, o.replies[1].text) for o in train if o.kind == "edit"}
    shown = [
        (o.context, o.replies[0])
        for o in train
        if o.kind == "edit"
        or (o.kind == "stars" and o.outcome == 5 and (o.context, o.replies[0].text) not in edited)
    ]
    if not shown:
        shown = [(o.context, o.replies[0]) for o in train if o.kind == "thumb" and o.outcome == 1]
    seen: dict[tuple[tuple[Turn, ...], str], Reply] = {}
    for context, reply in shown:
        if reply.finished:
            seen.setdefault((context, reply.text), reply)
    return [(context, reply) for (context, _), reply in seen.items()]
