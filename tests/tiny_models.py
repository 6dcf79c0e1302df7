"""Tiny random models of several architectures, saved as folders that `load_base` reads like any other model."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GemmaConfig,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
)

SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
    "initializer_range": 0.3,  # wide, so that a random model has opinions and tests can see differences
}
ARCHITECTURES = {"llama": LlamaConfig, "qwen": Qwen2Config}
# For the decoder: the other families that it computes itself, and one that it leaves to transformers.
MORE_ARCHITECTURES = {"qwen3": Qwen3Config, "mistral": MistralConfig, "gemma": GemmaConfig}


def save_tiny_model(architecture: str, folder: Path, tokenizer_folder: Path) -> Path:
    """A random model of the embedded model's vocabulary; the same weights every time."""
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    extra = {"mistral": {"sliding_window": None}}.get(architecture, {})
    config = (ARCHITECTURES | MORE_ARCHITECTURES)[architecture](
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        head_dim=16,
        **SIZES,
        **extra,
    )
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
