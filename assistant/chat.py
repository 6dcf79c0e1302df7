"""One turn of conversation, independent of any page: the Gradio page and the HTTP interface both call this.

What a person writes is stored before anything is generated, and a reply has its row from its first moment
on. What can be refused (a busy conversation, a text that is too long) is refused before anything is stored.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

from assistant import branches
from assistant.adapters import Adapters, Live
from assistant.engine import Engine
from assistant.prompting import check_text, encode_within, system_text, title_from, turns_of
from assistant.sampling import Sampling
from assistant.streams import ReplyStream
from data.errors import Conflict, Invalid, NotFound
from data.home import Home
from data.store import Store
from data.types import BASE_VERSION, Comparison, Conversation, Message, Turn
from learner.modeling.base import BaseModel

log = logging.getLogger(__name__)
ModelName = Literal["attune", "base"]
MAX_VARIANTS = 8
DEFAULT = Sampling()


@dataclass
class ComparisonStream:
    """Replies to one message, written side by side.

    `comparison` is stored when the last of them has ended; it stays None where one of them is empty, since
    there is nothing to compare then.
    """

    conversation: Conversation
    user_message: Message
    streams: tuple[ReplyStream, ...]
    comparison: Comparison | None = None


@dataclass(frozen=True)
class _Place:
    """Where a turn goes: after `path` in a conversation (None: one to be made), saying `new`.

    The last of `new` is the question; without `new` it is the end of `path` that is answered once more.
    """

    conversation: Conversation | None
    system: str
    path: tuple[Message, ...] = ()
    new: tuple[Turn, ...] = ()


@dataclass(frozen=True)
class _Begun:
    conversation: Conversation
    asked: Message
    rows: list[Message]
    streams: list[ReplyStream]


class Chat:
    """Turns for everybody. Thread-safe; raises data.errors.* (NotFound for what is somebody else's).

    One turn at a time in a conversation: Conflict while it is being answered.
    """

    def __init__(self, home: Home, store: Store, engine: Engine, adapters: Adapters, base: BaseModel) -> None:
        self.home = home
        self.store = store
        self.engine = engine
        self.adapters = adapters
        self.base = base
        self._lock = threading.Lock()
        self._running: dict[str, list[ReplyStream]] = {}  # by conversation id

    # --- for the page ---

    def reply(
        self, user_id: str, conversation_id: str | None, text: str, *, parent_id: str | None = None,
        sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ReplyStream:  # fmt: skip
        """Store `text` as the person's message and answer it.

        Without `conversation_id` a conversation is made, titled with the first words. The message goes after
        `parent_id`, else after the newest message.
        """
        full = self._sampling(user_id, sampling)
        with self._turn() as turn:
            place = self._after(user_id, conversation_id, parent_id, text, turn)
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def edit_message(
        self, user_id: str, message_id: str, text: str, *,
        sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ReplyStream:  # fmt: skip
        """Say one of one's own messages differently: a new branch beside it, answered. The old one stays."""
        check_text(text)
        full = self._sampling(user_id, sampling)
        old = self.store.message(user_id, message_id)
        if old.role != "user":
            raise Invalid("Only one's own messages can be said again; a reply is edited as feedback.", "message_id")
        conversation = self.store.conversation(user_id, old.conversation_id)
        with self._turn() as turn:
            turn.enter(conversation.id)
            before = self.store.path(user_id, old.parent_id) if old.parent_id else []
            place = self._in(user_id, conversation, before, (Turn("user", text),))
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def regenerate(
        self, user_id: str, message_id: str, *, sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ReplyStream:  # fmt: skip
        """One more variant of a reply (or, given a person's message, one more answer to it)."""
        full = self._sampling(user_id, sampling)
        with self._turn() as turn:
            place = self._again(user_id, message_id, turn)
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def compare(
        self, user_id: str, conversation_id: str | None, text: str | None = None, *,
        parent_id: str | None = None, n: int = 2, sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ComparisonStream:  # fmt: skip
        """`n` replies to one message, side by side, stored as a comparison at their end.

        With `text` it is a new message, placed as in `reply`; without, `parent_id` names the stored message
        to answer (or any reply to it).
        """
        full = _varied(self._sampling(user_id, sampling), n)
        if text is None and parent_id is None:
            raise Invalid("A comparison needs a text, or parent_id of the message to answer.", "text")
        with self._turn() as turn:
            if text is not None:
                place = self._after(user_id, conversation_id, parent_id, text, turn)
            else:
                assert parent_id is not None
                place = self._again(user_id, parent_id, turn)
            return self._compared(user_id, self._begin(user_id, place, full, model, n, turn), turn)

    def running(self, user_id: str, conversation_id: str) -> list[ReplyStream]:
        """Replies that are being written in a conversation now."""
        self.store.conversation(user_id, conversation_id)
        with self._lock:
            return list(self._running.get(conversation_id, []))

    def stop(self, user_id: str, conversation_id: str) -> bool:
        """Stop whatever is being written in a conversation; what was written stays. False if nothing was."""
        streams = self.running(user_id, conversation_id)
        for stream in streams:
            stream.cancel()
        return bool(streams)

    # --- for the HTTP interface: the caller brings the whole conversation ---

    def complete(
        self, user_id: str, turns: Sequence[Turn], sampling: Sampling = DEFAULT, *, model: ModelName = "attune",
        n: int = 1, store: bool = True, conversation_id: str | None = None,
    ) -> list[ReplyStream]:  # fmt: skip
        """`n` replies to `turns`, stored as a conversation of their own unless `store` is False.

        With `conversation_id` the last turn joins that conversation: alone it goes after the newest message;
        with turns before it, after the stored branch that says exactly those.
        """
        if not 1 <= n <= MAX_VARIANTS:
            raise Invalid(f"n must be 1 to {MAX_VARIANTS}, not {n}.", "n")
        full = self._sampling(user_id, sampling)
        system, dialogue = _checked(turns)
        if not store:
            if conversation_id is not None:
                raise Invalid("store: false and conversation_id exclude each other.", "store")
            return self._unstored(user_id, system, dialogue, full, model, n)
        with self._turn() as turn:
            place = self._joining(user_id, conversation_id, system, dialogue, turn)
            return self._begin(user_id, place, full, model, n, turn).streams

    def compare_turns(
        self, user_id: str, turns: Sequence[Turn], n: int, sampling: Sampling = DEFAULT, *,
        model: ModelName = "attune", conversation_id: str | None = None,
    ) -> ComparisonStream:  # fmt: skip
        """As `complete`, for a comparison of `n` replies."""
        full = _varied(self._sampling(user_id, sampling), n)
        system, dialogue = _checked(turns)
        with self._turn() as turn:
            place = self._joining(user_id, conversation_id, system, dialogue, turn)
            return self._compared(user_id, self._begin(user_id, place, full, model, n, turn), turn)

    # --- where a turn goes ---

    def _after(
        self, user_id: str, conversation_id: str | None, parent_id: str | None, text: str, turn: _Hold
    ) -> _Place:
        check_text(text)
        new = (Turn("user", text),)
        if conversation_id is None:
            return _Place(None, str(self.store.settings(user_id)["system_prompt"]), (), new)
        conversation = self.store.conversation(user_id, conversation_id)
        turn.enter(conversation.id)
        if parent_id is None:
            last = branches.newest(self.store.messages(user_id, conversation.id))
            parent_id = last.id if last else None
        path = self.store.path(user_id, parent_id) if parent_id else []
        if path and path[-1].conversation_id != conversation.id:
            raise Invalid("parent_id names a message of another conversation.", "parent_id")
        return self._in(user_id, conversation, path, new)

    def _again(self, user_id: str, message_id: str, turn: _Hold) -> _Place:
        message = self.store.message(user_id, message_id)
        conversation = self.store.conversation(user_id, message.conversation_id)
        turn.enter(conversation.id)
        path = self.store.path(user_id, message.id)
        while path and path[-1].role != "user":
            path = path[:-1]
        if not path:
            raise Invalid("Nothing was asked before this reply, so there is nothing to answer again.", "message_id")
        return self._in(user_id, conversation, path, ())

    def _joining(
        self, user_id: str, conversation_id: str | None, system: str, dialogue: tuple[Turn, ...], turn: _Hold
    ) -> _Place:
        if conversation_id is None:
            return _Place(None, system, (), dialogue)
        conversation = self.store.conversation(user_id, conversation_id)
        if system and system.strip() != self._system_of(user_id, conversation).strip():
            raise Invalid("The stored conversation has another system prompt; leave it out here.", "messages")
        if len(dialogue) == 1:
            return self._after(user_id, conversation_id, None, dialogue[0].content, turn)
        turn.enter(conversation.id)
        before = branches.saying(self.store.messages(user_id, conversation.id), dialogue[:-1])
        if before is None:
            raise Invalid(
                "The messages before the last are not what the stored conversation says; send the new message "
                "alone to continue it where it ended.",
                "messages",
            )
        return self._in(user_id, conversation, self.store.path(user_id, before.id), dialogue[-1:])

    def _in(
        self, user_id: str, conversation: Conversation, path: Sequence[Message], new: tuple[Turn, ...]
    ) -> _Place:
        return _Place(conversation, self._system_of(user_id, conversation), tuple(path), new)

    def _system_of(self, user_id: str, conversation: Conversation) -> str:
        return conversation.system_prompt or str(self.store.settings(user_id)["system_prompt"])

    # --- one turn, step by step ---

    def _begin(
        self, user_id: str, place: _Place, sampling: Sampling, model: ModelName, n: int, turn: _Hold
    ) -> _Begun:
        """Refuse what must be refused, store the question, then start `n` replies to it."""
        prompt, room = self._prompt(user_id, place.system, turns_of(place.path, place.new), sampling, model)
        self.engine.check_room(n)
        live = self._writer_of(user_id, model, turn)
        conversation = place.conversation
        if conversation is None:
            conversation = self.store.create_conversation(user_id, _title(place.new), place.system)
            turn.enter(conversation.id)
        elif not conversation.title and place.new:
            self.store.rename_conversation(user_id, conversation.id, _title(place.new))
            conversation = self.store.conversation(user_id, conversation.id)
        asked = place.path[-1] if place.path else None
        if place.new:
            asked = self.store.add_turn(user_id, conversation.id, asked.id if asked else None, place.new)[-1]
        assert asked is not None
        rows = [
            self.store.begin_reply(user_id, conversation.id, asked.id, live.version, sampling.stored(i))
            for i in range(n)
        ]
        streams = self._start(
            prompt, room, sampling, live, turn, rows, conversation, asked if place.new else None
        )
        with self._lock:
            if conversation.id in self._running:  # very short replies may have ended by now
                self._running[conversation.id].extend(streams)
        return _Begun(conversation, asked, rows, streams)

    def _unstored(
        self, user_id: str, system: str, dialogue: tuple[Turn, ...], sampling: Sampling, model: ModelName, n: int
    ) -> list[ReplyStream]:
        with self._turn() as turn:
            prompt, room = self._prompt(user_id, system, turns_of((), dialogue), sampling, model)
            live = self._writer_of(user_id, model, turn)
            return self._start(prompt, room, sampling, live, turn, [None] * n)

    def _prompt(
        self, user_id: str, system: str, dialogue: list[Turn], sampling: Sampling, model: ModelName
    ) -> tuple[list[int], int]:
        notes = self.store.notes(user_id) if model == "attune" else []
        text = system_text(system, notes)
        assert sampling.max_tokens is not None
        turns = [Turn("system", text), *dialogue] if text.strip() else dialogue
        return encode_within(self.base, turns, sampling.max_tokens)

    def _writer_of(self, user_id: str, model: ModelName, turn: _Hold) -> Live:
        """The version that is live now, kept loaded until the last reply of this turn has ended."""
        if model == "base":
            return Live(user_id, BASE_VERSION, None)
        live = self.adapters.acquire(user_id)
        turn.on_release(lambda: self.adapters.release(live))
        return live

    def _start(
        self, prompt: list[int], room: int, sampling: Sampling, live: Live, turn: _Hold,
        rows: Sequence[Message | None], conversation: Conversation | None = None, asked: Message | None = None,
    ) -> list[ReplyStream]:  # fmt: skip
        try:
            generations = self.engine.generate_many(
                [prompt] * len(rows),
                [sampling.for_decoder(room, i) for i in range(len(rows))],
                live.name,
                stop=sampling.stop,
            )
        except BaseException:
            for row in rows:
                if row is not None:
                    self.store.finish_reply(row.id, "", "interrupted", len(prompt), 0)
            raise
        streams = []
        for generation, row in zip(generations, rows, strict=True):
            turn.take()
            streams.append(
                ReplyStream(
                    generation, version=live.version, store=self.store, on_end=turn.drop,
                    conversation=conversation, user_message=asked, message=row,
                )  # fmt: skip
            )
        return streams

    def _compared(self, user_id: str, begun: _Begun, turn: _Hold) -> ComparisonStream:
        made = ComparisonStream(begun.conversation, begun.asked, tuple(begun.streams))
        reply_ids = [row.id for row in begun.rows]

        def store() -> None:
            try:
                made.comparison = self.store.create_comparison(
                    user_id, made.conversation.id, made.user_message.id, reply_ids
                )
            except (Invalid, NotFound) as error:  # an empty reply, or the conversation was deleted meanwhile
                log.info("no comparison was stored: %s", error)

        turn.on_release(store)
        return made

    def _sampling(self, user_id: str, sampling: Sampling) -> Sampling:
        return sampling.completed(self.store.settings(user_id))

    @contextmanager
    def _turn(self) -> Iterator[_Hold]:
        hold = _Hold(self._enter, self._leave)
        try:
            yield hold
        finally:
            hold.drop()

    def _enter(self, conversation_id: str) -> None:
        with self._lock:
            if conversation_id in self._running:
                raise Conflict("This conversation is being answered; wait for the reply or stop it first.")
            self._running[conversation_id] = []

    def _leave(self, conversation_id: str) -> None:
        with self._lock:
            self._running.pop(conversation_id, None)


class _Hold:
    """What one turn holds (its conversation, an adapter) until it is prepared and its last reply has ended."""

    def __init__(self, enter: Callable[[str], None], leave: Callable[[str], None]) -> None:
        self._enter, self._leave = enter, leave
        self._lock = threading.Lock()
        self._count = 1
        self._at_end: list[Callable[[], None]] = []

    def enter(self, conversation_id: str) -> None:
        self._enter(conversation_id)
        self._at_end.append(lambda: self._leave(conversation_id))

    def on_release(self, call: Callable[[], None]) -> None:
        self._at_end.append(call)

    def take(self) -> None:
        with self._lock:
            self._count += 1

    def drop(self) -> None:
        with self._lock:
            self._count -= 1
            last = self._count == 0
        if last:
            for call in reversed(self._at_end):
                try:
                    call()
                except Exception:  # the others must still be let go
                    log.exception("the end of a turn could not be settled")


def _title(turns: Sequence[Turn]) -> str:
    return title_from(next((t.content for t in turns if t.role == "user"), ""))


def _varied(sampling: Sampling, n: int) -> Sampling:
    """Checked for a comparison: greedy replies would all be the same."""
    if not 2 <= n <= MAX_VARIANTS:
        raise Invalid(f"n must be 2 to {MAX_VARIANTS} for a comparison, not {n}.", "n")
    return replace(sampling, temperature=0.7) if sampling.temperature == 0 else sampling


def _checked(turns: Sequence[Turn]) -> tuple[str, tuple[Turn, ...]]:
    """System prompt and dialogue of what a caller sent."""
    leading = 0
    while leading < len(turns) and turns[leading].role == "system":
        leading += 1
    dialogue = tuple(turns[leading:])
    if any(t.role == "system" for t in dialogue):
        raise Invalid("System messages must come before all others.", "messages")
    if not dialogue or dialogue[-1].role != "user":
        raise Invalid("The last message must be the user's.", "messages")
    for turn in dialogue:
        check_text(turn.content, "messages")
    system = "\n\n".join(t.content for t in turns[:leading])
    if system:
        check_text(system, "messages")
    return system, dialogue
