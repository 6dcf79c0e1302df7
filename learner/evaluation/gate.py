"""The gate: a candidate goes live only if there is something to learn, it is better, and it is still sane.

The three questions are asked in that order, and each refusal says why in words.

1. Is there anything to learn? Cross-fitted on all feedback: every piece is predicted by a model that has not seen its
   conversation (`learner.reward.evidence`). The levels of all tests of one person sum to 5 %, until one finds a taste.
2. Is the candidate better? By the posterior over all feedback, the optimiser's and the held-out one; the bound is over
   joint draws of that posterior and of the prompts, so a judge that is unsure refuses. A judge fitted on held-out
   feedback alone knows next to nothing at 40 pieces: it passed 9 of 40 people who plainly like it short, against 40 of
   40 for this one. Of 80 people who rate at random this one alone passed 6, together with question 1 one (docs/log.md).
3. Is it still a sound language model?

An error while judging is an error, never a tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr

from learner.config import GateConfig
from learner.policy.task import LearningError
from learner.reward.features import Array
from learner.reward.model import RewardModel


@dataclass(frozen=True)
class WinRate:
    """Of the candidate over the live version by the judge: the share of comparisons that the person would decide so."""

    mean: float
    lower: float  # one-sided bound over joint draws of the judge's posterior and the prompts; what the gate asks for
    upper: float  # the same on the other side, for whoever draws the interval


@dataclass(frozen=True)
class Sanity:
    """The candidate beside the base on the gate's prompts and on neutral text."""

    kl: float  # nats a reply
    perplexity_increase: float  # raw prose, relative to the base
    chat_perplexity_increase: float  # answers in the chat template
    eos_rate: float
    base_eos_rate: float
    distinct_2_ratio: float


def alpha_for_test(pieces: int, before: int, found: bool, config: GateConfig) -> float:
    """The level of a test of `pieces` pieces of feedback, where the one before had `before` (0: there was none).

    Alpha is spent as feedback comes in, n / (n + half) of it by n pieces (Lan and DeMets 1983), so that whoever asks
    often pays little for early tests that could hardly find anything. Where an earlier test has `found` a taste all of
    alpha is there: for somebody who rates at random the error has been made, and no later test can add to it.
    0 where nothing new is to be tested.
    """
    if found:
        return config.alpha
    half = config.alpha_half_spent
    return config.alpha * max(0.0, pieces / (pieces + half) - before / (before + half))


def win_rate(
    judge: RewardModel, candidate: Array, live: Array, base: Array, config: GateConfig, seed: int
) -> WinRate:
    """`candidate`, `live` and `base` `(N, K, F)`: scaled features of K replies of each to each of the same N prompts.

    Each draw takes weights w from the judge's posterior and prompts with replacement, and asks with which probability
    the person prefers a reply of the candidate; each is compared with each of the live version, for they were sampled
    apart. The person also cares for what no feature sees, with `unseen` times the variance of what the features see of
    the base's replies to one prompt: the probability is Phi(w d / (2 unseen w' C w)^1/2) for features that differ by d
    and have the covariance C within prompts. Where they do not vary it is a matter of yes or no.

    Raises LearningError where that is not a number.
    """
    rng = np.random.default_rng(seed)
    weights = judge.sample(config.posterior_draws, rng)  # (D, F)
    theirs = np.einsum("df,nkf->dnk", weights, live)
    ours = np.einsum("df,nkf->dnk", weights, candidate)
    said = np.einsum("df,nkf->dnk", weights, base)
    seen = said.var(axis=2, ddof=1).mean(axis=1) if base.shape[1] > 1 else np.zeros(len(weights))  # (D,)
    unsure = np.sqrt(2 * config.unseen * seen)[:, None, None, None]
    difference = ours[:, :, :, None] - theirs[:, :, None, :]  # (D, N, K, K)
    with np.errstate(divide="ignore", invalid="ignore"):
        preferred = ndtr(np.where(difference == 0, 0.0, difference / unsure))
    wins = preferred.mean(axis=(2, 3))  # (D, N)
    drawn = rng.integers(wins.shape[1], size=wins.shape)
    rates = np.take_along_axis(wins, drawn, axis=1).mean(axis=1)
    if not np.isfinite(rates).all():
        raise LearningError("The judge's win rate is not a number; nothing is published.")
    lower, upper = np.quantile(rates, [1 - config.confidence, config.confidence])
    return WinRate(mean=float(wins.mean()), lower=float(lower), upper=float(upper))


def is_better(rate: WinRate, config: GateConfig) -> str | None:
    """None if the candidate is better, else why that is not shown."""
    if rate.lower > config.min_win_rate:
        return None
    return (
        f"it is not shown to be better: by all your feedback it wins {rate.mean:.0%} of comparisons, but with "
        f"{config.confidence:.0%} confidence only at least {rate.lower:.0%}, and it must be above "
        f"{config.min_win_rate:.0%}"
    )


def is_sane(found: Sanity, config: GateConfig) -> str | None:
    """None if the candidate still is a sound language model, else the first bound it breaks."""
    if not found.kl <= config.max_kl:
        return f"it moved {found.kl:.1f} nats a reply from the base, over {config.max_kl:g}"
    for increase, what in (
        (found.perplexity_increase, "plain prose"),
        (found.chat_perplexity_increase, "neutral answers"),
    ):
        if not increase <= config.max_perplexity_increase:
            return (
                f"its perplexity on {what} rose by {increase:.1%}, over {config.max_perplexity_increase:.0%}: "
                "it reads worse than the base"
            )
    if not found.eos_rate >= found.base_eos_rate - config.max_eos_drop:
        return f"only {found.eos_rate:.0%} of its replies end by themselves, against {found.base_eos_rate:.0%}"
    if not found.distinct_2_ratio >= config.min_distinct2_ratio:
        return f"its replies repeat themselves: distinct-2 is {found.distinct_2_ratio:.2f} of the base's"
    return None
