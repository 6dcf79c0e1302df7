"""One turn of conversation, independent of any page: the Gradio page and the HTTP interface both call this.

What a person writes is stored before anything is generated, and a reply has its row from its first moment
on. What can be refused (a busy conversation, a text that is too long) is refused before anything is stored.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from assistant.adapters import Adapters, Live
from assistant.engine import Engine
from assistant.places import Place, Places
from assistant.prompting import check_text, encode_within, system_text, turns_of
from assistant.running import Running, TurnHold
from assistant.sampling import Sampling
from assistant.streams import ReplyStream
from data.errors import AttuneError, Invalid, NotFound
from data.home import Home
from data.store import Store
from data.types import BASE_VERSION, Comparison, Conversation, Message, Turn
from learner.modeling.base import BaseModel

log = logging.getLogger(__name__)
ModelName = Literal["attune", "base"]
Choose = Callable[[Sequence[str]], Sequence[str]]
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
        self._running = Running()
        self._places = Places(store)

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
        with self._running.turn() as turn:
            place = self._places.after(user_id, conversation_id, parent_id, text, turn)
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def edit_message(
        self, user_id: str, message_id: str, text: str, *,
        sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ReplyStream:  # fmt: skip
        """Say one of one's own messages differently: a new branch beside it, answered. The old one stays."""
        full = self._sampling(user_id, sampling)
        with self._running.turn() as turn:
            place = self._places.beside(user_id, message_id, text, turn)
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def regenerate(
        self, user_id: str, message_id: str, *, sampling: Sampling = DEFAULT, model: ModelName = "attune",
    ) -> ReplyStream:  # fmt: skip
        """One more variant of a reply (or, given a person's message, one more answer to it)."""
        full = self._sampling(user_id, sampling)
        with self._running.turn() as turn:
            place = self._places.again(user_id, message_id, turn)
            return self._begin(user_id, place, full, model, 1, turn).streams[0]

    def compare(
        self, user_id: str, conversation_id: str | None, text: str | None = None, *,
        parent_id: str | None = None, n: int = 2, sampling: Sampling = DEFAULT, model: ModelName = "attune",
        choose: Choose | None = None,
    ) -> ComparisonStream:  # fmt: skip
        """`n` replies to one message, side by side, stored as a comparison at their end.

        With `text` it is a new message, placed as in `reply`; without, `parent_id` names the stored message
        to answer (or any reply to it). `choose` says at the end which replies to that message are compared, given the
        new ones' ids; without it those are.
        """
        full = _varied(self._sampling(user_id, sampling), n)
        if text is None and parent_id is None:
            raise Invalid("A comparison needs a text, or parent_id of the message to answer.", "text")
        with self._running.turn() as turn:
            if text is not None:
                place = self._places.after(user_id, conversation_id, parent_id, text, turn)
            else:
                assert parent_id is not None
                place = self._places.again(user_id, parent_id, turn)
            begun = self._begin(user_id, place, full, model, n, turn, comparing=True)
            return self._compared(user_id, begun, turn, choose)

    def stop(self, user_id: str, conversation_id: str) -> bool:
        """Stop whatever is being written in a conversation, or is about to be; what was written stays. False if
        nothing was."""
        self.store.conversation(user_id, conversation_id)
        return self._running.stop(conversation_id)

    def wait_until_stored(self, timeout_s: float = 10.0) -> None:
        """After the engine has stopped: wait until the end of every reply is in the store."""
        for writer in self._running.all():
            writer.wait(timeout_s)

    # --- for the HTTP interface: the caller brings the whole conversation ---

    def complete(
        self, user_id: str, turns: Sequence[Turn], sampling: Sampling = DEFAULT, *,
        model: ModelName = "attune",
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
        with self._running.turn() as turn:
            place = self._places.joining(user_id, conversation_id, system, dialogue, turn)
            return self._begin(user_id, place, full, model, n, turn).streams

    def compare_turns(
        self, user_id: str, turns: Sequence[Turn], n: int, sampling: Sampling = DEFAULT, *,
        model: ModelName = "attune", conversation_id: str | None = None,
    ) -> ComparisonStream:  # fmt: skip
        """As `complete`, for a comparison of `n` replies."""
        full = _varied(self._sampling(user_id, sampling), n)
        system, dialogue = _checked(turns)
        with self._running.turn() as turn:
            place = self._places.joining(user_id, conversation_id, system, dialogue, turn)
            return self._compared(user_id, self._begin(user_id, place, full, model, n, turn, comparing=True), turn)

    # --- one turn, step by step ---

    def _begin(
        self, user_id: str, place: Place, sampling: Sampling, model: ModelName, n: int, turn: TurnHold,
        comparing: bool = False,
    ) -> _Begun:  # fmt: skip
        """Refuse what must be refused, store the question, then start `n` replies to it."""
        edits = self._edits(user_id, place.path)
        system = self._system(user_id, place.system, model)
        prompt, room = self._prompt(system, turns_of(place.path, place.new, edits), sampling)
        self.engine.check_room(n)
        writers = self._writers_of(user_id, model, turn, n, sampling.seed, comparing)
        conversation = place.conversation
        if conversation is None:
            conversation = self.store.create_conversation(user_id, place.title, place.system)
            turn.enter(conversation.id)
        elif not conversation.title and place.new:
            self.store.rename_conversation(user_id, conversation.id, place.title)
            conversation = self.store.conversation(user_id, conversation.id)
        asked = place.path[-1] if place.path else None
        if place.new:
            asked = self.store.add_turn(user_id, conversation.id, asked.id if asked else None, place.new)[-1]
        assert asked is not None
        rows: list[Message] = []
        try:
            for i, writer in enumerate(writers):
                read = {**sampling.stored(i), **_read(place, edits, system)}
                rows.append(self.store.begin_reply(user_id, conversation.id, asked.id, writer.version, read))
        except BaseException:
            self._give_up(rows, len(prompt))
            raise
        streams = self._start(
            prompt, room, sampling, writers, turn, rows, conversation, asked if place.new else None
        )
        self._running.add(conversation.id, [stream.writer for stream in streams])
        return _Begun(conversation, asked, rows, streams)

    def _unstored(
        self,
        user_id: str,
        system: str,
        dialogue: tuple[Turn, ...],
        sampling: Sampling,
        model: ModelName,
        n: int,
    ) -> list[ReplyStream]:
        with self._running.turn() as turn:
            prompt, room = self._prompt(
                self._system(user_id, system, model), turns_of((), dialogue), sampling
            )
            writers = self._writers_of(user_id, model, turn, n)
            return self._start(prompt, room, sampling, writers, turn, [None] * n)

    def _prompt(self, system: str, dialogue: list[Turn], sampling: Sampling) -> tuple[list[int], int]:
        assert sampling.max_tokens is not None
        turns = [Turn("system", system), *dialogue] if system.strip() else dialogue
        return encode_within(self.base, turns, sampling.max_tokens)

    def _system(self, user_id: str, prompt: str, model: ModelName) -> str:
        """The system prompt as the model reads it: with the person's notes, unless the bare base is asked."""
        return system_text(prompt, self.store.notes(user_id) if model == "attune" else [])

    def _edits(self, user_id: str, path: Sequence[Message]) -> dict[str, str]:
        """What the person made of replies, by message id; edits that were taken back are not there."""
        replies = [m.id for m in path if m.role == "assistant"]
        standing = self.store.standing_for_messages(user_id, replies) if replies else {}
        return {i: str(found["edit"].value) for i, found in standing.items() if "edit" in found}

    def _writers_of(
        self, user_id: str, model: ModelName, turn: TurnHold, n: int, seed: int | None = None, comparing: bool = False
    ) -> list[Live]:
        """Who writes each of `n` replies: the live version, kept loaded until the last reply of this turn has ended.

        Where replies are compared and a new version is still watched, the version before it writes half of them, by lot
        which, and by lot who writes the odd one: two versions that are equally good must be as likely to have the best.
        """
        if model == "base":
            return [Live(user_id, BASE_VERSION, None)] * n
        live = self._held(self.adapters.acquire(user_id), turn)
        before = self.adapters.acquire_rival(user_id) if comparing else None
        if before is None:
            return [live] * n
        lot = random.Random(seed)
        half = n // 2 + (n % 2) * lot.randrange(2)
        writers = [live] * (n - half) + [self._held(before, turn)] * half
        lot.shuffle(writers)
        return writers

    def _held(self, live: Live, turn: TurnHold) -> Live:
        turn.on_release(lambda: self.adapters.release(live))
        return live

    def _start(
        self, prompt: list[int], room: int, sampling: Sampling, writers: Sequence[Live], turn: TurnHold,
        rows: Sequence[Message | None], conversation: Conversation | None = None,
        asked: Message | None = None,
    ) -> list[ReplyStream]:  # fmt: skip
        try:
            generations = self.engine.generate_many(
                [prompt] * len(rows),
                [sampling.for_decoder(room, i) for i in range(len(rows))],
                [writer.name for writer in writers],
                stop=sampling.stop,
                scope=writers[0].user_id,
            )
        except BaseException:
            self._give_up(rows, len(prompt))
            raise
        streams = []
        for generation, row, writer in zip(generations, rows, writers, strict=True):
            turn.take()
            stream = ReplyStream(
                generation,
                version=writer.version,
                store=self.store,
                on_end=turn.drop,
                conversation=conversation,
                user_message=asked,
                message=row,
            )
            streams.append(stream)
        return streams

    def _give_up(self, rows: Sequence[Message | None], prompt_tokens: int) -> None:
        """End replies that were begun and that nobody will write: who sees the conversation would wait for them."""
        for row in rows:
            try:
                if row is not None:
                    self.store.finish_reply(row.id, "", "interrupted", prompt_tokens, 0)
            except AttuneError as error:  # why they are given up is told to who asked; this must not hide it
                log.warning("a reply that could not be written could not be ended either: %s", error)

    def _compared(
        self, user_id: str, begun: _Begun, turn: TurnHold, choose: Choose | None = None
    ) -> ComparisonStream:
        made = ComparisonStream(begun.conversation, begun.asked, tuple(begun.streams))
        reply_ids = [row.id for row in begun.rows]

        def store() -> None:
            try:
                shown = choose(reply_ids) if choose else reply_ids
                made.comparison = self.store.create_comparison(
                    user_id, made.conversation.id, made.user_message.id, shown
                )
            except (Invalid, NotFound) as error:  # an empty reply, or the conversation was deleted meanwhile
                log.info("no comparison was stored: %s", error)

        turn.on_release(store)
        return made

    def _sampling(self, user_id: str, sampling: Sampling) -> Sampling:
        return sampling.completed(self.store.settings(user_id))


def _read(place: Place, edits: Mapping[str, str], system: str) -> dict[str, Any]:
    """What a reply's row keeps of what was read and stands nowhere else: learning needs it as it was (the notes
    and the edits may be others by then). Edits are told by their place on the path: an import gives new ids."""
    kept: dict[str, Any] = {}
    if system != (place.conversation.system_prompt if place.conversation else place.system):
        kept["system_prompt"] = system
    edited = {str(i): edits[m.id] for i, m in enumerate(place.path) if m.id in edits}
    return {**kept, "edited": edited} if edited else kept


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
    if system.strip():
        check_text(system, "messages")
    return system.strip(), dialogue
