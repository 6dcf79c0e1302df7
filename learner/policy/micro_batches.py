"""How many rows are on the device at once: fewer where memory runs out. The result does not depend on it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

T = TypeVar("T")
log = logging.getLogger("attune.learner")


class MicroBatch:
    """`size` in rows. It only ever becomes smaller."""

    def __init__(self, size: int) -> None:
        self.size = size

    def fit(self, compute: Callable[[int], T]) -> T:
        """`compute(size)`, from its beginning again with half the rows whenever memory runs out.

        Raises what it raised where a single row does not fit.
        """
        while True:
            try:
                return compute(self.size)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if self.size == 1 or not ran_out_of_memory(error):
                    raise
            self.size //= 2  # outside of the handler: the error holds on to the tensors of the failed pass
            log.warning("out of memory: %d rows at once from now on", self.size)
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def ran_out_of_memory(error: Exception) -> bool:
    """On a GPU it is an error of its own, on a CPU a RuntimeError of the allocator."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)
