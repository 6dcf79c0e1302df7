"""What policy optimisation leaves is the mean of its iterations' weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from learner.config import LearnerConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.policy.averaging import WeightAverage, mean_of
from learner.policy.ppo import train_ppo
from learner.policy.task import Task
from tests.policy.test_ppo import CONFIG, PROMPTS, many_words


def test_the_mean_of_what_was_added_favours_the_later() -> None:
    weights = torch.nn.Parameter(torch.tensor([1.0, -2.0]))
    average = WeightAverage([weights])
    average.apply()
    assert weights.tolist() == [1.0, -2.0]  # of nothing: left alone
    for values in ([2.0, 0.0], [4.0, 3.0], [0.0, 3.0]):
        with torch.no_grad():
            weights.copy_(torch.tensor(values))
        average.add()
    average.apply()
    assert weights.tolist() == pytest.approx([(2 + 2 * 4) / 6, (2 * 3 + 3 * 3) / 6])  # once, twice, three times
    assert mean_of([2.0, 4.0, 0.0]) == pytest.approx(10 / 6) and mean_of([5.0]) == 5.0


class Remembers(Unlimited):
    """The adapter as it was when each iteration ended."""

    def __init__(self, base: BaseModel) -> None:
        self._base = base
        self.states: list[lora.State] = []

    def report(self, phase: str, share: float, metrics: Mapping[str, float]) -> None:
        self.states.append({name: value.clone() for name, value in self._base.adapter_state("policy").items()})


def test_ppo_leaves_the_mean_of_its_iterations(policy: BaseModel) -> None:
    seen = Remembers(policy)
    config = LearnerConfig(ppo=replace(CONFIG, iterations=3, learning_rate=1e-2, kl_target=1e9))
    train_ppo(policy, "policy", Task(PROMPTS, many_words), config, seen, 0)
    first, *_, last = seen.states
    assert len(seen.states) == 3 and any(not torch.equal(first[name], last[name]) for name in first)
    for name, value in policy.adapter_state("policy").items():
        once, twice, thrice = (state[name] for state in seen.states)
        assert torch.allclose(value, (once + 2 * twice + 3 * thrice) / 6, atol=1e-7), name
