"""One learning update, top to bottom: a snapshot of one person's feedback in, a candidate with its report out.

    1. observations from feedback, split for ever into train and held-out
    2. the personal reward model; abstain if the evidence does not beat chance
    3. warm start on demonstrations
    4. PPO on the person's prompts and general prompts
    5. the gate: candidate against the live version on gate-only prompts
    6. candidate and report, also when rejected, with the reason in plain words

It reads nothing else and writes nothing: the same function runs in the worker, in a benchmark and in a test.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from data.preferences import demonstrations
from data.prompts import context_key, general_prompts, neutral_chat, neutral_text
from data.types import Evidence, FeedbackUse, Reply, RewardKind, Turn
from learner.config import LearnerConfig, LoraSettings
from learner.evaluation import gate
from learner.evaluation.metrics import (
    ReplyStatistics,
    chat_perplexity,
    distinct_2_ratio,
    reply_statistics,
    text_perplexity,
)
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.contexts import within
from learner.policy.ppo import Context, LearningError, train_ppo
from learner.policy.rollouts import Rollout
from learner.policy.warm_start import WarmStartResult, demonstration_batch, kl_to_base, sample, warm_start
from learner.reward import neural
from learner.reward.choice import Utility, choose
from learner.reward.design import build_design, join
from learner.reward.drift import change_of_taste, forgetting
from learner.reward.evidence import evidence_gain
from learner.reward.explain import explain
from learner.reward.features import Array, uncentred
from learner.reward.model import RewardModel, fit
from learner.reward.muting import silenced, without

CANDIDATE, LIVE = "candidate", "live"  # names of the adapters while the update runs
ADAPTERS = (CANDIDATE, LIVE, neural.ADAPTER)
Verdict = Literal["promoted", "rejected", "abstained"]


@dataclass(frozen=True)
class Snapshot:
    """All that one update may know of a person.

    `base_replies`: what the base says to the contexts of the feedback, by `context_key`. `tests_before`: how many
    updates of this person have asked whether there is anything to learn. `live`: the live adapter, None where the base
    answers (also where the live version was made for another base).
    """

    evidence: Evidence
    base_replies: Mapping[str, Sequence[Reply]]
    system_prompt: str = ""
    live_version: int = 0
    live: tuple[lora.State, LoraSettings] | None = None
    tests_before: int = 0
    reward_kind: RewardKind = "bayesian"
    muted: tuple[str, ...] = ()  # features that the person switched off: held at zero in every fit


@dataclass(frozen=True)
class Candidate:
    """What an update made. Weights are there unless it abstained; the report is plain values for JSON."""

    verdict: Verdict
    reason: str
    report: dict[str, Any]
    uses: tuple[FeedbackUse, ...]
    reward_model: RewardModel | None = None
    weights: lora.State | None = None
    lora_settings: LoraSettings = field(default_factory=LoraSettings)


def update(snapshot: Snapshot, base: BaseModel, config: LearnerConfig, monitor: Monitor) -> Candidate:
    """Raises what the monitor raises (Cancelled), and LearningError where learning itself went wrong."""
    for name in ADAPTERS:
        base.remove_adapter(name)
    try:
        return _update(snapshot, base, config, monitor)
    finally:
        for name in ADAPTERS:
            base.remove_adapter(name)


def _update(snapshot: Snapshot, base: BaseModel, config: LearnerConfig, monitor: Monitor) -> Candidate:
    report: dict[str, Any] = {}

    # 1. observations
    observations = snapshot.evidence.observations
    train_side = [o for o in observations if not o.held_out]
    held_out_side = [o for o in observations if o.held_out]
    muted = snapshot.muted
    train = without(build_design(train_side, snapshot.base_replies), muted)
    held_out = without(build_design(held_out_side, snapshot.base_replies), muted)
    uses = (
        *(FeedbackUse(o.feedback_id, "train", o.why) for o in train_side),
        *(FeedbackUse(o.feedback_id, "held-out") for o in held_out_side),
        *snapshot.evidence.left_out,
    )
    report["feedback"] = {
        "train": len(train_side),
        "held_out": len(held_out_side),
        "left_out": len(snapshot.evidence.left_out),
    }

    # 2. the personal reward model
    monitor.report("reward model", 0.0, {})
    number = snapshot.tests_before + 1
    test = evidence_gain(train, held_out, gate.alpha_for_test(number, config.gate.alpha), seed=config.seed)
    report["evidence"] = asdict(test) | {"test_number": number}
    if not test.learnable:
        return Candidate("abstained", f"Nothing was learnt: {test.reason}.", report, uses)
    change = change_of_taste(join(train, held_out))
    report["change_of_taste"] = asdict(change) if change else None
    train, held_out = forgetting(train, change), forgetting(held_out, change)
    # The optimiser sees the training side alone; the judge knows all feedback, and how much it does not know.
    reward_model, judge = (silenced(fit(design), muted) for design in (train, join(train, held_out)))
    report["learnt"] = [asdict(statement) for statement in explain(reward_model, train)]
    report["muted"] = list(muted)
    chosen = choose(
        snapshot.reward_kind, train, held_out, train_side, base, config.neural, config.ppo.pessimism, config.seed,
        muted, lambda step, steps, loss: monitor.report("reward model", step / steps, {"reward/loss": loss}),
    )  # fmt: skip
    report["reward_model"] = {"kind": chosen.kind, "gains": chosen.gains}
    reward_model = chosen.model or reward_model
    reward = PersonalReward(chosen.utility, snapshot)
    monitor.report("reward model", 1.0, {"reward/gain": test.gain})

    # 3. warm start
    monitor.seconds_left("learning")  # the budget of warm start and PPO begins here
    start = snapshot.live if config.start_from == "live" and snapshot.live else None
    settings = start[1] if start else config.lora
    base.add_adapter(CANDIDATE, settings, start[0] if start else None, config.seed)
    before = lora.state_sha256(base.adapter_state(CANDIDATE))
    shown = short_demonstrations(snapshot, base, config)
    prompts = rollout_prompts(snapshot, base, config)
    warm: WarmStartResult | None = None
    if config.warm_start.enabled and len(shown) >= config.warm_start.min_demonstrations:
        warm = warm_start(base, CANDIDATE, shown, prompts, config.warm_start, config.ppo, monitor, config.seed)
    report["warm_start"] = (asdict(warm) if warm else {"steps": 0}) | {"demonstrations": len(shown)}
    warm_weights = base.adapter_state(CANDIDATE)

    # 4. PPO
    batch = demonstration_batch(base, shown) if warm and warm.steps else None
    history = train_ppo(base, CANDIDATE, prompts, reward, batch, config.ppo, monitor, config.seed)
    weights = base.adapter_state(CANDIDATE)
    if lora.state_sha256(weights) == before:
        raise LearningError("The update left the adapter as it was; nothing was learnt.")
    report["ppo"] = {"iterations": len(history), "first": history[0], "last": history[-1]} if history else {}

    # 5. the gate
    gated = Gated(snapshot, base, config, monitor, judge)
    report["base"], report["live"] = asdict(gated.base_statistics), asdict(gated.live_statistics)
    weights, report["ppo"]["share_kept"] = gated.shrunk(weights)
    rate, sanity, report["policy"] = gated.examine()
    if warm and warm.steps and monitor.seconds_left("gate") > 0:  # for the report alone
        base.set_adapter_state(CANDIDATE, warm_weights)
        _, _, report["warm_start_alone"] = gated.examine()
        base.set_adapter_state(CANDIDATE, weights)
    refusal = gate.is_better(rate, config.gate) or gate.is_sane(sanity, config.gate)

    # 6. candidate and report
    report["seconds"] = round(monitor.elapsed_s(), 1)
    if refusal:
        return Candidate("rejected", f"Rejected: {refusal}.", report, uses, reward_model, weights, settings)
    reason = (
        f"Promoted: by all your feedback it wins {rate.mean:.0%} of comparisons with "
        f"{f'version {snapshot.live_version}' if snapshot.live else 'the base'} "
        f"(at least {rate.lower:.0%} with {config.gate.confidence:.0%} confidence), at {sanity.kl:.1f} nats a reply "
        "from the base."
    )
    return Candidate("promoted", reason, report, uses, reward_model, weights, settings)


class PersonalReward:
    """The utility in population standard deviations of the base's own replies."""

    def __init__(self, utility: Utility, snapshot: Snapshot) -> None:
        self._utility = utility
        contexts = {context_key(o.context): o.context for o in snapshot.evidence.observations}
        said = [(context, r) for key, context in contexts.items() for r in snapshot.base_replies.get(key, ())]
        utilities = utility(*zip(*said, strict=True))
        self._mean, self._sd = float(utilities.mean()), max(float(utilities.std()), 1e-6)

    def __call__(self, contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
        """Scores (N,). Not centred on the prompt's base replies: what they share cancels in the advantages."""
        return (self._utility(contexts, replies) - self._mean) / self._sd


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


def rollout_prompts(snapshot: Snapshot, base: BaseModel, config: LearnerConfig) -> list[Context]:
    """The person's own prompts (of the training side) among general ones, in a fixed order."""
    shuffle = random.Random(config.seed).shuffle
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


def with_system(system_prompt: str, text: str) -> Context:
    turns = (Turn("user", text),)
    return (Turn("system", system_prompt), *turns) if system_prompt.strip() else turns


class Gated:
    """Candidate, live version and base on the gate's prompts, with the same seeds."""

    def __init__(
        self, snapshot: Snapshot, base: BaseModel, config: LearnerConfig, monitor: Monitor, judge: RewardModel
    ) -> None:
        self._base, self._config, self._monitor, self._judge = base, config, monitor, judge
        texts = general_prompts("gate")[: config.gate.prompts]
        self._contexts = [with_system(snapshot.system_prompt, text) for text in texts]
        self._queries = [base.encode_chat(context) for context in self._contexts]
        monitor.report("gate", 0.0, {})
        monitor.seconds_left("gate")  # its budget begins here
        self._base_rollouts, self.base_statistics = self._answers(None)
        self._live_rollouts, self.live_statistics = self._base_rollouts, self.base_statistics
        if snapshot.live is not None:
            base.add_adapter(LIVE, snapshot.live[1], snapshot.live[0])
            self._live_rollouts, self.live_statistics = self._answers(LIVE)
        self._prose = text_perplexity(base, None, neutral_text())
        self._answers_perplexity = chat_perplexity(base, None, neutral_chat())
        monitor.report("gate", 0.4, {})

    def shrunk(self, weights: lora.State) -> tuple[lora.State, float]:
        """The candidate with as much of its change as neutral text allows, and that share of it."""
        for share in self._config.gate.shares:
            kept = lora.scaled(weights, share)
            self._base.set_adapter_state(CANDIDATE, kept)
            if max(self.perplexity_increases()) <= self._config.gate.max_perplexity_increase:
                break
        return kept, share

    def perplexity_increases(self) -> tuple[float, float]:
        """Of the candidate over the base, relative: on plain prose and on neutral answers."""
        prose = text_perplexity(self._base, CANDIDATE, neutral_text())
        answers = chat_perplexity(self._base, CANDIDATE, neutral_chat())
        return prose / self._prose - 1, answers / self._answers_perplexity - 1

    def examine(self) -> tuple[gate.WinRate, gate.Sanity, dict[str, Any]]:
        """The candidate as it stands now."""
        rollouts, statistics = self._answers(CANDIDATE)
        rate = gate.win_rate(
            self._judge,
            uncentred(self._contexts, [r.reply for r in rollouts]),
            uncentred(self._contexts, [r.reply for r in self._live_rollouts]),
            self._config.gate,
            self._config.seed,
        )
        prose, answers = self.perplexity_increases()
        sanity = gate.Sanity(
            kl=statistics.kl,
            perplexity_increase=prose,
            chat_perplexity_increase=answers,
            eos_rate=statistics.eos_rate,
            base_eos_rate=self.base_statistics.eos_rate,
            distinct_2_ratio=distinct_2_ratio(rollouts, self._base_rollouts),
        )
        self._monitor.report("gate", 0.8, {"gate/win_rate": rate.mean, "gate/win_rate_lower": rate.lower})
        rates = {"win_rate": rate.mean, "win_rate_lower": rate.lower, "win_rate_upper": rate.upper}
        found = asdict(statistics) | asdict(sanity) | rates
        return rate, sanity, found

    def _answers(self, adapter: str | None) -> tuple[list[Rollout], ReplyStatistics]:
        ppo = self._config.ppo
        rollouts = sample(self._base, adapter, self._queries, ppo, self._config.seed)
        kl = kl_to_base(self._base, adapter, rollouts, ppo.temperature) if adapter else 0.0
        return rollouts, reply_statistics([r.reply for r in rollouts], kl)
