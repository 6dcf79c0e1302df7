"""One causal language model in 4 bits, with its tokenizer, chat template and adapters.

The weights are quantised with bitsandbytes (NF4, double quantisation, compute in bfloat16). How they are held then:

- ``4bit``: packed, as quantised. Always so on CUDA.
- ``dequantised``: on a CPU, a bfloat16 copy made *from the NF4 weights*: the same function, quicker to train, more
  memory (two bytes a weight instead of about half a byte).

On a CPU with AVX512-BF16, bitsandbytes 0.50.2 repacks each layer at its first forward pass in eval mode, and from
then on gradients do not flow through it, silently. `load_base` switches that off on every layer unless the model
only serves (`trainable=False`); `learner.modeling.checks.gradient_check` measures it.

A model that only serves holds its adapters as plain matrices beside the decoder's forward pass where that knows the
architecture (`network`): they come and go without a change to the model. Everywhere else PEFT holds them.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import bitsandbytes as bnb
import psutil
import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import set_peft_model_state_dict
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from data.adapter_files import file_sha256
from data.errors import Invalid
from data.types import BaseSpec, Turn
from learner.config import LoraSettings
from learner.modeling import lora
from learner.modeling.embedded import EMBEDDED, convert_gguf, prepare_embedded
from learner.modeling.network import JOINED, Network, PackedProjections, is_supported
from learner.modeling.projections import can_pack, pack
from learner.modeling.stacked import Adapter, ready_adapter

Weights = Literal["auto", "4bit", "dequantised"]

# A template for models that bring none: the plainest that still marks who speaks.
PLAIN_TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


class LoadedAdapter(NamedTuple):
    """An adapter that was read from its files and fits the base it was read for."""

    state: lora.State
    settings: LoraSettings
    ready: Adapter | None  # its matrices for decoding, where they are held beside the model

    @property
    def size_bytes(self) -> int:
        held = list(self.state.values()) + ([m for f in self.ready.factors for m in f] if self.ready else [])
        return sum(matrix.numel() * matrix.element_size() for matrix in held)


class BaseModel:
    """A loaded base model. Adapters are added beside it and never merged into it.

    Not thread-safe: whoever loaded it uses it from one thread.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        spec: BaseSpec,
        device: torch.device,
        held_as: str,
        network: Network | None,
        trainable: bool,
    ) -> None:
        self.model: nn.Module = model
        self.network = network  # the decoder's own forward pass; None where transformers' is used
        self.tokenizer = tokenizer
        self.spec = spec
        self.device = device
        self.held_as = held_as
        self.end_of_turn_id = _end_of_turn_id(tokenizer)
        self.eos_ids = _eos_ids(model, tokenizer) | {self.end_of_turn_id}
        self.pad_id: int = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else min(self.eos_ids)
        self.context_length: int = int(getattr(model.config, "max_position_embeddings", 2048))
        self._peft: PeftModel | None = None
        self._settings: dict[str, LoraSettings] = {}
        self._beside = network is not None and not trainable
        self._served: dict[str, LoadedAdapter] = {}
        self._active: str | None = None
        self._tuner_layers: list[BaseTunerLayer] = []

    # --- text and tokens ---

    def encode_chat(self, turns: Sequence[Turn]) -> list[int]:
        """Token ids of a conversation in the model's own chat template, ready for the assistant to answer."""
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        encoded = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        return list(encoded["input_ids"])

    def encode_reply(self, text: str, finished: bool = True) -> list[int]:
        """Token ids of a reply; ends with the end-of-turn token where the reply ended by itself."""
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        return [*ids, self.end_of_turn_id] if finished else ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    # --- adapters ---

    def _wrapped(self) -> PeftModel:
        if self._peft is None:
            raise Invalid("There is no adapter on this model.")
        return self._peft

    def adapter_names(self) -> set[str]:
        return {*self._settings, *self._served}

    def add_adapter(
        self, name: str, settings: LoraSettings, state: lora.State | None = None, seed: int = 0
    ) -> None:
        """Add an adapter; without `state` it is new: B = 0, so that it changes nothing yet, and A drawn with `seed`."""
        config = lora.peft_config(settings)
        with warnings.catch_warnings(), torch.random.fork_rng():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            if self._peft is None:
                self._peft = get_peft_model(self.model, config, adapter_name=name)
            else:
                self._peft.add_adapter(name, config)
        self._settings[name] = settings
        self._adapters_changed()
        if state is not None:
            try:
                self.set_adapter_state(name, state)
            except Invalid:
                self.remove_adapter(name)
                raise

    def _adapters_changed(self) -> None:
        """PEFT has just changed what is active and what requires gradients."""
        self._tuner_layers = [m for m in self.model.modules() if isinstance(m, BaseTunerLayer)]
        for key, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in key)
        self.model.eval()  # new layers come in training mode, where a base's own dropout would be on
        self.use(None)

    def set_adapter_state(self, name: str, state: lora.State) -> None:
        """Replace an adapter's weights. Invalid where they do not fit this base."""
        lora.check_fits(state, self._settings[name], self.spec)
        set_peft_model_state_dict(self._wrapped(), state, adapter_name=name)

    def adapter_state(self, name: str) -> lora.State:
        if name in self._served:
            return self._served[name].state
        return lora.adapter_state(self._wrapped(), name)

    def ready_adapter(self, name: str) -> Adapter:
        """The adapter's matrices for `network`, as they are now. Invalid where there is no such adapter."""
        served = self._served.get(name)
        if served is not None and served.ready is not None:
            return served.ready
        if name not in self._settings or self.network is None:
            raise Invalid(f"There is no adapter {name!r} on this model.")
        scaling = self._settings[name].scaling
        return ready_adapter(self.adapter_state(name), scaling, self.network.projections, self.device)

    def adapter_parameters(self, name: str) -> list[nn.Parameter]:
        """The weights that training may change, in a fixed order."""
        marked = f".{name}."
        return [p for key, p in self._wrapped().named_parameters() if "lora_" in key and marked in key]

    def adapter_targets(self) -> list[str]:
        """Names of the linear layers that an adapter sits on, as PEFT's configuration lists them."""
        return sorted({path.rsplit(".", 1)[-1] for path in self.spec.linear_shapes})

    def load_adapter(self, name: str, folder: Path) -> None:
        """Load an adapter from a folder. Invalid in one line where it is broken or made for another base."""
        self.install_adapter(name, self.read_adapter(folder))

    def read_adapter(self, folder: Path) -> LoadedAdapter:
        """Read an adapter without changing anything: for any thread, while others use the model. Raises Invalid."""
        state, settings = lora.read_adapter(folder)
        lora.check_fits(state, settings, self.spec)
        ready = None
        if self._beside and self.network is not None:
            ready = ready_adapter(state, settings.scaling, self.network.projections, self.device)
        return LoadedAdapter(state, settings, ready)

    def install_adapter(self, name: str, loaded: LoadedAdapter) -> None:
        """Add what `read_adapter` gave; a matter of microseconds where adapters are held beside the model."""
        if loaded.ready is not None:
            self._served[name] = loaded
        else:
            self.add_adapter(name, loaded.settings, loaded.state)

    def remove_adapter(self, name: str) -> None:
        if self._served.pop(name, None) is not None:
            return
        if self._settings.pop(name, None) is None:
            return
        if self._settings:
            self._wrapped().delete_adapter(name)
        else:  # PEFT keeps at least one adapter: the wrapper goes with the last one
            self.model = self._wrapped().unload()
            self._peft = None
        self._adapters_changed()

    def use(self, name: str | None) -> None:
        """Make one adapter (None: the plain base) the active one for the following forward passes.

        PEFT's own switches also clear `requires_grad` of every adapter that they switch off. A policy whose reference
        is the same model with the adapter off would silently stop learning, so the layers are switched directly.
        """
        if name is not None and name not in self._settings:
            raise Invalid(f"There is no adapter {name!r} on this model.")
        for layer in self._tuner_layers:
            layer._disable_adapters = name is None
            if name is not None:
                layer._active_adapter = [name]
        self._active = name

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        before = self._active
        self.use(name)
        try:
            yield
        finally:
            self.use(before)

    # --- forward passes ---

    def hidden_states(self, **inputs: Any) -> Any:
        """Last hidden states (and cache) without the output layer: callers pay for logits only where they need them."""
        return _decoder_of(self.model)(**inputs)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Output layer over hidden states `(..., H)`: `(..., vocabulary)` in the output layer's dtype."""
        return self.model.get_output_embeddings()(hidden)


