"""The Settings tab: what a person has set, their notes, their account and their API keys; for an admin, people.

Settings and notes are stored through the HTTP interface (/v1/profile). Passwords, keys and people have no route there,
so that an API key alone can never make another one: they are events of the page, for the person who has it open.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from assistant.auth import check_password, key_expiry, new_api_key
from assistant.page.component import make_panel
from assistant.people import add_account, give_password, remove_person
from assistant.services import Services
from data.errors import AttuneError, Conflict, Invalid
from data.types import User

MAX_KEY_NAME_CHARS = 64
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
View = dict[str, Any]
# Gradio decides on light or dark from the system. A choice made in Settings is kept in the store, from where every
# browser of the person takes it when the page opens, and in this browser for the first paint (app.py).


def build_settings(services: Services, page: gr.Blocks) -> gr.HTML:
    """The tab's content, read when the page opens and after every change."""
    panel = make_panel(
        "settings.js",
        ["reload", "add_key", "revoke_key", "make_account", "set_password", "add_person", "remove_person"],
        elem_id="at-settings",
    )
    account = Account(services)
    page.load(account.read, None, panel, **QUIET)
    panel.reload(account.read, None, panel, **QUIET)
    for listen, handler in (
        (panel.add_key, account.add_key),
        (panel.revoke_key, account.revoke_key),
        (panel.make_account, account.make_account),
        (panel.set_password, account.set_password),
        (panel.add_person, account.add_person),
        (panel.remove_person, account.remove_person),
    ):
        listen(handler, None, panel, trigger_mode="multiple", **QUIET)
    return panel


class Account:
    """Handlers. Each answers with the whole view; `error` is what went wrong, `done` a sentence (report.py) of what was
    done, `key` a new key, shown once."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.store = services.store

    def read(self, request: gr.Request) -> View:
        return self._view(self.services.current_user(request))

    def add_key(self, event: gr.EventData, request: gr.Request) -> View:
        def add(person: User, asked: View) -> View:
            name = str(asked.get("name", "")).strip()
            if not name or len(name) > MAX_KEY_NAME_CHARS:
                raise Invalid(f"A key's name has 1 to {MAX_KEY_NAME_CHARS} characters.", "name")
            days = asked.get("days")
            expires = key_expiry(days if isinstance(days, int) else None)
            key, key_hash = new_api_key()
            self.store.add_api_key(person.id, name, key_hash, expires)
            return {"key": key}

        return self._done(event, request, add)

    def revoke_key(self, event: gr.EventData, request: gr.Request) -> View:
        def revoke(person: User, asked: View) -> View:
            self.store.revoke_api_key(person.id, str(asked.get("id")))
            return {}

        return self._done(event, request, revoke)

    def make_account(self, event: gr.EventData, request: gr.Request) -> View:
        """The single person of this home gets a name and a password; everything of theirs stays theirs."""

        def make(person: User, asked: View) -> View:
            if person.password_hash is not None:
                raise Conflict("You have an account already.")
            add_account(
                self.store, str(asked.get("name", "")), str(asked.get("password", "")), instead_of=person
            )
            return {"signed_out": True}

        return self._done(event, request, make)

    def set_password(self, event: gr.EventData, request: gr.Request) -> View:
        def change(person: User, asked: View) -> View:
            if person.password_hash is None:
                raise Conflict("There is no account yet.")
            if not check_password(str(asked.get("old", "")), person.password_hash):
                raise Invalid("The present password is wrong; nothing was changed.", "old")
            give_password(self.store, person, str(asked.get("password", "")))
            return {"signed_out": True}

        return self._done(event, request, change)

    def add_person(self, event: gr.EventData, request: gr.Request) -> View:
        def add(person: User, asked: View) -> View:
            self._require_admin(person)
            made = add_account(self.store, str(asked.get("name", "")), str(asked.get("password", "")))
            return {"done": {"say": "{name} can sign in now.", "with": {"name": made.name}}}

        return self._done(event, request, add)

    def remove_person(self, event: gr.EventData, request: gr.Request) -> View:
        def remove(person: User, asked: View) -> View:
            self._require_admin(person)
            gone = self.store.user(str(asked.get("id")))
            if gone.id == person.id:
                raise Conflict("You cannot remove yourself.")
            if asked.get("typed") != gone.name:  # what erases for good is not done by one click
                raise Invalid("The name that was typed is another one; nobody was removed.", "typed")
            remove_person(self.services.home, self.store, gone)
            return {"done": {"say": "{name} was removed, with everything of theirs.", "with": {"name": gone.name}}}

        return self._done(event, request, remove)

    def _require_admin(self, person: User) -> None:
        """Asked of the store anew: an open page may be of somebody who was an admin when it was opened."""
        if not self._is_admin(person):
            raise Conflict("Only an admin may add or remove people.")

    def _is_admin(self, person: User) -> bool:
        now = self.store.user(person.id)
        return now.is_admin and now.password_hash is not None

    def _done(self, event: gr.EventData, request: gr.Request, act: Callable[[User, View], View]) -> View:
        asked = event._data if isinstance(event._data, dict) else {}
        person = self.services.current_user(request)
        try:
            found = act(person, asked)
        except AttuneError as error:
            found = {"error": str(error)}
        nonce = asked.get("nonce")  # the page counts with it; nothing else that was sent goes back
        return {**self._view(person), **found, "nonce": nonce if isinstance(nonce, int) else None}

    def _view(self, person: User) -> View:
        return {
            "settings": self.store.settings(person.id),
            "notes": self.store.notes(person.id),
            "name": person.name,
            "account": person.password_hash is not None,
            "keys": self.store.list_api_keys(person.id),
            "people": self._people(person) if self._is_admin(person) else None,
        }

    def _people(self, person: User) -> list[View]:
        """Everybody here, for an admin: who, since when; nothing of what they said."""
        return [
            {"id": user.id, "name": user.name, "account": user.password_hash is not None, "admin": user.is_admin,
             "created": user.created_at, "self": user.id == person.id}
            for user in self.store.list_users()
        ]  # fmt: skip
