"""Would a few directions of the frozen base's hidden states help the reward model? A trial; they are not part of it.

    python -m benchmarks.reward.directions [--home DIR]

Directions are learnt on the first part of the prompts across simulated people for tuning: ridge regression of what
style features leave over of their utilities on the mean hidden states of replies, of which the first eight principal
directions are kept. Shown, for people half of whose utility is content: what they add to the ceiling (noise-free pairs)
and to the accuracy after 100 choices, for families of content that they were learnt with and for others.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks.people.tastes import draw_taste, utility_of
from benchmarks.replies import LAYERS, bank
from benchmarks.reward.trial import Trial, logistic_fit, mean_interval
from data.home import Home
from learner.reward.features import Array

TUNING_PEOPLE, SEED, DIRECTIONS, RIDGE, PIECES, PEOPLE = 60, 31, 8, 3000.0, 100, 40
PRECISION = 0.2**-2  # of the weights' Gaussian prior


def directions(trial: Trial, layer: int) -> Array:
    """(N, DIRECTIONS) scores of every reply of the bank, of unit spread on the first part of the prompts."""
    rows = np.concatenate([trial.measured.of_prompt[p] for p in trial.chosen_on])
    assert trial.bank.hidden is not None
    hidden = np.stack([trial.measured.within(column) for column in trial.bank.hidden[:, layer].T.astype(np.float64)], 1)
    hidden = hidden / (hidden[rows].std(axis=0) + 1e-6)
    style = np.stack([trial.measured.within(column) for column in trial.phi.T], 1)
    tastes = [draw_taste(trial.measured, SEED, n, False, n % 2 == 1) for n in range(TUNING_PEOPLE)]
    wanted = np.stack([trial.measured.within(utility_of(trial.measured, taste)) for taste in tastes], 1)
    left_over = wanted - style @ _ridge(style[rows], wanted[rows], 5.0)
    predicted = hidden @ _ridge(hidden[rows], left_over[rows], RIDGE)
    _, _, basis = np.linalg.svd(predicted[rows], full_matrices=False)
    scores = predicted @ basis[:DIRECTIONS].T
    found: Array = scores / scores[rows].std(axis=0)
    return found


def _ridge(x: Array, y: Array, ridge: float) -> Array:
    solved: Array = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    return solved


def noisy_choices(trial: Trial, phi: Array, utility: Array, seed: int) -> Array:
    """Weights (F,) fitted to PIECES noisy choices between two replies, with a Gaussian prior."""
    rng = np.random.default_rng(seed)
    rated = trial.pairs_of(trial.rated)
    first, second = rated[rng.integers(len(rated), size=PIECES)].T
    choice = np.where(utility[first] - utility[second] + rng.logistic(size=PIECES) > 0, 1.0, -1.0)
    differences = (phi[first] - phi[second]) * choice[:, None]
    return logistic_fit(differences, PRECISION)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home")
    trial = Trial(bank(Home.locate(parser.parse_args().home), with_hidden=True))
    style = trial.phi
    for layer, depth in enumerate(LAYERS):
        wide = np.concatenate([style, directions(trial, layer)], axis=1)
        for label, reported in (("families they were learnt with", False), ("other families", True)):
            ceilings, gains = [], []
            for number, person in enumerate(trial.people(PEOPLE, 41, reported, content=True)):
                utility = person.utility
                ceilings.append(trial.ceiling(utility, wide) - trial.ceiling(utility))
                with_them, without = (
                    trial.accuracy(phi @ noisy_choices(trial, phi, utility, number), utility) for phi in (wide, style)
                )
                gains.append(with_them - without)
            for name, values in (("ceiling", ceilings), (f"accuracy after {PIECES} choices", gains)):
                mean, (low, high) = mean_interval(values)
                print(f"depth {depth:.2f}, {label}: {name} {mean:+.3f} ({low:+.3f} to {high:+.3f})", flush=True)


if __name__ == "__main__":
    main()
