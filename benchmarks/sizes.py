"""What larger models take on a GPU: `python launch.py bench sizes`.

Random weights of 1B, 3B and 7B shape (no download: how fast and how large they are does not depend on the values), in 4
bits, through the code that learns: one iteration of PPO at the default lengths. `memory_gb` is the most that torch had
allocated on the device, `samples_per_s` counts replies that are sampled and scored, of which PPO trains on the best and
the worst to each prompt, `decode_tokens_per_s_8` the tokens of eight of them. `--quick` does the same with a tiny
shape, on any device.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from benchmarks.results import Result
from data.errors import Invalid
from data.home import Home
from data.prompts import general_prompts
from data.types import Reply, Turn
from learner.budgets import Budgets
from learner.config import LearnerConfig, LoraSettings, PPOConfig
from learner.modeling.embedded import EMBEDDED_FOLDER, prepare_embedded
from learner.modeling.loading import load_base
from learner.monitor import Unlimited
from learner.policy.ppo import train_ppo
from learner.policy.rollouts import rollout_settings, sample_replies
from learner.policy.task import Context, Task
from learner.reward.features import Array


@dataclass(frozen=True)
class Shape:
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int


SHAPES: Mapping[str, Shape] = {
    "1B": Shape(2048, 8192, 16, 32, 8),
    "3B": Shape(3072, 8192, 28, 24, 8),
    "7B": Shape(4096, 11008, 32, 32, 32),
}
TINY: Mapping[str, Shape] = {"tiny": Shape(64, 128, 2, 4, 2)}
QUICK = PPOConfig(iterations=1, prompts_per_iteration=2, replies_per_prompt=2, response_tokens=12)


class _Clock(Budgets, Unlimited):
    """Keeps the time, and tells nothing."""


def main(options: argparse.Namespace) -> Result:
    started = time.monotonic()
    if not (options.quick or torch.cuda.is_available()):
        raise Invalid("Models of these sizes need a CUDA GPU, and there is none here; --quick tries a tiny one.")
    home = Home.locate(options.home).create()
    prepare_embedded(home.models_dir)
    figures: dict[str, float] = {}
    ppo = QUICK if options.quick else PPOConfig(iterations=1)
    for name, shape in (TINY if options.quick else SHAPES).items():
        with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
            write_model(shape, Path(folder), home.models_dir / EMBEDDED_FOLDER)
            figures |= {f"{key}_{name}": value for key, value in measure(Path(folder), ppo).items()}
    sampled, trained = (ppo.prompts_per_iteration * n for n in (ppo.replies_per_prompt, ppo.replies_trained))
    settings = {"response_tokens": ppo.response_tokens, "rollouts": sampled, "trained": trained}
    return Result("sizes", None, settings, figures, time.monotonic() - started)


def write_model(shape: Shape, folder: Path, tokenizer_folder: Path) -> None:
    """A model folder with random weights in bfloat16 and the embedded model's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=shape.hidden, intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, dtype=torch.bfloat16,
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def measure(folder: Path, ppo: PPOConfig) -> dict[str, float]:
    base = load_base(str(folder), folder.parent, trainable=True)
    base.add_adapter("policy", LoraSettings())
    config = LearnerConfig(ppo=ppo, budget_minutes=1e6)
    prompts: list[Context] = [(Turn("user", text),) for text in general_prompts("rollout")]
    if base.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    queries = [base.encode_chat(prompt) for prompt in prompts[:8]]
    began = time.monotonic()
    sampled = sample_replies(base, "policy", queries, rollout_settings(ppo), range(len(queries)))
    decoding_s = time.monotonic() - began
    began = time.monotonic()
    history = train_ppo(base, "policy", Task(prompts, by_chance), config, _Clock(config), 0)
    found = {
        "samples_per_s": ppo.prompts_per_iteration * ppo.replies_per_prompt / (time.monotonic() - began),
        "decode_tokens_per_s_8": sum(len(r.response) for r in sampled) / decoding_s,
        "iteration_s": history[-1]["time/iteration_s"],
    }
    if base.device.type == "cuda":
        found["memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def by_chance(contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
    """A random model says nothing that is worth anything."""
    return np.random.default_rng(len(replies)).normal(size=len(replies))
