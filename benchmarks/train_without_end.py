"""A learner that never finishes: gradient steps of PPO's size on the embedded model, until it is ended.

`bench chat` starts it as a process of the learner's priority, to see what chat keeps of its speed meanwhile.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from learner.config import LoraSettings
from learner.modeling.loading import load_base
from learner.policy.sequences import batch_sequences, evaluate_policy


def main() -> None:
    base = load_base("embedded", Path(sys.argv[1]), device="cpu")
    base.add_adapter("policy", LoraSettings())
    parameters = base.adapter_parameters("policy")
    queries = torch.randint(100, 40_000, (8, 40)).tolist()
    batch = batch_sequences(queries, queries, base.pad_id, base.device)
    print("learning", flush=True)
    while True:
        loss = -evaluate_policy(base, "policy", batch, 1.0).logprobs.mean()
        torch.autograd.grad(loss, parameters)


if __name__ == "__main__":
    main()
