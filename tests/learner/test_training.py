"""What stages 3 and 4 of an update do beside the algorithms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from learner.config import LoraSettings
from learner.evaluation.metrics import NeutralText
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.training import leave_room


@pytest.fixture
def disturbed(base_model: BaseModel) -> Iterator[BaseModel]:
    """The embedded model with an adapter under which neutral text reads much worse."""
    base_model.add_adapter("disturbed", LoraSettings(rank=4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in base_model.adapter_parameters("disturbed"):
            parameter.add_(0.004 * torch.randn(parameter.shape, generator=generator))
    yield base_model
    base_model.remove_adapter("disturbed")


def test_a_warm_start_that_spoils_neutral_text_is_scaled_back(disturbed: BaseModel) -> None:
    neutral, before = NeutralText(disturbed), disturbed.adapter_state("disturbed")
    rise = max(neutral.perplexity_increases("disturbed"))
    share = leave_room(disturbed, "disturbed", rise / 4)
    assert share == pytest.approx(0.5)
    assert max(neutral.perplexity_increases("disturbed")) < rise / 2  # it falls faster than the share
    after = disturbed.adapter_state("disturbed")
    assert lora.state_sha256(after) == lora.state_sha256(lora.scaled(before, share))


def test_one_that_does_not_stays_as_it_is(disturbed: BaseModel) -> None:
    before = lora.state_sha256(disturbed.adapter_state("disturbed"))
    rise = max(NeutralText(disturbed).perplexity_increases("disturbed"))
    assert leave_room(disturbed, "disturbed", 2 * rise) == 1.0
    assert lora.state_sha256(disturbed.adapter_state("disturbed")) == before
