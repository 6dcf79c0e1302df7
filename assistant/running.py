"""Which conversations are being answered now: one turn at a time in each."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from assistant.streams import ReplyWriter
from data.errors import Conflict

log = logging.getLogger(__name__)


class TurnHold:
    """What one turn holds (its conversation, an adapter) until its last reply has ended.

    It is counted: the code that prepares the turn holds it once, every reply once more.
    """

    def __init__(self, running: Running) -> None:
        self._running = running
        self._lock = threading.Lock()
        self._count = 1
        self._at_end: list[Callable[[], None]] = []

    def enter(self, conversation_id: str) -> None:
        """Raises Conflict while somebody else's turn is in this conversation."""
        self._running.enter(conversation_id)
        self._at_end.append(lambda: self._running.leave(conversation_id))

    def on_release(self, call: Callable[[], None]) -> None:
        """What is asked last is called first, the conversation is left last."""
        self._at_end.append(call)

    def take(self) -> None:
        with self._lock:
            self._count += 1

    def drop(self) -> None:
        with self._lock:
            self._count -= 1
            last = self._count == 0
        if last:
            for call in reversed(self._at_end):
                try:
                    call()
                except Exception:  # the others must still be let go
                    log.exception("the end of a turn could not be settled")


class Running:
    """The turns of everybody. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writers: dict[str, list[ReplyWriter]] = {}  # by conversation; empty while a turn is prepared
        self._stopped: set[str] = set()  # conversations whose turn was stopped: also one that is still prepared

    @contextmanager
    def turn(self) -> Iterator[TurnHold]:
        hold = TurnHold(self)
        try:
            yield hold
        finally:
            hold.drop()

    def enter(self, conversation_id: str) -> None:
        with self._lock:
            if conversation_id in self._writers:
                raise Conflict("This conversation is being answered; wait for the reply or stop it first.")
            self._writers[conversation_id] = []

    def leave(self, conversation_id: str) -> None:
        with self._lock:
            self._writers.pop(conversation_id, None)
            self._stopped.discard(conversation_id)

    def add(self, conversation_id: str, writers: Sequence[ReplyWriter]) -> None:
        with self._lock:
            if conversation_id in self._writers:  # very short replies may have ended by now
                self._writers[conversation_id].extend(writers)
            stopped = conversation_id in self._stopped
        if stopped:
            for writer in writers:
                writer.cancel()

    def stop(self, conversation_id: str) -> bool:
        """Stop the turn of a conversation, wherever it stands; False if there is none."""
        with self._lock:
            if conversation_id not in self._writers:
                return False
            self._stopped.add(conversation_id)
            writers = list(self._writers[conversation_id])
        for writer in writers:
            writer.cancel()
        return True

    def all(self) -> list[ReplyWriter]:
        with self._lock:
            return [writer for writers in self._writers.values() for writer in writers]
