"""What the chat server's parts share, as one value: routes, guard and page get it and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from data.errors import NotFound
from data.home import Home
from data.store import Store
from data.types import User

if TYPE_CHECKING:  # importing the model's libraries takes seconds; whoever only guards or refuses needs none
    from assistant.adapters import Adapters
    from assistant.chat import Chat
    from assistant.engine import Engine
    from learner.modeling.base import BaseModel

USER_KEY = "attune.user"  # where the guard leaves the person in a request's ASGI scope


@dataclass(frozen=True)
class Options:
    """How this server was started."""

    host: str = "127.0.0.1"
    port: int = 7860
    model: str = "embedded"
    device: str = "auto"
    page: bool = True
    allowed_hosts: tuple[str, ...] = ()  # more names under which this server may be addressed
    max_rows: int = 8
    requests_per_minute: int = 1200  # of one person to the API; 0 for no limit
    instance: str = ""  # what `GET /healthz` says back, so that a supervisor knows its own child


@dataclass(frozen=True)
class Services:
    home: Home
    store: Store
    chat: Chat
    engine: Engine
    adapters: Adapters
    base: BaseModel
    options: Options

    def current_user(self, request: Any) -> User:
        """The person behind a request (Starlette's, FastAPI's or Gradio's): whoever the guard let in.

        Raises NotFound where no request is given or the guard did not see it: never a default person.
        """
        inner = getattr(request, "request", request)  # gr.Request wraps the real one
        scope = getattr(inner, "scope", None) or {}
        user = scope.get(USER_KEY)
        if not isinstance(user, User):
            raise NotFound("Nobody is signed in.")
        return user
