"""What `doctor` says about live adapters. The base model is a stand-in: which adapters load is its to say."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from assistant.doctor import check_adapters
from data.errors import Invalid
from data.home import Home
from data.store import Store


class Base:
    """Loads every adapter but those in `broken`."""

    spec = SimpleNamespace(id="embedded")

    def __init__(self, *broken: Path) -> None:
        self.broken = broken

    def load_adapter(self, name: str, folder: Path) -> None:
        if folder in self.broken:
            raise Invalid("Its shapes differ.")

    def remove_adapter(self, name: str) -> None:
        pass


def test_an_adapter_for_another_base_is_a_note_and_one_that_does_not_load_a_failure(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    store = Store(home)
    assert check_adapters(home, store, Base()).detail == "nobody has one yet"
    for name, base_id in (("ann", "embedded"), ("bob", "other/model")):
        user = store.ensure_user(name).id
        store.record_version(user, 1, 0, base_id, "a" * 64, "accepted", {}, "promoted")
    ann, bob = (store.ensure_user(name).id for name in ("ann", "bob"))
    asleep = home.adapter_dir(bob, 1)
    found = check_adapters(home, store, Base(asleep))
    assert found.state == "note"
    assert "1 load" in found.detail and "version 1 of bob was made for other/model" in found.detail
    found = check_adapters(home, store, Base(home.adapter_dir(ann, 1), asleep))
    assert (found.state, found.detail) == ("failed", "version 1 of ann: Its shapes differ.")
    store.close()
