"""How much of a step is signal? Directions of PPO's first step, compared without sampling a single reply.

    python -m benchmarks.learning.directions --people 2 --first 1

For people of the tuning population, who rate the bank's replies: every practised reply's own gradient of B is kept,
with its advantages, and of replies to other prompts the gradient of their log-probability. The product of a direction d
with the latter is, to first order, what d does to each of these replies, so that cov(reward, d) / sd(d) within prompts
is the reward gained for one standard deviation of log-probability: sqrt(2 KL) of them are what a distance buys. One
line of JSON for each direction: by the learnt reward with its bootstrap standard error, and by the true utility.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from benchmarks.learning.ground import Ground
from benchmarks.people.tastes import Measured, Person
from benchmarks.replies import Bank
from data.home import Home
from data.prompts import context_key
from data.types import Evidence, Reply
from learner.config import LearnerConfig, PracticeConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Unlimited
from learner.policy.fisher import Fisher, conjugate_gradients
from learner.policy.natural import NaturalGradient
from learner.policy.practice import choose_replies, said_batches
from learner.policy.sequences import SequenceBatch, batch_sequences, evaluate_policy, select
from learner.policy.task import Context, Task
from learner.reward.features import Array
from learner.snapshot import Snapshot
from learner.taste import Taste, understand

PIECES = 100
TESTED_REPLIES = 4  # to each prompt that is not trained on
DRAWS = 300
ADAPTER = "directions"
LATE = 2 / 3  # where the last third of the layers begins
CREDIT_OF_WHOLE = (0.0, 1.0)  # each as `ppo.credit_of_whole`


@dataclass(frozen=True)
class Weights:
    """Of each of the W weights of all B, one after another: its layer as a share of all, and the number of its row."""

    layer: torch.Tensor
    row: torch.Tensor
    shapes: tuple[torch.Size, ...]  # of the matrices that they are in

    @classmethod
    def of(cls, base: BaseModel) -> Weights:
        layers, rows, shapes, first = [], [], [], 0
        for key, parameter in base.model.named_parameters():
            if parameter.requires_grad:
                layers.append(torch.full((parameter.numel(),), lora.layer_of(key) / base.layers))
                rows.append(first + torch.arange(len(parameter)).repeat_interleave(parameter.shape[1]))
                shapes.append(parameter.shape)
                first += len(parameter)
        return cls(torch.cat(layers), torch.cat(rows), tuple(shapes))

    def gathered(self, gradients: torch.Tensor, config: PracticeConfig) -> NaturalGradient:
        """What `NaturalGradient` makes of replies' `gradients` `(N, W)`, in minibatches as in PPO's first step."""
        parameters = [torch.nn.Parameter(torch.zeros(shape)) for shape in self.shapes]
        gathered = NaturalGradient(parameters)
        order = torch.randperm(len(gradients), generator=torch.Generator().manual_seed(0))
        for rows in order.split(config.minibatch_size):
            parts = gradients[rows].mean(0).split([shape.numel() for shape in self.shapes])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.grad = -part.view(parameter.shape)  # of a loss
            gathered.add()
        return gathered

    def natural(self, gradients: torch.Tensor, config: PracticeConfig) -> torch.Tensor:
        """(W,) its direction."""
        found = self.gathered(gradients, config).direction(config.damping, config.column_damping)
        return torch.cat([part.flatten() for part in found])

    def mean_of_rows(self, values: torch.Tensor) -> torch.Tensor:
        """Each weight's value replaced by the mean over its row."""
        counts = torch.bincount(self.row)
        return (torch.zeros(len(counts)).index_add_(0, self.row, values) / counts)[self.row]


