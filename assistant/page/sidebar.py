"""The side list of conversations, and opening one: handlers for the page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from assistant.page.view import LIST_LENGTH, conversation_view, empty_view, list_view, wanted_length
from assistant.services import Services
from data.errors import AttuneError, NotFound

Value = dict[str, Any]


class Conversations:
    """Handlers. What the browser names is looked up as the asking person's own; `error` says what was refused."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.store = services.store

    def open(self, event: gr.EventData, request: gr.Request) -> Value:
        """A conversation through one of its messages (`message`), else with its newest branch."""
        asked, user_id = self._read(event, request)
        return self._view(user_id, asked.get("conversation"), asked.get("message"))

    def open_at_start(self, address: str, request: gr.Request) -> tuple[Any, Value]:
        """The conversation that the page's address names, and the list. Where it names none the page stays as
        it came, empty: somebody quick may have asked something in it already."""
        user_id = self.services.current_user(request).id
        view: Any = gr.skip()
        try:
            if asked := address.removeprefix("#"):
                view = conversation_view(self.store, user_id, asked)
        except NotFound:
            pass  # deleted, or somebody else's
        return view, list_view(self.store, user_id)

    def new(self) -> Value:
        """An empty page: the conversation is made with its first message."""
        return empty_view()

    def search(self, event: gr.EventData, request: gr.Request) -> Value:
        """The list as the side list itself asks for it, which a list that comes along with something else is not."""
        asked, user_id = self._read(event, request)
        length = wanted_length(asked.get("length"), LIST_LENGTH)
        return {**list_view(self.store, user_id, str(asked.get("query", "")), length), "asked": True}

    def rename(self, event: gr.EventData, request: gr.Request) -> Value:
        asked, user_id = self._read(event, request)
        title = str(asked.get("title", ""))
        return self._listed_after(
            user_id, lambda: self.store.rename_conversation(user_id, str(asked.get("conversation")), title)
        )

    def delete(self, event: gr.EventData, request: gr.Request) -> tuple[Any, Value]:
        """Delete (it can be restored); the page empties if it showed that one."""
        asked, user_id = self._read(event, request)
        gone = str(asked.get("conversation"))

        def act() -> None:
            self.services.chat.stop(user_id, gone)
            self.store.delete_conversation(user_id, gone)

        side = self._listed_after(user_id, act)
        if side["error"] is None:
            side["gone"] = gone  # an older one is not missed in the list that comes along
        return (self.new() if asked.get("current") == gone else gr.skip()), side

    def restore(self, event: gr.EventData, request: gr.Request) -> tuple[Value, Value]:
        asked, user_id = self._read(event, request)
        back = str(asked.get("conversation"))
        side = self._listed_after(user_id, lambda: self.store.restore_conversation(user_id, back))
        return self._view(user_id, back, None), side

    def listed(self, request: gr.Request) -> Value:
        return list_view(self.store, self.services.current_user(request).id)

    def _listed_after(self, user_id: str, act: Callable[[], object]) -> Value:
        """The list once `act` was tried; `error` says what was refused."""
        error = None
        try:
            act()
        except AttuneError as refused:
            error = str(refused)
        return {**list_view(self.store, user_id), "error": error}

    def _view(self, user_id: str, conversation: Any, message: Any) -> Value:
        try:
            return conversation_view(self.store, user_id, conversation, message)
        except NotFound as error:
            return {**self.new(), "error": str(error)}

    def _read(self, event: gr.EventData, request: gr.Request) -> tuple[dict[str, Any], str]:
        asked = event._data if isinstance(event._data, dict) else {}
        return asked, self.services.current_user(request).id
