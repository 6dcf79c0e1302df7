"""Rewards, advantages and losses against numbers worked by hand and against second implementations."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from learner.policy.advantages import (
    farthest_apart,
    generalised_advantage_estimation,
    leave_one_out,
    masked_mean,
    missing_end_penalty,
    sampler_correction,
    token_rewards,
    whiten,
    with_credit_of_whole,
)
from learner.policy.losses import AdaptiveKL, clipped_policy_loss, clipped_value_loss, demonstration_loss

MASK = torch.tensor([[True, True, True], [True, True, False]])


def test_masked_mean_counts_where_the_mask_is_true() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 99.0]])
    assert masked_mean(values, MASK).item() == pytest.approx(3.0)


def test_whiten_shifts_or_keeps_the_mean_as_asked() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 99.0]])  # mean 3, unbiased variance 2.5
    sd = math.sqrt(2.5)
    shifted = whiten(values, MASK, shift_mean=True)
    kept = whiten(values, MASK, shift_mean=False)
    assert shifted[MASK].tolist() == pytest.approx([-2 / sd, -1 / sd, 0, 1 / sd, 2 / sd], abs=1e-5)
    assert kept[MASK].tolist() == pytest.approx([3 - 2 / sd, 3 - 1 / sd, 3, 3 + 1 / sd, 3 + 2 / sd], abs=1e-5)
    assert shifted[1, 2] == kept[1, 2] == 0


def test_the_score_sits_on_the_last_real_token_and_kl_costs_on_every_one() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -7.0]])
    reference = torch.tensor([[-2.0, -2.0, -2.0], [-3.0, -0.5, -9.0]])
    rewards = token_rewards(torch.tensor([10.0, 20.0]), logprobs, reference, MASK, kl_coef=0.1)
    # row 0: -0.1 * (1, 0, -1), score on token 2; row 1: -0.1 * (2, -0.5), score on token 1, nothing on padding
    assert rewards.flatten().tolist() == pytest.approx([-0.1, 0.0, 10.1, -0.2, 20.05, 0.0])


def test_gae_by_hand() -> None:
    # gamma 1, lambda 0.5: delta = (0 + 0.4 - 0.2, 1 - 0.4) = (0.2, 0.6); A = (0.2 + 0.5 * 0.6, 0.6)
    rewards, values = torch.tensor([[0.0, 1.0, 5.0]]), torch.tensor([[0.2, 0.4, 7.0]])
    mask = torch.tensor([[True, True, False]])
    advantages, returns = generalised_advantage_estimation(rewards, values, mask, gamma=1.0, lam=0.5)
    assert advantages[0].tolist() == pytest.approx([0.5, 0.6, 0.0])
    assert returns[0].tolist() == pytest.approx([0.7, 1.0, 0.0])


def test_gae_agrees_with_the_sum_over_deltas() -> None:
    """Equation 16 of Schulman et al. as it is written: A_t = sum_l (gamma lambda)^l delta_{t+l}."""
    generator = torch.Generator().manual_seed(0)
    lengths = [6, 3, 1]
    mask = torch.arange(6)[None, :] < torch.tensor(lengths)[:, None]
    rewards, values = torch.randn(3, 6, generator=generator), torch.randn(3, 6, generator=generator)
    advantages, _ = generalised_advantage_estimation(rewards, values, mask, gamma=0.9, lam=0.8)
    for row, length in enumerate(lengths):
        v = [*values[row, :length].tolist(), 0.0]
        deltas = [rewards[row, t].item() + 0.9 * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            expected = sum((0.9 * 0.8) ** k * deltas[t + k] for k in range(length - t))
            assert advantages[row, t].item() == pytest.approx(expected, abs=1e-5)


def test_the_credit_of_whole_replies_by_hand() -> None:
    tokens = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 99.0]])  # whitened: (-2, -1, 0), (1, 2) by sqrt(2.5)
    rewards = torch.tensor([[0.5, 0.0, 2.5], [-1.0, -1.0, 99.0]])
    values = torch.tensor([[1.0, 7.0, 7.0], [1.0, 7.0, 7.0]])
    # Whole replies: 3 - 1 = 2 at three tokens, -2 - 1 = -3 at two: mean 0, variance (3 * 4 + 2 * 9) / 4 = 7.5.
    # Half of it: (-2, -1, 0) / 1.5811 + 1 / 2.7386, (1, 2) / 1.5811 - 1.5 / 2.7386, by their deviation of 0.61966.
    found = with_credit_of_whole(tokens, rewards, values, MASK, 0.5)
    assert found[MASK].tolist() == pytest.approx([-1.45203, -0.43138, 0.58928, 0.13675, 1.15739], abs=1e-4)
    assert found[1, 2] == 0
    none = with_credit_of_whole(tokens, rewards, values, MASK, 0.0)
    assert torch.equal(none, whiten(tokens, MASK, shift_mean=True))


def test_leave_one_out_by_hand() -> None:
    found = leave_one_out(torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]))
    assert found.flatten().tolist() == pytest.approx([1 - 4, 2 - 3.5, 6 - 1.5, -1.5, -1.5, 3.0])
    with pytest.raises(ValueError, match="two replies"):
        leave_one_out(torch.tensor([[1.0]]))


def test_sampler_correction_is_the_truncated_ratio() -> None:
    weights = sampler_correction(
        torch.log(torch.tensor([[0.5, 0.9, 0.3]])), torch.log(torch.tensor([[0.25, 0.1, 0.6]])),
        torch.tensor([[True, True, False]]), max_weight=3.0,
    )  # fmt: skip
    assert weights[0].tolist() == pytest.approx([2.0, 3.0, 0.0])


def test_the_clipped_policy_loss_by_hand() -> None:
    old = torch.zeros(1, 3)
    new = torch.log(torch.tensor([[1.5, 0.5, 1.1]]))
    advantages = torch.tensor([[2.0, -1.0, 1.0]])
    mask = torch.tensor([[True, True, True]])
    out = clipped_policy_loss(new, old, advantages, mask, clip_range=0.2, normaliser=10.0)
    # ratio 1.5 with A 2 counts as 1.2; ratio 0.5 with A -1 counts as 0.8; 1.1 is inside
    assert out.loss.item() == pytest.approx(-(2 * 1.2 - 0.8 + 1.1) / 10)
    assert out.clipfrac.item() == pytest.approx(2 / 3)
    assert out.ratio.item() == pytest.approx((1.5 + 0.5 + 1.1) / 3)


def test_padding_never_reaches_the_policy_loss() -> None:
    mask = torch.tensor([[True, False]])
    a = clipped_policy_loss(
        torch.tensor([[-1.0, 50.0]]), torch.tensor([[-1.5, 0.0]]), torch.tensor([[1.0, 9.0]]), mask, 0.2, 1.0
    )
    b = clipped_policy_loss(
        torch.tensor([[-1.0, 0.0]]), torch.tensor([[-1.5, 0.0]]), torch.tensor([[1.0, 0.0]]), mask, 0.2, 1.0
    )
    assert a.loss.item() == pytest.approx(b.loss.item())
    assert torch.isfinite(a.loss)


def test_the_clipped_value_loss_takes_the_larger_error() -> None:
    loss = clipped_value_loss(
        values=torch.tensor([[1.0, 0.1]]), old_values=torch.zeros(1, 2), returns=torch.tensor([[1.0, 1.0]]),
        mask=torch.tensor([[True, True]]), clip_range=0.2, normaliser=1.0,
    )  # fmt: skip
    # token 0: unclipped 0, clipped (0.2 - 1)^2 = 0.64; token 1: both (0.1 - 1)^2 = 0.81
    assert loss.item() == pytest.approx(0.5 * (0.64 + 0.81))


def test_demonstration_loss_is_the_mean_over_real_tokens() -> None:
    logprobs = torch.tensor([[-1.0, -3.0], [-2.0, -100.0]])
    mask = torch.tensor([[True, True], [True, False]])
    assert demonstration_loss(logprobs, mask).item() == pytest.approx(2.0)


def test_the_kl_coefficient_moves_only_when_off_target() -> None:
    controller = AdaptiveKL(0.1, target=6.0, tolerance=1 / 3, factor=1.5)
    controller.update(7.9)
    assert controller.coef == pytest.approx(0.1)
    controller.update(8.1)
    assert controller.coef == pytest.approx(0.15)
    controller.update(3.9)
    assert controller.coef == pytest.approx(0.1)
    controller.update(3.9)
    assert controller.coef == pytest.approx(0.1)  # never below where it began


def test_the_replies_that_are_farthest_apart_by_hand() -> None:
    scores = torch.tensor([[0.1, 3.0, -2.0, 0.5], [1.0, 1.0, 1.0, 1.0]])
    assert farthest_apart(scores, 2)[:2] == [1, 2]
    assert farthest_apart(scores, 3)[:3] == [0, 1, 2]  # 3, and the two that are farthest from it
    assert farthest_apart(scores, 4) == list(range(8))
    assert all(4 <= i < 8 for i in farthest_apart(scores, 2)[2:])


def test_no_other_choice_of_replies_has_a_larger_variance() -> None:
    scores = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    chosen = scores.flatten()[farthest_apart(scores, 4)].view(20, 4)
    for row, kept in zip(scores, chosen, strict=True):
        best = max(torch.tensor(c).var().item() for c in combinations(row.tolist(), 4))
        assert kept.var().item() == pytest.approx(best)


@pytest.mark.parametrize("count", [1, 5])
def test_replies_that_cannot_be_chosen(count: int) -> None:
    with pytest.raises(ValueError, match="2 to 4"):
        farthest_apart(torch.zeros(1, 4), count)


def test_the_penalty_of_a_missing_end_by_hand() -> None:
    # Prompt 1: those that ended score 1 and 2, the others 4 and 5; prompt 2: all ended, which says nothing.
    scores = torch.tensor([[1.0, 2.0, 4.0, 5.0], [9.0, 0.0, 3.0, 1.0]])
    ended = torch.tensor([[True, True, False, False], [True, True, True, True]])
    assert missing_end_penalty(scores, ended, least=0.3) == pytest.approx(3.0)  # the difference of their means
    penalised = (scores - 3.0 * ~ended)[0]
    assert penalised[:2].mean() == penalised[2:].mean()
    assert missing_end_penalty(-scores, ended, least=0.3) == 0.3  # ends score higher already
    assert missing_end_penalty(scores[1:], ended[1:], least=0.3) == 0.3
