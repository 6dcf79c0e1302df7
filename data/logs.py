"""How chat server and learner log: to standard error, as lines for people or as JSON for programs.

What is logged: that something failed, which version was loaded for which user id, how long it took. Never
what people write, never a password, key, token or header.
"""

from __future__ import annotations

import logging

from pythonjsonlogger.json import JsonFormatter

LEVELS = ("debug", "info", "warning", "error")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
OURS = ("attune", "assistant", "data", "learner")


def set_up_logging(level: str, *, as_json: bool) -> None:
    """`level` (one of LEVELS) is for what Attune says; libraries, some of which would log every request with its
    headers, keep to warnings."""
    handler = logging.StreamHandler()
    if as_json:
        renamed = {"asctime": "time", "levelname": "level", "name": "logger", "exc_info": "traceback"}
        handler.setFormatter(
            JsonFormatter("%(asctime)s %(levelname)s %(name)s %(message)s", rename_fields=renamed)
        )
    else:
        handler.setFormatter(logging.Formatter(FORMAT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for ours in OURS:
        logging.getLogger(ours).setLevel(level.upper())
