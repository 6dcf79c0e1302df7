"""POST /v1/profile/score: how much this person would like replies, as far as the live version knows."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from assistant.api_people import Person, ServicesOf
from assistant.api_requests import MAX_MESSAGES, ChatMessage, Text
from assistant.rewards import reward_model
from data.errors import Invalid
from data.types import Reply
from learner.reward.asking import most_informative_pair
from learner.reward.features import uncentred

router = APIRouter(prefix="/v1/profile")
MAX_REPLIES = 64


class ScoreRequest(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES)]
    replies: Annotated[list[Text], Field(min_length=1, max_length=MAX_REPLIES)]


@router.post("/score")
def score(body: ScoreRequest, services: ServicesOf, person: Person) -> dict[str, Any]:
    """Rewards are in logits: a reply that scores 1 more than another is chosen over it 73 times of 100.

    0 is what replies of base models are like on average; `sd` is the posterior's standard deviation. `ask` holds the
    indices of the two replies whose comparison by this person would teach most, null where there is only one reply.
    """
    context = tuple(message.turn() for message in body.messages)
    if context[-1].role != "user":
        raise Invalid("The last message must be the user's: replies to it are scored.", "messages")
    version = services.adapters.live_version(person.id)
    model = reward_model(services, person.id, version)
    phi = uncentred([context] * len(body.replies), [Reply(text, True) for text in body.replies])
    mean, sd = (np.asarray(values).tolist() for values in model.mean_and_sd(phi))
    return {
        "object": "list",
        "version": version,
        "data": [{"index": i, "reward": mean[i], "sd": sd[i]} for i in range(len(body.replies))],
        "ask": list(most_informative_pair(model, phi)) if len(phi) > 1 else None,
        "has_more": False,
    }
