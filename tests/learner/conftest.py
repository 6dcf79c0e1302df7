"""A learner at its work, in a thread of the test's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from data.home import Home
from data.store import Store
from learner.worker import Learner


@contextmanager
def at_work(home: Home, own: Store) -> Iterator[None]:
    """The learner of a home, with a store of its own, which is closed in the end."""
    stop = threading.Event()
    serving = threading.Thread(target=Learner(home, own, "embedded").serve, args=(stop,))
    serving.start()
    try:
        yield
    finally:
        stop.set()
        serving.join()
        own.close()
