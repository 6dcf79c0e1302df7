"""`users` and `keys`: who may sign in, and which programs may act for them."""

from __future__ import annotations

import argparse
import getpass
import sys

from assistant.auth import checked_password, key_expiry, new_api_key
from assistant.commands.opened import confirm, opened, opened_store, person, show
from assistant.people import add_account, give_password, remove_person
from data.errors import Conflict, Invalid
from data.store import Store
from data.types import User


def users(options: argparse.Namespace) -> int:
    actions = {"add": add, "list": list_, "passwd": passwd, "admin": admin, "sign-out": sign_out,
               "remove": remove}  # fmt: skip
    return actions[options.action](options)


def keys(options: argparse.Namespace) -> int:
    return {"add": add_key, "list": list_keys, "revoke": revoke_key}[options.action](options)


def add(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        if store.user_named(options.name) is not None and options.name != "me":
            raise Conflict(f"There is a user {options.name!r} already; choose another name.")
        me = store.user_named("me")
        taken_over = me if me is not None and wants_data_of_me(options, store, me) else None
        password = ask_password(options)
        user = add_account(store, options.name, password, instead_of=taken_over, admin=options.admin)

    def as_text() -> str:
        inherited = ", with the data of me" if taken_over else ""
        role = " (an admin)" if user.is_admin else ""
        return f"Added {user.name}{role}{inherited}. From now on the page and the API ask everybody to sign in."

    made = {"user": user.name, "id": user.id, "admin": user.is_admin, "took_over_me": taken_over is not None}
    show(options, made, as_text)
    return 0


def wants_data_of_me(options: argparse.Namespace, store: Store, me: User) -> bool:
    """Whether the new account takes over what `me` has: as said, else asked where there is anything."""
    if me.password_hash is not None:
        if options.take_over:
            raise Conflict("`me` is an account of its own: its data cannot be taken over.")
        return False
    if options.take_over or options.name == "me":
        return True
    has_data = bool(store.list_conversations(me.id, limit=1)) or store.live_version(me.id) != 0
    if not has_data or options.password_stdin or not sys.stdin.isatty():
        return False
    print(
        "So far everything here belongs to `me`, who has no password. "
        f"Shall {options.name} take it over? [Y/n] ",
        end="",
        file=sys.stderr,
        flush=True,
    )
    return input().strip().lower() in ("", "y", "yes")


def list_(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        rows = [
            {"name": user.name, "account": user.password_hash is not None, "admin": user.is_admin,
             "created": user.created_at}
            for user in store.list_users()
        ]  # fmt: skip

    def as_text() -> str:
        lines = []
        for row in rows:
            kind = "admin" if row["admin"] else "account" if row["account"] else "no password"
            lines.append(f"{row['name']}  {kind}, since {row['created']}")
        return "\n".join(lines) or "Nobody yet."

    show(options, {"users": rows}, as_text)
    return 0


def passwd(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        user = person(store, options.name)
        give_password(store, user, ask_password(options))
    show(
        options,
        {"user": user.name},
        lambda: f"{user.name} has a new password; every earlier sign-in has ended.",
    )
    return 0


def admin(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        user = person(store, options.name)
        if user.password_hash is None:
            raise Conflict(f"{user.name} has no password, and only an account can be an admin's.")
        store.set_admin(user.id, not options.off)
    role = "no admin any more" if options.off else "an admin: may add and remove people on the page"
    show(options, {"user": user.name, "admin": not options.off}, lambda: f"{user.name} is {role}.")
    return 0


def sign_out(options: argparse.Namespace) -> int:
    with opened_store(options) as (_, store):
        user = person(store, options.name)
        store.remove_sign_ins(user.id)
    show(
        options,
        {"user": user.name},
        lambda: f"{user.name} is signed out everywhere; API keys go on working (`keys revoke`).",
    )
    return 0


def remove(options: argparse.Namespace) -> int:
    with opened_store(options) as (home, store):
        user = person(store, options.name)
        if not options.yes:
            confirm(f"This removes {user.name} with everything of theirs, for good. Go on? [y/N] ")
        kept = remove_person(home, store, user)
    show(
        options,
        {"removed": user.name, "kept": kept},
        lambda: f"Removed {user.name} and everything of theirs. {kept}",
    )
    return 0


def ask_password(options: argparse.Namespace) -> str:
    """A new password: typed twice on the terminal, or one line of standard input."""
    if options.password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif not sys.stdin.isatty():
        raise Invalid("Nobody is there to type a password: add --password-stdin.")
    else:
        password = getpass.getpass("New password: ")
        if getpass.getpass("The same again: ") != password:
            raise Invalid("The two passwords differ; nothing was changed.")
    return checked_password(password)


def add_key(options: argparse.Namespace) -> int:
    with opened(options) as this:
        key, key_hash = new_api_key()
        expires = key_expiry(options.expires_days)
        key_id = this.store.add_api_key(this.user.id, options.name, key_hash, expires)
    show(
        options,
        {"id": key_id, "name": options.name, "key": key, "expires_at": expires},
        lambda: f"{key}\nKeep it: it is stored only as a hash and cannot be shown again.",
    )
    return 0


def list_keys(options: argparse.Namespace) -> int:
    with opened(options) as this:
        rows = this.store.list_api_keys(this.user.id)

    def as_text() -> str:
        lines = [
            f"{row['id']}  {row['name']}  last used {row['last_used_at'] or 'never'}"
            + (f"  until {row['expires_at']}" if row["expires_at"] else "")
            for row in rows
        ]
        return "\n".join(lines) or "No keys."

    show(options, {"user": this.user.name, "keys": rows}, as_text)
    return 0


def revoke_key(options: argparse.Namespace) -> int:
    with opened(options) as this:
        this.store.revoke_api_key(this.user.id, options.key_id)
    show(options, {"revoked": options.key_id}, lambda: f"Revoked {options.key_id}.")
    return 0