def load_base(
    model: str,
    models_dir: Path,
    device: str = "auto",
    weights: Weights = "auto",
    trainable: bool = True,
    dtype: torch.dtype = torch.bfloat16,
) -> BaseModel:
    """Load `model` (``embedded``, a folder, a GGUF file or a cached hub id) in 4 bits.

    With `trainable=False` the model only serves: adapters are loaded and removed without touching it.

    `dtype` is what a dequantised copy computes in (float32 for comparisons that must not round). Raises Invalid in
    one line where there is no such model or it is not a causal language model.
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
    held_as = _held_as(weights, place, network)
    layers = {path: m for path, m in network.named_modules() if isinstance(m, bnb.nn.Linear4bit)}
    if held_as == "dequantised":
        dequantise(network, dtype)
    elif trainable:
        keep_gradients(network)
    decoding = None
    if is_supported(network.config):
        # On a CPU that only serves, packed weights beside the copy make single tokens quicker.
        quick = held_as == "dequantised" and not trainable and dtype == torch.bfloat16
        decoding = Network(network, _packed(layers) if quick else None, int8_output=quick)
    return BaseModel(network, tokenizer, spec, place, held_as, decoding, trainable)


def _packed(layers: dict[str, bnb.nn.Linear4bit]) -> PackedProjections:
    """Packed weights of the projections for which this CPU has a kernel; uses up the 4-bit layers."""
    parents = dict.fromkeys(path.rpartition(".")[0] for path in layers)
    groups = [tuple(f"{parent}.{leaf}" for leaf in joined) for parent in parents for joined in JOINED]
    return {
        group: pack([layers[path] for path in group])
        for group in groups
        if all(path in layers for path in group) and can_pack([layers[path] for path in group])
    }


def keep_gradients(network: nn.Module) -> None:
    """Keep bitsandbytes from repacking layers on a CPU: gradients do not flow through its packed kernel."""
    for module in network.modules():
        if isinstance(module, bnb.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def dequantise(network: nn.Module, dtype: torch.dtype = torch.bfloat16) -> None:
    """Replace every 4-bit layer by a plain one that holds the same NF4 values in `dtype`."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, bnb.nn.Linear4bit):
                setattr(parent, name, dequantised_layer(layer, dtype))
    network.is_quantized = False
    network.is_loaded_in_4bit = False
    network.quantization_method = None
    if hasattr(network.config, "quantization_config"):
        del network.config.quantization_config
    network.to(dtype)


