"""Measure what the reward model's prior knows: the population values of the features, and how much each may matter.

    python -m benchmarks.reward.population [--home DIR] [--write]

Values: mean, spread and steadiness of each feature over replies of the embedded base to the first part of the bank's
prompts. Prior: how widely the weights of simulated people for tuning are spread, each fitted to noise-free choices
between those replies. People, attributes and prompts of the reported figures take no part. `--write` replaces the table
in learner/reward/population.py; run it twice, for the weights are in units of the spreads.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.people.tastes import draw_taste, utility_of
from benchmarks.replies import bank
from benchmarks.reward.trial import CEILING_RIDGE, Trial, logistic_fit
from data.home import CHECKOUT, Home
from learner.reward.features import FEATURE_NAMES, Array, features

PEOPLE = 120
TUNING_SEED = 1
FLOOR = 0.3  # added to each variance, in units of their mean: no feature is certain to be of no interest
TABLE = CHECKOUT / "learner" / "reward" / "population.py"


def measure(trial: Trial) -> list[tuple[str, float, float, float]]:
    """(name, mean, spread, strength) for each feature, as population.py defines them."""
    rows = np.stack([trial.measured.of_prompt[prompt] for prompt in trial.chosen_on])  # (P, replies)
    bank = trial.bank
    phi = np.array([[features(bank.context(int(i)), bank.reply(int(i))) for i in prompt] for prompt in rows])
    # A reply that is one long run of "!!!" must not set the scale for everybody else's.
    phi = np.clip(phi, *np.quantile(phi, [0.01, 0.99], axis=(0, 1)))
    mean = phi.mean(axis=(0, 1))
    within = phi.var(axis=1, ddof=1).mean(axis=0)
    between = np.maximum(phi.mean(axis=1).var(axis=0, ddof=1) - within / rows.shape[1], 0.0)
    spread = np.sqrt(within + between)
    strength = np.clip(within / np.maximum(between, 1e-12), 0.25, 20.0)
    return list(zip(FEATURE_NAMES, mean.tolist(), spread.tolist(), strength.tolist(), strict=True))


def prior_sd(trial: Trial) -> Array:
    """(F,) spread of each weight over people; their mean square is 1."""
    first, second = trial.pairs_of(trial.chosen_on).T
    weights = []
    for number in range(PEOPLE):
        utility = utility_of(trial.measured, draw_taste(trial.measured, TUNING_SEED, number, False, number % 4 == 3))
        truth = np.sign(utility[first] - utility[second])
        w = logistic_fit((trial.phi[first] - trial.phi[second]) * truth[:, None], CEILING_RIDGE)
        weights.append(w / trial.measured.within(trial.phi @ w).std())  # everybody counts alike, however plain
    variance = np.var(np.array(weights), axis=0)
    with_floor = variance / variance.mean() + FLOOR
    found: Array = np.sqrt(with_floor / with_floor.mean())
    return found


def write_table(table: list[tuple[str, float, float, float]], sd: Array, path: Path) -> None:
    """Replace the lines between the two markers."""
    head, rest = path.read_text(encoding="utf-8").split("# begin measured table\n")
    tail = rest.split("# end measured table\n")[1]
    rows = zip(table, sd, strict=True)
    lines = [f'    "{name}": ({m:.4g}, {s:.4g}, {k:.3g}, {w:.3g}),\n' for (name, m, s, k), w in rows]
    body = "MEASURED: dict[str, tuple[float, float, float, float]] = {\n" + "".join(lines) + "}\n"
    path.write_text(f"{head}# begin measured table\n{body}# end measured table\n{tail}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--home")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    trial = Trial(bank(Home.locate(given.home)))
    table, sd = measure(trial), prior_sd(trial)
    for (name, mean, spread, strength), weight in zip(table, sd, strict=True):
        print(f"{name:24s} mean {mean:8.3f}  spread {spread:7.3f}  strength {strength:6.2f}  weight sd {weight:5.2f}")
    if given.write:
        write_table(table, sd, TABLE)


if __name__ == "__main__":
    main()