@dataclass(frozen=True)
class Tested:
    """Replies to prompts that are not trained on: values `(P, K)` less their prompt's mean; gradients `(P K, W)`."""

    reward: Array
    utility: Array
    gradients: torch.Tensor

    def gain(self, direction: torch.Tensor) -> dict[str, float]:
        moved = _centred((self.gradients @ direction).numpy().reshape(self.reward.shape))
        rng = np.random.default_rng(0)
        draws = [self._ratio(self.reward, moved, rng.integers(len(moved), size=len(moved))) for _ in range(DRAWS)]
        whole = np.arange(len(moved))
        found = {
            "reward": self._ratio(self.reward, moved, whole),
            "se": float(np.std(draws)),
            "true": self._ratio(self.utility, moved, whole),
        }
        return {name: round(value, 3) for name, value in found.items()}

    @staticmethod
    def _ratio(values: Array, moved: Array, prompts: Array) -> float:
        unbiased = math.sqrt(moved.shape[1] / (moved.shape[1] - 1))
        return float((values[prompts] * moved[prompts]).mean() / np.sqrt((moved[prompts] ** 2).mean()) * unbiased)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home")
    parser.add_argument("--first", type=int, default=0, help="number of the first person")
    parser.add_argument("--people", type=int, default=2)
    parser.add_argument("--practised", type=int, default=96, help="prompts")
    parser.add_argument("--tested", type=int, default=40, help="prompts")
    options = parser.parse_args()
    ground = Ground(Home.locate(options.home).create(), "embedded", quick=False, data=None, reported=False)
    base, config = ground.base, LearnerConfig()
    everything = replace(config.lora, trained_layers=1.0, train_a=False)
    for number in range(options.first, options.first + options.people):
        person = ground.person(number)
        taste = taste_of(person, ground.measured.bank, base, config)
        if taste.reward is None:
            print(json.dumps({"person": number, "abstains": taste.abstains}), flush=True)
            continue
        base.add_adapter(ADAPTER, everything, None, config.seed)
        try:
            tested = of_tested(base, ground.measured, person, taste, options.tested, config)
            for share in CREDIT_OF_WHOLE:
                credit = replace(config, ppo=replace(config.ppo, credit_of_whole=share))
                practised = practised_gradients(base, ground.measured, taste, options.practised, credit)
                weights = Weights.of(base)
                taken = as_taken(base, ground.measured, practised, weights, options.practised, config)
                for name, direction in (taken, *directions(practised, weights, config.practice)):
                    about = {"person": number, "direction": name, "credit_of_whole": share}
                    print(json.dumps(about | tested.gain(direction)), flush=True)
        finally:
            base.remove_adapter(ADAPTER)


