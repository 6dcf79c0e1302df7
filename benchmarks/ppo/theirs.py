"""TRL's side of `bench ppo`, run in its own environment: the same setting through `trl.experimental.ppo`.

As TRL documents it: the policy in 4 bits with a PEFT configuration, the reference by switching the adapter off, a value
model of its own (in 4 bits too, its backbone frozen, so that it is the smallest that TRL can do with), a reward model
that is a module with `base_model_prefix` and `score`.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from types import SimpleNamespace
from typing import Any

import torch
from bitsandbytes.nn import Linear4bit
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

from benchmarks.ppo.setting import Setting, peak_mb, reward
from learner.config import LoraSettings
from learner.modeling.lora import first_trained_layer, is_trained
from learner.modeling.weights import quickest_dtype

PAD = "<|endoftext|>"  # TRL masks whatever is the padding token, so that it must not be the end of a turn
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
ANSWER = "<|im_start|>assistant\n"


class FeatureReward(torch.nn.Module):
    """`score(backbone(...).hidden_states[-1])` is the reward of each row's text, at every position."""

    base_model_prefix = "backbone"

    def __init__(self, tokenizer: Any) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self.score = torch.nn.Identity()

    def backbone(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **more: object) -> SimpleNamespace:
        """(B, L) ids -> hidden states (B, L, 1)."""
        values = []
        for ids, mask in zip(input_ids, attention_mask, strict=True):
            text = self._tokenizer.decode(ids[mask.bool()], skip_special_tokens=False).rpartition(ANSWER)[2]
            values.append(reward(text.partition(self._tokenizer.eos_token)[0]))
        states = torch.tensor(values)[:, None, None].expand(-1, input_ids.shape[1], 1)
        return SimpleNamespace(hidden_states=[states])


class KeepsHistory(TrainerCallback):
    def __init__(self) -> None:
        self.history: list[dict[str, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if logs and "objective/scores" in logs:
            self.history.append(dict(logs))


def main() -> None:
    imports_mb = peak_mb()
    asked = json.load(sys.stdin)
    setting = Setting(**asked["setting"])
    torch.manual_seed(setting.seed)
    tokenizer = AutoTokenizer.from_pretrained(asked["model"], padding_side="left")
    tokenizer.pad_token = PAD
    dtype = quickest_dtype(torch.cpu.get_capabilities())  # what Attune computes in here
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    loading = {"quantization_config": four_bit, "dtype": dtype}
    policy = AutoModelForCausalLM.from_pretrained(asked["model"], **loading)
    value = AutoModelForSequenceClassification.from_pretrained(asked["model"], num_labels=1, **loading)
    for model in (policy, value):
        for module in model.modules():
            if isinstance(module, Linear4bit):
                module.support_avx512bf16_for_cpu = False  # else no gradient flows through it on some CPUs
    for name, parameter in value.named_parameters():
        parameter.requires_grad_(name.startswith("score"))
    keeps = KeepsHistory()
    lora = LoraSettings(setting.lora_rank, setting.lora_alpha, setting.trained_layers, setting.train_a)
    layers = policy.config.num_hidden_layers
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        trainer = PPOTrainer(
            args=arguments(setting, folder),
            processing_class=tokenizer,
            model=policy,
            ref_model=None,
            reward_model=FeatureReward(tokenizer),
            value_model=value,
            train_dataset=prompts(asked["prompts"], setting, tokenizer),
            eval_dataset=prompts(asked["prompts"][:1], setting, tokenizer),
            peft_config=LoraConfig(
                r=setting.lora_rank, lora_alpha=setting.lora_alpha, lora_dropout=0.0, task_type="CAUSAL_LM",
                target_modules=list(LINEAR), layers_to_transform=list(range(first_trained_layer(lora, layers), layers)),
            ),
            callbacks=[keeps],
        )  # fmt: skip
        for name, parameter in policy.named_parameters():  # PEFT puts its layers into the model that it was given
            if ".lora_" in name:
                parameter.requires_grad_(is_trained(name, lora, layers))
        trained = {name.partition("lora_")[2][0] for name, p in policy.named_parameters() if p.requires_grad}
        assert trained == ({"A", "B"} if setting.train_a else {"B"}), trained
        began = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - began
    scores = [entry["objective/scores"] for entry in keeps.history]
    print(
        json.dumps({
            "samples_per_s": setting.samples * setting.iterations / seconds,
            "peak_mb": peak_mb() - imports_mb,
            "reward_first": scores[0],
            "reward_last": scores[-1],
            "kl_last": keeps.history[-1]["objective/kl"],
        })
    )  # fmt: skip


def arguments(setting: Setting, folder: str) -> PPOConfig:
    # TRL accumulates gradients over as many micro-batches as its batch of rollouts has, whatever its number of
    # minibatches is: one step an epoch. So an epoch is one minibatch here, on both sides.
    assert setting.minibatch_size == setting.samples, setting
    return PPOConfig(
        output_dir=folder, report_to="none", use_cpu=not torch.cuda.is_available(), bf16=False, seed=setting.seed,
        per_device_train_batch_size=setting.micro_batch_size,
        gradient_accumulation_steps=setting.samples // setting.micro_batch_size,
        num_mini_batches=1, num_ppo_epochs=setting.epochs,
        total_episodes=setting.samples * setting.iterations, local_rollout_forward_batch_size=setting.samples,
        response_length=setting.response_tokens, temperature=setting.temperature, stop_token="eos",
        missing_eos_penalty=setting.missing_eos_penalty, learning_rate=setting.learning_rate,
        lr_scheduler_type="constant", adam_epsilon=setting.adam_epsilon, max_grad_norm=setting.max_grad_norm,
        cliprange=setting.clip_range, cliprange_value=setting.value_clip_range, vf_coef=setting.vf_coef,
        gamma=setting.gamma, lam=setting.lam, kl_coef=setting.kl_coef, num_sample_generations=0, save_strategy="no",
        gradient_checkpointing=False, logging_steps=1,
    )  # fmt: skip


def prompts(texts: list[str], setting: Setting, tokenizer: Any) -> Dataset:
    """As many as are used, each as often as it is answered."""
    used = [texts[i % len(texts)] for i in range(setting.iterations * setting.prompts_per_iteration)]
    rows = [
        tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=True
        )["input_ids"]
        for text in used
        for _ in range(setting.replies_per_prompt)
    ]
    return Dataset.from_dict({"input_ids": rows})


if __name__ == "__main__":
    main()
