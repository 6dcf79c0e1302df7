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

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from data.types import FeedbackUse
from learner.config import LearnerConfig, LoraSettings
from learner.evaluation import gate
from learner.evaluation.examination import LIVE, Gated
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.reward import neural
from learner.reward.model import RewardModel
from learner.snapshot import Snapshot
from learner.taste import understand
from learner.training import begins_with, improve

CANDIDATE = "candidate"  # name of the adapter while the update runs
ADAPTERS = (CANDIDATE, LIVE, neural.ADAPTER)
Verdict = Literal["promoted", "rejected", "abstained"]


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

    # 1. and 2. observations, the personal reward model
    taste = understand(snapshot, base, config, monitor, report)
    if taste.abstains:
        return Candidate("abstained", f"Nothing was learnt: {taste.abstains}.", report, taste.uses)
    assert taste.reward is not None and taste.judge is not None

    # 3. and 4. warm start, policy optimisation
    start = begins_with(snapshot, config)
    settings = replace(config.lora, rank=start[1].rank, alpha=start[1].alpha) if start else config.lora
    base.add_adapter(CANDIDATE, settings, start[0] if start else None, config.seed)
    trained = improve(CANDIDATE, snapshot, taste.reward, taste.prefix_reward, base, config, monitor, report)

    # 5. the gate
    gated = Gated(CANDIDATE, snapshot, base, config, monitor, taste.judge)
    report["base"], report["live"] = asdict(gated.base_statistics), asdict(gated.live_statistics)
    weights, report["ppo"]["share_kept"] = gated.shrunk(trained.weights)
    began_s = monitor.elapsed_s()
    rate, sanity, report["policy"] = gated.examine()
    took_s = monitor.elapsed_s() - began_s
    if trained.warm_steps and monitor.seconds_left("gate") > took_s:  # for the report alone, where there is time for it
        base.set_adapter_state(CANDIDATE, trained.warm_weights)
        _, _, report["warm_start_alone"] = gated.examine()
        base.set_adapter_state(CANDIDATE, weights)
    refusal = gate.is_better(rate, config.gate) or gate.is_sane(sanity, config.gate)

    # 6. candidate and report
    report["seconds"] = round(monitor.elapsed_s(), 1)
    if refusal:
        return Candidate("rejected", f"Rejected: {refusal}.", report, taste.uses, taste.model, weights, settings)
    reason = (
        f"Promoted: by all your feedback it wins {rate.mean:.0%} of comparisons with "
        f"{f'version {snapshot.live_version}' if snapshot.live else 'the base'} "
        f"(at least {rate.lower:.0%} with {config.gate.confidence:.0%} confidence), at {sanity.kl:.1f} nats a reply "
        "from the base."
    )
    return Candidate("promoted", reason, report, taste.uses, taste.model, weights, settings)
