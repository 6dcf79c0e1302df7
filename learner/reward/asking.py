"""Which two replies to ask a person about: the pair whose comparison says most about what is not known yet.

The utility of a over b has posterior variance (phi_a - phi_b)' Sigma (phi_a - phi_b); where it is largest an answer
moves the posterior most. A small fixed share of pairs is drawn by lot, so that what the model wrongly holds for certain
is asked about as well.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from learner.reward.features import Array
from learner.reward.model import RewardModel

CURIOSITY = 0.1  # share of pairs that are drawn by lot


def most_informative_pair(
    model: RewardModel, phi: Array, rng: np.random.Generator | None = None, curiosity: float = CURIOSITY
) -> tuple[int, int]:
    """Rows of `phi` (N, F), N >= 2, to be compared; without `rng` always the most informative ones.

    Raises ValueError for fewer than two replies.
    """
    pairs = list(combinations(range(len(phi)), 2))
    if not pairs:
        raise ValueError("a comparison needs at least two replies")
    if rng is not None and rng.random() < curiosity:
        return pairs[int(rng.integers(len(pairs)))]
    first, second = np.array(pairs).T
    variance = model.mean_and_sd(phi[first] - phi[second])[1]
    return pairs[int(np.argmax(variance))]
