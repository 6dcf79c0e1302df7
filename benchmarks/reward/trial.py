"""The ground on which reward models are compared: prompts in three parts, people, designs, pairwise accuracy.

The first part of the prompts is for choosing (directions of hidden states are learnt there), the second is what people
rate, and the third is where accuracy is measured: all pairs of replies to one prompt, none left out for being close.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.people.tastes import NATURAL, Measured, Person, Taste, draw_taste
from benchmarks.replies import Bank
from data.prompts import context_key
from data.types import FeedbackKind, Observation
from learner.reward.design import Design, build_design
from learner.reward.features import Array, uncentred
from learner.reward.model import RewardModel

PIECES = (20, 50, 100, 200)
BASE_REPLIES = 2  # of a prompt, on which features are centred; as many as the learner samples
CEILING_PAIRS = 5000
CEILING_RIDGE = 0.05
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """One person's pairwise accuracies by number of pieces."""

    person: Person
    accuracy: Mapping[int, float]


class Trial:
    """A bank of replies with its prompts dealt out."""

    def __init__(self, bank: Bank) -> None:
        self.bank, self.measured = bank, Measured(bank)
        count = len(bank.prompts)
        self.chosen_on = list(range(3 * count // 8))
        self.rated = list(range(3 * count // 8, 11 * count // 16))
        self.tested = list(range(11 * count // 16, count))
        contexts = [bank.context(i) for i in range(len(bank.rows))]
        self.phi = uncentred(contexts, [bank.reply(i) for i in range(len(bank.rows))])
        self.base_replies = {
            context_key(bank.context(int(rows[0]))): [bank.reply(int(i)) for i in rows[:BASE_REPLIES]]
            for rows in self.measured.of_prompt
        }
        self.pairs = self.pairs_of(self.tested)
        self.ceiling_pairs = self.pairs_of(self.chosen_on + self.rated)

    def pairs_of(self, prompts: Sequence[int]) -> IntArray:
        """(N, 2) rows of all pairs of replies to one prompt."""
        found = []
        for prompt in prompts:
            rows = self.measured.of_prompt[prompt]
            first, second = np.triu_indices(len(rows), 1)
            found.append(np.stack([rows[first], rows[second]], axis=1))
        return np.concatenate(found)

    def people(self, count: int, seed: int, reported: bool = True, content: bool = False) -> list[Person]:
        tastes = [draw_taste(self.measured, seed, number, reported, content) for number in range(count)]
        return [Person(self.measured, taste, rng_of(taste)) for taste in tastes]

    def design(self, observations: Sequence[Observation]) -> Design:
        return build_design(observations, self.base_replies)

    def given(self, person: Person, pieces: int, shares: Mapping[FeedbackKind, float] = NATURAL) -> Design:
        """The design of that much feedback of this person on the rated prompts."""
        return self.design(person.feedback(self.rated, pieces, shares))

    def accuracy(self, scores: Array, utility: Array, pairs: IntArray | None = None) -> float:
        """Share of the pairs that the scores order as the utility does; equal utilities are left out."""
        first, second = (self.pairs if pairs is None else pairs).T
        truth, found = utility[first] - utility[second], scores[first] - scores[second]
        differs = truth != 0
        right = 0.5 * (1 + np.sign(truth[differs]) * np.sign(found[differs]))  # a tie of scores is half right
        return float(right.mean())

    def model_accuracy(self, model: RewardModel, person: Person) -> float:
        return self.accuracy(self.phi @ model.w, person.utility)

    def ceiling(self, utility: Array, phi: Array | None = None) -> float:
        """Accuracy of the same linear utility fitted to 5,000 noise-free pairs of other prompts."""
        x = self.phi if phi is None else phi
        order = np.random.default_rng(0).permutation(len(self.ceiling_pairs))[:CEILING_PAIRS]
        first, second = self.ceiling_pairs[order].T
        truth = np.sign(utility[first] - utility[second])
        return self.accuracy(x @ logistic_fit((x[first] - x[second]) * truth[:, None], CEILING_RIDGE), utility)


def logistic_fit(differences: Array, ridge: float) -> Array:
    """Weights (F,) that maximise sum log sigma(differences @ w) - ridge |w|^2 / 2, by Newton."""
    w = np.zeros(differences.shape[1])
    for _ in range(25):
        p = 1 / (1 + np.exp(np.clip(differences @ w, -500, 500)))
        slope = differences.T @ p - ridge * w
        curve = (differences * (p * (1 - p))[:, None]).T @ differences + ridge * np.eye(len(w))
        step = np.linalg.solve(curve, slope)
        w = w + step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-9))
    return w


def first(design: Design, pieces: int) -> Design:
    """The first so many observations."""
    return design.subset(np.arange(len(design)) < pieces)


def rng_of(taste: Taste) -> np.random.Generator:
    """A person's own generator, from their name alone."""
    return np.random.default_rng([ord(c) for c in taste.name])


def mean_interval(values: Sequence[float], seed: int = 0) -> tuple[float, tuple[float, float]]:
    """Mean with its 95 % bootstrap interval over people."""
    data = np.asarray(values, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(len(data), size=(4000, len(data)))
    low, high = np.quantile(data[draws].mean(axis=1), [0.025, 0.975])
    return float(data.mean()), (float(low), float(high))
