"""What both sides of `bench ppo` do. The standard library alone: it is also imported in TRL's environment."""

from __future__ import annotations

import math
import resource
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    iterations: int = 10
    prompts_per_iteration: int = 8
    replies_per_prompt: int = 4
    response_tokens: int = 96
    temperature: float = 0.7
    epochs: int = 4
    minibatch_size: int = 32  # a whole iteration's replies: see theirs.py
    micro_batch_size: int = 8
    learning_rate: float = 1e-3
    adam_epsilon: float = 1e-5
    max_grad_norm: float = 1.0
    clip_range: float = 0.2
    value_clip_range: float = 0.2
    vf_coef: float = 0.1
    gamma: float = 1.0
    lam: float = 0.95
    kl_coef: float = 0.05  # constant on both sides
    missing_eos_penalty: float = 1.0
    lora_rank: int = 8
    lora_alpha: float = 32.0
    trained_layers: float = 1 / 3  # the last ones, and B alone: what Attune trains by default
    train_a: bool = False
    seed: int = 0

    @property
    def samples(self) -> int:
        """Replies of one iteration."""
        return self.prompts_per_iteration * self.replies_per_prompt


WISHED_WORDS = 20


def reward(text: str) -> float:
    """0 at WISHED_WORDS words, falling with the log of the ratio."""
    return -abs(math.log((1 + len(text.split())) / (1 + WISHED_WORDS)))


def peak_mb() -> float:
    """Highest resident memory of this process so far.

    Linux's ru_maxrss is no less than what the parent had when it started this process, so that one is not asked there.
    """
    status = Path("/proc/self/status")
    if status.exists():
        kb = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(kb) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** (20 if sys.platform == "darwin" else 10)
