"""Replies over HTTP: as server-sent events and whole, never blocking the event loop.

Whoever goes away stops what was being written for them, wherever it stands: waiting for its turn, reading
the prompt, or half-way through.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

import anyio
from anyio.abc import ObjectSendStream
from fastapi import Request
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from assistant.api_errors import body_of
from assistant.streams import ReplyStream
from data.errors import AttuneError

T = TypeVar("T")
LOOK_EVERY_S = 0.5  # how long a reading thread waits before it looks whether it is still wanted
KEEP_ALIVE_S = 15.0  # a comment line that keeps proxies from closing a stream that waits for its turn
_readers = anyio.CapacityLimiter(256)  # apart from the threads of ordinary routes, so that neither starves


async def in_thread(call: Callable[[], T]) -> T:
    """Run blocking work (the store, the tokenizer) beside the event loop."""
    return await anyio.to_thread.run_sync(call)


async def pieces(stream: ReplyStream) -> AsyncGenerator[str]:
    """A reply's text as it comes; "" every KEEP_ALIVE_S without any."""
    silent_s = 0.0
    while True:
        text = await anyio.to_thread.run_sync(
            stream.read, LOOK_EVERY_S, limiter=_readers, abandon_on_cancel=True
        )
        if text is None:
            return
        silent_s = 0.0 if text else silent_s + LOOK_EVERY_S
        if text or silent_s >= KEEP_ALIVE_S:
            silent_s = 0.0
            yield text


async def finished(request: Request, streams: Sequence[ReplyStream]) -> bool:
    """Wait for whole replies; False where the client went away, and the replies have been stopped."""
    gone = False
    failure: AttuneError | None = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal gone
            await _disconnected(request.receive)
            gone = True
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        try:
            for stream in streams:
                async with aclosing(pieces(stream)) as texts:
                    async for _ in texts:
                        pass
        except AttuneError as error:
            failure = error
        finally:
            for stream in streams:
                stream.cancel()  # does nothing to those that have ended
        tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return not gone


class EventStream(Response):
    """Server-sent events; when the client goes away, `streams` are stopped at once."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str], streams: Sequence[ReplyStream]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:

            async def watch() -> None:
                await _disconnected(receive)
                tasks.cancel_scope.cancel()

            tasks.start_soon(watch)
            try:
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                async with aclosing(self._events) as events:
                    async for event in events:
                        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except OSError:
                pass  # the connection broke while we wrote to it
            finally:
                for stream in self._streams:
                    stream.cancel()
            tasks.cancel_scope.cancel()


async def chunks(head: dict[str, Any], streams: list[ReplyStream], usage: bool) -> AsyncGenerator[str]:
    """The events of one streamed completion, its choices interleaved as they are written."""
    head = {**head, "object": "chat.completion.chunk", **({"usage": None} if usage else {})}
    for i, stream in enumerate(streams):
        yield _event(head, i, stream, {"role": "assistant", "content": ""})
    send, receive = anyio.create_memory_object_stream[tuple[int, str | AttuneError | None]](64)
    async with anyio.create_task_group() as tasks:
        for i, stream in enumerate(streams):
            tasks.start_soon(_feed, i, stream, send.clone())
        send.close()
        async with receive:
            async for i, item in receive:
                if isinstance(item, AttuneError):
                    yield f"data: {json.dumps(body_of(item))}\n\n"
                    tasks.cancel_scope.cancel()
                    return
                if item == "":
                    yield ": still here\n\n"
                elif item is None:
                    yield _event(head, i, streams[i], {}, finish_reason(streams[i]))
                else:
                    yield _event(head, i, streams[i], {"content": item})
    if usage:
        yield f"data: {json.dumps({**head, 'choices': [], 'usage': usage_of(streams)})}\n\n"
    yield "data: [DONE]\n\n"


async def _feed(
    i: int, stream: ReplyStream, send: ObjectSendStream[tuple[int, str | AttuneError | None]]
) -> None:
    async with send:
        try:
            async for text in pieces(stream):
                await send.send((i, text))
            await send.send((i, None))
        except AttuneError as error:
            await send.send((i, error))


def _event(
    head: dict[str, Any], i: int, stream: ReplyStream, delta: dict[str, Any], reason: str | None = None
) -> str:
    choice = {
        "index": i,
        "delta": delta,
        "finish_reason": reason,
        "logprobs": None,
        "message_id": stream.message_id,
    }
    return f"data: {json.dumps({**head, 'choices': [choice]}, ensure_ascii=False)}\n\n"


def finish_reason(stream: ReplyStream) -> str:
    """OpenAI has no word for a reply that somebody stopped: like one at its limit, it is cut off."""
    return "stop" if stream.finish_reason == "stop" else "length"


def usage_of(streams: Sequence[ReplyStream]) -> dict[str, int]:
    prompt = streams[0].prompt_tokens
    completion = sum(s.completion_tokens for s in streams)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
