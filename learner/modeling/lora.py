"""LoRA adapters on a 4-bit base: made, read and written as plain PEFT, never merged into the base.

Source: Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models"; on every linear layer with a small rank:
"LoRA without regret". The reference policy is the same model with the adapter switched off.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from data.adapter_files import CONFIG, WEIGHTS
from data.errors import Invalid
from data.types import BaseSpec
from learner.config import LoraSettings

State = dict[str, torch.Tensor]


def peft_config(settings: LoraSettings, inference: bool = False) -> LoraConfig:
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,  # with dropout the ratio of the first minibatch would not be 1
        target_modules="all-linear",
        bias="none",
        task_type="CAUSAL_LM",
        inference_mode=inference,
    )


def layer_of(path: str) -> int:
    """The number of the block that a weight is in, the first number in its path; 0 where there is none."""
    return next((int(part) for part in path.split(".") if part.isdecimal()), 0)


def first_trained_layer(settings: LoraSettings, layers: int) -> int:
    """The first block whose weights training may change, on a model of `layers` blocks. The last one always is."""
    return min(layers - 1, layers - math.ceil(settings.trained_layers * layers))


def is_trained(path: str, settings: LoraSettings, layers: int) -> bool:
    """Whether training may change this weight of an adapter on a model of `layers` blocks."""
    return layer_of(path) >= first_trained_layer(settings, layers) and (settings.train_a or ".lora_B." in path)


def first_changed_layer(state: State, layers: int) -> int:
    """The first block of which the adapter changes anything; `layers` where it changes nothing."""
    return min((layer_of(key) for key, value in state.items() if ".lora_B." in key and value.any()), default=layers)


def adapter_state(model: nn.Module, name: str) -> State:
    """A copy of one adapter's weights on the CPU, keyed as PEFT writes them to a file."""
    state = get_peft_model_state_dict(model, adapter_name=name)
    return {key: value.detach().to("cpu", torch.float32).clone().contiguous() for key, value in state.items()}


def state_sha256(state: State) -> str:
    """A hash over names and values: equal before and after an update means that nothing was learnt."""
    digest = hashlib.sha256()
    for key in sorted(state):
        digest.update(key.encode())
        digest.update(state[key].contiguous().numpy().tobytes())
    return digest.hexdigest()


def scaled(state: State, share: float) -> State:
    """The adapter whose change of every layer, B A x, is `share` of this one's."""
    # + 0.0: a share of 0 leaves 0 and not -0, which is another value to a hash
    return {key: value * share + 0.0 if ".lora_B." in key else value for key, value in state.items()}


def share_for(wanted: float, found: float) -> float:
    """The share of a change that makes `wanted` of what was `found` with all of it.

    Of KL or a rise of perplexity: both grow about with the square of the change.
    """
    return math.sqrt(wanted / found)


def check_fits(state: State, settings: LoraSettings, spec: BaseSpec) -> None:
    """Invalid unless the adapter has both matrices of its rank for every linear layer of the base, and no others."""
    expected = {}
    for path, (out_features, in_features) in spec.linear_shapes.items():
        expected[f"base_model.model.{path}.lora_A.weight"] = (settings.rank, in_features)
        expected[f"base_model.model.{path}.lora_B.weight"] = (out_features, settings.rank)
    if expected != {key: tuple(value.shape) for key, value in state.items()}:
        raise Invalid(f"An adapter does not fit the base model {spec.id}: its layers or shapes differ.")


def save_adapter(
    folder: Path, state: State, settings: LoraSettings, base_id: str, targets: list[str]
) -> None:
    """Write an adapter as `PeftModel.from_pretrained` reads it. `targets` are the names of the layers it sits on."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    config = peft_config(settings, inference=True).to_dict()
    config |= {"base_model_name_or_path": base_id, "target_modules": sorted(targets), "peft_type": "LORA"}
    text = json.dumps(
        config, indent=2, default=lambda value: sorted(value) if isinstance(value, set) else str(value)
    )
    (folder / CONFIG).write_text(text + "\n")


def read_adapter(folder: Path) -> tuple[State, LoraSettings]:
    """An adapter's weights and settings; Invalid in one line where the folder holds none or broken ones.

    Only plain numbers are taken from the configuration: a PEFT configuration could name code to import.
    """
    try:
        state = load_file(folder / WEIGHTS)
        config = json.loads((folder / CONFIG).read_text())
        settings = LoraSettings(rank=int(config["r"]), alpha=float(config["lora_alpha"]))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise Invalid(f"The adapter in {folder} cannot be read: {error}") from error
    if not state:
        raise Invalid(f"The adapter in {folder} holds no weights.")
    broken = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if broken:
        raise Invalid(f"The adapter in {folder} holds values that are not finite (in {broken[0]}).")
    return state, settings
