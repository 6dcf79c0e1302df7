"""The neural kind of reward model: a LoRA adapter with a scalar head on the frozen base, fitted to one person.

Score of a reply = a linear head on the last hidden state of its last token. Loss per observation:

    edit, ranking   Bradley-Terry over all ordered pairs, plus `centring` (r+ + r-)^2, which pins the free constant
    thumb           -log sigma(+-(r - b))
    stars           -log [sigma(c_s - r) - sigma(c_(s-1) - r)], ordered cut-points c

with threshold b and cut-points fitted along. Comments are not used. It knows no uncertainty, so that it is never the
judge, and it memorises: with few ratings it is there to be compared with (docs/learning.md), not to be chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import logsigmoid

from data.quality import preferred_positions
from data.types import Observation, Reply, Turn
from learner.config import NeuralRewardConfig
from learner.modeling.base import BaseModel
from learner.modeling.heads import ValueHead
from learner.policy.contexts import within
from learner.policy.sequences import batch_sequences, states_at
from learner.reward.design import Text
from learner.reward.features import Array

ADAPTER = "reward"


@dataclass(frozen=True)
class NeuralReward:
    """A trained adapter, by its name on the base, with its head. It stays on the base until that drops it."""

    base: BaseModel
    head: ValueHead
    config: NeuralRewardConfig

    def scores(self, contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> Array:
        """(N,) in logits, with a free constant."""
        texts = [Text(tuple(context), reply) for context, reply in zip(contexts, replies, strict=True)]
        step = self.config.texts_at_once
        with torch.no_grad():
            starts = range(0, len(texts), step)
            parts = [_scores(self.base, self.head, texts[i : i + step], self.config) for i in starts]
        found: Array = torch.cat(parts).double().cpu().numpy() if parts else np.zeros(0)
        return found


def train_neural(
    base: BaseModel,
    observations: Sequence[Observation],
    config: NeuralRewardConfig,
    seed: int,
    on_step: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> NeuralReward:
    """Fit adapter and head; `on_step(step, steps, loss)` is told after each. Raises ValueError without ratings."""
    rated = [o for o in observations if o.kind != "comment"]
    if not rated:
        raise ValueError("there are no ratings to train a neural reward model on")
    base.remove_adapter(ADAPTER)
    base.add_adapter(ADAPTER, config.lora, seed=seed)
    head = ValueHead(base.model.config.get_text_config().hidden_size).to(base.device)
    ordinal = torch.nn.Parameter(torch.tensor([0.0, -1.8, 0.2, 0.2, 0.2], device=base.device))  # b, c_1, log gaps
    adapter = base.adapter_parameters(ADAPTER)
    optimiser = torch.optim.AdamW(
        [
            {"params": adapter, "lr": config.learning_rate},
            {"params": [*head.parameters(), ordinal], "lr": config.head_learning_rate},
        ],
        weight_decay=config.weight_decay,
    )
    generator = torch.Generator().manual_seed(seed)
    steps_an_epoch = -(-len(rated) // config.batch_size)
    steps = config.epochs * steps_an_epoch
    for epoch in range(config.epochs):
        order = torch.randperm(len(rated), generator=generator).tolist()
        for n in range(steps_an_epoch):
            batch = [rated[i] for i in order[n * config.batch_size : (n + 1) * config.batch_size]]
            optimiser.zero_grad(set_to_none=True)
            total = 0.0
            for observation in batch:  # one at a time: what is on the device is a handful of replies
                texts = [Text(observation.context, reply) for reply in observation.replies]
                loss = observation_loss(observation, _scores(base, head, texts, config), ordinal, config.centring)
                (loss / len(batch)).backward()
                total += float(loss.detach())
            torch.nn.utils.clip_grad_norm_([*adapter, *head.parameters(), ordinal], config.max_grad_norm)
            optimiser.step()
            on_step(epoch * steps_an_epoch + n + 1, steps, total / len(batch))
    return NeuralReward(base, head, config)


def observation_loss(
    observation: Observation, scores: torch.Tensor, ordinal: torch.Tensor, centring: float
) -> torch.Tensor:
    """Weighted loss of one observation from the `scores` (k,) of its replies; `ordinal` (5,) = b, c_1, log gaps."""
    if observation.kind == "thumb":
        loss = -logsigmoid(observation.outcome * (scores[0] - ordinal[0]))
    elif observation.kind == "stars":
        cuts = torch.cat([ordinal[1:2], ordinal[1] + ordinal[2:].exp().cumsum(0)])
        below = torch.cat([torch.zeros_like(cuts[:1]), torch.sigmoid(cuts - scores[0]), torch.ones_like(cuts[:1])])
        loss = -(below[observation.outcome] - below[observation.outcome - 1]).clamp(min=1e-6).log()
    else:
        pairs = list(preferred_positions(observation))
        if not pairs:  # everything tied
            return scores.sum() * 0.0
        chosen, rejected = (scores[[pair[side] for pair in pairs]] for side in (0, 1))
        loss = (-logsigmoid(chosen - rejected) + centring * (chosen + rejected) ** 2).mean()
    return observation.weight * loss


def _scores(
    base: BaseModel, head: ValueHead, texts: Sequence[Text], config: NeuralRewardConfig
) -> torch.Tensor:
    """(N,) scores of replies; a conversation that is too long loses its oldest turns, a reply its end."""
    queries, responses = [], []
    for context, reply in texts:
        kept = within(base, context, config.context_tokens) or context[-1:]
        queries.append(base.encode_chat(kept)[-config.context_tokens :])
        responses.append(base.encode_reply(reply.text, reply.finished)[: config.reply_tokens] or [base.end_of_turn_id])
    batch = batch_sequences(queries, responses, base.pad_id, base.device)
    last = batch.attention_mask.sum(-1) - 1
    with base.using(ADAPTER):
        scores: torch.Tensor = head(states_at(base, batch, torch.arange(len(texts), device=last.device), last))
    return scores
