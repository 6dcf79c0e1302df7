"""The personal reward model of the version that is live, as whoever scores replies or asks about them takes it."""

from __future__ import annotations

from safetensors import SafetensorError

from assistant.services import Services
from data.errors import AttuneError, Conflict
from data.types import BASE_VERSION
from learner.reward.features import FEATURE_NAMES
from learner.reward.model import RewardModel
from learner.reward.muting import silenced


def live_reward_model(services: Services, user_id: str) -> RewardModel | None:
    """The live version's, None where the base answers or there is none to score with."""
    try:
        return reward_model(services, user_id, services.store.live_version(user_id))
    except AttuneError:
        return None


def reward_model(services: Services, user_id: str, version: int) -> RewardModel:
    """The reward model that a version was trained with, without what the person has switched off since.

    Raises Conflict where there is none to score with.
    """
    if version == BASE_VERSION:
        raise Conflict("Nothing learnt is live, the base model answers: rate replies, then let Attune learn.")
    try:
        model = RewardModel.load(services.home.reward_dir(user_id, version))
    except FileNotFoundError as error:
        raise Conflict(
            f"Version {version} came without its reward model: there is nothing to score with."
        ) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise AttuneError(
            f"The reward model of version {version} cannot be read ({type(error).__name__})."
        ) from error
    if model.feature_names != FEATURE_NAMES:
        raise Conflict(f"The reward model of version {version} reads other features: let Attune learn again.")
    return silenced(model, services.store.settings(user_id)["muted"])
