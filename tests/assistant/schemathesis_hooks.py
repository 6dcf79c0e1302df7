"""What schemathesis changes in its requests (test_openapi.py): replies stay short, so that there is time for many."""

from __future__ import annotations

from typing import Any

import schemathesis

MOST = 2


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """A valid `max_tokens` above MOST becomes MOST; what is not valid stays so."""
    body = case.body
    if not isinstance(body, dict):
        return
    for name in ("max_tokens", "max_completion_tokens"):
        value = body.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and MOST < value <= 8192:
            case.body = body = {**body, name: MOST}
