"""Stages 3 and 4 of an update: an adapter is trained on what the person showed, then against their reward."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.preferences import demonstrations
from data.prompts import context_key, general_prompts
from data.quality import preferred
from data.types import Reply
from learner.config import LearnerConfig, LoraSettings
from learner.evaluation.metrics import NeutralText
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.algorithms import ALGORITHMS
from learner.policy.contexts import with_system, within
from learner.policy.rehearsal import Rehearsal
from learner.policy.task import Context, LearningError, Pair, Reward, Task
from learner.policy.warm_start import WarmStartResult, demonstration_batch, warm_start
from learner.snapshot import Snapshot


@dataclass(frozen=True)
class Trained:
    """The adapter's weights after policy optimisation, and as the warm start left them."""

    weights: lora.State
    warm_weights: lora.State
    warm_steps: int


def begins_with(snapshot: Snapshot, config: LearnerConfig) -> tuple[lora.State, LoraSettings] | None:
    """The live adapter, where the update goes on from it; None where it begins at the base."""
    return snapshot.live if config.start_from == "live" else None


def improve(
    adapter: str,
    snapshot: Snapshot,
    reward: Reward,
    prefix_reward: Reward | None,
    base: BaseModel,
    config: LearnerConfig,
    monitor: Monitor,
    report: dict[str, Any],
) -> Trained:
    """Stages 3 and 4: train `adapter` in place, on demonstrations and then against `reward`.

    One that begins as the live version has its warm start behind it, and PPO's first step on the base's replies too.
    Raises LearningError where the adapter is afterwards what it was before.
    """
    monitor.seconds_left("learning")  # the budget of both begins here
    before = lora.state_sha256(base.adapter_state(adapter))
    shown = short_demonstrations(snapshot, base, config)
    goes_on = begins_with(snapshot, config) is not None
    seed = config.seed + (snapshot.live_version if goes_on else 0)  # or the same prompts would come first again
    prompts = rollout_prompts(snapshot, base, config, seed)
    said = said_by_base(snapshot, prompts, config)
    enough_shown = config.warm_start.enabled and len(shown) >= config.warm_start.min_demonstrations
    warm: WarmStartResult | None = None
    if enough_shown and not goes_on:
        warm = warm_start(base, adapter, shown, prompts, config.warm_start, config.ppo, monitor, config.seed)
    report["warm_start"] = (asdict(warm) if warm else {"steps": 0}) | {"demonstrations": len(shown)}
    rehearsal = Rehearsal(base, adapter, config.rehearsal, said)
    if warm is not None and warm.steps:
        report["warm_start"]["rehearsal"] = asdict(rehearsal.hold(lambda _: monitor.report("warm start", 1.0, {})))
        report["warm_start"]["share_kept"] = leave_room(base, adapter, config.warm_start.max_perplexity_increase)
    warm_weights = base.adapter_state(adapter)
    warm_steps = warm.steps if warm else 0

    task = Task(
        # those that the first pass does not practise on come first
        prompts=[*prompts[len(said) :], *prompts[: len(said)]],
        reward=reward,
        prefix_reward=prefix_reward,
        demonstrations=demonstration_batch(base, shown) if warm_steps or (enough_shown and goes_on) else None,
        pairs=short_pairs(snapshot, base, config),
        said=said,
        goes_on=goes_on,
    )
    history = ALGORITHMS[config.algorithm](base, adapter, task, config, monitor, seed)
    if lora.state_sha256(base.adapter_state(adapter)) == before:
        raise LearningError("The update left the adapter as it was; nothing was learnt.")
    report["rehearsal"] = asdict(rehearsal.hold(lambda share: monitor.report("rehearsal", share, {})))
    weights = base.adapter_state(adapter)
    report["ppo"] = {"iterations": len(history), "first": history[0], "last": history[-1]} if history else {}
    report["algorithm"] = config.algorithm
    return Trained(weights, warm_weights, warm_steps)


def leave_room(base: BaseModel, adapter: str, limit: float) -> float:
    """Scale the adapter back where neutral text reads more than `limit` worse with it; returns the share that is left.

    A handful of demonstrations is soon learnt by heart; what the gate allows would be used up before policy
    optimisation begins.
    """
    rise = NeutralText(base).worst_increase(adapter)
    if rise <= limit:
        return 1.0
    share = lora.share_for(limit, rise)
    base.set_adapter_state(adapter, lora.scaled(base.adapter_state(adapter), share))
    return share


def said_by_base(
    snapshot: Snapshot, prompts: Sequence[Context], config: LearnerConfig
) -> list[tuple[Context, Sequence[Reply]]]:
    """What PPO's first pass learns from: replies of the base to the first of `prompts`, as far as there is time."""
    practice = config.practice
    if config.algorithm != "ppo" or practice.prompts == 0 or snapshot.base_says is None:
        return []
    contexts: dict[str, Context] = {}
    for prompt in prompts:
        if len(contexts) < practice.prompts:
            contexts.setdefault(context_key(prompt), prompt)
    reserve_s = 60 * config.budget_minutes * (1 - practice.sampling_share)
    replies = snapshot.base_says(contexts, practice.replies, "more base replies", reserve_s)
    return [(context, replies[key]) for key, context in contexts.items() if key in replies]


def short_demonstrations(
    snapshot: Snapshot, base: BaseModel, config: LearnerConfig
) -> list[tuple[Context, Reply]]:
    """Demonstrations whose context and reply are within their token limits."""
    cut = [(within(base, context, config.context_tokens), r) for context, r in demonstrations(snapshot.evidence)]
    return [
        (context, reply)
        for context, reply in cut
        if context is not None and len(base.encode_reply(reply.text)) <= config.demonstration_tokens
    ]


def short_pairs(snapshot: Snapshot, base: BaseModel, config: LearnerConfig) -> list[Pair]:
    """Edits over originals and every two replies of a ranking, of the training side and within the token limits."""
    found: list[Pair] = []
    for observation in snapshot.evidence.observations:
        context = within(base, observation.context, config.context_tokens)
        if observation.held_out or context is None:
            continue
        for better, worse in preferred(observation):
            if max(len(base.encode_reply(r.text)) for r in (better, worse)) <= config.demonstration_tokens:
                found.append((context, better, worse))
    return found


def rollout_prompts(snapshot: Snapshot, base: BaseModel, config: LearnerConfig, seed: int) -> list[Context]:
    """The person's own prompts (of the training side) among general ones, in an order by `seed`."""
    shuffle = random.Random(seed).shuffle
    own = {context_key(o.context): o.context for o in snapshot.evidence.observations if not o.held_out}
    cut = [within(base, context, config.context_tokens) for context in own.values()]
    own_contexts: list[Context] = [context for context in cut if context is not None]
    general = [with_system(snapshot.system_prompt, text) for text in general_prompts("rollout")]
    shuffle(own_contexts)
    shuffle(general)
    share, mixed = config.ppo.own_prompt_share, []
    taken_own = 0
    for position in range(len(own_contexts) + len(general)):
        want_own = taken_own < share * (position + 1)
        if own_contexts and (want_own or not general):
            mixed.append(own_contexts.pop())
            taken_own += 1
        else:
            mixed.append(general.pop())
    return mixed
