"""A home in a temporary folder with a real SQLite file, and a person who has chatted."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from data.home import Home
from data.store import Store
from data.types import Conversation, Message, User
from tests.data.lives import lived as lived  # the fixture
from tests.data.profile_files import Members, good_members


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").create()


@pytest.fixture
def store(home: Home):
    store = Store(home)
    yield store
    store.close()


@dataclass
class Chatted:
    """One question with two replies (siblings), in one conversation of one person."""

    user: User
    conversation: Conversation
    question: Message
    reply: Message
    sibling: Message


def chat(store: Store, name: str = "me", question: str = "What is rain?") -> Chatted:
    user = store.ensure_user(name)
    conversation = store.create_conversation(user.id, "Rain")
    asked = store.add_message(user.id, conversation.id, None, "user", question)
    reply = store.begin_reply(user.id, conversation.id, asked.id, 0, {"temperature": 0.7})
    reply = store.finish_reply(reply.id, "Rain is water that falls from clouds.", "stop", 12, 9)
    sibling = store.add_message(user.id, conversation.id, asked.id, "assistant", "Water, falling.")
    return Chatted(user, conversation, asked, reply, sibling)


@pytest.fixture
def make_chat():
    """`chat` itself, for a test that opens its own store."""
    return chat


@pytest.fixture
def chatted(store: Store) -> Chatted:
    return chat(store)


@pytest.fixture
def members(store: Store, home: Home, chatted: Chatted) -> Members:
    return good_members(store, home, chatted)
