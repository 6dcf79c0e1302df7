"""Which version answers whom, and which adapters are in memory for it.

The newest publication row says what is live; it is read anew for every reply, so a version that the learner
publishes (or a rollback) counts from the next reply on, without a restart. A watching thread loads what was
newly published for people who are around, so that their next message need not wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial

from assistant.cores import aside
from assistant.engine import Engine
from assistant.errors import GenerationFailed
from assistant.watching import rival, take_back
from data.adapter_files import adapter_sha256
from data.errors import AttuneError, Invalid, NotFound
from data.home import Home
from data.store import Store
from data.types import BASE_VERSION, AdapterVersion
from learner.modeling.base import BaseModel

log = logging.getLogger(__name__)
WATCH_EVERY_S = 2.0
KEEP_BYTES = 2**30  # 40 adapters of the embedded model
AROUND_FOR_S = 1800.0  # how long after their last message a person's new versions are loaded ahead


@dataclass(frozen=True)
class Live:
    """The version that writes one person's reply; `name` is the loaded adapter's, None for the base."""

    user_id: str
    version: int
    name: str | None


class Adapters:
    """Loads, keeps and evicts adapters on one base model. Thread-safe.

    At most `keep_bytes` of adapters stay loaded beyond those that replies are being written with; the least recently
    used leave first.
    """

    def __init__(
        self, store: Store, home: Home, base: BaseModel, engine: Engine, *, keep_bytes: int = KEEP_BYTES
    ) -> None:
        self._store = store
        self._home = home
        self._base = base
        self._engine = engine
        self._keep_bytes = keep_bytes
        self._lock = threading.RLock()
        self._loaded: dict[str, float] = {}  # name -> when it was last asked for (monotonic)
        self._sizes: dict[str, int] = {}  # name -> bytes
        self._in_use: Counter[str] = Counter()
        self._around: dict[str, float] = {}  # user id -> when they last asked
        self._closing = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="adapter-watch", daemon=True)
        self._watcher.start()

    def acquire(self, user_id: str) -> Live:
        """The live version, loaded if need be; it stays loaded until `release`."""
        with self._lock:
            self._around[user_id] = time.monotonic()
            live = self._current(user_id)
            if live.name is not None:
                self._in_use[live.name] += 1
            return live

    def acquire_rival(self, user_id: str) -> Live | None:
        """The version that the live one is compared with, loaded until `release`; None where there is none."""
        version = rival(self._store, user_id)
        if version is None or version == BASE_VERSION:
            return None if version is None else Live(user_id, BASE_VERSION, None)
        row = self._row(user_id, version)
        if not (self._fits(row) and row.has_weights):
            return None
        with self._lock:
            name = _name(user_id, version)
            try:
                self._load(user_id, version, name)
            except (AttuneError, OSError) as error:  # it answers nobody: the comparison does without it
                log.warning("version %d of %s does not load: %s", version, user_id, error)
                return None
            self._in_use[name] += 1
            return Live(user_id, version, name)

    def release(self, live: Live) -> None:
        with self._lock:
            if live.name is not None:
                self._in_use[live.name] -= 1
                self._in_use += Counter()  # drops the zeros
            self._evict()

    def live_version(self, user_id: str) -> int:
        """What would answer now. Loads nothing, so an adapter that turns out broken still counts here."""
        version = self._store.live_version(user_id)
        return version if version == BASE_VERSION or self._fits(self._row(user_id, version)) else BASE_VERSION

    def loaded(self) -> list[str]:
        with self._lock:
            return sorted(self._loaded)

    def close(self) -> None:
        self._closing.set()
        self._watcher.join(timeout=30)

    # --- loading ---

    def _current(self, user_id: str) -> Live:
        while True:
            version = self._store.live_version(user_id)
            if version == BASE_VERSION or not self._fits(self._row(user_id, version)):
                return Live(user_id, BASE_VERSION, None)
            name = _name(user_id, version)
            try:
                self._load(user_id, version, name)
            except GenerationFailed:  # the engine is shutting down
                raise
            except Exception as error:
                if _machines_fault(error):
                    raise AttuneError(f"Version {version} could not be loaded: {error}") from error
                self._give_up(user_id, version, error)
            else:
                return Live(user_id, version, name)

    def _load(self, user_id: str, version: int, name: str) -> None:
        if name not in self._loaded:
            folder = self._home.adapter_dir(user_id, version)
            started = time.monotonic()
            if adapter_sha256(folder) != self._row(user_id, version).sha256:
                raise Invalid(f"The files of version {version} are not what was published.")
            loaded = aside(lambda: self._base.read_adapter(folder))  # while others' replies are being written
            self._engine.between_steps(lambda: self._base.install_adapter(name, loaded))
            self._sizes[name] = loaded.size_bytes
            log.info("version %d of %s loaded in %.2f s", version, user_id, time.monotonic() - started)
        self._loaded[name] = time.monotonic()
        self._evict(sparing=name)

    def _give_up(self, user_id: str, version: int, error: Exception) -> None:
        """Mark a version that does not load and go back to what was live before it, or to the base."""
        log.warning("version %d of %s does not load: %s", version, user_id, error)
        before = [p.version for p in self._store.publications(user_id)]
        self._store.mark_unloadable(user_id, version)  # where it is live, the base goes live
        if self._store.live_version(user_id) != BASE_VERSION:
            return  # somebody published or rolled back meanwhile
        for earlier in reversed(before[:-1]):
            if earlier == BASE_VERSION:
                return
            try:
                self._store.publish(user_id, earlier, "auto_rollback")
                return
            except NotFound:  # not accepted, or its weights are gone
                continue

    def _evict(self, sparing: str | None = None) -> None:
        idle = sorted((used, name) for name, used in self._loaded.items() if not self._in_use[name])
        for _, name in idle:
            if sum(self._sizes.values()) <= self._keep_bytes:
                return
            if name == sparing:
                continue
            try:
                self._engine.between_steps(partial(self._base.remove_adapter, name))
            except GenerationFailed:  # the engine is shutting down and takes its adapters with it
                return
            del self._loaded[name], self._sizes[name]

    def _row(self, user_id: str, version: int) -> AdapterVersion:
        return self._store.version(user_id, version)

    def _fits(self, row: AdapterVersion) -> bool:
        """A version made on another base model sleeps while this one serves; it is not broken."""
        return row.base_id == self._base.spec.id

    # --- watching ---

    def _watch(self) -> None:
        while not self._closing.wait(WATCH_EVERY_S):
            now = time.monotonic()
            with self._lock:
                self._around = {u: at for u, at in self._around.items() if now - at < AROUND_FOR_S}
                around = list(self._around)
            for user_id in around:
                try:
                    take_back(self._store, user_id)
                    with self._lock:
                        self._current(user_id)
                except NotFound:
                    with self._lock:
                        self._around.pop(user_id, None)
                except Exception:
                    log.exception("a new version could not be loaded ahead")


def _machines_fault(error: Exception) -> bool:
    """Whether loading failed for want of memory, disk or file handles: the adapter itself may be fine."""
    cause = error.__cause__ or error
    if isinstance(cause, MemoryError) or "out of memory" in str(cause):
        return True
    return isinstance(cause, OSError) and not isinstance(cause, FileNotFoundError)


def _name(user_id: str, version: int) -> str:
    # No dot: PEFT uses adapter names as module names.
    return f"u{user_id}v{version}"
