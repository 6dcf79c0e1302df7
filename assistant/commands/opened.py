"""What most commands begin with: the home folder, its store, and the person they are about."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import Invalid, NotFound
from data.home import Home
from data.schema import migrate
from data.store import Store
from data.types import User


@dataclass(frozen=True)
class Opened:
    home: Home
    store: Store
    user: User


@contextmanager
def opened_store(options: argparse.Namespace) -> Iterator[tuple[Home, Store]]:
    """The home of `--home` (made where there is none) and its migrated store."""
    home = Home.locate(options.home)
    home.create()
    migrate(home)
    store = Store(home)
    try:
        yield home, store
    finally:
        store.close()


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[Opened]:
    """As `opened_store`, with the person of `--user`. `me` always exists."""
    with opened_store(options) as (home, store):
        yield Opened(home, store, person(store, options.user))


def person(store: Store, name: str) -> User:
    """The user of that name. NotFound says how to see who there is."""
    user = store.user_named(name)
    if user is None and name == "me" and not store.has_accounts():
        return store.ensure_user()
    if user is None:
        raise NotFound(f"There is no user {name!r}; `python launch.py users list` shows who there is.")
    return user


def output_file(out: str, example: str) -> Path:
    """The file that `--out` names. Invalid where it is a folder, NotFound where its folder is not there."""
    path = Path(out).expanduser()
    if path.is_dir():
        raise Invalid(f"{path} is a folder; name a file, such as {path / example}.", param="out")
    if not path.absolute().parent.is_dir():
        raise NotFound(f"There is no folder {path.absolute().parent} to write into.")
    return path


def show(options: argparse.Namespace, result: Any, as_text: Callable[[], str]) -> None:
    """A command's result on stdout: JSON with `--json`, else text."""
    print(json.dumps(result, ensure_ascii=False, indent=1) if options.json else as_text())


def confirm(question: str) -> None:
    """Ask on the terminal (stdout belongs to the result). Invalid unless somebody is there and says yes."""
    if not sys.stdin.isatty():
        raise Invalid("Nobody is there to confirm this: add --yes.", param="yes")
    print(question, end="", file=sys.stderr, flush=True)
    if input().strip().lower() not in ("y", "yes"):
        raise Invalid("Nothing was changed.")
