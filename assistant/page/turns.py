"""Turns of conversation for the page: send, say again, regenerate, compare, stop.

Each handler is a generator whose every value is a complete state of its turn (see static/turn.js): the
messages it touched, the path that is shown now, whether it goes on. Text is read from the stream at most
`FRAMES_PER_S` times a second: more often costs page time and nobody reads faster.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from assistant.chat import ComparisonStream
from assistant.page.offers import Offers
from assistant.page.view import columns_view, comparison_view, message_view, message_views, path_through
from assistant.services import Services
from assistant.streams import ReplyStream
from data.errors import AttuneError, NotFound
from data.types import Message

log = logging.getLogger(__name__)

FRAMES_PER_S = 15
ALIVE_EVERY_S = (
    2.0  # a turn that has nothing new says so: a page that hears nothing asks whether the server is there
)
UNEXPECTED = (
    "Something went wrong on the server. Its log says what; your message is stored if you see it above."
)
State = dict[str, Any]


class Turns:
    """The handlers. `event._data` is what the browser sent: nothing in it is trusted, and everything it
    names is looked up as the asking person's own."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.chat = services.chat
        self.store = services.store
        self.offers = Offers(services)

    def send(self, event: gr.EventData, request: gr.Request) -> Iterator[State]:
        """A new message, answered once or (`compare`) by two replies side by side."""
        asked, user_id = self._read(event, request)
        text = str(asked.get("text", ""))
        conversation, parent = _text(asked.get("conversation")), _text(asked.get("parent"))

        def start() -> Iterator[State]:
            if asked.get("compare"):
                yield from self._compared(
                    user_id, self.chat.compare(user_id, conversation, text, parent_id=parent)
                )
            else:
                yield from self._written(
                    user_id, self.chat.reply(user_id, conversation, text, parent_id=parent)
                )

        yield from self._guarded(asked, start())

    def say_again(self, event: gr.EventData, request: gr.Request) -> Iterator[State]:
        """One's own message in other words: a branch beside the old one."""
        asked, user_id = self._read(event, request)

        def start() -> Iterator[State]:
            stream = self.chat.edit_message(user_id, str(asked.get("message")), str(asked.get("text", "")))
            yield from self._written(user_id, stream)

        yield from self._guarded(asked, start())

    def regenerate(self, event: gr.EventData, request: gr.Request) -> Iterator[State]:
        """One more variant of any reply."""
        asked, user_id = self._read(event, request)

        def start() -> Iterator[State]:
            yield from self._written(user_id, self.chat.regenerate(user_id, str(asked.get("message"))))

        yield from self._guarded(asked, start())

    def compare(self, event: gr.EventData, request: gr.Request) -> Iterator[State]:
        """Two more answers to what a reply answers, and two of all three side by side: what the page offers."""
        asked, user_id = self._read(event, request)

        def start() -> Iterator[State]:
            message = str(asked.get("message"))
            choose = self.offers.chooser(user_id, message)
            compared = self.chat.compare(user_id, None, parent_id=message, choose=choose)
            yield from self._compared(user_id, compared, choosing=choose is not None)

        yield from self._guarded(asked, start())

    def stop(self, event: gr.EventData, request: gr.Request) -> None:
        """Stop what is being written in a conversation; the turn that writes it shows the end."""
        asked, user_id = self._read(event, request)
        try:
            self.chat.stop(user_id, str(asked.get("conversation")))
        except AttuneError as error:
            raise gr.Error(str(error), print_exception=False) from error

    def refresh(self, event: gr.EventData, request: gr.Request) -> State:
        """One message again as the store has it now (after an edit was saved)."""
        asked, user_id = self._read(event, request)
        try:
            message = self.store.message(user_id, str(asked.get("message")))
            messages = self.store.messages(user_id, message.conversation_id)
            path = path_through(messages, message.id)
            return self._state(user_id, messages, path, [message], busy=False)
        except AttuneError as error:
            return {"nonce": None, "error": str(error), "busy": False}

    # --- one turn, from its first state to its last ---

    def _guarded(self, asked: State, states: Iterator[State]) -> Iterator[State]:
        """Give every state the sender's nonce; an error becomes the last state instead of a lost turn."""
        nonce = _text(asked.get("nonce"))
        last: State = {"conversation": _text(asked.get("conversation"))}
        try:
            for state in states:
                last = {**state, "nonce": nonce}
                yield last
        except AttuneError as error:
            # Found when it began and not any more: the conversation was deleted meanwhile, and that is no error.
            deleted = isinstance(error, NotFound) and "path" in last
            yield {**last, "nonce": nonce, "busy": False, "error": None if deleted else str(error)}
        except Exception:
            log.exception("a turn failed")
            yield {**last, "nonce": nonce, "busy": False, "error": UNEXPECTED}

    def _written(self, user_id: str, stream: ReplyStream) -> Iterator[State]:
        """A reply while it is written. Leaving early (the page was closed) stops it and keeps its text."""
        with stream:
            reply = stream.message
            assert reply is not None and stream.conversation is not None
            messages = self.store.messages(user_id, stream.conversation.id)
            path = path_through(messages, reply.id)
            touched = path[-3:]  # the reply, its question, and the reply before: it may be new to the page
            state = self._state(user_id, messages, path, touched, title=stream.conversation.title, echo=True)
            yield state
            variants = state["messages"][-1]["variants"]
            error: AttuneError | None = None
            try:
                for text in _frames([stream]):
                    writing = message_view(_with_text(reply, text[0]), variants, {})
                    yield {**state, "messages": [*state["messages"][:-1], writing]}
            except AttuneError as failure:
                error = failure
            messages = self.store.messages(user_id, stream.conversation.id)
            ended = next(message for message in messages if message.id == reply.id)
            yield {
                **self._state(user_id, messages, path, touched, title=stream.conversation.title, busy=False),
                "error": str(error) if error else None,
                "offer": self.offers.is_made(user_id, ended),
            }

    def _compared(self, user_id: str, compared: ComparisonStream, choosing: bool = False) -> Iterator[State]:
        """Two replies while they are written; the last state carries the comparison's id, to be judged.

        While it is still to be chosen which replies are compared (`choosing`), none of them is shown."""
        asked, title = compared.user_message, compared.conversation.title
        messages = self.store.messages(user_id, compared.conversation.id)
        # The replies stand in columns of their own until one is chosen: the path ends with the question.
        path = [*itertools.takewhile(lambda m: m.id != asked.id, path_through(messages, asked.id)), asked]
        state = self._state(user_id, messages, path, path[-2:], title=title, echo=True)
        ids = [stream.message_id or "" for stream in compared.streams]
        shown: State = {"key": asked.id, "id": None, "choosing": choosing, "replies": []}
        try:
            yield {**state, "comparison": shown}
            for texts in _frames(compared.streams):
                shown = {**shown, "replies": [] if choosing else columns_view(ids, texts)}
                yield {**state, "comparison": shown}
        finally:
            for stream in compared.streams:
                stream.cancel()
        if compared.comparison is not None:
            messages = self.store.messages(user_id, compared.conversation.id)
            made = comparison_view(compared.comparison, messages)
            yield {**state, "busy": False, "comparison": {**made, "key": asked.id}}
            return
        messages = self.store.messages(user_id, compared.conversation.id)  # stopped before both had begun
        path = path_through(messages, asked.id)
        yield self._state(user_id, messages, path, path[-3:], title=title, busy=False)

    def _state(
        self, user_id: str, messages: Sequence[Message], path: Sequence[Message], touched: Sequence[Message], *,
        title: str | None = None, busy: bool = True, echo: bool = False,
    ) -> State:  # fmt: skip
        now = {message.id: message for message in messages}
        return {
            "nonce": None,
            "conversation": messages[0].conversation_id,
            "title": title,
            "path": [message.id for message in path],
            "messages": message_views(self.store, user_id, [now[m.id] for m in touched], messages),
            "busy": busy,
            "echo": echo,
            "error": None,
            "comparison": None,
        }

    def _read(self, event: gr.EventData, request: gr.Request) -> tuple[State, str]:
        asked = event._data if isinstance(event._data, dict) else {}
        return asked, self.services.current_user(request).id


def _frames(streams: Sequence[ReplyStream]) -> Iterator[list[str]]:
    """All text so far of each stream, whenever there is more (or ALIVE_EVERY_S have passed), until all have
    ended."""
    going = list(streams)
    said_at = time.monotonic()
    shown: list[str] = []
    while going:
        started = time.monotonic()
        for stream in list(going):
            if stream.read(1 / FRAMES_PER_S) is None:
                going.remove(stream)
        texts = [stream.text for stream in streams]
        if texts != shown or time.monotonic() - said_at > ALIVE_EVERY_S:
            yield texts
            shown, said_at = texts, time.monotonic()
        time.sleep(max(0.0, 1 / FRAMES_PER_S - (time.monotonic() - started)))


def _with_text(message: Message, text: str) -> Message:
    return replace(message, content=text, finish_reason=None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
