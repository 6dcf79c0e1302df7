"""How often one person (or, of those who have no key, one address) may ask the API in a minute."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter
from starlette.responses import Response

from assistant.api_errors import error_response


class RateLimit:
    """`per_minute` requests each, counted from the first; 0 means no limit.

    Whole minutes, not sliding ones: what `Retry-After` says is then exact, and a caller that is gone for a
    minute leaves nothing in memory.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute) if per_minute else None
        self._counted = FixedWindowRateLimiter(MemoryStorage())

    def refusal(self, who: str) -> Response | None:
        """Count one request of `who`; the 429 to send where that was one too many."""
        if self._limit is None or self._counted.hit(self._limit, who):
            return None
        wait_s = max(1, math.ceil(self._counted.get_window_stats(self._limit, who).reset_time - time.time()))
        message = f"More than {self._limit.amount} requests in a minute; try again in {wait_s} seconds."
        headers = {"Retry-After": str(wait_s)}
        return error_response(429, message, code="rate_limit_exceeded", headers=headers)
