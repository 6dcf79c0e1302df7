"""One lasting thread of the server computes on all cores: the engine's.

The OpenMP runtime below torch gives each thread that computes in parallel a team of its own, and once there are more
threads in teams than cores, its workers go to sleep after every parallel region instead of waiting a moment for the
next one. A token has hundreds of regions of a few microseconds: with a second team alive it took almost twice as
long (docs/log.md). So what computes outside the engine does it in a thread that ends, and takes its team along.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def aside(work: Callable[[], T]) -> T:
    """What `work` gives or raises, in a thread that ends with it."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside") as thread:
        return thread.submit(work).result()
