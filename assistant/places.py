"""Where a turn goes in a person's conversations, checked before anything is stored or generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assistant import branches
from assistant.prompting import check_text, title_from
from assistant.running import TurnHold
from data.errors import Invalid
from data.store import Store
from data.types import Conversation, Message, Turn


@dataclass(frozen=True)
class Place:
    """After `path` in a conversation (None: one that is yet to be made), saying `new`.

    The last of `new` is the question; without `new` it is the end of `path` that is answered once more.
    """

    conversation: Conversation | None
    system: str
    path: tuple[Message, ...] = ()
    new: tuple[Turn, ...] = ()

    @property
    def title(self) -> str:
        return title_from(next((t.content for t in self.new if t.role == "user"), ""))


class Places:
    """Finds places; each conversation is entered (`turn.enter`) before its messages are looked at."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def after(
        self, user_id: str, conversation_id: str | None, parent_id: str | None, text: str, turn: TurnHold
    ) -> Place:
        """A new message after `parent_id`, else after the newest one, else in a new conversation."""
        check_text(text)
        new = (Turn("user", text),)
        if conversation_id is None and parent_id is not None:
            conversation_id = self._store.message(user_id, parent_id).conversation_id
        if conversation_id is None:
            return Place(None, str(self._store.settings(user_id)["system_prompt"]), (), new)
        conversation = self._store.conversation(user_id, conversation_id)
        turn.enter(conversation.id)
        if parent_id is None:
            last = branches.newest(self._store.messages(user_id, conversation.id))
            parent_id = last.id if last else None
        path = self._store.path(user_id, parent_id) if parent_id else []
        if path and path[-1].conversation_id != conversation.id:
            raise Invalid("parent_id names a message of another conversation.", "parent_id")
        return self._in(user_id, conversation, path, new)

    def beside(self, user_id: str, message_id: str, text: str, turn: TurnHold) -> Place:
        """One of the person's messages said differently."""
        check_text(text)
        old = self._store.message(user_id, message_id)
        if old.role != "user":
            raise Invalid(
                "Only one's own messages can be said again; a reply is edited as feedback.", "message_id"
            )
        conversation = self._store.conversation(user_id, old.conversation_id)
        turn.enter(conversation.id)
        before = self._store.path(user_id, old.parent_id) if old.parent_id else []
        return self._in(user_id, conversation, before, (Turn("user", text),))

    def again(self, user_id: str, message_id: str, turn: TurnHold) -> Place:
        """The person's message at or above `message_id`, to be answered once more."""
        message = self._store.message(user_id, message_id)
        conversation = self._store.conversation(user_id, message.conversation_id)
        turn.enter(conversation.id)
        path = self._store.path(user_id, message.id)
        while path and path[-1].role != "user":
            path = path[:-1]
        if not path:
            raise Invalid(
                "Nothing was asked before this reply, so nothing can be answered again.", "message_id"
            )
        return self._in(user_id, conversation, path, ())

    def joining(
        self,
        user_id: str,
        conversation_id: str | None,
        system: str,
        dialogue: tuple[Turn, ...],
        turn: TurnHold,
    ) -> Place:
        """The last of `dialogue`, in a conversation that says what comes before it."""
        if conversation_id is None:
            return Place(None, system, (), dialogue)
        conversation = self._store.conversation(user_id, conversation_id)
        if system and system.strip() != self._system(user_id, conversation).strip():
            raise Invalid("The stored conversation has another system prompt; leave it out here.", "messages")
        if len(dialogue) == 1:
            return self.after(user_id, conversation_id, None, dialogue[0].content, turn)
        turn.enter(conversation.id)
        before = branches.saying(self._store.messages(user_id, conversation.id), dialogue[:-1])
        if before is None:
            raise Invalid(
                "The messages before the last are not what the stored conversation says; send the new one "
                "alone to continue where it ended.",
                "messages",
            )
        return self._in(user_id, conversation, self._store.path(user_id, before.id), dialogue[-1:])

    def _in(
        self, user_id: str, conversation: Conversation, path: Sequence[Message], new: tuple[Turn, ...]
    ) -> Place:
        return Place(conversation, self._system(user_id, conversation), tuple(path), new)

    def _system(self, user_id: str, conversation: Conversation) -> str:
        return conversation.system_prompt or str(self._store.settings(user_id)["system_prompt"])
