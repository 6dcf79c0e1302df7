"""The forward pass of training and its gradients, against transformers, PEFT and torch's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from data.types import Turn
from learner.config import LoraSettings
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.modeling.embedded import EMBEDDED_FOLDER
from learner.modeling.loading import load_base
from learner.modeling.weights import Weights
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    evaluate_policy,
    select,
    with_lower_states,
)
from tests.modeling.reference import transformers_logprobs
from tests.tiny_models import ARCHITECTURES, MORE_ARCHITECTURES, save_tiny_model

TEXTS = {"Hello!": "Hi, what can I do for you today?", "Tell me about the sea.": "No.", "Why?": "Because it rains."}
RANDOM = torch.Generator().manual_seed(3)


def loaded(name: str, weights: Weights, dtype: torch.dtype, models_dir: Path, folder: Path) -> BaseModel:
    save_tiny_model(name, folder / name, models_dir / EMBEDDED_FOLDER)
    base = load_base(str(folder / name), folder / "models", device="cpu", weights=weights, dtype=dtype)
    base.add_adapter("policy", LoraSettings(rank=4, alpha=8.0))
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():  # B is zero in a new one, and A then has no gradient
        for parameter in base.adapter_parameters("policy"):
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return base


def some_batch(base: BaseModel) -> SequenceBatch:
    queries = [base.encode_chat([Turn("user", text)]) for text in TEXTS]
    return batch_sequences(queries, [base.encode_reply(text) for text in TEXTS.values()], base.pad_id, base.device)


def gradient(base: BaseModel, logprobs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Of a sum in which every token has its own weight, so that no two errors cancel."""
    parameters = base.adapter_parameters("policy")
    found = torch.autograd.grad((logprobs * weights[:, : logprobs.shape[1]]).sum(), parameters)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize("name", sorted(ARCHITECTURES | MORE_ARCHITECTURES))
def test_gradients_are_those_of_transformers_and_peft(name: str, models_dir: Path, tmp_path: Path) -> None:
    base = loaded(name, "dequantised", torch.float32, models_dir, tmp_path)
    batch, weights = some_batch(base), torch.randn(3, 64, generator=RANDOM)
    ours = evaluate_policy(base, "policy", batch, 0.7).logprobs
    theirs = transformers_logprobs(base, "policy", batch, 0.7)
    assert torch.allclose(ours, theirs, atol=1e-4)
    found, expected = gradient(base, ours, weights), gradient(base, theirs, weights)
    assert expected.norm() > 1
    assert (found - expected).norm() < 1e-4 * expected.norm()
    reference = transformers_logprobs(base, None, batch, 0.7)
    assert torch.allclose(evaluate_policy(base, None, batch, 0.7).logprobs, reference, atol=1e-4)


@pytest.mark.parametrize("weights", ["4bit", "dequantised"])
@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_in_bfloat16_gradients_are_nearer_to_the_exact_ones_than_those_of_transformers(
    name: str, weights: Weights, models_dir: Path, tmp_path: Path
) -> None:
    exact = loaded(name, "dequantised", torch.float32, models_dir, tmp_path / "exact")
    rounded = loaded(name, weights, torch.bfloat16, models_dir, tmp_path / "rounded")
    batch, tokens = some_batch(exact), torch.randn(3, 64, generator=RANDOM)
    expected = gradient(exact, transformers_logprobs(exact, "policy", batch, 0.7), tokens)
    ours = gradient(rounded, evaluate_policy(rounded, "policy", batch, 0.7).logprobs, tokens)
    theirs = gradient(rounded, transformers_logprobs(rounded, "policy", batch, 0.7), tokens)
    assert (ours - expected).norm() < (theirs - expected).norm() < 0.2 * expected.norm()


def test_rows_do_not_see_each_other(tiny_base: BaseModel) -> None:
    batch = some_batch(tiny_base)
    together = evaluate_policy(tiny_base, None, batch, 1.0).logprobs
    query, reply = list(TEXTS.items())[1]
    ids = tiny_base.encode_chat([Turn("user", query)])
    alone = batch_sequences([ids], [tiny_base.encode_reply(reply)], tiny_base.pad_id, tiny_base.device)
    found = evaluate_policy(tiny_base, None, alone, 1.0).logprobs[0]
    assert torch.allclose(together[1, : len(found)], found, atol=1e-5)


