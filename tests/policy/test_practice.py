"""PPO's first pass, over replies that the base said: the right gradient, from the right part of the right replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from data.types import Reply, Turn
from learner.config import LearnerConfig, PPOConfig, PracticeConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.monitor import Unlimited
from learner.policy import practice, trust_region
from learner.policy.distance import sample, sampled_kl
from learner.policy.practice import practise, train_ppo_from_base
from learner.policy.rollouts import sample_replies
from learner.policy.sequences import batch_sequences, evaluate_policy
from learner.policy.task import Context, History, Task
from learner.policy.trust_region import length_for

TEXTS = ("Hello!", "What is the time in Paris now?", "Sing.", "Why?")
PROMPTS: list[Context] = [[Turn("user", text)] for text in TEXTS]
REPLIES = 4
PPO = PPOConfig(response_tokens=64, prefix_tokens=4, missing_eos_penalty=0.0)
CONFIG = LearnerConfig(
    ppo=PPO, practice=PracticeConfig(replies=REPLIES, kl_target=0.05, kl_prompts=4)
)


def said(base: BaseModel) -> list[tuple[Context, Sequence[Reply]]]:
    contexts = [prompt for prompt in PROMPTS for _ in range(REPLIES)]
    rollouts = sample_replies(
        base, None, [base.encode_chat(c) for c in contexts], SamplingSettings(0.7, 1.0, 12), range(len(contexts))
    )
    replies = [r.reply for r in rollouts]
    return [(prompt, replies[i * REPLIES : (i + 1) * REPLIES]) for i, prompt in enumerate(PROMPTS)]


def many_letters(contexts: Sequence[Context], replies: Sequence[Reply]) -> np.ndarray:
    """No two replies alike: which of them is best must not hang on a tie."""
    return np.array([len(r.text) / 50 + sum(map(ord, r.text)) % 997 / 10_000 for r in replies])


def indifferent(contexts: Sequence[Context], replies: Sequence[Reply]) -> np.ndarray:
    return np.zeros(len(replies))


def logprobs(base: BaseModel, adapter: str | None, context: Context, reply: Reply, temperature: float) -> torch.Tensor:
    batch = batch_sequences(
        [base.encode_chat(context)], [base.encode_reply(reply.text, reply.finished)], base.pad_id, base.device
    )
    return evaluate_policy(base, adapter, batch, temperature).logprobs.sum()


def best_and_worst(task: Task) -> list[tuple[Context, Reply, Reply]]:
    found = []
    for context, replies in task.said:
        scores = task.reward([context] * len(replies), replies)
        found.append((context, replies[int(scores.argmax())], replies[int(scores.argmin())]))
    return found


def test_the_first_step_follows_the_policy_gradient_of_best_and_worst(policy: BaseModel) -> None:
    """The step has the gradient's signs, where columns are left alone: compared with advantages worked out by hand."""
    task = Task(PROMPTS, many_letters, None, said=said(policy))
    total = torch.zeros(())
    tokens, rows = [], []
    for context, best, worst in best_and_worst(task):
        mean = many_letters([], next(replies for other, replies in task.said if other == context)).mean()
        for reply in (best, worst):
            advantage = many_letters([], [reply])[0] - mean
            tokens += [advantage] * len(policy.encode_reply(reply.text, reply.finished))
            rows.append((context, reply, advantage))
    for context, reply, advantage in rows:  # whitened over tokens
        total = total - (advantage - np.mean(tokens)) * logprobs(policy, "policy", context, reply, PPO.temperature)
    parameters = policy.adapter_parameters("policy")
    expected = torch.autograd.grad(total, parameters)
    before = [p.detach().clone() for p in parameters]
    plain = replace(CONFIG, practice=replace(CONFIG.practice, column_damping=1e6, fisher_products=1))
    practise(policy, "policy", task, plain, Unlimited(), 0)
    agreeing, counted = 0, 0
    for parameter, old, gradient in zip(parameters, before, expected, strict=True):
        clear = gradient.abs() > 0.1 * gradient.abs().max()
        if gradient.abs().max() > 0:
            agreeing += int((torch.sign(old - parameter.detach())[clear] == torch.sign(gradient)[clear]).sum())
            counted += int(clear.sum())
    assert counted > 100
    assert agreeing == counted


def test_the_better_replies_become_likelier_than_the_worse(policy: BaseModel) -> None:
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    metrics = practise(policy, "policy", task, CONFIG, Unlimited(), 0)
    assert metrics["val/ratio"] == 1.0 and metrics["policy/clipfrac"] == 0.0
    gains = []
    for context, best, worst in best_and_worst(task):
        now, before = (
            (logprobs(policy, name, context, best, 0.7) - logprobs(policy, name, context, worst, 0.7)).item()
            for name in ("policy", None)
        )
        gains.append(now - before)
    assert min(gains) > 0


