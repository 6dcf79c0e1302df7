"""Every number of the learner, with its unit and source. Nothing else in `learner/` holds a tunable constant.

Sources: docs/learning.md has the reasons and measurements; "lm-hpd" is Huang et al. 2023, "The N implementation
details of RLHF with PPO"; "LoRA without regret" is Schulman et al. 2025; "RLOO" is Ahmadian et al. 2024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_type_hints

from data.errors import Invalid
from data.types import CHAT_TEMPERATURE

# "none" leaves it at the warm start, for comparison
Algorithm = Literal["ppo", "reinforce", "dpo", "none"]


@dataclass(frozen=True)
class LoraSettings:
    rank: int = 8  # "LoRA without regret": small ranks carry the few bits that preferences hold
    alpha: float = 32.0  # scaling is alpha / rank; same source
    # What is trained of it: the last layers, as a share of all, and whether A is or B alone (LoRA-FA, Zhang et al.
    # 2023). The rest stays as it begins; where B stays 0 that is no change.
    trained_layers: float = 1.0
    train_a: bool = True

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


@dataclass(frozen=True)
class WarmStartConfig:
    """Supervised steps on demonstrations (edits and the best rated replies) before PPO."""

    enabled: bool = True
    # Of B in the last layers: at 2e-4 eight steps go .2 nats and learn next to nothing (docs/log.md).
    learning_rate: float = 1e-3
    max_steps: int = 8  # optimiser steps
    check_every: int = 4  # steps; measuring loss and distance takes as long as two of them
    batch_size: int = 8  # demonstrations a step
    # Nats a reply on held-out prompts: stop beyond it, and leave the rest to PPO, which gains more for each of them
    # (docs/log.md). It was 3, and 1 while the steps did not reach it.
    kl_limit: float = 2.0
    max_perplexity_increase: float = 0.015  # of neutral text: half of what the gate allows, for PPO needs some of it
    held_out_share: float = 0.2  # of the demonstrations, for early stopping
    min_demonstrations: int = 4
    kl_prompts: int = 8  # prompts on which the distance to the base is measured


@dataclass(frozen=True)
class RehearsalConfig:
    """Neutral text and ends are made as likely again as with the base (learner/policy/rehearsal.py)."""

    max_steps: int = 8  # 0 leaves it out; one or two are the rule
    # Nats a token by which a kind of text may stay less likely than with the base: about 1 % of perplexity, a third of
    # what the gate allows on texts of its own. The last of it takes most of the steps, ten seconds each on two cores.
    tolerance: float = 0.01
    ends: int = 16  # replies of the base that came to an end, where the policy should be as ready to end
    end_tolerance: float = 0.1  # nats an end: the policy may be a tenth less ready
    micro_batch_size: int = 8  # texts that are on the device at once; memory only, not the result


@dataclass(frozen=True)
class PPOConfig:
    """Source of each number: lm-hpd, unless a comment says otherwise."""

    iterations: int = 30  # at most; the time budget usually ends it first
    prompts_per_iteration: int = 8
    replies_per_prompt: int = 6
    replies_trained: int = 2  # of each prompt's: the best and the worst; leave-one-out needs at least 2
    # Longest rollout, the chat's own limit. At 96 a usual reply of the base was cut off, and the penalty for that made
    # everybody's version terse: 145 words became 30 for somebody who does not care about length.
    response_tokens: int = 256
    temperature: float = CHAT_TEMPERATURE  # of rollouts, and of old, new and reference log-probabilities
    # For LoRA "LoRA without regret" has ten times that of full fine-tuning, 3e-4. At 1e-3 six iterations win .68 where
    # they won .64 (docs/log.md); what it does to neutral text, rehearsal undoes.
    learning_rate: float = 1e-3
    value_learning_rate: float = 1e-3
    adam_epsilon: float = 1e-5
    max_grad_norm: float = 1.0
    epochs: int = 2
    minibatch_size: int = 8  # rollouts
    micro_batch_size: int = 8  # rollouts that are on the device at once; memory only, not the result
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    vf_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95  # of the value head
    prefix_lam: float = 0.8  # of values from beginnings, which know more: a token answers for the next ten or so
    # "prefix": the reward model on the beginning of each reply (learner/policy/critic.py); "gae": a value head, which
    # with so few rollouts is mostly noise.
    baseline: Literal["prefix", "leave-one-out", "gae"] = "prefix"
    # How often the beginning is scored. At 16 a token shares its credit with 15 others: reward +.27 where 2 gave +.42,
    # each with a standard error of .12.
    prefix_tokens: int = 2
    # With "prefix": of the whole reply's advantage beside each token's own, both whitened. With 0 a direction gains .34
    # of the true utility where it gains .38 with 1 (docs/log.md).
    credit_of_whole: float = 1.0
    value_warmup_iterations: int = 2  # gae only: value-only batches before the policy moves
    # Where the adaptive coefficient starts, and the least it falls to. At 0.2 somebody who wants 8 words got 30.
    kl_coef: float = 0.1
    kl_target: float = 6.0  # nats a reply; beyond it the coefficient rises
    kl_tolerance: float = 1 / 3  # off target by more than this share moves the coefficient
    kl_factor: float = 1.5  # Ziegler's horizon of 10,000 episodes would never move at this size
    reward_clip: float = 3.0  # population standard deviations of the base's replies
    # "EOS trick" of lm-hpd, where it is 1: whether an end matters is for the person. At least so much; PPO's first pass
    # finds out how much it takes (advantages.py, `missing_end_penalty`).
    missing_eos_penalty: float = 0.3
    pessimism: float = 0.5  # standard deviations of the posterior subtracted from the reward
    max_kl_step: float = 0.02  # an epoch stops when mean 0.5 (new - old)^2 exceeds it
    # Mean |dlogp| of a token between sampler and trainer. bfloat16 rounds by 0.02-0.04 (measured; 1e-6 in float32),
    # which importance weights up to `max_importance_weight` correct; beyond the bound something is broken.
    max_sampler_gap: float = 0.2
    max_importance_weight: float = 2.0
    # PPO-ptx (InstructGPT), halved every `demonstration_half_life` iterations; at 0.1 a handful of demonstrations was
    # learnt by heart within five iterations and neutral answers read 4.7 % worse.
    demonstration_coef: float = 0.03
    demonstration_half_life: float = 2.0
    demonstration_rows: int = 2  # beside each minibatch: they cost as much time as rollouts do
    own_prompt_share: float = 0.5  # of the rollout prompts, as far as the person has asked that many


@dataclass(frozen=True)
class PracticeConfig:
    """PPO's first step, on the best and the worst of what the base says (learner/policy/practice.py)."""

    # At most; 0 leaves it out. From 48 on the step's direction gets no better (docs/log.md).
    prompts: int = 48
    replies: int = 8  # of the base to each prompt: the best and the worst are 2.8 standard deviations apart
    # Of the learning budget, at most, for replies that the store does not have yet.
    sampling_share: float = 0.45
    minibatch_size: int = 8  # replies whose gradients are added before their squares tell the noise
    micro_batch_size: int = 8  # replies that are on the device at once; memory only, not the result
    damping: float = 0.01  # of the natural gradient's rows, as a share of the typical second moment
    column_damping: float = 0.1  # of its columns, as a share of their mean; 0.001 to 1 make little difference
    kl_target: float = 4.0  # nats a reply to the base, warm start included
    # Products of the Fisher information with a vector that the step's direction takes; 1 leaves it at rows and columns.
    fisher_products: int = 3
    fisher_replies: int = 24  # of the base, along which it is measured
    probe: float = 3e-3  # how far the first product looks, in weights; again where it costs too much or too little
    kl_prompts: int = 16  # prompts on which the distance is measured


