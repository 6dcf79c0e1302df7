"""From a stored conversation to the token ids that the model reads.

The system prompt always stays; when the model's window is too short, the oldest turns drop out.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from data.errors import Invalid
from data.types import Message, Turn
from learner.modeling.base import BaseModel

MAX_TEXT_CHARS = 200_000  # longer texts are refused before they cost tokenizer time
TITLE_CHARS = 48

_tokenizing = (
    threading.Lock()
)  # a fast tokenizer raises "Already borrowed" when two threads set it up at once


def title_from(text: str) -> str:
    """A conversation's title: the first words of what the person wrote."""
    line = " ".join(text.split())
    if len(line) <= TITLE_CHARS:
        return line
    head = line[: TITLE_CHARS + 1]
    cut = head.rfind(" ")
    return head[: cut if cut > TITLE_CHARS // 2 else TITLE_CHARS].rstrip(" ,;:.") + "…"


def check_text(text: str, param: str = "content") -> None:
    if not text.strip():
        raise Invalid("The message is empty.", param)
    if len(text) > MAX_TEXT_CHARS:
        raise Invalid(f"The message has {len(text)} characters; at most {MAX_TEXT_CHARS} are taken.", param)


def system_text(prompt: str, notes: Sequence[Mapping[str, Any]]) -> str:
    """The system prompt with the person's notes that are switched on."""
    wishes = [str(n["text"]).strip() for n in notes if n["enabled"]]
    if not wishes:
        return prompt
    listed = "The person you answer has these wishes:\n" + "\n".join(f"- {wish}" for wish in wishes)
    return f"{prompt}\n\n{listed}" if prompt.strip() else listed


def turns_of(
    path: Sequence[Message], new: Sequence[Turn] = (), edits: Mapping[str, str] | None = None
) -> list[Turn]:
    """The dialogue of a branch root..message and what is said next.

    `edits` are the person's words for replies, by message id: the conversation goes on from what the person sees.
    Replies that were stopped before their first word are left out, and neighbours of one role are joined:
    several chat templates insist on strict alternation.
    """
    edits = edits or {}
    turns: list[Turn] = []
    for said in [*(Turn(m.role, edits.get(m.id, m.content)) for m in path if m.role != "system"), *new]:
        if not said.content.strip():
            continue
        if turns and turns[-1].role == said.role:
            turns[-1] = Turn(said.role, f"{turns[-1].content}\n\n{said.content}")
        else:
            turns.append(said)
    return turns


def encode_within(base: BaseModel, turns: Sequence[Turn], max_tokens: int) -> tuple[list[int], int]:
    """Token ids of the newest turns that fit with a reply, and how many new tokens there is room for.

    Raises Invalid where the last message alone (with the system prompt) leaves no room.
    """
    system = [t for t in turns[:1] if t.role == "system"]
    dialogue = list(turns[len(system) :])
    # A very long reply length must not push the whole conversation out.
    room = base.context_length - min(max_tokens, base.context_length // 2)
    ids = _encode(base, [*system, *dialogue])
    if len(ids) > room:
        dialogue = _newest_that_fit(base, system, dialogue, room)
        ids = _encode(base, [*system, *dialogue])
    if len(ids) > room:
        what = "The message and the system prompt have" if system else "The message has"
        raise Invalid(
            f"{what} {len(ids)} tokens; this model reads {base.context_length} at once, of which "
            f"{base.context_length - room} are kept for the reply. Shorten it.",
            "content",
        )
    return ids, min(max_tokens, base.context_length - len(ids))


def _newest_that_fit(base: BaseModel, system: list[Turn], dialogue: list[Turn], room: int) -> list[Turn]:
    """The longest end of the dialogue that fits and starts with the person; at least the last turn."""
    starts = [i for i, turn in enumerate(dialogue) if turn.role == "user" and i > 0]
    if not starts:
        return dialogue
    low, high = 0, len(starts) - 1  # fewer turns are fewer tokens: bisect for the first start that fits
    while low < high:
        middle = (low + high) // 2
        if len(_encode(base, [*system, *dialogue[starts[middle] :]])) <= room:
            high = middle
        else:
            low = middle + 1
    return dialogue[starts[low] :]


def _encode(base: BaseModel, turns: Sequence[Turn]) -> list[int]:
    with _tokenizing:
        return base.encode_chat(turns)
