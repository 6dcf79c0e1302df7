"""The chat server: engine, HTTP interface and page in one process.

`python -m assistant.server --home DIR --host H --port P --model ID --device D`
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

import assistant.offline  # noqa: F401  (before anything that could call out)
from assistant.auth import Auth
from assistant.guard import Guard, is_loopback
from assistant.services import Options, Services
from assistant.supervisor import INSTANCE
from data.errors import AttuneError, Conflict, Invalid
from data.home import Home
from data.logs import LEVELS, set_up_logging
from data.store import Store

if TYPE_CHECKING:
    from learner.modeling.base import BaseModel

# The model's libraries take many seconds to import. What can be refused (a port in use, say) is refused
# before, so they are imported inside the functions that need them.


def build_app(home: Home, store: Store, base: BaseModel, options: Options) -> FastAPI:
    """The whole application on a loaded model. Its engine runs from now on; `close_app` ends it."""
    from assistant.adapters import Adapters
    from assistant.api import add_routes, new_app
    from assistant.chat import Chat
    from assistant.engine import Engine
    from assistant.metrics import Measured, Metrics

    store.record_base(base.spec)
    store.interrupt_unfinished()
    metrics = Metrics()
    engine = Engine(base, max_rows=options.max_rows, on_end=metrics.reply_ended)
    metrics.watch(store, engine)
    adapters = Adapters(store, home, base, engine)
    chat = Chat(home, store, engine, adapters, base)
    services = Services(home, store, chat, engine, adapters, base, options)
    auth = Auth(store, always_required=not is_loopback(options.host))
    app = new_app()
    app.state.services = services
    app.state.auth = auth
    app.state.metrics = metrics
    app.add_middleware(
        Guard, auth=auth, host=options.host, allowed_hosts=options.allowed_hosts,
        requests_per_minute=options.requests_per_minute,
    )  # fmt: skip
    app.add_middleware(Measured, metrics=metrics)  # around the guard: what it refuses is counted too
    add_routes(app, services)
    if options.page:
        from assistant.page.app import mount_page

        mount_page(app, services)
    return app


def close_app(app: FastAPI) -> None:
    """Stop what is being written (it is stored as far as it went) and the threads."""
    services: Services = app.state.services
    services.engine.close()
    services.adapters.close()
    services.chat.wait_until_stored()


def bind(host: str, port: int) -> socket.socket:
    """The listening socket, made before the model is loaded: a port in use shows at once, in one line.

    It listens at once, because two sockets may be bound to one port for as long as neither does.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise Invalid(f"There is no address {host!r} on this machine: {error.strerror}.", "host") from error
    listening = socket.socket(family, kind, proto)
    if os.name == "posix":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise Conflict(
            f"Port {port} on {host} cannot be used ({error.strerror}): choose another with --port."
        ) from error
    return listening


def serve(options: Options, home: Home) -> None:
    """Load the model and serve until a signal."""
    home.create()
    os.environ["GRADIO_TEMP_DIR"] = str(home.tmp_dir)
    store = Store(home)
    try:
        if not is_loopback(options.host) and not store.has_accounts():
            raise Invalid(
                f"Listening on {options.host} lets other machines in, and there is no account yet: make one "
                "first with `python launch.py users add NAME`.",
                "host",
            )
        listening = bind(options.host, options.port)
        options = replace(options, port=listening.getsockname()[1])
        from assistant.cores import aside
        from learner.modeling.loading import load_base

        base = aside(lambda: load_base(options.model, home.models_dir, options.device, trainable=False))
        _serve(build_app(home, store, base, options), listening, options)
    finally:
        store.close()


def _serve(app: FastAPI, listening: socket.socket, options: Options) -> None:
    try:
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, lifespan="on",
            timeout_graceful_shutdown=5, proxy_headers=False,
        )  # fmt: skip
        # uvicorn raises the signal that ended it once more; this function must still reach its end.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        print(f"Serving on http://{options.host}:{options.port}", file=sys.stderr, flush=True)
        _Server(config, app).run(sockets=[listening])
    finally:
        close_app(app)


class _Server(uvicorn.Server):
    """Ends the replies that are being written when it is asked to stop, not when their clients leave."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        services: Services = app.state.services
        self._engine = services.engine

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        threading.Thread(target=self._engine.close, name="stop-engine").start()
        super().handle_exit(sig, frame)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m assistant.server")
    parser.add_argument("--home")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7860)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--no-page", action="store_true", help="the HTTP interface alone")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME",
        help="one more name under which browsers reach this server (behind a proxy, say)",
    )  # fmt: skip
    parser.add_argument("--rate-limit", type=int, default=Options.requests_per_minute, metavar="N")
    parser.add_argument("--log-level", default="info", choices=LEVELS)
    parser.add_argument("--log-json", action="store_true")
    given = parser.parse_args(arguments)
    set_up_logging(given.log_level, as_json=given.log_json)
    options = Options(
        host=given.host, port=given.port, model=given.model, device=given.device, page=not given.no_page,
        allowed_hosts=tuple(given.allow_host), instance=os.environ.get(INSTANCE, ""),
        requests_per_minute=given.rate_limit,
    )  # fmt: skip
    try:
        serve(options, Home.locate(given.home))
    except AttuneError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