def test_tokens_are_credited_with_their_whole_reply_as_far_as_the_setting_says(policy: BaseModel) -> None:
    """With nothing but whole replies' credit a reply's tokens are all alike; without it they differ."""
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    spreads = {}
    for share in (0.0, 1e6):
        settings = replace(CONFIG, ppo=replace(PPO, prefix_tokens=2, credit_of_whole=share))
        chosen, _ = practice.choose_replies(policy, task, settings)
        rows = zip(chosen.advantages, chosen.batch.response_mask, strict=True)
        spreads[share] = max(float(row[mask].max() - row[mask].min()) for row, mask in rows)
    assert spreads[0.0] > 0.1 and spreads[1e6] < 1e-3, spreads


def test_without_a_preference_nothing_moves(policy: BaseModel) -> None:
    before = lora.state_sha256(policy.adapter_state("policy"))
    metrics = practise(policy, "policy", Task(PROMPTS, indifferent, None, said=said(policy)), CONFIG, Unlimited(), 0)
    assert metrics["practice/gap"] == 0.0
    assert lora.state_sha256(policy.adapter_state("policy")) == before


def test_micro_batches_change_nothing(policy: BaseModel) -> None:
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    fresh = policy.adapter_state("policy")
    steps = []
    for rows in (8, 3):
        config = replace(CONFIG, practice=replace(CONFIG.practice, micro_batch_size=rows))
        metrics = practise(policy, "policy", task, config, Unlimited(), 0)
        after = policy.adapter_state("policy")  # its length hangs on replies, which a rounding may change
        steps.append({name: (after[name] - fresh[name]) / metrics["practice/length"] for name in fresh})
        policy.set_adapter_state("policy", fresh)
    for name in fresh:
        assert torch.allclose(steps[0][name], steps[1][name], atol=1e-3 * float(steps[0][name].abs().max() + 1e-6))


class NoTime(Unlimited):
    def seconds_left(self, budget: str) -> float:
        return 0.0


def test_without_time_nothing_is_practised(policy: BaseModel) -> None:
    before = lora.state_sha256(policy.adapter_state("policy"))
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    history = train_ppo_from_base(policy, "policy", task, CONFIG, NoTime(), 0)
    assert len(history) == 1 and history[0]["practice/minibatches"] == 0
    assert lora.state_sha256(policy.adapter_state("policy")) == before


def test_the_step_goes_as_far_as_its_target_and_no_farther(policy: BaseModel) -> None:
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    fresh = policy.adapter_state("policy")
    lengths = []
    for target in (0.02, 0.2):
        policy.set_adapter_state("policy", fresh)
        config = replace(CONFIG, practice=replace(CONFIG.practice, kl_target=target))
        metrics = practise(policy, "policy", task, config, Unlimited(), 0)
        lengths.append(metrics["practice/length"])
        queries = [policy.encode_chat(prompt) for prompt in PROMPTS]
        assert target / 2 < metrics["objective/kl"] < 2 * target
        now = [rollout.reply for rollout in sample(policy, "policy", queries, PPO, 0)]
        assert metrics["practice/scores_after"] == pytest.approx(float(np.mean(many_letters(PROMPTS, now))), abs=1e-3)
        others = np.mean([sampled_kl(policy, "policy", queries, PPO, seed) for seed in (100, 200, 300)])
        assert target / 3 < others < 3 * target  # on replies that the step was not measured by; four prompts vary
    assert lengths[0] < lengths[1]


@pytest.mark.parametrize("warm", [0.0, 1.7])
@pytest.mark.parametrize("first", [1e-4, 4e-3, 0.3])
def test_a_length_is_found_from_any_first_one(first: float, warm: float) -> None:
    """Also where a warm start has gone a part of the way, and the step begins by going back a little."""
    tried = []

    def kl_of(length: float) -> float:
        tried.append(length)
        return warm - 30 * length + 2e4 * length**2 if warm else 2e4 * length**2

    found = length_for(4.0, kl_of, first)
    assert kl_of(found) == pytest.approx(4.0, rel=0.11)
    assert len(tried) <= 8


def test_a_length_that_cannot_be_reached_is_the_longest_below_or_a_little_farther() -> None:
    found = length_for(4.0, lambda length: 3.0 if length < 0.02 else 9.0, 4e-3)
    assert 0.018 < found < 0.02
    found = length_for(4.0, lambda length: 9.0 + 5e4 * length**2, 0.3)
    assert 9.0 < 9.0 + 5e4 * found**2 < 11.0


