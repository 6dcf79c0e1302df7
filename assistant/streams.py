"""One reply on its way: written to the store by a thread of its own, read by whoever shows it.

The writer thread stores what the engine writes whether or not anybody reads it: a slow page never holds up
the engine, and a page that goes away never loses a word. The reader may stop at any time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from assistant.engine import Generation
from assistant.errors import GenerationFailed
from data.errors import AttuneError, NotFound
from data.store import Store
from data.types import Conversation, FinishReason, Message

log = logging.getLogger(__name__)
SAVE_EVERY_S = 1.0


class ReplyStream:
    """Iterate for the reply's text pieces; afterwards `.message` is the finished, stored message.

    `conversation`, `user_message` and `message` are None where nothing is stored. `version` is the adapter
    version that writes it (0 = base). Iteration raises AttuneError where the model failed; what was written
    till then is stored as "interrupted". Leaving a `with` block, `cancel()` or dropping the last reference
    ends the reply and keeps what was written ("cancelled").
    """

    def __init__(
        self, generation: Generation, *, version: int, store: Store, on_end: Callable[[], None],
        conversation: Conversation | None = None, user_message: Message | None = None,
        message: Message | None = None,
    ) -> None:  # fmt: skip
        self.conversation = conversation
        self.user_message = user_message
        self.version = version
        self.writer = ReplyWriter(generation, store, message, on_end)

    @property
    def message(self) -> Message | None:
        return self.writer.message

    @property
    def message_id(self) -> str | None:
        return self.message.id if self.message else None

    @property
    def text(self) -> str:
        """Everything written so far, read or not."""
        return self.writer.text

    @property
    def finish_reason(self) -> FinishReason | None:
        """None while it is being written; "interrupted" where the model failed."""
        return self.writer.finish_reason

    @property
    def prompt_tokens(self) -> int:
        return self.writer.generation.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        return self.writer.generation.completion_tokens

    def read(self, timeout_s: float | None = None) -> str | None:
        """All text since the last call, waiting for it; "" after `timeout_s`; None once all is stored."""
        return self.writer.read(timeout_s)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        text = self.read()
        if text is None:
            raise StopIteration
        return text

    def cancel(self) -> None:
        """End the reply and keep what was written. Does nothing to a finished one; does not wait."""
        self.writer.cancel()

    def wait(self, timeout_s: float | None = None) -> Message | None:
        """Wait until the reply is finished and stored; the stored message."""
        return self.writer.wait(timeout_s)

    def __enter__(self) -> ReplyStream:
        return self

    def __exit__(self, *exc: Any) -> None:
        if not self.writer.done.is_set():
            self.cancel()
            self.wait()

    def __del__(self) -> None:
        writer = getattr(self, "writer", None)
        if writer is not None and not writer.done.is_set():
            writer.cancel()


class ReplyWriter:
    """Moves text from the engine to the store and to the reader.

    Knows nothing of the ReplyStream that shows it, so that a stream nobody holds any more is noticed.
    """

    def __init__(
        self, generation: Generation, store: Store, message: Message | None, on_end: Callable[[], None]
    ) -> None:
        self.generation = generation
        self.message = message
        self.finish_reason: FinishReason | None = None
        self.written: list[str] = []
        self.done = threading.Event()
        self._store = store
        self._on_end = on_end
        self._read = 0
        self._error: AttuneError | None = None
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="reply-writer", daemon=True).start()

    @property
    def text(self) -> str:
        return "".join(self.written)

    def cancel(self) -> None:
        self.generation.cancel()

    def wait(self, timeout_s: float | None = None) -> Message | None:
        self.done.wait(timeout_s)
        return self.message

    def read(self, timeout_s: float | None) -> str | None:
        with self._changed:
            self._changed.wait_for(lambda: self._read < len(self.written) or self.done.is_set(), timeout_s)
            if self._read < len(self.written):
                text = "".join(self.written[self._read :])
                self._read = len(self.written)
                return text
            if not self.done.is_set():
                return ""
            if self._error is not None:
                raise self._error
            return None

    def _run(self) -> None:
        reason: FinishReason = "interrupted"
        try:
            self._move()
            reason = self.generation.finish_reason or "interrupted"
        except AttuneError as error:  # the model failed, or the store: erased meanwhile, there is nobody to write for
            self._error = error
            self.generation.cancel()
        except Exception as error:
            log.exception("a reply could not be stored")
            self._error = GenerationFailed(f"The reply could not be stored: {error}")
            self.generation.cancel()
        finally:
            self._finish(reason)

    def _move(self) -> None:
        saved_at = time.monotonic()
        unsaved = False
        while (text := self.generation.read(SAVE_EVERY_S)) is not None:
            if text:
                with self._changed:
                    self.written.append(text)
                    self._changed.notify_all()
                unsaved = True
            if unsaved and self.message is not None and time.monotonic() - saved_at >= SAVE_EVERY_S:
                self._store.save_partial(self.message.id, "".join(self.written))
                saved_at, unsaved = time.monotonic(), False

    def _finish(self, reason: FinishReason) -> None:
        """Stored first, then free for the next message, then the reader hears of the end."""
        try:
            if self.message is not None:
                self.message = self._store.finish_reply(
                    self.message.id, "".join(self.written), reason,
                    self.generation.prompt_tokens, self.generation.completion_tokens,
                )  # fmt: skip
        except NotFound as error:  # erased while it was written: no fault of ours, and nothing for the log
            reason, self._error = "interrupted", self._error or error
        except Exception as error:
            log.exception("the end of a reply could not be stored")
            reason = "interrupted"
            self._error = self._error or GenerationFailed(f"The reply could not be stored: {error}")
        try:
            self._on_end()
        finally:
            with self._changed:
                self.finish_reason = reason
                self.done.set()
                self._changed.notify_all()
