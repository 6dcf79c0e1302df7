"""Run by the Python of an environment that has TRL 1.16: load exported rows and take one training step with each
trainer. Prints {trainer: whether the step changed the weights}."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from datasets import load_dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl import (
    DPOConfig,
    DPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    SFTConfig,
    SFTTrainer,
)  # fmt: skip

TRAINERS = {
    "DPOTrainer": (DPOTrainer, DPOConfig, "preference"),
    "RewardTrainer": (RewardTrainer, RewardConfig, "preference"),
    "KTOTrainer": (KTOTrainer, KTOConfig, "unpaired"),
    "SFTTrainer": (SFTTrainer, SFTConfig, "demonstrations"),
}


def step_changes_weights(name: str, model_folder: Path, rows: Path, out: Path) -> bool:
    trainer_class, config_class, _ = TRAINERS[name]
    torch.manual_seed(0)
    if name == "RewardTrainer":
        model = AutoModelForSequenceClassification.from_pretrained(model_folder, dtype=torch.float32, num_labels=1)
    else:
        model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model.config.pad_token_id = tokenizer.pad_token_id
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = config_class(
        output_dir=str(out / name), max_steps=1, per_device_train_batch_size=2, learning_rate=0.1, report_to="none",
        save_strategy="no", use_cpu=True, max_length=128, bf16=False, lr_scheduler_type="constant",
    )  # fmt: skip
    dataset = load_dataset("json", data_files=str(rows), split="train", cache_dir=str(out / "cache"))
    trainer_class(model=model, args=config, train_dataset=dataset, processing_class=tokenizer).train()
    return any(not torch.equal(before[key], value) for key, value in model.state_dict().items())


if __name__ == "__main__":
    model_folder, rows_folder, out = (Path(argument) for argument in sys.argv[1:4])
    changed = {
        name: step_changes_weights(name, model_folder, rows_folder / f"{format}.jsonl", out)
        for name, (_, _, format) in TRAINERS.items()
    }
    print(json.dumps(changed))
