"""What transformers and PEFT say, with torch's own gradients: the reference for our forward passes."""

from __future__ import annotations

import torch

from learner.modeling.base import BaseModel
from learner.policy.sequences import SequenceBatch


def transformers_logprobs(
    base: BaseModel, adapter: str | None, batch: SequenceBatch, temperature: float
) -> torch.Tensor:
    """(B, T) log-probabilities of the response tokens; padding holds 0."""
    with base.using(adapter):
        logits = base.model(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, position_ids=batch.position_ids
        ).logits
    rows = torch.arange(len(batch.predictor))[:, None]
    logprobs = (logits[rows, batch.predictor].float() / temperature).log_softmax(-1)
    return logprobs.gather(-1, batch.response_ids[..., None]).squeeze(-1) * batch.response_mask
