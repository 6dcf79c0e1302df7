"""The algorithms beside PPO, behind the same signature, and what happens where memory runs out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch

from data.types import Reply, Turn
from learner.config import Algorithm, DPOConfig, LearnerConfig, PPOConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.policy import ppo
from learner.policy.algorithms import ALGORITHMS
from learner.policy.losses import dpo_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.sequences import PolicyOutput, SequenceBatch
from learner.policy.task import History, Task

CONFIG = LearnerConfig(
    ppo=PPOConfig(
        iterations=2, prompts_per_iteration=3, replies_per_prompt=4, replies_trained=4, response_tokens=12,
        prefix_tokens=4, minibatch_size=6, micro_batch_size=4, max_kl_step=1e9,
    ),
    dpo=DPOConfig(learning_rate=1e-2, epochs=4, batch_size=3, micro_batch_size=2),
)  # fmt: skip
PROMPTS = [[Turn("user", text)] for text in ("Hello!", "What is the time in Paris now?", "Sing.")]
PAIRS = [(prompt, Reply("yes, gladly"), Reply("no and never again")) for prompt in PROMPTS]


def many_words(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> np.ndarray:
    return np.array([len(reply.text) / 50 for reply in replies])


TASK = Task(PROMPTS, many_words, pairs=PAIRS)


def trained(policy: BaseModel, algorithm: Algorithm, config: LearnerConfig = CONFIG, task: Task = TASK) -> History:
    return ALGORITHMS[algorithm](policy, "policy", task, config, Unlimited(), 0)


def test_every_algorithm_that_can_be_set_is_there() -> None:
    assert set(ALGORITHMS) == set(get_args(Algorithm))


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce", "dpo"])
def test_every_algorithm_changes_the_adapter_and_nothing_else(policy: BaseModel, algorithm: Algorithm) -> None:
    base_before = {n: p.detach().clone() for n, p in policy.model.named_parameters() if "lora_" not in n}
    before = lora.state_sha256(policy.adapter_state("policy"))
    history = trained(policy, algorithm)
    assert history and all(math.isfinite(value) for metrics in history for value in metrics.values())
    assert lora.state_sha256(policy.adapter_state("policy")) != before
    for name, parameter in policy.model.named_parameters():
        assert "lora_" in name or torch.equal(parameter, base_before[name]), name


def test_no_algorithm_leaves_the_adapter_as_it_is(policy: BaseModel) -> None:
    before = lora.state_sha256(policy.adapter_state("policy"))
    assert trained(policy, "none") == []
    assert trained(policy, "dpo", task=replace(TASK, pairs=())) == []
    assert lora.state_sha256(policy.adapter_state("policy")) == before


def test_reinforce_takes_one_unclipped_step_on_fresh_rollouts(policy: BaseModel) -> None:
    for metrics in trained(policy, "reinforce"):
        assert metrics["policy/epochs"] == 1
        assert metrics["policy/clipfrac"] == 0
        assert metrics["val/ratio"] == pytest.approx(1, abs=1e-5)  # of the mean over all steps: there is one


def test_the_dpo_loss_by_hand() -> None:
    losses, margins = dpo_loss(
        better=torch.tensor([-3.0, -5.0]), worse=torch.tensor([-4.0, -5.0]),
        ref_better=torch.tensor([-5.0, -5.0]), ref_worse=torch.tensor([-3.0, -1.0]), beta=0.5,
    )  # fmt: skip
    # margins 0.5 ((-3 + 5) - (-4 + 3)) = 1.5 and 0.5 (0 - (-5 + 1)) = 2
    assert margins.tolist() == pytest.approx([1.5, 2.0])
    assert losses.tolist() == pytest.approx([math.log(1 + math.exp(-1.5)), math.log(1 + math.exp(-2.0))])


def test_dpo_starts_at_ln_2_and_learns_to_prefer_the_better_reply(policy: BaseModel) -> None:
    one_batch = replace(CONFIG, dpo=replace(CONFIG.dpo, epochs=6))
    history = trained(policy, "dpo", one_batch)
    # with B = 0 policy and reference are one, so that every margin is 0
    assert history[0]["loss/dpo"] == pytest.approx(math.log(2), abs=1e-4)
    assert history[0]["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert history[-1]["loss/dpo"] < 0.6
    assert history[-1]["rewards/accuracies"] == 1.0


def test_micro_batches_of_pairs_are_memory_only(policy: BaseModel) -> None:
    start = policy.adapter_state("policy")
    found = []
    for rows in (1, 3):
        policy.set_adapter_state("policy", start)
        trained(policy, "dpo", replace(CONFIG, dpo=replace(CONFIG.dpo, micro_batch_size=rows, epochs=1)))
        found.append(torch.cat([value.flatten() for value in policy.adapter_state("policy").values()]))
    # Adam's first step has the size of the learning rate whatever the gradient: hence on the scale of that rate
    assert (found[0] - found[1]).abs().mean() < 0.02 * CONFIG.dpo.learning_rate


def test_out_of_memory_halves_the_micro_batch_and_goes_on(
    policy: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = policy.adapter_state("policy")
    small = trained(policy, "ppo", replace(CONFIG, ppo=replace(CONFIG.ppo, micro_batch_size=2)))
    policy.set_adapter_state("policy", start)
    evaluate, sizes = ppo.evaluate_policy, []

    def full(base: BaseModel, adapter: str | None, batch: SequenceBatch, *rest: object) -> PolicyOutput:
        sizes.append(len(batch.input_ids))
        if len(batch.input_ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return evaluate(base, adapter, batch, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(ppo, "evaluate_policy", full)
    history = trained(policy, "ppo")
    assert max(sizes) == 4 and sizes.count(4) == 1  # it remembers
    for metrics, expected in zip(history, small, strict=True):
        assert metrics["objective/scores"] == pytest.approx(expected["objective/scores"], abs=1e-4)
        assert metrics["policy/grad_norm"] == pytest.approx(expected["policy/grad_norm"], rel=1e-2)


def test_a_row_that_does_not_fit_and_any_other_error_are_raised() -> None:
    tried = []

    def never(rows: int) -> None:
        tried.append(rows)
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 2 bytes.")

    with pytest.raises(RuntimeError, match="allocate"):
        MicroBatch(8).fit(never)
    assert tried == [8, 4, 2, 1]

    def wrong(rows: int) -> None:
        raise RuntimeError("shapes do not fit")

    micro_batch = MicroBatch(8)
    with pytest.raises(RuntimeError, match="shapes"):
        micro_batch.fit(wrong)
    assert micro_batch.size == 8
