"""What stages 3 and 4 of an update do beside the algorithms."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from data.types import Reply, Turn
from learner.config import LoraSettings, RehearsalConfig
from learner.evaluation.metrics import NeutralText
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.policy.losses import demonstration_loss
from learner.policy.rehearsal import Rehearsal
from learner.policy.sequences import evaluate_policy
from learner.policy.warm_start import demonstration_batch
from learner.training import leave_room

ODD = ("yo! sup??? :-) whaddya want", "hehe ok ok!!! gimme a sec", "* one\n* two\n* three\n* GO!!!", "lol no way :-D")


@pytest.fixture
def disturbed(base_model: BaseModel) -> Iterator[BaseModel]:
    """The embedded model with an adapter under which neutral text reads much worse."""
    base_model.add_adapter("disturbed", LoraSettings(rank=4))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in base_model.adapter_parameters("disturbed"):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
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


def test_rehearsal_helps_texts_that_it_does_not_have(base_model: BaseModel) -> None:
    """The adapter imitates replies that are nothing like neutral text; the gate's texts are read again as before."""
    base_model.add_adapter("taught", LoraSettings(trained_layers=1 / 3, train_a=False))
    try:
        shown = demonstration_batch(base_model, [((Turn("user", "Hello?"),), Reply(text)) for text in ODD])
        optimiser = torch.optim.AdamW(base_model.adapter_parameters("taught"), lr=1e-3)
        for _ in range(10):
            optimiser.zero_grad()
            logprobs = evaluate_policy(base_model, "taught", shown, 1.0).logprobs
            demonstration_loss(logprobs, shown.response_mask).backward()
            optimiser.step()
        neutral = NeutralText(base_model)
        before, taught = neutral.worst_increase("taught"), demonstration_loss(logprobs, shown.response_mask)
        found = Rehearsal(base_model, "taught", RehearsalConfig()).hold()
        after = neutral.worst_increase("taught")
        assert before > 0.03 and after < before / 2, (before, after, found)
        logprobs = evaluate_policy(base_model, "taught", shown, 1.0).logprobs
        assert demonstration_loss(logprobs, shown.response_mask) < 1.1 * taught, "it still knows what it was taught"
    finally:
        base_model.remove_adapter("taught")


def test_one_that_does_not_stays_as_it_is(disturbed: BaseModel) -> None:
    before = lora.state_sha256(disturbed.adapter_state("disturbed"))
    rise = max(NeutralText(disturbed).perplexity_increases("disturbed"))
    assert leave_room(disturbed, "disturbed", 2 * rise) == 1.0
    assert lora.state_sha256(disturbed.adapter_state("disturbed")) == before


def test_a_change_of_which_nothing_is_left_is_none() -> None:
    """Whether an update changed anything is told by a hash, to which -0 is not 0."""
    state = {"q.lora_A.weight": torch.ones(1, 2), "q.lora_B.weight": torch.tensor([[-1.0], [2.0]])}
    new = {**state, "q.lora_B.weight": torch.zeros(2, 1)}
    assert lora.state_sha256(lora.scaled(state, 0.0)) == lora.state_sha256(new)