@dataclass(frozen=True)
class DPOConfig:
    """Direct preference optimisation, the algorithm beside PPO that needs neither rollouts nor a reward model."""

    beta: float = 0.1  # Rafailov et al. 2023
    learning_rate: float = 1e-4  # for LoRA; half of PPO's, for every pair is seen several times
    epochs: int = 3
    batch_size: int = 8  # pairs
    micro_batch_size: int = 4  # pairs that are on the device at once; memory only, not the result


@dataclass(frozen=True)
class NeuralRewardConfig:
    """The neural kind of reward model (learner/reward/neural.py)."""

    lora: LoraSettings = field(default_factory=LoraSettings)
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    epochs: int = 2
    batch_size: int = 8  # pieces of feedback
    centring: float = 0.01  # of (r+ + r-)^2: Eisenstein et al. 2023, "Helping or herding?"
    context_tokens: int = 512
    reply_tokens: int = 256
    texts_at_once: int = 16  # replies that are scored together; memory only, not the result
    least_pieces: int = 200  # `auto` tries it from here on: before, it only learns by heart


@dataclass(frozen=True)
class GateConfig:
    prompts: int = 64  # gate-only prompts that candidate and live version answer with the same seeds
    # Of each version to each of them. With one, half of the bound's width is chance of sampling: a version with 61 %
    # of wins on 64 replies was not shown to be above 50 %.
    replies: int = 2
    temperature: float = CHAT_TEMPERATURE  # of these replies, and of the distance from the base: as they will be heard
    alpha: float = 0.05  # over all updates of one person
    alpha_half_spent: float = 50.0  # pieces of feedback by which half of it is spent
    min_win_rate: float = 0.5
    confidence: float = 0.95  # one-sided
    # Variance of a person's utility that no feature sees, beside that which they see: of simulated people the best
    # weights order .786 of pairs (`bench reward`), a correlation of sin(pi (.786 - .5)) = .78, and 1 / .78^2 - 1.
    unseen: float = 0.64
    posterior_draws: int = 1000
    max_kl: float = 12.0  # nats a reply
    max_perplexity_increase: float = 0.03
    max_eos_drop: float = 0.05
    min_distinct2_ratio: float = 0.8
    # The least of the candidate's change that is tried where neutral text reads worse than it should.
    least_share: float = 0.5


