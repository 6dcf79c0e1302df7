"""How often the evidence test finds a taste: in people who rate at random, and in one who likes it short.

    python -m benchmarks.evidence_level --replies FILE [--people 200] [--pieces 40] [--alpha 0.05]

FILE: base replies as `benchmarks.feature_scales --cache` keeps them (rows of prompt, text, finished). People
rate replies drawn from it with 38 % thumbs, 25 % stars, 20 % edits, 12 % rankings of two to four and 5 %
comments, up to three pieces a conversation.  The random ones flip coins (an edit of theirs is another of the
base's replies); the other one wants short replies, with a fifth of the choices noisy and 5 % lapses, and
edits by cutting a reply after its first sentences. Three tests side by side: the randomisation test of
learner/reward/evidence.py, a one-sided t-test of the same cross-fitted gains by conversation, and a one-sided
t-test of the gains on the fixed fifth that is held out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from data.prompts import context_key
from data.types import Observation, Reply, Turn
from learner.reward.design import Design, build_design, join
from learner.reward.evidence import FOLDS, CrossFit, deal_folds, evidence_gain
from learner.reward.features import word_units
from learner.reward.model import RewardConfig, fit

KINDS = ("thumb", "stars", "edit", "ranking", "comment")
SHARES = (0.38, 0.25, 0.20, 0.12, 0.05)


class Person:
    """Rates replies; `taste` 0 is a coin. Utility is minus the log of the length, in sd of the pool."""

    def __init__(self, rng: np.random.Generator, taste: float, pool: dict[str, list[Reply]]) -> None:
        self.rng, self.taste, self.pool = rng, taste, pool
        lengths = [np.log(1 + len(word_units(r.text))) for replies in pool.values() for r in replies]
        self.mean, self.sd = float(np.mean(lengths)), float(np.std(lengths))
        self.bias = rng.normal(0, 0.7)

    def utility(self, reply: Reply) -> float:
        return -self.taste * (np.log(1 + len(word_units(reply.text))) - self.mean) / self.sd

    def noisy(self, reply: Reply) -> float:
        if self.rng.random() < 0.05:
            return float(self.rng.normal(0, max(1.0, self.taste)))
        return self.utility(reply) + float(self.rng.logistic())

    def observe(self, number: int, prompt: str, root: str) -> Observation:
        kind = str(self.rng.choice(KINDS, p=SHARES))
        if not self.taste and kind == "comment":
            kind = "thumb"
        replies = self.pool[prompt]
        shown = [replies[i] for i in self.rng.permutation(len(replies))]
        outcome: object = None
        if kind == "thumb":
            shown = shown[:1]
            outcome = 1 if self.noisy(shown[0]) > self.bias else -1
        elif kind == "stars":
            shown = shown[:1]
            outcome = 1 + int(np.sum(self.noisy(shown[0]) + self.bias > np.array([-2.0, -0.7, 0.7, 2.0])))
        elif kind == "edit":
            original = shown[0]
            short = Reply(". ".join(original.text.split(". ")[:2])[:160].strip() + ".", True)
            shown = [short, original] if self.taste else [shown[1], original]
        elif kind == "ranking":
            shown = shown[: int(self.rng.integers(2, 5))]
            noise = [self.utility(r) + float(self.rng.gumbel()) for r in shown]
            outcome = tuple((int(i),) for i in np.argsort(noise)[::-1])
        else:
            shown, outcome = shown[:1], "too long"
        held_out = hashlib.sha256(root.encode()).digest()[0] < 51
        return Observation(
            f"f{number}", kind, (Turn("user", prompt),), tuple(shown), outcome, 1.0, held_out, "", root  # type: ignore[arg-type]
        )

    def pieces(self, n: int) -> list[Observation]:
        out: list[Observation] = []
        while len(out) < n:
            prompt, root = str(self.rng.choice(list(self.pool))), f"{self.rng.integers(1 << 60):x}"
            out += [self.observe(len(out) + i, prompt, root) for i in range(int(self.rng.integers(1, 4)))]
        return out[:n]


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
    observations: list[Observation], pool: dict[str, list[Reply]], alpha: float, seed: int
) -> dict[str, bool]:
    """Which test finds a taste in these observations."""
    base = {context_key((Turn("user", p),)): replies for p, replies in pool.items()}
    train = build_design([o for o in observations if not o.held_out], base)
    held = build_design([o for o in observations if o.held_out], base)
    both: Design = join(train, held)
    config = RewardConfig()
    fold = deal_folds(both.roots, FOLDS)
    gains = np.zeros(len(both))
    for k, part in enumerate(CrossFit(both, fold, config).gains(both.replies)):
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
    parser.add_argument("--taste", type=float, default=1.5, help="sd of the utility, in logits")
    args = parser.parse_args()
    pool: dict[str, list[Reply]] = defaultdict(list)
    for line in args.replies.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        pool[row["prompt"]].append(Reply(row["text"], row["finished"]))
    for name, taste in (("rate at random", 0.0), ("like it short", args.taste)):
        found: dict[str, int] = defaultdict(int)
        start = time.perf_counter()
        for person in range(args.people):
            observations = Person(np.random.default_rng([7, person]), taste, pool).pieces(args.pieces)
            for test, passed in judge(observations, pool, args.alpha, person).items():
                found[test] += passed
        seconds = (time.perf_counter() - start) / args.people
        for test, count in found.items():
            low, high = stats.binomtest(count, args.people).proportion_ci(0.95)
            share = f"{count}/{args.people} ({low:.3f}..{high:.3f})"
            print(f"{name}, {args.pieces} pieces: {test}: {share}", flush=True)
        print(f"  {seconds:.2f} s a person")


if __name__ == "__main__":
    main()
