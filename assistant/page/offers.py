"""When the assistant itself offers to compare two answers."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

from data.types import Message

ONE_IN = 6  # replies


def is_offered(reply: Message, settings: Mapping[str, Any]) -> bool:
    """Whether a comparison is offered below this reply: about one complete reply in six.

    Which ones hangs on nothing but their id, so that a reload offers the same and "Not now" needs no memory. An
    honest rule, not yet a clever one: it does not know where a comparison would teach most.
    """
    if not (settings["offer_comparisons"] and settings["learning"]):
        return False
    complete = reply.role == "assistant" and reply.finish_reason in ("stop", "length")
    return complete and bool(reply.content.strip()) and zlib.crc32(reply.id.encode()) % ONE_IN == 0
