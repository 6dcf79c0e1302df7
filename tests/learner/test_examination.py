"""How much of a change the gate keeps where neutral text reads worse with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from learner.evaluation.examination import largest_share


def looks(rise: Callable[[float], float], least: float = 0.5) -> tuple[float, list[float]]:
    """The share that is kept of a limit of 0.03, and those that were measured."""
    seen: list[float] = []

    def measured(share: float) -> float:
        seen.append(share)
        return rise(share)

    return largest_share(measured, 0.03, least), seen


def test_a_change_that_neutral_text_allows_is_kept_whole() -> None:
    assert looks(lambda share: 0.03) == (1.0, [1.0])


@pytest.mark.parametrize("rise", [0.031, 0.04, 0.06, 0.1])
@pytest.mark.parametrize("power", [1.0, 1.5, 2.0])
def test_the_share_is_within_the_limit_and_near_it(rise: float, power: float) -> None:
    share, seen = looks(lambda share: rise * share**power, least=0.1)
    assert rise * share**power <= 0.03
    assert rise * (share * 1.1) ** power > 0.03, "a tenth more would be allowed too"
    assert seen[-1] == share and len(seen) <= 6


def test_with_a_square_two_looks_are_enough() -> None:
    share, seen = looks(lambda share: 0.04 * share**2)
    assert share == pytest.approx(0.98 * 0.75**0.5) and len(seen) == 2


@pytest.mark.parametrize("worse", [0.9, float("inf"), float("nan")])
def test_less_than_the_least_share_is_not_tried(worse: float) -> None:
    assert looks(lambda share: worse) == (0.5, [1.0])
