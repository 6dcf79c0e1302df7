"""The inference engine: one thread that owns the decoder and keeps everybody's replies in one batch.

Continuous batching: a request joins the running batch between two steps and leaves it when it ends, so a long
reply never makes a short one wait for its end, and a long prompt is read in pieces between the others' tokens.
At most `max_rows` replies are written at a time; the rest wait in the order they came. A row keeps the adapter it
was added with, so a reply finishes on the version it began with whatever is published meanwhile.

The engine knows token ids, adapter names and text; no people, no store, no HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from assistant.errors import Busy, GenerationFailed
from assistant.text_stream import TextStream
from data.errors import AttuneError
from data.types import FinishReason
from learner.modeling.base import BaseModel
from learner.modeling.decode import Decoder, ReadFailed, SamplingSettings
from learner.modeling.key_values import PrefixCache

log = logging.getLogger(__name__)
T = TypeVar("T")
READ_AT_ONCE = 128  # tokens of prompts between two tokens of the replies that are being written
PREFIX_BYTES = 512 * 2**20  # of conversations that may go on: 23,000 tokens of the embedded model


class Generation:
    """One reply being written: iterate for its text pieces.

    `finish_reason` is None until the end, then "stop", "length", "cancelled" or "interrupted". Iteration raises
    `GenerationFailed` where the model failed. Safe to use from another thread than the engine's; one
    consumer at a time.
    """

    def __init__(
        self, engine: Engine, prompt: Sequence[int], settings: SamplingSettings, adapter: str | None,
        stop: Sequence[str], decode: Callable[[list[int]], str], scope: Hashable,
    ) -> None:  # fmt: skip
        self.prompt = list(prompt)
        self.settings = settings
        self.adapter = adapter
        self.scope = scope
        self.completion_tokens = 0
        self.finish_reason: FinishReason | None = None
        self.cancelled = threading.Event()
        self.asked_at = time.monotonic()
        self.joined_at: float | None = None  # when it left the queue
        self.first_text_at: float | None = None
        self._engine = engine
        self._stream = TextStream(decode, stop)
        self._ready = threading.Condition()
        self._pieces: list[str] = []
        self._ended = False
        self._error: AttuneError | None = None

    @property
    def prompt_tokens(self) -> int:
        return len(self.prompt)

    def cancel(self) -> None:
        """End this reply; its row is free before the next token of the others."""
        self.cancelled.set()
        self._engine.wake()

    def read(self, timeout_s: float | None = None) -> str | None:
        """All text written since the last call, waiting for some; "" after `timeout_s`, None at the end."""
        with self._ready:
            self._ready.wait_for(lambda: bool(self._pieces) or self._ended, timeout_s)
            if self._pieces:
                text = "".join(self._pieces)
                self._pieces.clear()
                return text
            if not self._ended:
                return ""
            if self._error is not None:
                raise self._error
            return None

    def __iter__(self) -> Iterator[str]:
        while (text := self.read()) is not None:
            yield text

    # --- called by the engine's thread only ---

    def accept(self, token_id: int) -> bool:
        """Take one visible token; True where a stop string was met with it."""
        self.completion_tokens += 1
        self._give(self._stream.push(token_id))
        return self._stream.stopped

    def end(self, reason: FinishReason) -> None:
        self._give(self._stream.flush())
        # A stop string can complete in what was held back for the last token.
        self._close("stop" if self._stream.stopped else reason, None)

    def fail(self, error: AttuneError) -> None:
        self._close(None, error)

    def _give(self, text: str) -> None:
        if text:
            self.first_text_at = self.first_text_at or time.monotonic()
            with self._ready:
                self._pieces.append(text)
                self._ready.notify_all()

    def _close(self, reason: FinishReason | None, error: AttuneError | None) -> None:
        with self._ready:
            if self._ended:
                return
            self.finish_reason, self._error = reason, error
            self._engine.on_end(self)  # before anybody hears of the end: what is counted then is complete
            self._ended = True
            self._ready.notify_all()


class Engine:
    """Owns one `Decoder` on one base model. `max_rows` replies at a time, `max_waiting` in the queue.

    `on_end` is called with every reply that has ended, on the engine's thread: it must be quick.
    """

    def __init__(
        self, base: BaseModel, *, max_rows: int = 8, max_waiting: int = 64,
        on_end: Callable[[Generation], None] = lambda generation: None,
    ) -> None:  # fmt: skip
        self.max_rows = max_rows
        self.max_waiting = max_waiting
        self.on_end = on_end
        self.tokens_read = 0
        self.tokens_written = 0
        self._base = base
        self._decoder = self._new_decoder()
        self._changed = threading.Condition()
        self._waiting: deque[Generation] = deque()
        self._calls: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._rows: dict[int, Generation] = {}
        self._woken = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    # --- for everybody ---

    def generate(
        self, prompt: Sequence[int], settings: SamplingSettings, adapter: str | None = None, *,
        stop: Sequence[str] = (), scope: Hashable = None,
    ) -> Generation:  # fmt: skip
        """Queue one reply. Raises `Busy` where the queue is full."""
        return self.generate_many([prompt], [settings], [adapter], stop=stop, scope=scope)[0]

    def generate_many(
        self, prompts: Sequence[Sequence[int]], settings: Sequence[SamplingSettings],
        adapters: Sequence[str | None], *, stop: Sequence[str] = (), scope: Hashable = None,
    ) -> list[Generation]:  # fmt: skip
        """Queue several replies, all or none; each with the adapter at its place (None: the plain base).

        What is computed for a reply is kept for the next one of the same `scope` (a person) and adapter, so that a
        conversation that goes on is not read again; with None nothing is kept.
        """
        made = [
            Generation(self, p, s, adapter, stop, self._base.decode, scope)
            for p, s, adapter in zip(prompts, settings, adapters, strict=True)
        ]
        with self._changed:
            if self._closing:
                raise GenerationFailed("The server is shutting down.")
            self.check_room(len(made))
            self._waiting.extend(made)
            self._woken = True
            self._changed.notify_all()
        return made

    def between_steps(self, call: Callable[[], T]) -> T:
        """Run `call` on the engine's thread while no step runs: for whatever changes the model."""
        if threading.current_thread() is self._thread:
            return call()
        done: Future[T] = Future()
        with self._changed:
            if self._closing:
                raise GenerationFailed("The server is shutting down.")
            self._calls.append((call, done))
            self._woken = True
            self._changed.notify_all()
        return done.result()

    def check_room(self, n: int) -> None:
        """Raises `Busy` where `n` more replies would not be taken now."""
        if len(self._waiting) + n > self.max_waiting:
            raise Busy(f"{len(self._waiting)} replies are waiting already; try again in a few seconds.")

    def wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    @property
    def active(self) -> int:
        return len(self._rows)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """End every reply as interrupted and stop the thread."""
        with self._changed:
            self._closing = True
            self._woken = True
            self._changed.notify_all()
        self._thread.join(timeout=30)

    # --- the engine's thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._woken or self._rows)
                self._woken = False
                if self._closing:
                    break
                calls = list(self._calls)
                self._calls.clear()
                joining = self._take_waiting()
            for call, done in calls:
                _settle(call, done)
            self._drop_cancelled()
            self._join(joining)
            if self._rows:
                try:
                    self._step()
                except Exception as error:
                    self._start_afresh(error)
        self._shut_down()

    def _take_waiting(self) -> list[Generation]:
        # Those who gave up while waiting are ended wherever they stand in the queue.
        gone = [g for g in self._waiting if g.cancelled.is_set()]
        for generation in gone:
            self._waiting.remove(generation)
            generation.end("cancelled")
        staying = sum(not g.cancelled.is_set() for g in self._rows.values())
        free = self.max_rows - staying
        return [self._waiting.popleft() for _ in range(min(free, len(self._waiting)))]

    def _drop_cancelled(self) -> None:
        for row, generation in list(self._rows.items()):
            if generation.cancelled.is_set():
                self._leave(row, remove=True)
                generation.end("cancelled")

    def _leave(self, row: int, *, remove: bool) -> None:
        del self._rows[row]
        if remove:
            self._decoder.remove(row)
        self._woken = True  # a place is free: look at the queue even if no row is left

    def _join(self, joining: list[Generation]) -> None:
        if not joining:
            return
        try:
            rows = self._decoder.add(
                [g.prompt for g in joining],
                [g.settings for g in joining],
                [g.adapter for g in joining],
                [g.scope for g in joining],
            )
        except Exception as error:
            if len(joining) > 1:  # one bad request must not take the others with it
                for generation in joining:
                    self._join([generation])
                return
            self._fail_reading(joining[0], error)
            return
        now = time.monotonic()
        for generation in joining:
            generation.joined_at = now
            self.tokens_read += generation.prompt_tokens
        self._rows.update(zip(rows, joining, strict=True))

    def _fail_reading(self, generation: Generation, error: Exception) -> None:
        log.error("a prompt of %d tokens could not be read", generation.prompt_tokens, exc_info=error)
        generation.fail(_failure("could not read the conversation", error))
        self._woken = True  # a place is free

    def _step(self) -> None:
        try:
            tokens = self._decoder.step()
        except ReadFailed as error:
            for row in error.rows:
                self._fail_reading(self._rows.pop(row), error.cause)
            return
        for token in tokens:
            generation = self._rows[token.row]
            if token.finish == "stop":
                self._leave(token.row, remove=False)
                generation.end("stop")
                continue
            self.tokens_written += 1
            met_stop = generation.accept(token.token_id)
            if met_stop or token.finish is not None:
                self._leave(token.row, remove=token.finish is None)
                generation.end("stop" if met_stop else "length")

    def _new_decoder(self) -> Decoder:
        return Decoder(self._base, READ_AT_ONCE, PrefixCache(PREFIX_BYTES))

    def _start_afresh(self, error: Exception) -> None:
        """A step failed: everybody in it hears so, and the next ones get a new decoder."""
        log.exception("a decoding step failed with %d rows", len(self._rows), exc_info=error)
        failed, self._rows = list(self._rows.values()), {}
        self._decoder = self._new_decoder()  # the key/value state of the old one cannot be trusted any more
        self._woken = True
        for generation in failed:
            generation.fail(_failure("failed while it wrote", error))

    def _shut_down(self) -> None:
        with self._changed:
            waiting, calls = list(self._waiting), list(self._calls)
            self._waiting.clear()
            self._calls.clear()
        for generation in [*self._rows.values(), *waiting]:
            generation.end("interrupted")  # nobody stopped it
        for _, done in calls:
            done.set_exception(GenerationFailed("The server is shutting down."))


def _settle(call: Callable[[], Any], done: Future[Any]) -> None:
    try:
        done.set_result(call())
    except BaseException as error:  # handed to whoever waits for the result
        done.set_exception(error)


def _failure(what: str, error: Exception) -> GenerationFailed:
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return GenerationFailed(f"The model {what}: {line}")
