"""/v1/learner: what the learner is doing for this person, and asking it to."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from assistant.api_people import Person, ServicesOf
from assistant.learner_state import learner_state, shown

router = APIRouter(prefix="/v1/learner")


@router.get("")
def state(services: ServicesOf, person: Person) -> dict[str, Any]:
    return learner_state(services.store, person.id)


@router.post("/run", status_code=202)
def run_now(services: ServicesOf, person: Person) -> dict[str, Any]:
    """Learn now; it ends a pause."""
    run = services.store.queue_run(person.id, "manual")
    services.store.update_settings(person.id, {"paused": False})
    return shown(services.store, person.name, run)


@router.post("/pause")
def pause(services: ServicesOf, person: Person) -> dict[str, Any]:
    """Nothing is learnt until it is resumed; an update that is under way is left, and begins again then."""
    services.store.update_settings(person.id, {"paused": True})
    return learner_state(services.store, person.id)


@router.post("/resume")
def resume(services: ServicesOf, person: Person) -> dict[str, Any]:
    services.store.update_settings(person.id, {"paused": False})
    return learner_state(services.store, person.id)


@router.get("/runs/{run_id}")
def one(run_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    return shown(services.store, person.name, services.store.run(person.id, run_id))


@router.post("/runs/{run_id}/cancel")
def cancel(run_id: str, services: ServicesOf, person: Person) -> dict[str, Any]:
    return shown(services.store, person.name, services.store.request_cancel(person.id, run_id))