def test_part_of_an_adapter_is_trained_as_in_the_whole(models_dir: Path, tmp_path: Path) -> None:
    """B of the last layers alone: those weights, the gradients they have in the whole, and none for any other."""
    base = loaded("llama", "dequantised", torch.float32, models_dir, tmp_path)
    batch, weights, state = some_batch(base), torch.randn(3, 64, generator=RANDOM), base.adapter_state("policy")
    found = []
    for settings in (LoraSettings(4, 8.0), LoraSettings(4, 8.0, trained_layers=0.5, train_a=False)):
        base.remove_adapter("policy")
        base.add_adapter("policy", settings, state)
        logprobs = evaluate_policy(base, "policy", batch, 0.7).logprobs
        (logprobs * weights[:, : logprobs.shape[1]]).sum().backward()
        named = {key: p for key, p in base.model.named_parameters() if ".lora_" in key}
        found.append({key: p.grad for key, p in named.items() if p.grad is not None})
        assert {id(p) for p in base.adapter_parameters("policy")} == {id(named[key]) for key in found[-1]}
    whole, part = found
    first = base.layers / 2
    late = {key for key in whole if ".lora_B." in key and int(key.split(".layers.")[1].split(".")[0]) >= first}
    assert set(part) == late and 0 < len(late) < len(whole) / 2
    for key in late:
        assert torch.allclose(part[key], whole[key], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES | MORE_ARCHITECTURES))
def test_blocks_below_the_adapter_need_computing_only_once(name: str, models_dir: Path, tmp_path: Path) -> None:
    base = loaded(name, "dequantised", torch.float32, models_dir, tmp_path)
    base.add_adapter("late", LoraSettings(4, 8.0, trained_layers=0.5, train_a=False))
    late = base.adapter_parameters("late")
    plain, weights = some_batch(base), torch.randn(3, 64, generator=RANDOM)
    batch = with_lower_states(base, "late", plain, rows_at_once=2)
    assert (batch.lower is None) == (base.network is None) == (name == "gemma")
    assert batch.lower is None or batch.lower.layer == base.layers / 2 == base.first_layer("late")
    order = torch.tensor([2, 0])  # other company than they were computed in, and shorter
    for step in range(2):
        found, expected = [], []
        for values, rows in ((expected, select(plain, order)), (found, select(batch, order))):
            logprobs = evaluate_policy(base, "late", rows, 0.7).logprobs
            values += [evaluate_policy(base, None, rows, 0.7).logprobs, logprobs]
            values += torch.autograd.grad((logprobs * weights[:2, : logprobs.shape[1]]).sum(), late)
        assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-5) for a, b in zip(found, expected, strict=True))
        assert all(bool(part.any()) for part in expected[2:])
        assert bool(torch.allclose(expected[0], expected[1])) == (step == 0)
        with torch.no_grad():  # B was zero
            for parameter in late:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=RANDOM))
    if batch.lower is not None:  # the other adapter changes the first blocks too
        assert with_lower_states(base, "policy", plain, rows_at_once=2).lower is None
        with pytest.raises(ValueError, match="begins at block 0"):
            evaluate_policy(base, "policy", batch, 0.7)


def test_an_adapter_begins_where_it_changes_anything(models_dir: Path, tmp_path: Path) -> None:
    """Whatever may be trained of it: a state that came from elsewhere can have changed earlier blocks."""
    base = loaded("llama", "dequantised", torch.float32, models_dir, tmp_path)
    state, late = base.adapter_state("policy"), LoraSettings(4, 8.0, trained_layers=0.5)
    assert lora.first_changed_layer(state, base.layers) == 0
    assert lora.first_changed_layer(lora.scaled(state, 0.0), base.layers) == base.layers
    base.add_adapter("other", late, state)
    assert base.first_layer("other") == 0
    base.set_adapter_state("other", lora.scaled(state, 0.0))
    assert base.first_layer("other") == base.layers / 2
    last = {key: value * (lora.layer_of(key) == base.layers - 1) for key, value in state.items()}
    lora.save_adapter(tmp_path / "last", last, late, base.spec.id, base.adapter_targets())
    base.load_adapter("whole", tmp_path / "last")  # all of it may be trained
    assert base.first_layer("whole") == 0
    assert lora.first_changed_layer(last, base.layers) == base.layers - 1


def test_whatever_the_share_the_last_layer_is_trained() -> None:
    settings = LoraSettings(trained_layers=0.0)
    paths = [f"base_model.model.model.layers.{i}.self_attn.q_proj.lora_A.weight" for i in range(4)]
    assert [lora.is_trained(path, settings, 4) for path in paths] == [False, False, False, True]
    assert all(lora.is_trained(path, LoraSettings(), 4) for path in paths)
    third = LoraSettings(trained_layers=1 / 3)
    assert [lora.is_trained(path, third, 3) for path in paths[:3]] == [False, False, True]
