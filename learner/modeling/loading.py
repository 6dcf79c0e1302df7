"""Loading a base model in 4 bits: from the embedded one, a folder, a GGUF file or the hub's cache."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import bitsandbytes as bnb
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from data.adapter_files import file_sha256
from data.errors import Invalid
from data.types import BaseSpec
from learner.modeling.base import BaseModel
from learner.modeling.embedded import EMBEDDED, convert_gguf, prepare_embedded
from learner.modeling.network import Network, is_supported
from learner.modeling.weights import Weights, dequantise, held_as, keep_gradients, packed_projections

# A template for models that bring none: the plainest that still marks who speaks.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def load_base(
    model: str,
    models_dir: Path,
    device: str = "auto",
    weights: Weights = "auto",
    trainable: bool = True,
    dtype: torch.dtype | None = None,
) -> BaseModel:
    """Load `model` (``embedded``, a folder, a GGUF file or a cached hub id) in 4 bits.

    With `trainable=False` the model only serves: adapters are loaded and removed without touching it.

    `dtype` is what a dequantised copy computes in: where none is given, what this CPU is quicker in (float32 for
    comparisons that must not round). Raises Invalid in one line where there is no such model or it is not a causal
    language model.
    """
    folder = _locate(model, models_dir)
    place = _device(device)
    transformers_logging.disable_progress_bar()
    quantisation = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        network = AutoModelForCausalLM.from_pretrained(
            folder,
            quantization_config=quantisation,
            dtype=torch.bfloat16,
            device_map={"": place} if place.type == "cuda" else None,
            trust_remote_code=False,
            use_safetensors=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise Invalid(f"The model {model!r} cannot be loaded: {reason}") from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    network.eval()
    network.requires_grad_(False)
    spec = _spec(model, folder, network, tokenizer, models_dir)
    form, dtype = held_as(weights, place, network, dtype)
    layers = {path: m for path, m in network.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    if form == "dequantised":
        dequantise(network, dtype)
    elif trainable:
        keep_gradients(network)
    decoding = None
    if is_supported(network.config):
        # On a CPU that only serves, packed weights beside the copy make single tokens quicker.
        quick = form == "dequantised" and not trainable and dtype == torch.bfloat16
        decoding = Network(network, packed_projections(layers) if quick else None, int8_output=quick)
    return BaseModel(network, tokenizer, spec, place, form, decoding, trainable)


def _locate(model: str, models_dir: Path) -> str:
    """A folder that transformers reads, or the hub id as given (looked up in the local cache only)."""
    if model == EMBEDDED:
        return str(prepare_embedded(models_dir))
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise Invalid(f"There is no model file {path}.")
        target = models_dir / f"{path.stem}-{file_sha256(path)[:8]}"
        if not (target / "config.json").exists():
            models_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
            convert_gguf(path.resolve(), target)
        return str(target)
    if path.is_dir():
        return str(path)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1:
        raise Invalid(
            f"There is no model {model!r}: name a folder, a .gguf file, a hub id (owner/name) or embedded."
        )
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model, local_files_only=True))
    except Exception as error:
        raise Invalid(
            f"The model {model!r} is not on this machine: fetch it first with `python launch.py fetch-model {model}`."
        ) from error


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise Invalid(f"There is no device {name!r}: choose auto, cpu or cuda.")
    if name == "cuda" and not torch.cuda.is_available():
        raise Invalid("No CUDA device was found: choose --device cpu, or check the driver with `nvidia-smi`.")
    return torch.device("cuda", 0) if name == "cuda" else torch.device("cpu")


def _spec(model: str, folder: str, network: nn.Module, tokenizer: Any, models_dir: Path) -> BaseSpec:
    shapes = {
        path: (module.out_features, module.in_features)
        for path, module in network.named_modules()
        if isinstance(module, bnb.nn.Linear4bit)
    }
    config = AutoConfig.from_pretrained(folder)
    return BaseSpec(
        id=model,
        revision=str(getattr(config, "_commit_hash", None) or ""),
        weights_sha256=_weights_sha256(Path(folder), models_dir),
        template_sha256=hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest(),
        linear_shapes=shapes,
    )


def _weights_sha256(folder: Path, models_dir: Path) -> str:
    """Over all safetensors files of the model; remembered by path, size and time, for it reads gigabytes."""
    files = sorted(folder.glob("*.safetensors"))
    stamp = [[str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns] for f in files]
    memory = models_dir / "hashes.json"
    try:
        known = json.loads(memory.read_text())
    except (OSError, ValueError):
        known = {}
    entry = known.get(str(folder.resolve()))
    if entry and entry["files"] == stamp:
        return str(entry["sha256"])
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file_sha256(file)}\n".encode())
    known[str(folder.resolve())] = {"files": stamp, "sha256": digest.hexdigest()}
    models_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    memory.write_text(json.dumps(known))
    return digest.hexdigest()
