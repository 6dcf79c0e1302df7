"""Stages 1 and 2 of an update: what the feedback says of the person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from data.prompts import context_key
from data.types import FeedbackUse, Reply
from learner.config import LearnerConfig
from learner.evaluation import gate
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.task import Context
from learner.reward.choice import Utility, choose
from learner.reward.design import build_design, join
from learner.reward.drift import change_of_taste, forgetting
from learner.reward.evidence import evidence_gain
from learner.reward.explain import explain
from learner.reward.features import Array
from learner.reward.model import RewardModel, fit
from learner.reward.muting import silenced, without
from learner.snapshot import Snapshot


@dataclass(frozen=True)
class Taste:
    """What the feedback says of the person. Where it says nothing, `abstains` has the reason and the rest is None.

    `reward` is what the optimiser follows, `model` is stored beside the version, `judge` knows all feedback: the
    held-out side too, and how much it does not know.
    """

    uses: tuple[FeedbackUse, ...]
    abstains: str = ""
    reward: PersonalReward | None = None
    prefix_reward: PersonalReward | None = None  # of beginnings of replies; None where reading them all is too slow
    model: RewardModel | None = None
    judge: RewardModel | None = None


def understand(
    snapshot: Snapshot, base: BaseModel, config: LearnerConfig, monitor: Monitor, report: dict[str, Any]
) -> Taste:
    """Stages 1 and 2: observations from feedback, and the reward models fitted to them."""
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
    monitor.report("reward model", 0.0, {})
    pieces = train.predictable + held_out.predictable
    alpha = gate.alpha_for_test(pieces, snapshot.tested_before, snapshot.found_before, config.gate)
    test = evidence_gain(train, held_out, alpha, seed=config.seed)
    report["evidence"] = asdict(test)
    if not test.learnable:
        return Taste(uses, abstains=test.reason)
    change = change_of_taste(join(train, held_out))
    report["change_of_taste"] = asdict(change) if change else None
    train, held_out = forgetting(train, change), forgetting(held_out, change)
    model, judge = (silenced(fit(design), muted) for design in (train, join(train, held_out)))
    report["learnt"] = [asdict(statement) for statement in explain(model, train)]
    report["muted"] = list(muted)
    chosen = choose(
        snapshot.reward_kind, train, held_out, train_side, base, config.neural, config.ppo.pessimism, config.seed,
        muted, lambda step, steps, loss: monitor.report("reward model", step / steps, {"reward/loss": loss}),
    )  # fmt: skip
    report["reward_model"] = {"kind": chosen.kind, "gains": chosen.gains}
    monitor.report("reward model", 1.0, {"reward/gain": test.gain})
    reward = PersonalReward(chosen.utility, snapshot)
    return Taste(uses, "", reward, reward if chosen.model else None, chosen.model or model, judge)


class PersonalReward:
    """The utility in population standard deviations of the base's own replies."""

    def __init__(self, utility: Utility, snapshot: Snapshot) -> None:
        self._utility = utility
        contexts = {context_key(o.context): o.context for o in snapshot.evidence.observations}
        said = [(context, r) for key, context in contexts.items() for r in snapshot.base_replies.get(key, ())]
        if not said:  # every message was too long for the base to be asked: the rated replies give the scale
            said = [(o.context, reply) for o in snapshot.evidence.observations for reply in o.replies]
        utilities = utility(*zip(*said, strict=True))
        self._mean, self._sd = float(utilities.mean()), max(float(utilities.std()), 1e-6)

    def __call__(self, contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
        """Scores (N,). Not centred on the prompt's base replies: what they share cancels in the advantages."""
        return (self._utility(contexts, replies) - self._mean) / self._sd
