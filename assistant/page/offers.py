"""When the assistant itself offers to compare answers, and which two are then compared.

Where a reward model of the person is live, an offer comes below a reply that it is least sure about, and of the reply
and two more answers the two are shown whose comparison says most (learner/reward/asking.py). Before that there is
nothing to choose by: any reply may come with an offer, and the two more answers are compared.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from assistant.rewards import live_reward_model
from assistant.services import Services
from assistant.watching import rival
from data.store import Store
from data.types import Message, Reply, Turn
from learner.reward.asking import CURIOSITY, most_informative_pair
from learner.reward.features import Array, uncentred
from learner.reward.model import RewardModel

ONE_IN = 6  # replies


def is_offered(reply: Message, settings: Mapping[str, Any], sds: Sequence[float] = ()) -> bool:
    """Whether a comparison is offered below this reply: about one complete reply in six.

    `sds`: how unsure the reward model is of it and of the replies before it, newest first. Where ONE_IN are known it is
    offered below one that is less sure than all others, and below a few by lot. Which those are hangs on nothing but
    the reply's id, so that a reload offers the same and "Not now" needs no memory; so does, where nothing is known, the
    whole choice.
    """
    if not (settings["offer_comparisons"] and settings["learning"]):
        return False
    if reply.role != "assistant" or reply.finish_reason not in ("stop", "length") or not reply.content.strip():
        return False
    lot = zlib.crc32(reply.id.encode())
    if len(sds) < ONE_IN:
        return lot % ONE_IN == 0
    return sds[0] > max(sds[1:ONE_IN]) or lot % round(ONE_IN / CURIOSITY) == 0


class Offers:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    def is_made(self, user_id: str, reply: Message) -> bool:
        """Whether one is made below a reply that has just ended."""
        settings = self._store.settings(user_id)
        model = live_reward_model(self._services, user_id) if settings["offer_comparisons"] else None
        replies = self._store.newest_replies(user_id, reply.id, ONE_IN) if model else []
        sds = model.mean_and_sd(_features(self._store, user_id, replies))[1].tolist() if model and replies else []
        return is_offered(reply, settings, sds)

    def chooser(self, user_id: str, message_id: str) -> Callable[[Sequence[str]], Sequence[str]] | None:
        """Given the ids of new answers, those that are compared; None where there is nothing to choose by, and where
        the new answers are of a new version and of the one before it, so that those two are compared.

        `message_id`: the reply that the offer stands below, which takes part.
        """
        model = live_reward_model(self._services, user_id)
        offered = self._store.message(user_id, message_id)
        if model is None or offered.role != "assistant" or rival(self._store, user_id) is not None:
            return None
        return lambda new: compared(self._store, user_id, model, [message_id, *new]) or new


def compared(store: Store, user_id: str, model: RewardModel, ids: Sequence[str]) -> list[str]:
    """The two of these replies to ask about, in the order shown (by lot: what stands first is chosen more often);
    nothing where fewer than two of them have a text."""
    replies = [store.message(user_id, reply_id) for reply_id in ids]
    replies = [reply for reply in replies if reply.finish_reason and reply.content.strip()]
    if len(replies) < 2:
        return []
    seed = zlib.crc32(ids[-1].encode())
    pair = most_informative_pair(model, _features(store, user_id, replies), np.random.default_rng(seed))
    return random.Random(seed).sample([replies[i].id for i in pair], 2)


def _features(store: Store, user_id: str, replies: Sequence[Message]) -> Array:
    """(N, F) of replies to whatever each of them answers."""
    contexts = []
    for reply in replies:
        asked = store.message(user_id, reply.parent_id).content if reply.parent_id else ""
        contexts.append((Turn("user", asked),))  # features read the last question alone
    return uncentred(contexts, [Reply(reply.content, reply.finish_reason == "stop") for reply in replies])
