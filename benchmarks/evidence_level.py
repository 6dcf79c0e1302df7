"""How often the evidence test finds a taste: in people who rate at random, and in one who likes it short.

    python -m benchmarks.evidence_level --replies FILE [--people 200] [--pieces 40] [--alpha 0.05]

FILE: base replies as `benchmarks.feature_scales --cache` keeps them. The people are those of raters.py: some
flip coins, some like it short, some have a taste of two or three attributes. Three tests side by side: the
randomisation test of learner/reward/evidence.py, a one-sided t-test of the same cross-fitted gains by
conversation, and a one-sided t-test of the gains on the fixed fifth that is held out.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.raters import Pool, Rater, base_replies, likes_it_short, mixed_taste, no_taste, read_pool
from data.types import Observation
from learner.reward.design import Design, build_design, join
from learner.reward.evidence import FOLDS, CrossFit, Feedback, deal_folds, evidence_gain
from learner.reward.model import RewardConfig, fit


def one_sided_t(gains: np.ndarray, roots: tuple[str, ...]) -> float:
    """p-value that the mean gain of a conversation is above 0."""
    sums: dict[str, float] = defaultdict(float)
    for gain, root in zip(gains, roots, strict=True):
        sums[root] += float(gain)
    values = np.array(list(sums.values()))
    if len(values) < 3 or values.std() == 0:
        return 1.0
    return float(stats.ttest_1samp(values, 0.0, alternative="greater").pvalue)


def judge(
    observations: list[Observation], pool: Pool, alpha: float, seed: int
) -> dict[str, bool]:
    """Which test finds a taste in these observations."""
    base = base_replies(pool)
    train = build_design([o for o in observations if not o.held_out], base)
    held = build_design([o for o in observations if o.held_out], base)
    both: Design = join(train, held)
    config = RewardConfig()
    fold = deal_folds(both.roots, FOLDS)
    gains = np.zeros(len(both))
    for k, part in enumerate(CrossFit(both, fold, config).gains(Feedback.of(both))):
        gains[fold == k] = part
    model = fit(train, config)
    held_gains = model.log_likelihood(held) - model.intercepts_only_log_likelihood(held)
    return {
        "randomisation": evidence_gain(train, held, alpha, config, seed).learnable,
        "t-test, cross-fitted": one_sided_t(gains, both.roots) <= alpha,
        "t-test, held-out fifth": one_sided_t(held_gains, held.roots) <= alpha,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--replies", type=Path, required=True)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--pieces", type=int, default=40)
    parser.add_argument("--alpha", type=float, default=0.05)
    parser.add_argument("--strength", type=float, default=1.5, help="sd of the utility, in logits")
    args = parser.parse_args()
    pool = read_pool(args.replies)
    makers = {
        "rate at random": lambda rng: no_taste(),
        "like it short": lambda rng: likes_it_short(pool),
        "have a mixed taste": lambda rng: mixed_taste(pool, rng),
    }
    for name, make in makers.items():
        found: dict[str, int] = defaultdict(int)
        start = time.perf_counter()
        for person in range(args.people):
            rng = np.random.default_rng([7, person])
            rater = Rater(rng, make(rng), pool, args.strength)
            for test, passed in judge(rater.pieces(args.pieces), pool, args.alpha, person).items():
                found[test] += passed
        seconds = (time.perf_counter() - start) / args.people
        for test, count in found.items():
            low, high = stats.binomtest(count, args.people).proportion_ci(0.95)
            share = f"{count}/{args.people} ({low:.3f}..{high:.3f})"
            print(f"{name}, {args.pieces} pieces: {test}: {share}", flush=True)
        print(f"  {seconds:.2f} s a person")


if __name__ == "__main__":
    main()