@dataclass(frozen=True)
class WatchConfig:
    """Comparisons of a promoted version with the one before it (learner/evaluation/watch.py)."""

    alpha: float = 0.05  # chance that a version which is no worse is ever taken back
    most_comparisons: int = 30  # with a preference; then the new version is watched no longer


@dataclass(frozen=True)
class LearnerConfig:
    # The gradient of earlier layers is nearly all noise: for the same distance from the base the last third of them
    # gains half as much reward again as all of them, and the backward pass ends there (docs/log.md).
    lora: LoraSettings = LoraSettings(trained_layers=1 / 3, train_a=False)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    rehearsal: RehearsalConfig = field(default_factory=RehearsalConfig)
    algorithm: Algorithm = "ppo"
    practice: PracticeConfig = field(default_factory=PracticeConfig)
    ppo: PPOConfig = field(default_factory=PPOConfig)
    dpo: DPOConfig = field(default_factory=DPOConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    neural: NeuralRewardConfig = field(default_factory=NeuralRewardConfig)
    # base: a retracted rating is truly gone from the next version. live: an update goes on where the last one ended.
    start_from: Literal["base", "live"] = "base"
    base_replies: int = 2  # base replies a prompt on which features are centred
    budget_minutes: float = 10.0  # of warm start and PPO
    context_tokens: int = 512  # of a conversation, in rollouts and demonstrations; its oldest turns are dropped
    demonstration_tokens: int = 512  # of a demonstrated reply; longer ones are not imitated
    gate_minutes: float = 4.0  # beyond it the gate leaves out what only the report wants
    seed: int = 0


T = TypeVar("T")
LEARNER_SETTINGS = "learner"  # the home setting with what differs from the defaults, by dotted name

# Single values, by the last part of their names, with which 0 makes no update or one that cannot be judged.
POSITIVE = frozenset({
    "rank", "alpha", "trained_layers", "temperature", "response_tokens", "context_tokens", "demonstration_tokens",
    "reply_tokens", "prompts_per_iteration", "replies_per_prompt", "replies", "epochs", "minibatch_size",
    "micro_batch_size", "batch_size", "texts_at_once", "learning_rate", "clip_range", "prefix_tokens", "check_every",
    "kl_prompts", "kl_target", "kl_factor", "reward_clip", "damping", "column_damping", "fisher_products",
    "fisher_replies", "probe", "beta", "base_replies", "posterior_draws", "confidence", "budget_minutes",
    "gate_minutes", "max_importance_weight", "demonstration_half_life",
})  # fmt: skip
# The best and the worst reply are two; a demonstration is held out and another trained on.
AT_LEAST = {"practice.replies": 2, "gate.prompts": 1, "warm_start.min_demonstrations": 2}


def with_overrides(config: T, overrides: Mapping[str, Any]) -> T:
    """`config` with values replaced by dotted names, {"ppo.iterations": 3}; unknown names are errors (Invalid)."""
    for name, value in overrides.items():
        config = _replaced(config, name, name.split("."), value)
    return config


def _replaced(config: Any, full_name: str, path: list[str], value: Any) -> Any:
    known = [entry.name for entry in fields(config)]
    if path[0] not in known:
        raise Invalid(f"There is no learner setting {full_name!r}; here one could name {', '.join(known)}.", full_name)
    current = getattr(config, path[0])
    if len(path) > 1 and is_dataclass(current):
        return replace(config, **{path[0]: _replaced(current, full_name, path[1:], value)})
    if len(path) > 1 or is_dataclass(current):
        raise Invalid(f"The learner setting {full_name!r} does not name a single value.", full_name)
    choices = get_args(get_type_hints(type(config))[path[0]])
    if isinstance(current, str) and choices and value not in choices:
        raise Invalid(f"The learner setting {full_name} is one of {', '.join(choices)}, not {value!r}.", full_name)
    number = int | float if isinstance(current, float) else int
    fits = isinstance(value, number if isinstance(current, int | float) else type(current))
    if not fits or isinstance(value, bool) != isinstance(current, bool):
        raise Invalid(f"The learner setting {full_name} takes {type(current).__name__}, not {value!r}.", full_name)
    return replace(config, **{path[0]: type(current)(value)})


def named_values(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every single value by its dotted name, as `with_overrides` takes it."""
    found: dict[str, Any] = {}
    for entry in fields(config):
        value = getattr(config, entry.name)
        found |= (
            named_values(value, f"{prefix}{entry.name}.") if is_dataclass(value) else {prefix + entry.name: value}
        )
    return found


def checked(config: LearnerConfig) -> LearnerConfig:
    """The configuration, if an update can be made with it. Invalid says which value makes that impossible."""
    values = named_values(config)
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        positive = name.rpartition(".")[2] in POSITIVE
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            raise Invalid(f"The learner setting {name} is {'above' if positive else 'at least'} 0, not {value}.", name)
    for name, least in AT_LEAST.items():
        if values[name] < least:
            raise Invalid(f"The learner setting {name} is at least {least}, not {values[name]}.", name)
    ppo = config.ppo
    if not 2 <= ppo.replies_trained <= ppo.replies_per_prompt:
        raise Invalid(
            f"Of {ppo.replies_per_prompt} replies to a prompt (ppo.replies_per_prompt) 2 or more are trained on, not "
            f"{ppo.replies_trained}.",
            "ppo.replies_trained",
        )
    return config
