"""What must hold on a GPU too: `python launch.py test -m gpu tests/gpu`. Nothing of it runs where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data.home import Home
from learner.config import LoraSettings, PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.checks import gradient_check
from learner.modeling.decode import SamplingSettings
from learner.modeling.loading import load_base
from learner.policy.distance import kl_to_base
from learner.policy.rollouts import sample_replies
from learner.policy.sequences import batch_sequences, evaluate_policy
from tests.loop import test_closed_loop as loop
from tests.loop.test_closed_loop import launch as launch  # the fixture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture
def on_gpu(home_with_model: Callable[[str], Home]) -> BaseModel:
    return load_base("embedded", home_with_model("gpu").models_dir, device="cuda", trainable=True)


def test_the_weights_stay_in_4_bits_and_gradients_through_them_are_right(on_gpu: BaseModel) -> None:
    assert on_gpu.held_as == "4bit" and on_gpu.device.type == "cuda"
    assert gradient_check(on_gpu.device.type) < 0.02


def test_sampler_and_trainer_agree_and_a_new_adapter_is_the_reference(on_gpu: BaseModel) -> None:
    on_gpu.add_adapter("policy", LoraSettings())
    queries = [on_gpu.encode_reply("Tell me of the sea.", finished=False)] * 4
    rollouts = sample_replies(on_gpu, "policy", queries, SamplingSettings(0.7, 1.0, 32), range(4))
    batch = batch_sequences(queries, [r.response for r in rollouts], on_gpu.pad_id, on_gpu.device)
    with torch.no_grad():
        trained = evaluate_policy(on_gpu, "policy", batch, 0.7).logprobs[batch.response_mask].cpu()
    sampled = torch.tensor([logprob for r in rollouts for logprob in r.sampler_logprobs])
    assert (trained - sampled).abs().mean() < PPOConfig().max_sampler_gap
    assert kl_to_base(on_gpu, "policy", rollouts, 0.7) == pytest.approx(0.0, abs=1e-3)


def test_the_closed_loop_learns_on_the_gpu(launch: Callable[..., loop.Launched], tmp_path: Path) -> None:
    """The processes choose the GPU by themselves (`--device auto`)."""
    loop.test_the_loop_learns_and_every_way_back_works(loop.SMALL, launch, tmp_path)
