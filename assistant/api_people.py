"""What every route asks for first: the services, and the person behind the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from assistant.services import Services
from data.types import User


async def services_of(request: Request) -> Services:
    found = request.app.state.services
    assert isinstance(found, Services)
    return found


async def person_of(request: Request) -> User:
    return (await services_of(request)).current_user(request)


ServicesOf = Annotated[Services, Depends(services_of)]
Person = Annotated[User, Depends(person_of)]
