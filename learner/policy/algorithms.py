"""The algorithms that improve a policy, behind one signature; `learner.algorithm` names one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from learner.config import Algorithm, LearnerConfig
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.dpo import train_dpo
from learner.policy.ppo import train_ppo
from learner.policy.practice import train_ppo_from_base
from learner.policy.task import History, Task

# base, adapter that is trained in place, task, config, monitor, seed -> metrics of each iteration.
# All raise LearningError where learning went wrong, and whatever the monitor raises (Cancelled).
Train = Callable[[BaseModel, str, Task, LearnerConfig, Monitor, int], History]


def train_reinforce(
    base: BaseModel, adapter: str, task: Task, config: LearnerConfig, monitor: Monitor, seed: int
) -> History:
    """Policy gradient with a baseline (Williams 1992; Ahmadian et al. 2024): one step on each iteration's rollouts.

    PPO with one epoch and one minibatch: the ratio is 1 throughout, nothing is clipped, and the gradient of the
    objective is sum_t A_t grad log pi_t.
    """
    rollouts = config.ppo.prompts_per_iteration * config.ppo.replies_trained
    one_step = replace(config.ppo, epochs=1, minibatch_size=rollouts)
    return train_ppo(base, adapter, task, replace(config, ppo=one_step), monitor, seed)


def train_nothing(
    base: BaseModel, adapter: str, task: Task, config: LearnerConfig, monitor: Monitor, seed: int
) -> History:
    """The warm start alone."""
    return []


ALGORITHMS: Mapping[Algorithm, Train] = {
    "ppo": train_ppo_from_base,
    "reinforce": train_reinforce,
    "dpo": train_dpo,
    "none": train_nothing,
}
