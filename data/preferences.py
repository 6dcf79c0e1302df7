"""Pure: a person's feedback events become the observations that the reward model is fitted to.

The table "Feedback becomes observations" of docs/learning.md. The newest event of each kind on each target
counts, retracted ones never. Nothing standing is dropped silently: what cannot be used is in `left_out`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

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
# An edit of a tenth of the words or more counts in full: w = min(1, d / 0.1).
FULL_WEIGHT_DISTANCE = 0.1
ENDING_WORDS = 5  # an edit that leaves so many last words alone has not touched the ending
# A word, or one character of a script that is written without spaces (Chinese, Japanese).
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def is_held_out(root_message_id: str) -> bool:
    """Whether feedback in the conversation with this root is held out: one in five, for ever the same."""
    digest = hashlib.sha256(root_message_id.encode()).digest()
    return int.from_bytes(digest[:8], "big") < HELD_OUT_SHARE * 2**64


def words(text: str) -> list[str]:
    """The units in which the size of an edit is measured."""
    return _WORD.findall(text)


def word_edit_distance(a: Sequence[str], b: Sequence[str], cap: int | None = None) -> int:
    """Insertions, deletions and replacements of words from `a` to `b` (Levenshtein), at most `cap`.

    Ukkonen 1985, "Algorithms for approximate string matching": after d edits only the furthest place on each
    diagonal matters, so that it costs about length + d^2: little for a small change to a long text.
    """
    limit = max(len(a), len(b)) if cap is None else cap
    in_common = (Counter(a) & Counter(b)).total()  # every other word costs an edit of its own
    if max(len(a), len(b)) - in_common >= limit:
        return limit
    goal = len(b) - len(a)  # the diagonal j - i that ends at the end of both

    def slide(i: int, diagonal: int) -> int:
        """The furthest i that equal words lead to."""
        while i < len(a) and i + diagonal < len(b) and a[i] == b[i + diagonal]:
            i += 1
        return i

    furthest = {0: slide(0, 0)}
    for edits in range(limit):
        if furthest.get(goal, -1) >= len(a):
            return edits
        reached: dict[int, int] = {}
        for diagonal in range(-edits - 1, edits + 2):
            replaced_or_deleted = max(furthest.get(diagonal, -2), furthest.get(diagonal + 1, -2)) + 1
            i = min(max(replaced_or_deleted, furthest.get(diagonal - 1, -1)), len(a), len(b) - diagonal)
            if i >= max(0, -diagonal):
                reached[diagonal] = slide(i, diagonal)
        furthest = reached
    return limit


def edit_weight(original: str, edited: str) -> float:
    """min(1, d / 0.1), d = word edit distance / words of the longer text; 0.0 where no word changed.

    A change inside one word of an unspaced script or of punctuation glued to a word changes that word.
    """
    before, after = words(original), words(edited)
    length = max(len(before), len(after), 1)
    enough = FULL_WEIGHT_DISTANCE * length
    distance = word_edit_distance(before, after, cap=int(enough) + 1)
    return min(1.0, distance / enough)


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
    watermark = max((event.id for event in events), default=None)
    return Evidence(tuple(observations), tuple(left_out), watermark)


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
            return "only white space was changed"
        edited = Reply(event.value, replies[0].finished or _ends_anew(messages[0].content, event.value))
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


def _ends_anew(original: str, edited: str) -> bool:
    """Whether the person wrote another ending: one that was cut off and is left alone does not end well."""
    return words(edited)[-ENDING_WORDS:] != words(original)[-ENDING_WORDS:]


def _context(path: Sequence[Message], conversations: Mapping[str, Conversation]) -> tuple[Turn, ...]:
    """What the reply at the end of `path` answered, the system prompt first.

    A reply's own record of its system prompt (`sampling["system_prompt"]`) comes before the conversation's,
    which may have been changed since.
    """
    reply = path[-1]
    turns = tuple(Turn(message.role, message.content) for message in path[:-1])
    if turns and turns[0].role == "system":
        return turns
    conversation = conversations.get(reply.conversation_id)
    prompt = reply.sampling.get("system_prompt", conversation.system_prompt if conversation else "")
    return (Turn("system", prompt), *turns) if isinstance(prompt, str) and prompt.strip() else turns


def demonstrations(evidence: Evidence) -> list[tuple[tuple[Turn, ...], Reply]]:
    """What a warm start imitates, from the training side alone: (context, reply) in order of time.

    Edited texts, and replies of five stars that were not edited; thumbs up only where there is neither
    anywhere. A reply that was cut off shows no good ending and is not imitated.
    """
    train = [observation for observation in evidence.observations if not observation.held_out]
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
