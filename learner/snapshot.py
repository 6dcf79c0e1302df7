"""What one learning update is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from data.types import Evidence, Reply, RewardKind
from learner.config import LoraSettings
from learner.modeling import lora
from learner.policy.task import Context


class BaseSays(Protocol):
    """`count` replies of the base to each of `contexts` by `context_key`; `phase` is what the monitor is told. With
    `reserve_s` only to as many contexts as leave that much of the learning budget."""

    def __call__(
        self, contexts: Mapping[str, Context], count: int, phase: str, reserve_s: float = 0.0
    ) -> Mapping[str, Sequence[Reply]]: ...


@dataclass(frozen=True)
class Snapshot:
    """All that one update may know of a person.

    `base_replies`: what the base says to the contexts of the feedback, by `context_key`; `base_says` asks it for more,
    None where it cannot be asked. `tested_before`: the most pieces of feedback of which an earlier update has asked
    whether there is anything to learn; `found_before`: whether one found that there is. `live`: the live adapter, None
    where the base answers (also where the live version was made for another base).
    """

    evidence: Evidence
    base_replies: Mapping[str, Sequence[Reply]]
    base_says: BaseSays | None = None
    system_prompt: str = ""
    live_version: int = 0
    live: tuple[lora.State, LoraSettings] | None = None
    tested_before: int = 0
    found_before: bool = False
    reward_kind: RewardKind = "bayesian"
    muted: tuple[str, ...] = ()  # features that the person switched off: held at zero in every fit