def taste_of(person: Person, bank: Bank, base: BaseModel, config: LearnerConfig) -> Taste:
    """What an update would learn of this person from `PIECES` pieces about the first third of the bank."""
    rows = person.measured.of_prompt
    said = {context_key(bank.context(int(r[0]))): [bank.reply(int(i)) for i in r[: config.base_replies]] for r in rows}
    evidence = Evidence(tuple(person.feedback(range(len(rows) // 3), PIECES)), (), None)
    return understand(Snapshot(evidence, said), base, config, Unlimited(), {})


def practised_gradients(
    base: BaseModel, measured: Measured, taste: Taste, prompts: int, config: LearnerConfig
) -> torch.Tensor:
    """(2 prompts, W): each chosen reply's gradient of its log-probabilities, weighted by its advantages."""
    assert taste.reward is not None
    bank = measured.bank
    said: list[tuple[Context, Sequence[Reply]]] = [
        (bank.context(int(rows[0])), [bank.reply(int(i)) for i in rows]) for rows in measured.of_prompt[:prompts]
    ]
    chosen, _ = choose_replies(base, Task([], taste.reward, taste.prefix_reward, said=said), config)
    return _gradients(base, chosen.batch, chosen.advantages, config.ppo.temperature)


def of_tested(
    base: BaseModel, measured: Measured, person: Person, taste: Taste, prompts: int, config: LearnerConfig
) -> Tested:
    assert taste.reward is not None
    bank = measured.bank
    rows = [int(i) for of_prompt in measured.of_prompt[-prompts:] for i in of_prompt[:TESTED_REPLIES]]
    contexts, replies = [bank.context(i) for i in rows], [bank.reply(i) for i in rows]
    queries, responses = (
        [base.encode_chat(context) for context in contexts],
        [base.encode_reply(reply.text, reply.finished) for reply in replies],
    )
    batch = batch_sequences(queries, responses, base.pad_id, base.device)
    weights = torch.ones(batch.response_mask.shape, device=base.device)
    utility = person.utility / measured.within(person.utility).std()
    return Tested(
        _centred(taste.reward(contexts, replies).reshape(-1, TESTED_REPLIES)),
        _centred(utility[rows].reshape(-1, TESTED_REPLIES)),
        _gradients(base, batch, weights, config.ppo.temperature),
    )


def as_taken(
    base: BaseModel, measured: Measured, gradients: torch.Tensor, weights: Weights, prompts: int, config: LearnerConfig
) -> tuple[str, torch.Tensor]:
    """The direction of PPO's first step: conjugate gradients of the Fisher information, in the last third."""
    practice, bank = config.practice, measured.bank
    firsts = [int(rows[0]) for rows in measured.of_prompt[:prompts]]
    task = Task([], nothing, said=[(bank.context(row), [bank.reply(row)]) for row in firsts])
    fisher = Fisher(base, ADAPTER, said_batches(base, ADAPTER, task, config), config.ppo.temperature)
    gathered = weights.gathered(gradients * (weights.layer >= LATE), practice)  # what has no gradient stays out
    found = conjugate_gradients(
        fisher.product,
        partial(gathered.divided, damping=practice.damping, column_damping=practice.column_damping),
        gathered.descent(),
        practice.fisher_products,
        practice.probe,
    )
    return "conjugate gradients, the last third (as taken)", torch.cat([part.flatten() for part in found])


def nothing(contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
    return np.zeros(len(replies))


def directions(
    gradients: torch.Tensor, weights: Weights, config: PracticeConfig
) -> Iterator[tuple[str, torch.Tensor]]:
    mean, square = gradients.mean(0), gradients.square().mean(0)
    square += 1e-9 * square.mean()
    late = weights.layer >= LATE
    yield "mean, all layers", mean
    yield "mean / rms a weight, all layers", mean / square.sqrt()
    for first in (0.0, 1 / 3, LATE):
        part = (weights.layer >= first) & (weights.layer < first + 1 / 3)
        yield f"mean / rms a weight, the third from {first:.2f}", mean / square.sqrt() * part
    yield "mean / mean square a weight, last third", mean / square * late
    of_rows = weights.mean_of_rows(square)
    of_rows += 0.01 * of_rows.mean()
    yield "mean / mean square a row, all layers", mean / of_rows
    yield "mean / mean square a row, last third", mean / of_rows * late
    yield "rows and columns, the last third", weights.natural(gradients * late, config)
    yield "rows and columns, all layers", weights.natural(gradients, config)
    for share in (8, 4, 2):
        fewer = gradients[: len(gradients) // share].mean(0)
        yield f"mean / mean square a row, last third, of 1/{share} of the prompts", fewer / of_rows * late


def _gradients(base: BaseModel, batch: SequenceBatch, weights: torch.Tensor, temperature: float) -> torch.Tensor:
    """(N, W): of each row's log-probabilities, every token with its weight `(N, T)`; kept in bfloat16 until all
    are there."""
    parameters, found = base.adapter_parameters(ADAPTER), []
    for row in range(len(batch.input_ids)):
        one = select(batch, torch.tensor([row], device=base.device))
        logprobs = evaluate_policy(base, ADAPTER, one, temperature).logprobs
        parts = torch.autograd.grad((logprobs * weights[row, : logprobs.shape[1]]).sum(), parameters)
        found.append(torch.cat([part.flatten() for part in parts]).to("cpu", torch.bfloat16))
    return torch.stack(found).float()


def _centred(values: Array) -> Array:
    return values - values.mean(axis=1, keepdims=True)


if __name__ == "__main__":
    main()
