"""The rows of the reward benchmark's table: one function each, figures and their intervals out."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from scipy import stats

from benchmarks.people.tastes import LAPSES, PAIRS, Person, RandomPerson, Taste, scaled
from benchmarks.reward.trial import PIECES, Trial, first, mean_interval
from learner.config import GateConfig
from learner.evaluation.gate import alpha_for_test
from learner.reward.drift import change_of_taste, forgetting
from learner.reward.evidence import evidence_gain
from learner.reward.features import Array
from learner.reward.kinds import FITS
from learner.reward.model import fit
from learner.reward.prior import DEFAULTS

Figures = dict[str, float]
Intervals = dict[str, tuple[float, float]]
Row = tuple[Figures, Intervals]

REPORTED_SEED, CONTENT_SEED, CHANGE_SEED = 101, 102, 103


def summarised(values: Mapping[str, list[float]]) -> Row:
    """Mean and interval over people of every list."""
    found = {name: mean_interval(column) for name, column in values.items()}
    return {name: mean for name, (mean, _) in found.items()}, {name: between for name, (_, between) in found.items()}


def accuracy(trial: Trial, people: int) -> Row:
    """Mixed feedback and pairs alone at every size, the other kinds of model, ceiling and share of the way to it."""
    values: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        values.setdefault(name, []).append(value)

    for person in trial.people(people, REPORTED_SEED):
        mixed, pairs = trial.given(person, max(PIECES)), trial.given(person, max(PIECES), PAIRS)
        at_100 = 0.0
        for n in PIECES:
            for kind, fit_kind in FITS.items():
                name = "accuracy" if kind == "bayesian" else f"accuracy_{kind}"
                add(f"{name}@{n}", trial.model_accuracy(fit_kind(first(mixed, n), DEFAULTS), person))
            add(f"accuracy_pairs@{n}", trial.model_accuracy(fit(first(pairs, n)), person))
        at_100, ceiling = values["accuracy@100"][-1], trial.ceiling(person.utility)
        add("ceiling@100", ceiling)
        add("mixed_minus_pairs@100", at_100 - values["accuracy_pairs@100"][-1])
        cares = any(name.startswith("about ") for name, _ in person.taste.parts)
        add("accuracy_length_people@100" if cares else "accuracy_no_length_people@100", at_100)
    figures, intervals = summarised(values)
    figures["way_to_ceiling@100"] = (figures["accuracy@100"] - 0.5) / (figures["ceiling@100"] - 0.5)
    return figures, intervals


def content(trial: Trial, people: int) -> Row:
    """People half of whose utility is a content attribute of a family that nothing was chosen with."""
    values: dict[str, list[float]] = {"accuracy_content@100": [], "ceiling_content@100": []}
    for person in trial.people(people, CONTENT_SEED, content=True):
        values["accuracy_content@100"].append(trial.model_accuracy(fit(trial.given(person, 100)), person))
        values["ceiling_content@100"].append(trial.ceiling(person.utility))
    return summarised(values)


def calibration(trial: Trial, people: int, choices: int = 100) -> Row:
    """Expected calibration error of P(choice) against noisy choices of held-out pairs, 10 bins of equal mass."""
    said, chosen, owner = [], [], []
    for number, person in enumerate(trial.people(people, REPORTED_SEED)):
        model = fit(trial.given(person, 100))
        rng = np.random.default_rng([1, number])
        pairs = trial.pairs[rng.integers(len(trial.pairs), size=choices)]
        said.append(model.preference_probability(trial.phi[pairs[:, 0]], trial.phi[pairs[:, 1]]))
        noise = rng.logistic(size=choices)
        choice = person.utility[pairs[:, 0]] - person.utility[pairs[:, 1]] + noise > 0
        lapse = rng.random(choices) < LAPSES
        chosen.append(np.where(lapse, rng.random(choices) < 0.5, choice))
        owner.append(np.full(choices, number))
    p, truth, who = np.concatenate(said), np.concatenate(chosen), np.concatenate(owner)
    draws = np.random.default_rng(0)
    found = []
    for _ in range(500):
        drawn = np.concatenate([np.flatnonzero(who == i) for i in draws.integers(people, size=people)])
        found.append(calibration_error(p[drawn], truth[drawn]))
    low, high = np.quantile(found, [0.025, 0.975])
    return {"ece@100": calibration_error(p, truth)}, {"ece@100": (float(low), float(high))}


def calibration_error(said: Array, happened: Array, bins: int = 10) -> float:
    """Mean distance of what was said from what happened, over bins of equal mass; p and 1 - p are one statement."""
    p = np.where(said < 0.5, 1 - said, said)
    right = np.where(said < 0.5, ~happened.astype(bool), happened.astype(bool))
    order = np.array_split(np.argsort(p, kind="stable"), bins)
    return float(sum(len(b) * abs(p[b].mean() - right[b].mean()) for b in order) / len(p))


def null_people(trial: Trial, people: int, updates: int = 10) -> Row:
    """How many who rate at random are ever said to have a learnable taste, asked at every 20th piece.

    Each of them counts as having got a version, though the gate's other questions would still be asked.
    """
    found = 0
    for number in range(people):
        person = RandomPerson(trial.measured, np.random.default_rng([104, number]))
        observations = person.feedback(trial.rated, 20 * updates)
        before = 0
        for update in range(1, updates + 1):
            given = observations[: 20 * update]
            train = trial.design([o for o in given if not o.held_out])
            held_out = trial.design([o for o in given if o.held_out])
            pieces = train.predictable + held_out.predictable
            alpha = alpha_for_test(pieces, before, False, GateConfig())
            before = pieces
            if evidence_gain(train, held_out, alpha, seed=number).learnable:
                found += 1
                break
    bounds = stats.binomtest(found, people).proportion_ci(0.95, method="exact")
    upper = float(stats.beta.ppf(0.95, found + 1, people - found)) if found < people else 1.0
    figures = {"null_people": float(people), "null_published": float(found), "null_upper_95": upper}
    return figures, {"null_published": (people * bounds.low, people * bounds.high)}


def change_of_mind(trial: Trial, people: int) -> Row:
    """Another taste from the 101st piece on: accuracy on it with and without looking for the change."""
    values: dict[str, list[float]] = {}
    for number, before in enumerate(trial.people(people, CHANGE_SEED)):
        after = Person(trial.measured, other_taste(trial, before.taste, number), before.rng)
        old = before.feedback(trial.rated, 100)
        design = trial.design(old + after.feedback(trial.rated, 100, first=100))
        row = {"accuracy_before_change@100": trial.model_accuracy(fit(first(design, 100)), before)}
        for n in (25, 50, 100):
            so_far = first(design, 100 + n)
            row[f"accuracy_after_change@{n}"] = trial.model_accuracy(
                fit(forgetting(so_far, change_of_taste(so_far))), after
            )
            row[f"accuracy_after_change_ignored@{n}"] = trial.model_accuracy(fit(so_far), after)
            only_new = design.subset(np.arange(len(design)) // 100 * (np.arange(len(design)) < 100 + n) == 1)
            row[f"accuracy_after_change_known@{n}"] = trial.model_accuracy(fit(only_new), after)
        row["back_within_50"] = row["accuracy_after_change@50"] - row["accuracy_before_change@100"]
        for name, value in row.items():
            values.setdefault(name, []).append(value)
    return summarised(values)


def other_taste(trial: Trial, taste: Taste, number: int) -> Taste:
    """Whoever changes their mind likes the opposite of their strongest wish, and otherwise what they liked."""
    spread = {name: trial.measured.differing[name] * abs(weight) for name, weight in taste.parts}
    strongest = max(spread, key=lambda name: spread[name])
    parts = [(name, -weight if name == strongest else weight) for name, weight in taste.parts]
    return scaled(trial.measured, f"{taste.name} changed", parts)


def speed(trial: Trial, pieces: int = 500) -> Row:
    """Milliseconds of one fit, the median of eleven."""
    person = trial.people(1, REPORTED_SEED)[0]
    design = trial.given(person, pieces)
    taken = []
    for _ in range(11):
        started = time.perf_counter()
        fit(design)
        taken.append(1000 * (time.perf_counter() - started))
    return {"fit_500_ms": float(np.median(taken))}, {}
