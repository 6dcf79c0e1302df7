"""A newly promoted version is compared with the one before it, and goes back by itself where people prefer the old.

The store alone says what is compared: the newest publication is a promotion, the version before it can still answer,
and the person's rankings of replies of both have decided nothing yet (learner/evaluation/watch.py).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from data.errors import Conflict, NotFound
from data.store import Store
from data.types import BASE_VERSION, Publication
from learner.config import WatchConfig
from learner.evaluation.watch import State, judged

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watched:
    """`old` and `new` are version numbers; in so many comparisons each of them was preferred."""

    new: int
    old: int
    new_preferred: int
    old_preferred: int
    state: State


def watched(store: Store, user_id: str, config: WatchConfig | None = None) -> Watched | None:
    """The newest promotion and what its comparisons say so far; None where what is live was not promoted."""
    publications = store.publications(user_id)
    if not publications or publications[-1].reason != "promoted":
        return None
    new, old = publications[-1], _before(publications)
    preferred = [
        preferred_version(order, versions)
        for order, versions in store.rankings_since(user_id, new.created_at)
        if {new.version, old} == set(versions.values())
    ]
    wins = {version: sum(found == version for found in preferred) for version in (new.version, old)}
    state = judged(wins[old], wins[new.version], config or WatchConfig())
    return Watched(new.version, old, wins[new.version], wins[old], state)


def preferred_version(order: Sequence[Sequence[str]], versions: dict[str, int]) -> int | None:
    """The version that wrote what was ranked first; None where replies of several versions share that place.

    `order` has ids of replies, best first, those in one list tie; `versions` says which version wrote each.
    """
    best = {versions[reply_id] for reply_id in order[0]}
    return best.pop() if len(best) == 1 else None


def rival(store: Store, user_id: str) -> int | None:
    """The version that takes part in this person's comparisons beside the live one; None where none does."""
    found = watched(store, user_id)
    return found.old if found and found.state == "watching" else None


def take_back(store: Store, user_id: str) -> None:
    """Put the old version back where the comparisons say that it was better."""
    found = watched(store, user_id)
    if found is None or found.state != "old is better":
        return
    try:
        store.publish(user_id, found.old, "auto_rollback", instead_of=found.new)
    except (NotFound, Conflict) as error:  # its weights are gone, or somebody has chosen another version meanwhile
        log.warning("version %d is not taken back: %s", found.new, error)
        return
    log.info(
        "version %d of %s is taken back: version %d was preferred in %d of %d comparisons",
        found.new, user_id, found.old, found.old_preferred, found.old_preferred + found.new_preferred,
    )  # fmt: skip


def _before(publications: Sequence[Publication]) -> int:
    return publications[-2].version if len(publications) > 1 else BASE_VERSION
