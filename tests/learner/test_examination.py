"""How the gate draws replies, and how much of a change it keeps where neutral text reads worse with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch

from data.types import Evidence
from learner.config import LearnerConfig, LoraSettings, with_overrides
from learner.evaluation.examination import Gated, largest_share
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.monitor import Unlimited
from learner.policy.distance import kl_to_base
from learner.reward.model import RewardModel
from learner.snapshot import Snapshot


def test_replies_are_drawn_and_measured_as_the_chat_draws_them(tiny_base: BaseModel) -> None:
    """With nearly no freedom in the gate and much in training both replies to a prompt are the same."""
    assert LearnerConfig().gate.temperature == SamplingSettings().temperature
    free = {
        "gate.prompts": 4, "gate.replies": 2, "gate.temperature": 1e-3,
        "ppo.temperature": 1.5, "ppo.response_tokens": 8,
    }  # fmt: skip
    config = with_overrides(LearnerConfig(), free)
    tiny_base.add_adapter("gated", LoraSettings(rank=2))
    try:
        with torch.no_grad():
            for parameter in tiny_base.adapter_parameters("gated"):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
        judge = cast(RewardModel, None)  # nobody is asked here
        gated = Gated("gated", Snapshot(Evidence((), (), None), {}), tiny_base, config, Unlimited(), judge)
        rollouts, statistics = gated._answers("gated")
        assert all(rollouts[i].response == rollouts[i + 1].response for i in range(0, 8, 2))
        assert rollouts[0].response != rollouts[2].response, "else the adapter alone decides"
        assert statistics.kl == kl_to_base(tiny_base, "gated", rollouts[::2], 1e-3) > 0
    finally:
        tiny_base.remove_adapter("gated")


def looks(rise: Callable[[float], float], least: float = 0.5) -> tuple[float, list[float]]:
    """The share that is kept of a limit of 0.03, and those that were measured."""
    seen: list[float] = []

    def measured(share: float) -> float:
        seen.append(share)
        return rise(share)

    return largest_share(measured, 0.03, least), seen


def test_a_change_that_neutral_text_allows_is_kept_whole() -> None:
    assert looks(lambda share: 0.03) == (1.0, [1.0])


@pytest.mark.parametrize("rise", [0.031, 0.04, 0.06, 0.1])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_share_is_within_the_limit_and_near_it(rise: float, power: float) -> None:
    share, seen = looks(lambda share: rise * share**power, least=0.1)
    assert rise * share**power <= 0.03
    assert rise * (share * 1.1) ** power > 0.03, "a tenth more would be allowed too"
    assert seen[-1] == share and len(seen) <= 6


def test_with_a_square_two_looks_are_enough() -> None:
    share, seen = looks(lambda share: 0.04 * share**2)
    assert share == pytest.approx(0.98 * 0.75**0.5) and len(seen) == 2


@pytest.mark.parametrize("worse", [0.9, float("inf"), float("nan")])
def test_less_than_the_least_share_is_not_tried(worse: float) -> None:
    assert looks(lambda share: worse) == (0.5, [1.0])
