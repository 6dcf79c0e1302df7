"""Products with the Fisher information, against the KL itself; conjugate gradients, against a matrix written down."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.types import Turn
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.policy.distance import kl_on
from learner.policy.fisher import PROBE_NATS, Fisher, Vector, conjugate_gradients, dot
from learner.policy.sequences import SequenceBatch, batch_sequences

TEMPERATURE = 0.7


def said(base: BaseModel) -> list[SequenceBatch]:
    queries = [base.encode_chat([Turn("user", text)]) for text in ("Hello!", "What is the time in Paris?", "Sing.")]
    replies = [base.encode_reply(text) for text in ("good morning", "it is ten", "la la la and la")]
    return [
        batch_sequences(queries[:2], replies[:2], base.pad_id, base.device),
        batch_sequences(queries[2:], replies[2:], base.pad_id, base.device),
    ]


def changes_of_b(base: BaseModel, count: int) -> list[Vector]:
    """Random changes of B alone: that of A does nothing where B is zero."""
    generator = torch.Generator().manual_seed(3)
    names = [name for name, _ in base.model.named_parameters() if ".policy." in name]
    parameters = base.adapter_parameters("policy")
    assert len(names) == len(parameters)
    return [
        [torch.randn(p.shape, generator=generator) * ("lora_B" in n) for n, p in zip(names, parameters, strict=True)]
        for _ in range(count)
    ]


def test_a_product_tells_what_a_change_costs(policy: BaseModel) -> None:
    batches = said(policy)
    fisher = Fisher(policy, "policy", batches, TEMPERATURE)
    first, second = changes_of_b(policy, 2)
    before = lora.state_sha256(policy.adapter_state("policy"))
    length = 2e-4
    products = [fisher.product(change, length) for change in (first, second)]
    assert lora.state_sha256(policy.adapter_state("policy")) == before
    sizes = [dot(change, product) for change, product in zip((first, second), products, strict=True)]
    asymmetry = abs(dot(first, products[1]) - dot(second, products[0]))
    assert asymmetry < 0.05 * (sizes[0] * sizes[1]) ** 0.5
    for change, product in zip((first, second), products, strict=True):
        with torch.no_grad():
            for parameter, part in zip(policy.adapter_parameters("policy"), change, strict=True):
                parameter.add_(length * part)
        kl = kl_on(policy, "policy", batches, TEMPERATURE)
        with torch.no_grad():
            for parameter, part in zip(policy.adapter_parameters("policy"), change, strict=True):
                parameter.sub_(length * part)
        assert 0.5 * length**2 * dot(change, product) == pytest.approx(kl, rel=0.02)


def dense(size: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    root = torch.randn(size, size, generator=generator, dtype=torch.float64)
    return root @ root.T + 0.1 * torch.eye(size), torch.randn(size, generator=generator, dtype=torch.float64)


def test_conjugate_gradients_by_a_matrix_that_is_written_down() -> None:
    matrix, right = dense()
    scale = torch.linspace(0.5, 2.0, len(right), dtype=torch.float64)
    asked: list[float] = []

    def product(vector: Vector, length: float) -> Vector:
        asked.append(0.5 * length**2 * float(vector[0] @ matrix @ vector[0]))
        return [matrix @ vector[0]]

    def solved(steps: int) -> torch.Tensor:
        return conjugate_gradients(product, lambda v: [scale * v[0]], [right], steps, 0.1)[0]

    exact = torch.linalg.solve(matrix, right)
    gains = [float(right @ solved(steps)) for steps in (1, 2, 4, 12)]
    assert gains == sorted(gains)  # for the same nats each step gains more
    assert gains[-1] == pytest.approx(float(right @ exact) / float(exact @ matrix @ exact) ** 0.5, rel=1e-6)
    one = solved(1)
    assert torch.nn.functional.cosine_similarity(one, scale * right, dim=0) == pytest.approx(1.0)
    for steps in (1, 3, 12):
        found = solved(steps)
        assert float(found @ matrix @ found) == pytest.approx(1.0, rel=1e-6)
    assert np.isfinite(asked).all() and min(asked) > 0


@pytest.mark.parametrize("probe", [1e-4, 0.1, 30.0])
def test_a_probe_costs_about_what_it_should_however_far_the_first_one_went(probe: float) -> None:
    matrix, right = dense()
    asked: list[float] = []

    def product(vector: Vector, length: float) -> Vector:
        nats = 0.5 * length**2 * float(vector[0] @ matrix @ vector[0])
        asked.append(nats / PROBE_NATS)
        return [(matrix if asked[-1] < 5 else 0.5 * matrix.diagonal().diag()) @ vector[0]]  # too far, F is another

    found = conjugate_gradients(product, lambda v: [2.0 * v[0]], [right], 3, probe)[0]
    assert any(1 / 3 < share < 3 for share in asked[:2]) and max(asked[-3:]) < 5
    expected = conjugate_gradients(lambda v, _: [matrix @ v[0]], lambda v: [2.0 * v[0]], [right], 3, 0.1)[0]
    assert torch.allclose(found, expected)


def test_conjugate_gradients_end_where_there_is_nothing_to_divide_by() -> None:
    for right, matrix in ((torch.zeros(3), torch.eye(3)), (torch.ones(3), torch.zeros(3, 3))):
        found = conjugate_gradients(lambda v, _, m=matrix: [m @ v[0]], list, [right], 5, 0.1)  # type: ignore[misc]
        assert not found[0].any()
    stopped = conjugate_gradients(lambda v, _: [v[0] * torch.tensor([1.0, 2.0, 3.0])], list, [torch.ones(3)], 5, 0.1,
                                  lambda step: step < 1)  # fmt: skip
    assert torch.allclose(stopped[0], torch.full((3,), 1 / 6**0.5))
