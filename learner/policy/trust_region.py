"""How far PPO's first step goes: how many nats the warm start keeps, and which length of a direction costs the rest."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import torch

from learner.config import LearnerConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.distance import kl_on, kl_to_base, sample
from learner.policy.fisher import dot
from learner.policy.natural import NaturalGradient
from learner.policy.sequences import SequenceBatch
from learner.policy.task import Task

MOST_ROUNDS = 3  # of replies of the policy's own, by which the distance is measured; one is the rule
KL_TOLERANCE = 1.25  # near enough to the target
MOST_LENGTHS = 8  # that are tried on replies of the base; each is a pass over them, a quarter of a round's time
LENGTH_TOLERANCE = 1.1
FEW = 2  # batches that a length is tried on


@torch.no_grad()
def share_of_warm_start(
    base: BaseModel,
    adapter: str,
    begun: lora.State,
    gradient: NaturalGradient,
    halves: Sequence[NaturalGradient],
    batches: Sequence[SequenceBatch],
    settings: LearnerConfig,
) -> float:
    """How much of the warm start's change the step should begin with, 0 to 1.

    A change v of the weights gains G = -g v of the objective, to first order, and costs K nats, about with its square.
    Of two changes that cost apart, most is gained for the same nats if they share these as G^2 / K of each. The gain of
    the natural direction of one half of the minibatches is read from the gradient of the other: from its own it would
    be flattered. Without a gain of the step nothing speaks against a warm start that gains anything.
    """
    config, parameters = settings.practice, base.adapter_parameters(adapter)

    base.set_adapter_state(adapter, begun)
    cost = kl_on(base, adapter, batches, settings.ppo.temperature)
    if cost == 0.0:  # there was no warm start
        return 1.0
    gain = -dot(gradient.mean, [p.float() for p in parameters])
    if gain < 0:
        return 0.0
    worth = gain**2 / cost
    of_step = []
    for half, other in zip(halves, reversed(halves), strict=True):
        change = half.direction(config.damping, config.column_damping)
        base.set_adapter_state(adapter, lora.scaled(begun, 0.0))
        for parameter, part in zip(parameters, change, strict=True):
            parameter.add_(config.probe * part)
        nats = kl_on(base, adapter, batches, settings.ppo.temperature)
        of_step.append(-config.probe * dot(other.mean, change) / math.sqrt(nats) if nats else 0.0)
    step_worth = max(0.0, sum(of_step) / 2) ** 2
    if step_worth == 0.0:
        return 1.0
    return min(1.0, lora.share_for(config.kl_target * worth / (worth + step_worth), cost))


def step_to_target(
    base: BaseModel,
    adapter: str,
    direction: Sequence[torch.Tensor],
    batches: Sequence[SequenceBatch],
    task: Task,
    settings: LearnerConfig,
    monitor: Monitor,
    seed: int,
) -> dict[str, float]:
    """Step 4: move `adapter` along `direction` until it is `kl_target` nats a reply from the base, as measured on
    replies of its own to some of the task's prompts; returns the length of the step, the distance and their reward.

    Which length that is, is looked for on replies of the base, where a length costs one pass and no sampling. What the
    policy's own replies say then corrects it: once where the step was too short, MOST_ROUNDS - 1 times where too long.
    """
    config, ppo = settings.practice, settings.ppo
    parameters = base.adapter_parameters(adapter)
    begun = [parameter.detach().clone() for parameter in parameters]
    contexts = task.prompts[: config.kl_prompts]
    queries = [base.encode_chat(context) for context in contexts]

    def go(length: float) -> None:
        with torch.no_grad():
            for parameter, start, part in zip(parameters, begun, direction, strict=True):
                parameter.copy_(start + length * part)

    @cache  # a later round begins with lengths that an earlier one has tried
    def kl_on_base(length: float) -> float:
        go(length)
        return kl_on(base, adapter, batches[:FEW], ppo.temperature)

    aim, length = config.kl_target, math.sqrt(2 * config.kl_target)
    for tried in range(1, MOST_ROUNDS + 1):
        length = length_for(aim, kl_on_base, length)
        go(length)
        round_began_s = monitor.elapsed_s()
        rollouts = sample(base, adapter, queries, ppo, seed)
        kl = kl_to_base(base, adapter, rollouts, ppo.temperature)
        round_s = monitor.elapsed_s() - round_began_s
        monitor.report("practice", 1.0 - 0.2 / (1 + tried), {"objective/kl": kl})
        too_short, too_long = kl < config.kl_target / KL_TOLERANCE, kl > config.kl_target * KL_TOLERANCE
        if not too_long and (tried > 1 or not too_short):
            break
        if too_short and monitor.seconds_left("learning") <= 0:  # a step that went too far goes back in any case
            break
        aim *= config.kl_target / kl
    reward = float(np.mean(task.reward(contexts, [rollout.reply for rollout in rollouts])))
    return {
        "practice/length": length, "objective/kl": kl, "practice/scores_after": reward, "time/round_s": round_s
    }  # fmt: skip


def length_for(aim: float, kl_of: Callable[[float], float], length: float) -> float:
    """A length, looked for from `length` on, where `kl_of` is within LENGTH_TOLERANCE of `aim`; after MOST_LENGTHS the
    longest that was seen below it. As of a quadratic, within what is known to be too short and too long.

    Where the step begins as far away as `aim` or farther, it may go a little on from there.
    """
    start = kl_of(0.0)
    aim = max(aim, start * LENGTH_TOLERANCE)
    low, high = 0.0, math.inf
    for _ in range(MOST_LENGTHS):
        kl = kl_of(length)
        if aim / LENGTH_TOLERANCE <= kl <= aim * LENGTH_TOLERANCE and kl > start:
            return length
        low, high = (length, high) if kl < aim else (low, length)
        length *= min(4.0, lora.share_for(aim - start, max(kl - start, 1e-9)))
        if not low < length < high:
            length = (low + high) / 2
    return low or length
