"""What was learnt, in words: "prefers shorter replies, 97 % sure, from 31 ratings".

A statement is about a contrast: the difference of utility between a reply that has more of something and one that has
less. For most features that is the feature's own weight; length is several features (a slope and hinges), so there it
is a long reply against a short one. The probability is the posterior's that the contrast has this sign. The ratings
named with a statement are those that moved it most: to first order, rating i moved the weights by the posterior
covariance times the gradient of its log-likelihood, and these shares add up to their distance from the prior.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import erf, sqrt

import numpy as np

from learner.reward import likelihood as lk
from learner.reward.design import Design
from learner.reward.features import (
    FEATURE_NAMES,
    REPLY_HINGES,
    SENTENCE_HINGES,
    Array,
    contrast,
    length_features,
)
from learner.reward.model import RewardModel
from learner.reward.phrases import SENTENCES, Language, phrase
from learner.reward.prior import weight_variances, wish_direction

LEAST_PROBABILITY = 0.8
LEAST_SHARE = 0.005  # of all movement of a weight: less than this does not count as a rating it is from
LENGTHS = (10, 20, 30, 40, 60, 80, 120, 160, 240)  # words, among which a best length is looked for


@dataclass(frozen=True)
class Statement:
    """One thing that was learnt about a person.

    `probability` that the weight has this sign; `weight` in logits, between a reply with a population sd more
    of the feature and one without (a long and a short one for lengths);
    `ratings` how many pieces of feedback bear on it; `feedback_ids` those that moved it most, most first.
    """

    feature: str
    text: str
    probability: float
    weight: float
    ratings: int
    feedback_ids: tuple[str, ...]
    best_words: int | None = None  # where a length is liked best that is neither the shortest nor the longest


@dataclass(frozen=True)
class _Contrast:
    """`vector` (F,): what is liked more or less is the utility along it; `best` words where a length is liked best."""

    feature: str
    vector: Array
    best: int | None = None


def explain(
    model: RewardModel,
    design: Design,
    *,
    least_probability: float = LEAST_PROBABILITY,
    most_ratings: int = 5,
    language: Language = "en",
) -> list[Statement]:
    """Statements about the contrasts whose sign is at least this sure, the surest first.

    design: the observations that the model was fitted on. `most_ratings` bounds `feedback_ids`.
    """
    pulls = influence(model, design)
    statements = []
    for this in _contrasts(model):
        weight = float(this.vector @ model.w)
        probability = 0.5 * (1 + erf(abs(_z(model, this.vector)) / sqrt(2)))
        moved = pulls @ this.vector
        if probability < least_probability or not np.any(moved):
            continue
        bearing = int((np.abs(moved) > LEAST_SHARE * np.abs(moved).sum()).sum())
        towards = moved * np.sign(weight)
        order = [int(i) for i in np.argsort(-towards, kind="stable")[:most_ratings] if towards[i] > 0]
        ids = tuple(design.feedback_ids[i] for i in order)
        found = Statement(this.feature, "", probability, weight, bearing, ids, this.best)
        statements.append(replace(found, text=wording(found, language)))
    return sorted(_not_said_twice(statements), key=lambda s: -s.probability)


def wording(statement: Statement, language: Language) -> str:
    """The statement in a language."""
    several, single = SENTENCES[language]
    return (single if statement.ratings == 1 else several).format(
        phrase=phrase(statement.feature, statement.weight, statement.best_words, language),
        percent=min(99, int(100 * statement.probability)),
        ratings=statement.ratings,
    )


def _contrasts(model: RewardModel) -> list[_Contrast]:
    """One a feature, but for lengths, whose hinges are spoken of together."""
    names = model.feature_names
    if names != FEATURE_NAMES:
        return [_Contrast(name, row) for name, row in zip(names, np.eye(len(names)), strict=True)]
    together = {*REPLY_HINGES, *SENTENCE_HINGES}
    found = [_Contrast(name, contrast(name)) for name in names if name not in together]
    best = max(LENGTHS, key=lambda words: float(length_features(words) @ model.w))
    if best not in (LENGTHS[0], LENGTHS[-1]):  # as sure as it is better than the end that it is less surely better than
        over = [length_features(best) - length_features(end) for end in (LENGTHS[0], LENGTHS[-1])]
        found.append(_Contrast("log_length", min(over, key=lambda vector: _z(model, vector)), best))
    return found


def _z(model: RewardModel, vector: Array) -> float:
    """Posterior mean of the utility along a contrast, in posterior sd."""
    sd = sqrt(max(float(vector @ model.w_covariance @ vector), 1e-12))
    return float(vector @ model.w) / sd


def _not_said_twice(statements: list[Statement]) -> list[Statement]:
    """Of "prefers shorter replies" and "likes about 40 words best" the surer one."""
    surest: dict[str, Statement] = {}
    for statement in statements:
        known = surest.get(statement.feature)
        if known is None or statement.probability > known.probability:
            surest[statement.feature] = statement
    return list(surest.values())


def influence(model: RewardModel, design: Design) -> Array:
    """(n, F) how far each observation moved each weight, to first order at the posterior's mode.

    The rows of a model's own design add up to w minus the prior's mean of 0, but for the pull that other
    parameters take from their own priors.
    """
    pull = lk.scores(model.theta, lk.gather(design))
    population = weight_variances(len(model.w), model.config)
    for wish in design.wishes:
        if wish.observation >= 0:
            direction, own_sd = wish_direction(wish, population)
            distance = own_sd * wish.mean - float(direction @ model.w)
            counts = design.weight[wish.observation]
            pull[wish.observation, : len(direction)] += counts * distance / (own_sd * wish.sd) ** 2 * direction
    moved: Array = pull @ model.covariance
    return moved[:, : len(model.w)]
