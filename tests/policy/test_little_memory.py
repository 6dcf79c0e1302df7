"""Where memory runs out, every stage of an update goes on with fewer rows at once, and learns the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from data.types import Reply, Turn
from learner.config import DPOConfig, LearnerConfig, PPOConfig, PracticeConfig, WarmStartConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.modeling.fused_rows import FusedRows
from learner.monitor import Unlimited
from learner.policy import sequences
from learner.policy.distance import sampled_kl
from learner.policy.dpo import train_dpo
from learner.policy.ppo import train_ppo
from learner.policy.practice import practise
from learner.policy.rollouts import sample_replies
from learner.policy.sequences import SequenceBatch
from learner.policy.task import Task
from learner.policy.warm_start import demonstration_batch, warm_start

FITS = 2  # rows
CONFIG = LearnerConfig(
    ppo=PPOConfig(
        iterations=1, prompts_per_iteration=2, replies_per_prompt=4, replies_trained=4, response_tokens=8, epochs=1,
        minibatch_size=8, micro_batch_size=8, baseline="leave-one-out", demonstration_coef=0.5, demonstration_rows=4,
    ),
    practice=PracticeConfig(prompts=4, replies=4, kl_target=0.05, kl_prompts=4),
    warm_start=WarmStartConfig(learning_rate=5e-3, max_steps=1, batch_size=6, kl_limit=1e9, kl_prompts=4),
    dpo=DPOConfig(epochs=1, batch_size=4, micro_batch_size=4),
)  # fmt: skip
PROMPTS = [[Turn("user", text)] for text in ("Hello!", "What is the time in Paris now?", "Sing.", "Why?")]
SHOWN = [(prompt, Reply("okay then")) for prompt in PROMPTS * 3]
SAID = [(prompt, [Reply(text) for text in ("one", "two more", "x", "y z")]) for prompt in PROMPTS]


def many_letters(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> np.ndarray:
    return np.array([len(r.text) / 50 + sum(map(ord, r.text)) % 997 / 10_000 for r in replies])


def task(base: BaseModel) -> Task:
    pairs = [(prompt, Reply("yes, gladly"), Reply("no and never again")) for prompt in PROMPTS]
    return Task(PROMPTS, many_letters, demonstrations=demonstration_batch(base, SHOWN), pairs=pairs, said=SAID)


STAGES: Mapping[str, Callable[[BaseModel], Any]] = {
    "warm start": lambda base: warm_start(
        base, "policy", SHOWN, PROMPTS, CONFIG.warm_start, CONFIG.ppo, Unlimited(), 0
    ),
    "first step": lambda base: practise(base, "policy", task(base), CONFIG, Unlimited(), 0),
    "ppo": lambda base: train_ppo(base, "policy", task(base), CONFIG, Unlimited(), 0),
    "dpo": lambda base: train_dpo(base, "policy", task(base), CONFIG, Unlimited(), 0),
}


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it leaves room for FITS rows at once: more of them are an error, as on a full GPU."""
    compute, read = sequences.response_states, FusedRows.read

    def full(rows: int) -> None:
        if rows > FITS:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    def response_states(base: BaseModel, batch: SequenceBatch) -> torch.Tensor:
        full(len(batch.input_ids))
        return compute(base, batch)

    def read_prompts(self: FusedRows) -> None:
        full(len(self._rows))  # their keys and values are made room for
        read(self)

    def begin() -> None:
        monkeypatch.setattr(sequences, "response_states", response_states)
        monkeypatch.setattr(FusedRows, "read", read_prompts)

    return begin


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_goes_on(policy: BaseModel, little_memory: Callable[[], None], stage: str) -> None:
    begun = policy.adapter_state("policy")
    found = []
    for room in ("enough", "little"):
        policy.set_adapter_state("policy", begun)
        if room == "little":
            little_memory()
        STAGES[stage](policy)
        found.append(torch.cat([value.flatten() for value in policy.adapter_state("policy").values()]))
    before = torch.cat([value.flatten() for value in begun.values()])
    assert not torch.equal(found[0], before)
    # Adam's first step has one size whatever the gradient, so that a few weights without any may go either way.
    assert (found[1] - found[0]).abs().mean() < 0.02 * (found[0] - before).abs().mean()


def test_replies_and_distances_are_the_same(policy: BaseModel, little_memory: Callable[[], None]) -> None:
    with torch.no_grad():
        for parameter in policy.adapter_parameters("policy"):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    queries = [policy.encode_chat(prompt) for prompt in PROMPTS * 2]

    def measured() -> tuple[list[list[int]], float]:
        replies = sample_replies(policy, "policy", queries, SamplingSettings(0.7, 1.0, 8), range(len(queries)))
        return [reply.response for reply in replies], sampled_kl(policy, "policy", queries, CONFIG.ppo, 0)

    replies, kl = measured()
    little_memory()
    again, kl_again = measured()
    assert again == replies
    assert kl_again == pytest.approx(kl, rel=1e-4) and kl > 0
