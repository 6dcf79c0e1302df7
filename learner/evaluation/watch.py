"""After promotion: comparisons of the new and the old version, and when they say that the old one was better.

While a new version is watched, each comparison that the person is shown holds replies of both versions, in an order
drawn by lot. Betting on each outcome gives an e-process: under "the new version is preferred at least as often as the
old" its expectation never exceeds 1, so that the chance that it ever reaches 1 / alpha is at most alpha, however often
one looks (Ville's inequality; Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting").
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from learner.config import WatchConfig

State = Literal["watching", "old is better", "new is better", "long enough"]


def e_value(wins: int, losses: int) -> float:
    """Evidence that a win is likelier than a loss: mean over stakes s in (0, 1) of (1 + s)^wins (1 - s)^losses.

    s is the share of one's money that is put on each win; ties do not count. The integral over s is exact.
    """
    nodes, weights = np.polynomial.legendre.leggauss((wins + losses) // 2 + 1)
    stakes = (nodes + 1) / 2
    with np.errstate(over="ignore"):
        return float((weights / 2) @ np.exp(wins * np.log1p(stakes) + losses * np.log1p(-stakes)))


def judged(old: int, new: int, config: WatchConfig) -> State:
    """`old` and `new`: in how many comparisons a reply of the old version and of the new one was preferred."""
    if e_value(old, new) >= 1 / config.alpha:
        return "old is better"
    if e_value(new, old) >= 1 / config.alpha:
        return "new is better"
    return "long enough" if old + new >= config.most_comparisons else "watching"
