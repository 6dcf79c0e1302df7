"""Token ids in, readable text out: never half a character, never a piece of a stop string.

A byte-level tokenizer spreads one emoji or Chinese character over several tokens; decoding each token by
itself would show replacement characters. Pure: knows a `decode` function and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"  # what decoding gives for bytes that are not (yet) a whole character


class TextStream:
    """The text of one reply as it grows.

    `push(id)` returns the text that became certain with this token (often "", when a character or a
    possible stop string is still open); `flush()` what was held back, once no token follows.
    `stopped` turns True when a stop string was met; nothing from it onwards is ever returned.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stop = tuple(s for s in stop if s)
        self._ids: list[int] = []
        # Text is decoded from a few tokens back, because tokenizers treat the first token of a sequence
        # differently (leading spaces); ids before `_done` have been returned already.
        self._window, self._done = 0, 0
        self._held = ""
        self.stopped = False

    def push(self, token_id: int) -> str:
        if self.stopped:
            return ""
        self._ids.append(token_id)
        return self._release(self._decoded(), final=False)

    def flush(self) -> str:
        if self.stopped:
            return ""
        return self._release(self._decoded(final=True), final=True)

    def _decoded(self, *, final: bool = False) -> str:
        shown = self._decode(self._ids[self._window : self._done])
        text = self._decode(self._ids[self._window :])
        if final:
            text = text.rstrip(REPLACEMENT)
        if len(text) <= len(shown) or text.endswith(REPLACEMENT):
            return ""
        self._window, self._done = self._done, len(self._ids)
        return text[len(shown) :]

    def _release(self, new: str, *, final: bool) -> str:
        self._held += new
        found = [at for s in self._stop if (at := self._held.find(s)) >= 0]
        if found:
            text, self._held, self.stopped = self._held[: min(found)], "", True
            return text
        keep = 0 if final else self._open_stop()
        cut = len(self._held) - keep
        text, self._held = self._held[:cut], self._held[cut:]
        return text

    def _open_stop(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        longest = 0
        for s in self._stop:
            for size in range(min(len(s) - 1, len(self._held)), longest, -1):
                if self._held.endswith(s[:size]):
                    longest = size
                    break
        return longest
