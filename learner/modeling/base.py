"""One causal language model with its tokenizer, chat template and adapters; loading.py makes it.

A model that only serves holds its adapters as plain matrices beside the decoder's forward pass where that knows the
architecture (`network`): they come and go without a change to the model. Everywhere else PEFT holds them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import set_peft_model_state_dict
from torch import nn

from data.errors import Invalid
from data.types import BaseSpec, Turn
from learner.config import LoraSettings
from learner.modeling import lora
from learner.modeling.gradients import token_logprobs
from learner.modeling.network import LowerStates, Network
from learner.modeling.stacked import Adapter, ready_adapter


class LoadedAdapter(NamedTuple):
    """An adapter that was read from its files and fits the base it was read for."""

    state: lora.State
    settings: LoraSettings
    ready: Adapter | None  # its matrices for decoding, where they are held beside the model

    @property
    def size_bytes(self) -> int:
        held = list(self.state.values()) + [
            m for f in (self.ready.factors if self.ready else ()) if f is not None for m in f
        ]
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
        self._changed_from: dict[str, int] = {}  # the first block that the state an adapter was given changes
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
        self._changed_from[name] = self.layers
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
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for name in self._settings:
            for parameter in self.adapter_parameters(name):
                parameter.requires_grad_(True)
        self.model.eval()  # new layers come in training mode, where a base's own dropout would be on
        self.use(None)

    def set_adapter_state(self, name: str, state: lora.State) -> None:
        """Replace an adapter's weights. Invalid where they do not fit this base."""
        lora.check_fits(state, self._settings[name], self.spec)
        set_peft_model_state_dict(self._wrapped(), state, adapter_name=name)
        self._changed_from[name] = lora.first_changed_layer(state, self.layers)

    def first_layer(self, name: str) -> int:
        """The first block that this adapter changes or may come to change by training: below it all is the base's."""
        return min(self._changed_from[name], lora.first_trained_layer(self._settings[name], self.layers))

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
        scaling, first = self._settings[name].scaling, self.first_layer(name)
        return ready_adapter(self.adapter_state(name), scaling, self.network.projections, self.device, first)

    def adapter_parameters(self, name: str) -> list[nn.Parameter]:
        """The weights that training may change, in a fixed order."""
        return [
            parameter
            for key, parameter in self._wrapped().named_parameters()
            if "lora_" in key and f".{name}." in key and lora.is_trained(key, self._settings[name], self.layers)
        ]

    @cached_property
    def layers(self) -> int:
        """How many blocks the linear layers are in."""
        return 1 + max(lora.layer_of(path) for path in self.spec.linear_shapes)

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
            first = lora.first_changed_layer(state, self.layers)
            ready = ready_adapter(state, settings.scaling, self.network.projections, self.device, first)
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
        del self._changed_from[name]
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

    def packed_states(
        self, ids: torch.Tensor, lengths: Sequence[int], lower: LowerStates | None = None
    ) -> torch.Tensor:
        """Last hidden states `(T, H)` of rows of `lengths` tokens, one after another in `ids` `(T,)`, by `network`.

        Gradients flow to the active adapter. `lower`: what the blocks that it does not change have made of the tokens.
        """
        assert self.network is not None
        adapter = None
        if self._active is not None:
            scaling, first = self._settings[self._active].scaling, self.first_layer(self._active)
            if lower is not None and lower.layer > first:
                raise ValueError(f"the adapter begins at block {first}, below the states of block {lower.layer}")
            parameters = {
                key.replace(f".{self._active}.weight", ".weight"): parameter
                for key, parameter in self._wrapped().named_parameters()
                if key.endswith((f".lora_A.{self._active}.weight", f".lora_B.{self._active}.weight"))
            }
            adapter = ready_adapter(parameters, scaling, self.network.projections, self.device, first)
        return self.network.states(ids, lengths, adapter, lower)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Output layer over hidden states `(..., H)`: `(..., vocabulary)` in the output layer's dtype."""
        output = self.model.get_output_embeddings()
        return output(hidden.to(output.weight.dtype))

    def token_logprobs(self, states: torch.Tensor, tokens: torch.Tensor, temperature: float) -> torch.Tensor:
        """(N,) log-probabilities of `tokens` at `temperature` after last hidden states `(N, H)`."""
        output = self.model.get_output_embeddings()
        return token_logprobs(states, tokens, output.weight, output.bias, temperature)


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