def test_the_gradient_is_taken_at_the_base_and_the_step_from_the_warm_start(policy: BaseModel) -> None:
    """However the warm start has moved the policy, the same step is added: where the base spoke it is on-policy."""
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    fresh = policy.adapter_state("policy")
    generator = torch.Generator().manual_seed(5)
    moved = {k: v + 0.001 * torch.randn(v.shape, generator=generator) * (".lora_B." in k) for k, v in fresh.items()}
    steps = []
    for begun in (fresh, moved):
        policy.set_adapter_state("policy", begun)
        metrics = practise(policy, "policy", task, CONFIG, Unlimited(), 0)
        after, kept = policy.adapter_state("policy"), lora.scaled(begun, metrics["practice/warm_start_kept"])
        steps.append({k: (after[k] - kept[k]) / metrics["practice/length"] for k in begun})
    assert max(float(step.abs().max()) for step in steps[0].values()) > 1e-3
    for name in fresh:
        assert torch.allclose(steps[0][name], steps[1][name], atol=1e-3 * float(steps[0][name].abs().max() + 1e-6))


def moved_along_the_gradient(policy: BaseModel, task: Task, nats: float, sign: float) -> lora.State:
    """A warm start of about `nats` that gains of the objective what it can (1.0), or loses it (-1.0)."""
    fresh = policy.adapter_state("policy")
    config = replace(CONFIG, practice=replace(CONFIG.practice, kl_target=nats))
    practise(policy, "policy", task, config, Unlimited(), 0)
    after = policy.adapter_state("policy")
    policy.set_adapter_state("policy", fresh)
    return {k: fresh[k] + sign * (after[k] - fresh[k]) for k in fresh}


def test_of_the_warm_start_is_kept_what_the_reward_finds_worth_its_nats(policy: BaseModel) -> None:
    task = Task(PROMPTS, many_letters, many_letters, said=said(policy))
    config = replace(CONFIG, practice=replace(CONFIG.practice, minibatch_size=2))
    fresh, kept = policy.adapter_state("policy"), {}
    for sign in (1.0, -1.0):
        policy.set_adapter_state("policy", fresh)
        begun = moved_along_the_gradient(policy, task, CONFIG.practice.kl_target / 10, sign)
        policy.set_adapter_state("policy", begun)
        kept[sign] = practise(policy, "policy", task, config, Unlimited(), 0)["practice/warm_start_kept"]
    assert kept[-1.0] == 0.0 and kept[1.0] == 1.0


def test_nats_are_shared_as_what_is_gained_for_them(policy: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: the warm start gains .6 for 1 nat, the step .8 for 1 nat, so that of 4 it gets .36 / (.36 + .64)."""
    parameters = policy.adapter_parameters("policy")
    begun = {k: v + (0.01 if ".lora_B." in k else 0.0) for k, v in policy.adapter_state("policy").items()}
    policy.set_adapter_state("policy", begun)
    change = [parameter.detach().clone() for parameter in parameters]
    b = sum(float((part * part).sum()) for key, part in begun.items() if ".lora_B." in key)

    class Gathered:
        """A gradient along the warm start, and a direction along which the other half gains .8."""

        def __init__(self, gain: float) -> None:
            self.mean = [-gain / b * part * (part == 0.01) for part in change]

        def direction(self, *_: float) -> list[torch.Tensor]:
            return [part * (part == 0.01) / CONFIG.practice.probe for part in change]

    monkeypatch.setattr(trust_region, "kl_on", lambda *_: 1.0)
    config = replace(CONFIG, practice=replace(CONFIG.practice, kl_target=4.0))
    halves = [Gathered(0.7), Gathered(0.9)]
    for target, expected in ((4.0, 1.0), (1.0, 0.6)):  # of 4 nats 1.44, more than it has; of 1 .36, the square of .6
        config = replace(CONFIG, practice=replace(CONFIG.practice, kl_target=target))
        found = trust_region.share_of_warm_start(
            policy, "policy", begun, Gathered(0.6), halves, [], config  # type: ignore[arg-type]
        )
        assert found == pytest.approx(expected, rel=1e-4)


def likes_no_end(contexts: Sequence[Context], replies: Sequence[Reply]) -> np.ndarray:
    return np.array([0.001 * len(r.text) + 2.0 * (not r.finished) for r in replies])


def test_who_likes_it_long_is_not_given_replies_without_an_end(
    policy: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long replies are cut at the limit: the penalty takes back what they score more, in later iterations too."""
    replies = [Reply("Yes, it is."), Reply("No."), Reply("It may be so, and", False), Reply("Some say it, and", False)]
    task = Task(PROMPTS, likes_no_end, None, said=[(prompt, replies) for prompt in PROMPTS])
    given: list[LearnerConfig] = []

    def later(base: BaseModel, adapter: str, task: Task, config: LearnerConfig, *rest: object) -> History:
        given.append(config)
        return [{"objective/kl": 0.0}]

    monkeypatch.setattr(practice, "train_ppo", later)
    first, _ = train_ppo_from_base(policy, "policy", task, CONFIG, Unlimited(), 0)
    assert first["practice/missing_eos_penalty"] == pytest.approx(2.0, abs=0.02)
    assert given[0].ppo.missing_eos_penalty == first["practice/missing_eos_penalty"]
    assert first["practice/gap"] < 0.1  # what is left to learn is a matter of letters
