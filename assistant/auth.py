"""Who somebody is: passwords, sign-ins, API keys. Only hashes are stored.

Passwords are hashed with argon2id. Sign-in tokens and API keys are 256 random bits, so that a plain SHA-256
of them is enough: there is nothing to guess from.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from data.errors import AttuneError, Invalid
from data.ids import as_text
from data.store import Store
from data.types import User

KEY_PREFIX = "attune_"
SIGN_IN_DAYS = 30
COOKIE = "attune_session"
MIN_PASSWORD_CHARS = 8
MAX_PASSWORD_CHARS = 1024  # longer ones would only cost hashing time
MAX_KEY_DAYS = 3650
ATTEMPTS = 8  # wrong passwords for one name, or from one address, ...
WINDOW_S = 300.0  # ... in this time, then no more are looked at

_hasher = PasswordHasher()  # argon2id with the library's (RFC 9106 low-memory) parameters
_hashing = threading.Semaphore(
    2
)  # each takes 64 MiB and a core: a flood of sign-ins must not starve the chat


class SignInRefused(AttuneError):
    """Wrong name or password; the two are never told apart."""


class TooManyAttempts(AttuneError):
    """`retry_s`: after how many seconds another attempt is looked at."""

    def __init__(self, retry_s: int) -> None:
        super().__init__(f"Too many attempts to sign in; try again in {retry_s} seconds.")
        self.retry_s = retry_s


def hash_password(password: str) -> str:
    with _hashing:
        return _hasher.hash(password)


def check_password(password: str, stored: str) -> bool:
    if len(password) > MAX_PASSWORD_CHARS:
        return False
    with _hashing:
        try:
            return _hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False


def checked_password(password: str) -> str:
    """A new password if it will do; raises Invalid."""
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        least = f"A password has at least {MIN_PASSWORD_CHARS} characters; nothing was changed."
        most = f"A password has at most {MAX_PASSWORD_CHARS} characters; nothing was changed."
        raise Invalid(least if len(password) < MIN_PASSWORD_CHARS else most, "password")
    return password


def key_expiry(days: int | None) -> str | None:
    """When a key made now ends, as the store keeps times; None where it does not."""
    if days is None:
        return None
    if not 1 <= days <= MAX_KEY_DAYS:
        raise Invalid(f"A key lasts 1 to {MAX_KEY_DAYS} days, not {days}; without --expires-days it does not end.")
    return as_text(datetime.now(UTC) + timedelta(days=days))


def new_api_key() -> tuple[str, str]:
    """A key to show once, and its hash to store."""
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    return key, secret_hash(key)


def secret_hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Attempts:
    """Counts attempts by name and by address within a sliding window. Thread-safe, bounded.

    An attempt counts from before its password is looked at, and no more when it was right: of many at the
    same moment no more than `ATTEMPTS` are looked at either.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[str, deque[float]] = {}

    def count(self, *keys: str) -> None:
        """One more attempt. Raises TooManyAttempts, and counts nothing, where a key has had its share."""
        now = self._clock()
        with self._lock:
            self._forget(now)
            for key in keys:
                times = self._made.get(key)
                if times and len(times) >= ATTEMPTS:
                    raise TooManyAttempts(math.ceil(times[0] + WINDOW_S - now) or 1)
            for key in keys:
                self._made.setdefault(key, deque(maxlen=ATTEMPTS)).append(now)

    def succeeded(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._made.pop(key, None)

    def _forget(self, now: float) -> None:
        for key, times in list(self._made.items()):
            while times and times[0] + WINDOW_S <= now:
                times.popleft()
            if not times:
                del self._made[key]


class Auth:
    """Signs people in and out, and recognises them again."""

    def __init__(self, store: Store, *, always_required: bool = False) -> None:
        self._store = store
        self._always = always_required
        self._attempts = Attempts()

    def required(self) -> bool:
        """Whether everybody must sign in: once an account exists, or where other machines can reach this."""
        return self._always or self._store.has_accounts()

    def single_person(self) -> User:
        """`me`, who uses this alone and without a password."""
        return self._store.ensure_user("me")

    def key_owner(self, key: str) -> User | None:
        return self._store.api_key_owner(secret_hash(key))

    def session_owner(self, token: str) -> User | None:
        return self._store.sign_in_owner(secret_hash(token))

    def sign_in(self, name: str, password: str, address: str) -> str:
        """A token for the cookie. Raises SignInRefused or TooManyAttempts."""
        keys = (f"name {name.casefold()[:100]}", f"address {address}")
        self._attempts.count(*keys)
        user = self._store.user_named(name)
        stored = user.password_hash if user else None
        # Unknown names take as long as known ones: the time must not tell which names exist.
        if not check_password(password, stored or _nobody()) or user is None or stored is None:
            raise SignInRefused("The name or the password is wrong.")
        self._attempts.succeeded(*keys)
        token = secrets.token_urlsafe(32)
        expires = datetime.now(UTC) + timedelta(days=SIGN_IN_DAYS)
        self._store.add_sign_in(user.id, secret_hash(token), as_text(expires))
        return token

    def sign_out(self, token: str) -> None:
        self._store.remove_sign_in(secret_hash(token))

    def sign_out_everywhere(self, token: str) -> None:
        """End every sign-in of whoever this token is of; API keys stay."""
        user = self.session_owner(token)
        if user is not None:
            self._store.remove_sign_ins(user.id)


@cache
def _nobody() -> str:
    """A password hash that no password fits."""
    return hash_password(secrets.token_urlsafe(32))
