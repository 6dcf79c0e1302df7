"""A real server on a free port, with the real model, for the tests of this folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from assistant.adapters import Adapters
from assistant.auth import hash_password, new_api_key
from assistant.chat import Chat
from assistant.engine import Engine
from assistant.server import bind, build_app, close_app
from assistant.services import Options, Services
from data.home import Home
from data.store import Store
from learner.modeling.base import BaseModel


@dataclass(frozen=True)
class Running:
    """A server that takes connections, and what is behind it."""

    address: str
    services: Services

    @property
    def store(self) -> Store:
        return self.services.store

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return httpx.Client(base_url=self.address, headers=headers, timeout=120)


@contextmanager
def serving(
    root: Path, base: BaseModel, host: str = "127.0.0.1", page: bool = False, **options: Any
) -> Iterator[Running]:
    home = Home(root).create()
    store = Store(home)
    listening = bind(host, 0)
    port = listening.getsockname()[1]
    app = build_app(home, store, base, Options(host=host, port=port, page=page, **options))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield Running(f"http://127.0.0.1:{port}", app.state.services)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        close_app(app)
        store.close()


@pytest.fixture(scope="module")
def server(base_model: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for the tests of a file; single person, no accounts."""
    with serving(tmp_path_factory.mktemp("home"), base_model) as running:
        yield running


def add_person(store: Store, name: str) -> str:
    """An account; returns an API key of it. The password is `NAME's password`."""
    user = store.add_user(name, hash_password(f"{name}'s password"))
    key, key_hash = new_api_key()
    store.add_api_key(user.id, "test", key_hash)
    return key


@contextmanager
def sign_in(running: Running, name: str) -> Iterator[httpx.Client]:
    """A browser's client, signed in as somebody of `add_person`."""
    with running.client(Origin=running.address) as client:
        answer = client.post("/login", data={"name": name, "password": f"{name}'s password", "next": "/"})
        assert answer.status_code == 303, answer.text
        yield client


@pytest.fixture(scope="module")
def with_page(
    base_model: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, str, str]]:
    """A server with the page and two accounts; the keys of Ann and Bob."""
    with serving(tmp_path_factory.mktemp("page"), base_model, page=True) as running:
        yield running, add_person(running.store, "ann"), add_person(running.store, "bob")


@pytest.fixture(scope="module")
def accounts(
    base_model: BaseModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, str, str]]:
    """A server with two accounts; the keys of Ann and Bob."""
    with serving(tmp_path_factory.mktemp("accounts"), base_model) as running:
        yield running, add_person(running.store, "ann"), add_person(running.store, "bob")


@dataclass(frozen=True)
class Parts:
    home: Home
    store: Store
    engine: Engine
    adapters: Adapters
    chat: Chat
    base: BaseModel
    user_id: str


@pytest.fixture
def parts(base_model: BaseModel, tmp_path: Path) -> Iterator[Parts]:
    """Engine, adapters and chat on a fresh store, without HTTP."""
    home = Home(tmp_path / "home").create()
    store = Store(home)
    engine = Engine(base_model, max_rows=2)
    adapters = Adapters(store, home, base_model, engine, keep_bytes=25 * 10**6)  # two of them
    chat = Chat(home, store, engine, adapters, base_model)
    try:
        yield Parts(home, store, engine, adapters, chat, base_model, store.ensure_user().id)
    finally:
        engine.close()
        chat.wait_until_stored()
        adapters.close()
        for name in base_model.adapter_names():
            base_model.remove_adapter(name)
        store.close()
