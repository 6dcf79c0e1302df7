"""The natural gradient's direction, against numbers worked by hand."""

from __future__ import annotations

import pytest
import torch

from learner.policy.natural import NaturalGradient


def gathered(gradients: list[list[list[float]]]) -> NaturalGradient:
    parameter = torch.nn.Parameter(torch.zeros(2, 2))
    gradient = NaturalGradient([parameter])
    for values in gradients:
        parameter.grad = torch.tensor(values)
        gradient.add()
    return gradient


def test_the_direction_by_hand() -> None:
    # Row 1: gradients (1, 3) and (3, 1), mean (2, 2), mean square 5. Row 2: (0.1, 0.1) twice, mean square 0.01.
    # Columns: [[1 + 9, 3 + 3], [3 + 3, 9 + 1]] + 2 [[.01, .01], [.01, .01]] = [[10.02, 6.02], [6.02, 10.02]], by their
    # mean diagonal [[1, .601], [.601, 1]]; with .2 more on the diagonal (1, 1) is an eigenvector of 1.2 + .601.
    gradient = gathered([[[1.0, 3.0], [0.1, 0.1]], [[3.0, 1.0], [0.1, 0.1]]])
    typical = (5 + 0.01) / 2
    (direction,) = gradient.direction(damping=0.1, column_damping=0.2)
    for row, (mean, square) in enumerate(((2.0, 5.0), (0.1, 0.01))):
        expected = -(typical**0.5) * mean / (square + 0.1 * typical) / (1.2 + 6.02 / 10.02)
        assert direction[row].tolist() == pytest.approx([expected, expected], rel=1e-5)


def test_what_all_columns_have_in_common_counts_less_than_what_sets_them_apart() -> None:
    # The mean gradient is (2, 1): 1.5 in common, 0.5 apart. In common the minibatches vary by +-3, apart not at all.
    gradient = gathered([[[2.0 + common, 1.0 + common], [0.0, 0.0]] for common in (-3.0, 3.0)])
    (direction,) = gradient.direction(damping=0.01, column_damping=0.01)
    in_common, apart = direction[0].sum(), direction[0, 0] - direction[0, 1]
    assert apart < 0 and in_common < 0
    assert abs(apart / in_common) > 10 * 0.5 / 1.5


def test_the_scale_of_the_loss_does_not_matter() -> None:
    gradients = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0))
    (once,), (scaled,) = (gathered(g.tolist()).direction(0.01, 0.1) for g in (gradients, 1000 * gradients))
    assert torch.allclose(once, scaled, rtol=1e-4)


def test_a_sure_row_goes_farther_than_one_that_is_mostly_noise() -> None:
    gradients = [[[1.0, 1.0], [1.0 + 5 * sign, 1.0 - 5 * sign]] for sign in (-1, 1, -1, 1)]
    (direction,) = gathered(gradients).direction(0.01, 0.1)
    assert direction[0, 0] < 10 * direction[1, 0] < 0


def test_without_gradients_there_is_no_direction() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    gradient = NaturalGradient([parameter])
    gradient.add()
    assert not gradient.direction(0.01, 0.1)[0].any()


def test_what_had_no_gradient_stays_out_of_everything_that_is_divided() -> None:
    """A of an adapter, where B is zero: conjugate gradients would otherwise find it in a product and amplify it."""
    trained, still = (torch.nn.Parameter(torch.zeros(2, 2)) for _ in range(2))
    gradient = NaturalGradient([trained, still])
    trained.grad = torch.tensor([[1.0, 3.0], [0.1, 0.1]])
    gradient.add()
    first, second = gradient.divided([torch.ones(2, 2), torch.ones(2, 2)], 0.1, 0.2)
    assert first.all() and not second.any()
