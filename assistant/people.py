"""Who may sign in here: the same for the command line and for an admin's Settings.

The first account of a home is an admin's: whoever makes it could use everything here until then. Admins add and remove
people on the page; the command line, which whoever owns the machine has, needs no admin.
"""

from __future__ import annotations

import shutil

from assistant.auth import checked_password, hash_password
from data import profile
from data.home import Home
from data.store import Store
from data.types import User


def add_account(
    store: Store, name: str, password: str, *, instead_of: User | None = None, admin: bool = False
) -> User:
    """A new account; with `instead_of`, that person under a new name, with everything of theirs.

    Raises Invalid for a name or password that will not do, Conflict for a name that is taken.
    """
    admin = admin or not store.has_accounts()
    password_hash = hash_password(checked_password(password))
    if instead_of is None:
        return store.add_user(name, password_hash, is_admin=admin)
    store.rename_user(instead_of.id, name, password_hash)
    return store.set_admin(instead_of.id, admin)


def give_password(store: Store, user: User, password: str) -> None:
    """A new password; every earlier sign-in ends."""
    first = not store.has_accounts()
    store.set_password(user.id, hash_password(checked_password(password)))
    if first:
        store.set_admin(user.id, True)


def remove_person(home: Home, store: Store, user: User) -> str:
    """Remove somebody with everything of theirs, for good; says what is kept nevertheless."""
    store.remove_user(user.id)
    folder = home.profile_dir(user.id)
    if folder.exists():
        shutil.rmtree(folder)
    return profile.erased(store.scrub())
