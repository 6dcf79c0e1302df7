"""Which kind of reward model the optimiser follows: the one that was set, or the one that predicts best.

`auto` compares the kinds on feedback they have not seen. The ones fitted to features are cross-fitted over all
conversations of the training side; the neural one, which takes minutes, is trained once and compared with the best of
the others on the held-out side, from `least_pieces` on. The judge of the gate is not chosen here: it is always the
Bayesian posterior, which alone knows how unsure it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol, get_args

from data.types import Observation, Reply, RewardKind, Turn
from learner.config import NeuralRewardConfig
from learner.modeling.base import BaseModel
from learner.reward.design import Design
from learner.reward.features import Array, uncentred
from learner.reward.kinds import FITS, FeatureKind, fit_score, held_out_gain, with_features
from learner.reward.model import RewardModel
from learner.reward.muting import silenced
from learner.reward.neural import NeuralReward, train_neural
from learner.reward.prior import DEFAULTS

OnStep = Callable[[int, int, float], None]


class Utility(Protocol):
    """What the optimiser maximises, in logits up to a constant; pessimistic where the kind knows how."""

    def __call__(self, contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> Array: ...


@dataclass(frozen=True)
class Chosen:
    """`model` is the fitted kind, None for the neural one; `gains` in nats a piece of held-out feedback by kind."""

    kind: RewardKind
    utility: Utility
    model: RewardModel | None
    gains: dict[str, float]


def choose(
    kind: RewardKind,
    train: Design,
    held_out: Design,
    observations: Sequence[Observation],
    base: BaseModel,
    config: NeuralRewardConfig,
    pessimism: float,
    seed: int,
    muted: Collection[str] = (),
    on_step: OnStep = lambda step, steps, loss: None,
) -> Chosen:
    """Fit the kind to `train`, whose `observations` the neural one reads; `held_out` is the other side of the split.

    `muted`: what both designs are without. The neural kind reads whole replies and could not leave it out, so that it
    then takes no part; where it was asked for, the Bayesian one is fitted.
    """
    gains: dict[str, float] = {}
    if kind == "neural" and muted:
        kind = "bayesian"
    if kind == "auto":
        gains = {name: held_out_gain(name, train) / max(1, len(train)) for name in get_args(FeatureKind)}
        best: FeatureKind = max(get_args(FeatureKind), key=lambda name: gains[name])
        if len(train) >= config.least_pieces and len(held_out) and not muted:
            neural = train_neural(base, observations, config, seed, on_step)
            gains["neural on the held-out side"] = _neural_gain(neural, train, held_out)
            gains[f"{best} on the held-out side"] = float(FITS[best](train, DEFAULTS).gains(held_out).mean())
            if gains["neural on the held-out side"] > gains[f"{best} on the held-out side"]:
                return Chosen("neural", neural.scores, None, gains)
        kind = best
    if kind == "neural":
        return Chosen("neural", train_neural(base, observations, config, seed, on_step).scores, None, gains)
    model = silenced(FITS[kind](train, DEFAULTS), muted)

    def utility(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> Array:
        return model.pessimistic(uncentred(contexts, replies), pessimism)

    return Chosen(kind, utility, model, gains)


def _neural_gain(neural: NeuralReward, train: Design, held_out: Design) -> float:
    """Its score gets scale, threshold and cut-points from the training side, as every other kind's weights do."""
    scores, others = (neural.scores(*zip(*design.texts, strict=True)) for design in (train, held_out))
    middle, spread = scores.mean(), max(float(scores.std()), 1e-9)
    model = fit_score((scores - middle) / spread, train)
    return float(model.gains(with_features(held_out, ((others - middle) / spread)[:, None])).mean())
