"""The neural kind: its losses by hand, its gradients, what it learns, and that it leaves the base as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.types import Observation, Reply, Turn
from learner.config import LoraSettings, NeuralRewardConfig
from learner.modeling.base import BaseModel
from learner.reward.choice import choose
from learner.reward.design import build_design
from learner.reward.neural import ADAPTER, observation_loss, train_neural
from tests.reward.people import observation

CONFIG = NeuralRewardConfig(
    lora=LoraSettings(rank=4, alpha=16), learning_rate=5e-3, head_learning_rate=5e-3, epochs=8, batch_size=4
)
ORDINAL = torch.tensor([0.5, -1.0, 0.0, 0.0, 0.0], dtype=torch.float64)  # threshold 0.5, cuts -1 0 1 2


def loss(kind: str, texts: list[str], outcome: object, scores: list[float], weight: float = 1.0) -> float:
    made = observation(0, kind, texts, outcome, weight=weight)
    return float(observation_loss(made, torch.tensor(scores, dtype=torch.float64), ORDINAL, 0.01))


def test_losses_worked_by_hand() -> None:
    assert loss("edit", ["a", "b"], None, [1.0, -1.0]) == pytest.approx(0.126928)  # -log sigma(2), sum 0
    assert loss("edit", ["a", "b"], None, [2.0, 1.0]) == pytest.approx(0.313262 + 0.09)
    assert loss("thumb", ["a"], 1, [0.5]) == pytest.approx(0.693147)  # at the threshold
    assert loss("thumb", ["a"], -1, [1.5], weight=0.5) == pytest.approx(0.5 * 1.313262)
    # sigma(0 - 0.5) - sigma(-1 - 0.5) = 0.377541 - 0.182426
    assert loss("stars", ["a"], 2, [0.5]) == pytest.approx(-np.log(0.195115), abs=1e-4)
    assert loss("stars", ["a"], 5, [2.0]) == pytest.approx(0.693147)
    # pairs (1 over 0) and (1 over 2); 0 and 2 are tied and say nothing of each other
    tied = loss("ranking", ["a", "b", "c"], ((1,), (0, 2)), [0.0, 0.0, 0.0])
    assert tied == pytest.approx(0.693147)
    assert loss("ranking", ["a", "b"], ((0, 1),), [3.0, -3.0]) == 0.0


def test_a_star_more_or_less_pulls_the_score_that_way() -> None:
    for stars, sign in ((5, -1), (1, 1)):
        scores = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        observation_loss(observation(0, "stars", ["a"], stars), scores, ORDINAL, 0.0).backward()
        assert scores.grad is not None and np.sign(scores.grad.item()) == sign


def liking(word: str, n: int) -> list[Observation]:
    """Pairs and thumbs of somebody who likes one word."""
    found = []
    for i in range(n):
        good, bad = f"the {word} number {i}", f"the tree number {i}"
        if i % 2:
            found.append(observation(i, "ranking", [bad, good], ((1,), (0,)), prompt=f"Say {i}."))
        else:
            found.append(observation(i, "thumb", [good if i % 4 else bad], 1 if i % 4 else -1, prompt=f"Say {i}."))
    return found


def test_it_learns_a_word_that_no_style_feature_sees_and_leaves_the_base_alone(tiny_base: BaseModel) -> None:
    context = (Turn("user", "Say something new."),)
    ids = torch.tensor([tiny_base.encode_chat(context)])
    before = tiny_base.hidden_states(input_ids=ids).last_hidden_state
    seen: list[float] = []
    neural = train_neural(tiny_base, liking("river", 16), CONFIG, 0, lambda step, steps, value: seen.append(value))
    state = tiny_base.adapter_state(ADAPTER)
    assert any(tensor.abs().sum() > 0 for key, tensor in state.items() if "lora_B" in key)
    assert len(seen) == 8 * 4 and np.mean(seen[-4:]) < 0.5 * np.mean(seen[:4])
    score = neural.scores([context] * 2, [Reply("the river number 99"), Reply("the tree number 99")])
    assert score[0] - score[1] > 0.2
    alone = neural.scores([context], [Reply("the tree number 99")])  # company changes nothing
    assert alone[0] == pytest.approx(score[1], abs=1e-4)
    tiny_base.use(None)
    assert torch.equal(tiny_base.hidden_states(input_ids=ids).last_hidden_state, before)
    tiny_base.remove_adapter(ADAPTER)


def test_the_same_ratings_give_the_same_model(tiny_base: BaseModel) -> None:
    context = (Turn("user", "Say something new."),)
    short = replace(CONFIG, epochs=1)
    first, second = (
        train_neural(tiny_base, liking("river", 8), short, 5).scores([context], [Reply("a river")]) for _ in range(2)
    )
    assert first == pytest.approx(second, abs=0)
    tiny_base.remove_adapter(ADAPTER)


def test_comments_alone_are_nothing_to_train_on(tiny_base: BaseModel) -> None:
    with pytest.raises(ValueError, match="no ratings"):
        train_neural(tiny_base, [observation(0, "comment", ["a"], "too long")], CONFIG, 0)


def test_auto_takes_the_neural_kind_where_only_it_predicts_the_other_side(tiny_base: BaseModel) -> None:
    train_side, held_side = liking("river", 16), liking("river", 8)
    train, held = build_design(train_side, {}), build_design(held_side, {})
    eager = replace(CONFIG, least_pieces=12)
    chosen = choose("auto", train, held, train_side, tiny_base, eager, 0.5, 0)
    assert chosen.kind == "neural" and chosen.model is None
    gains = chosen.gains
    assert gains["neural on the held-out side"] > 0.2
    assert gains["neural on the held-out side"] > max(gains[k] for k in gains if not k.startswith("neural"))
    context = (Turn("user", "And now?"),)
    good, bad = chosen.utility([context] * 2, [Reply("the river here"), Reply("the tree here")])
    assert good > bad
    patient = choose("auto", train, held, train_side, tiny_base, CONFIG, 0.5, 0)  # 16 pieces are too few for it
    assert patient.kind in ("bayesian", "linear", "length") and set(patient.gains) == {"bayesian", "linear", "length"}
    tiny_base.remove_adapter(ADAPTER)


def test_a_kind_that_is_set_is_taken(tiny_base: BaseModel) -> None:
    side = liking("river", 12)
    design = build_design(side, {})
    for kind in ("bayesian", "linear", "length"):
        chosen = choose(kind, design, design, side, tiny_base, CONFIG, 0.5, 0)  # type: ignore[arg-type]
        assert chosen.kind == kind and chosen.model is not None and chosen.model.kind == kind
