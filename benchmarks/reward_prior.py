"""Which prior sd of the weights (tau) predicts best, with little and with more feedback.

    python -m benchmarks.reward_prior --replies FILE [--people 60]

Raters of raters.py, half of them with a liking for short replies alone and half with a mixed taste, rate
replies to half of the prompts; pairs of replies to the other half are judged by their true utility. Shown:
pairwise accuracy on those pairs, with the standard error over people, for each tau and number of pieces.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.raters import Pool, Rater, base_replies, likes_it_short, mixed_taste, read_pool
from data.types import Turn
from learner.reward.design import build_design
from learner.reward.features import centred, features_of
from learner.reward.model import RewardConfig, fit

TAUS = (0.05, 0.08, 0.12, 0.16, 0.22, 0.3, 0.5)
PIECES = (20, 40, 100, 300)


def accuracy(weights: np.ndarray, rater: Rater, test: Pool) -> float:
    """Share of the pairs within a prompt that are ordered as the rater's utility orders them."""
    right = total = 0
    for prompt, replies in test.items():
        raw = features_of((Turn("user", prompt),), replies)
        reward = centred(raw, raw) @ weights
        utility = np.array([rater.utility(reply) for reply in replies])
        for i in range(len(replies)):
            for j in range(i):
                if utility[i] != utility[j]:
                    total += 1
                    right += (reward[i] > reward[j]) == (utility[i] > utility[j])
    return right / max(1, total)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replies", type=Path, required=True)
    parser.add_argument("--people", type=int, default=60)
    args = parser.parse_args()
    pool = read_pool(args.replies)
    prompts = sorted(pool)
    rated, test = ({p: pool[p] for p in prompts[start::2]} for start in (0, 1))
    found: dict[tuple[int, float], list[float]] = {(n, tau): [] for n in PIECES for tau in TAUS}
    for person in range(args.people):
        rng = np.random.default_rng([13, person])
        taste = likes_it_short(pool) if person % 2 else mixed_taste(pool, rng)
        rater = Rater(rng, taste, rated, 1.5)
        observations = rater.pieces(max(PIECES))
        for n in PIECES:
            design = build_design(observations[:n], base_replies(rated))
            for tau in TAUS:
                found[n, tau].append(accuracy(fit(design, RewardConfig(tau=tau)).w, rater, test))
    print("tau   " + "".join(f"{n:>16} pieces" for n in PIECES))
    for tau in TAUS:
        columns = [np.array(found[n, tau]) for n in PIECES]
        cells = [f"{column.mean():.3f} +- {column.std() / len(column) ** 0.5:.3f}" for column in columns]
        print(f"{tau:<6}" + "".join(f"{cell:>23}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
