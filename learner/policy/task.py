"""What an algorithm of policy optimisation is given, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data.types import Reply, Turn
from learner.policy.sequences import SequenceBatch

Context = Sequence[Turn]
# contexts and replies (N each) -> scores (N,), in population standard deviations of the base's replies
Reward = Callable[[Sequence[Context], Sequence[Reply]], np.ndarray]
Pair = tuple[Context, Reply, Reply]  # context, the better reply, the worse one
History = list[dict[str, float]]  # metrics of each iteration, under the literature's names


class LearningError(RuntimeError):
    """Learning went wrong in a way that must not pass for success."""


@dataclass(frozen=True)
class Task:
    """`prompts` are used in the given order, again and again. An algorithm takes what it needs and leaves the rest:
    PPO and REINFORCE sample replies and score them, DPO learns from the pairs alone. `prefix_reward` scores beginnings
    of replies; None where that would be too slow. `said`: prompts with equally many replies of the base to each.
    `goes_on`: the adapter begins as a version that was trained before."""

    prompts: Sequence[Context]
    reward: Reward
    prefix_reward: Reward | None = None
    demonstrations: SequenceBatch | None = None
    pairs: Sequence[Pair] = ()
    said: Sequence[tuple[Context, Sequence[Reply]]] = ()
    goes_on: bool = False
