"""`chat`: prepare the home, start the chat server and the learner, keep them running until stopped."""

from __future__ import annotations

import argparse
import errno
import ipaddress
import json
import os
import socket
import sys
import webbrowser

from filelock import FileLock, Timeout

from assistant.commands.models import model_of, prepare_model
from assistant.commands.opened import opened_store
from assistant.supervisor import ChildSpec, Supervisor, python_module
from data.errors import Conflict, Invalid
from data.home import Home
from data.profile import sweep
from data.store import Store


def chat(options: argparse.Namespace) -> int:
    model = model_of(options)
    with opened_store(options) as (home, store):
        if not store.has_accounts():
            store.ensure_user()
        check_address(options.host, options.port, store)
        sweep(store, home)
        running = FileLock(home.root / "chat.lock", timeout=0)
        try:
            running.acquire()
        except Timeout:
            raise Conflict(
                f"Attune is already running with the home {home.root}: stop it, or choose another --home."
            ) from None
    try:
        prepare_model(model, home)
        os.environ["GRADIO_TEMP_DIR"] = str(home.tmp_dir)
        address = f"http://{shown_host(options.host)}:{options.port}"
        supervisor = Supervisor(
            children(options, model, home, address),
            say=lambda line: print(line, file=sys.stderr, flush=True),
            on_ready=lambda name: announce(options, name, address),
        )
        print("Starting; the model is being loaded.", file=sys.stderr, flush=True)
        supervisor.run()
    finally:
        running.release()
    return 0


def children(options: argparse.Namespace, model: str, home: Home, address: str) -> list[ChildSpec]:
    where = ("--home", str(home.root))
    which = ("--model", model, "--device", options.device)
    listen = ["--host", options.host, "--port", str(options.port)]
    listen += ["--rate-limit", str(options.rate_limit)]
    logs = ["--log-level", options.log_level, *(["--log-json"] if options.log_json else [])]
    for name in options.allow_host:
        listen += ["--allow-host", name]
    server = ChildSpec(
        name="chat server",
        command=python_module("assistant.server", *where, *listen, *which, *logs),
        log=home.logs_dir / "chat.log",
        health_url=f"{address}/healthz",
    )
    learner = ChildSpec(
        name="learner",
        command=python_module("learner.worker", *where, *which, *logs),
        log=home.logs_dir / "learner.log",
        essential=False,
        background=True,
    )
    return [server] if options.no_learner else [server, learner]


def announce(options: argparse.Namespace, name: str, address: str) -> None:
    if name != "chat server":
        return
    print(json.dumps({"address": address}) if options.json else f"Attune is at {address}", flush=True)
    if not options.no_browser:
        webbrowser.open(address)


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_host(host: str) -> str:
    """The host to write into an address: one that listens everywhere is reached here through loopback."""
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}
    if host in everywhere:
        return everywhere[host]
    return f"[{host}]" if ":" in host else host


def check_address(host: str, port: int, store: Store) -> None:
    """Refuse, in one line, an address that is not this machine's alone without accounts, or one in use."""
    if not is_loopback(host) and not store.has_accounts():
        raise Invalid(
            f"Listening on {host} lets other machines in, and there is no account yet: make one first with "
            "`python launch.py users add NAME`.",
            param="host",
        )
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise Invalid(f"There is no address {host!r} on this machine.", param="host") from None
    with socket.socket(found[0], found[1]) as probe:
        if os.name == "posix":  # as the server does: a port is free again right after its process ended
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(found[4])
        except PermissionError:
            raise Invalid(
                f"Port {port} needs administrator rights: choose one from 1024 on with --port.", param="port"
            ) from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Conflict(
                    f"Port {port} on {host} is in use: choose another with --port, or stop what uses it."
                ) from None
            raise Invalid(
                f"{host} is not an address of this machine ({error.strerror}).", param="host"
            ) from None
