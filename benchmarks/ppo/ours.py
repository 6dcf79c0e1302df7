"""Our side of `bench ppo`: a process that reads the setting from its standard input and prints figures."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.ppo.setting import Setting, peak_mb, reward
from data.types import Reply, Turn
from learner.budgets import Budgets
from learner.config import LearnerConfig, LoraSettings, PPOConfig
from learner.modeling.loading import load_base
from learner.monitor import Unlimited
from learner.policy.ppo import train_ppo
from learner.policy.task import Context, Task


class _Clock(Budgets, Unlimited):
    """Keeps the time of an iteration, and tells nothing."""


def main() -> None:
    imports_mb = peak_mb()
    asked = json.load(sys.stdin)
    setting = Setting(**asked["setting"])
    base = load_base(asked["model"], Path(asked["model"]).parent, device="cpu", trainable=True)
    lora = LoraSettings(setting.lora_rank, setting.lora_alpha, setting.trained_layers, setting.train_a)
    base.add_adapter("policy", lora, None, setting.seed)
    config = LearnerConfig(
        budget_minutes=1e6,
        ppo=PPOConfig(
            iterations=setting.iterations, prompts_per_iteration=setting.prompts_per_iteration,
            replies_per_prompt=setting.replies_per_prompt, replies_trained=setting.replies_per_prompt,
            response_tokens=setting.response_tokens,
            temperature=setting.temperature, epochs=setting.epochs, minibatch_size=setting.minibatch_size,
            micro_batch_size=setting.micro_batch_size, learning_rate=setting.learning_rate,
            value_learning_rate=setting.learning_rate, adam_epsilon=setting.adam_epsilon,
            max_grad_norm=setting.max_grad_norm, clip_range=setting.clip_range,
            value_clip_range=setting.value_clip_range, vf_coef=setting.vf_coef, gamma=setting.gamma, lam=setting.lam,
            kl_coef=setting.kl_coef, kl_factor=1.0, kl_target=1e9, max_kl_step=1e9, reward_clip=1e9,
            missing_eos_penalty=setting.missing_eos_penalty, baseline="gae", value_warmup_iterations=0,
        ),
    )  # fmt: skip
    prompts: list[Context] = [(Turn("user", text),) for text in asked["prompts"]]
    began = time.monotonic()
    history = train_ppo(base, "policy", Task(prompts, score), config, _Clock(config), setting.seed)
    seconds = time.monotonic() - began
    print(
        json.dumps({
            "samples_per_s": setting.samples * len(history) / seconds,
            "peak_mb": peak_mb() - imports_mb,
            "reward_first": with_penalty(history[0], setting),
            "reward_last": with_penalty(history[-1], setting),
            "kl_last": history[-1]["objective/kl"],
        })
    )  # fmt: skip


def with_penalty(metrics: dict[str, float], setting: Setting) -> float:
    """Mean reward, less the penalty of replies without an end: as TRL reports it."""
    return metrics["objective/scores"] - setting.missing_eos_penalty * (1 - metrics["val/eos_rate"])


def score(contexts: Sequence[Context], replies: Sequence[Reply]) -> np.ndarray:
    return np.array([reward(reply.text) for reply in replies])


if __name__ == "__main__":
    main()