def dequantised_layer(layer: bnb.nn.Linear4bit, dtype: torch.dtype) -> nn.Linear:
    values = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)
    plain = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
    plain.weight = nn.Parameter(values, requires_grad=False)
    if layer.bias is not None:
        plain.bias = nn.Parameter(layer.bias.data.to(dtype), requires_grad=False)
    return plain


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


def _held_as(weights: Weights, device: torch.device, network: nn.Module) -> str:
    if device.type == "cuda" or weights == "4bit":
        return "4bit"
    if weights == "dequantised":
        return "dequantised"
    count = sum(m.in_features * m.out_features for m in network.modules() if isinstance(m, bnb.nn.Linear4bit))
    # Two bytes a weight, and as much again left free for the learner's own copy.
    return "dequantised" if psutil.virtual_memory().available > 4 * count + 2**30 else "4bit"


def _end_of_turn_id(tokenizer: Any) -> int:
    """The token with which the chat template closes a reply; not every model's end of turn is its end of text."""
    reply = "reply"
    turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": reply}]
    tail = tokenizer.apply_chat_template(turns, tokenize=False).rpartition(reply)[2]
    for token_id in tokenizer(tail, add_special_tokens=False)["input_ids"]:
        if token_id in tokenizer.added_tokens_decoder:
            return int(token_id)
    if tokenizer.eos_token_id is None:
        raise Invalid(
            "The model's tokenizer has no end-of-text token, and its chat template closes no reply."
        )
    return int(tokenizer.eos_token_id)


def _eos_ids(model: nn.Module, tokenizer: Any) -> set[int]:
    """Every token that ends a reply: the configured ones (a model may have several) and the tokenizer's own."""
    configured = model.generation_config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured])
    ids.add(tokenizer.eos_token_id)
    return {int(i) for i in ids if i is not None}


def _decoder_of(model: nn.Module) -> nn.Module:
    return model.get_decoder() if hasattr(model, "get_decoder") else model.base_model


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
