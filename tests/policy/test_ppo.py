"""What a correct PPO satisfies, on two tiny architectures in float32 (docs/learning.md lists the points)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from data.types import Reply, Turn
from learner.config import LearnerConfig, PPOConfig, WarmStartConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor, Unlimited
from learner.policy import ppo
from learner.policy.distance import kl_to_base
from learner.policy.ppo import minibatch_backward, score_replies, score_tokens, train_ppo
from learner.policy.rollouts import Rollout, rollout_settings, sample_replies
from learner.policy.sequences import batch_sequences, evaluate_policy, select
from learner.policy.task import History, LearningError, Reward, Task
from learner.policy.warm_start import warm_start

CONFIG = PPOConfig(
    iterations=2, prompts_per_iteration=3, replies_per_prompt=4, replies_trained=4, response_tokens=12,
    prefix_tokens=4, temperature=0.7,
    minibatch_size=6, micro_batch_size=4, max_kl_step=1e9,
)  # fmt: skip
PROMPTS = [[Turn("user", text)] for text in ("Hello!", "What is the time in Paris now?", "Sing.")]


def disturb(base: BaseModel, scale: float = 0.05) -> None:
    """Give the adapter an effect: B is zero in a new one."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in base.adapter_parameters("policy"):
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def many_words(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> np.ndarray:
    return np.array([float(len(reply.text)) / 50 for reply in replies])


def train(base: BaseModel, reward: Reward, config: PPOConfig, monitor: Monitor | None = None) -> History:
    task = Task(PROMPTS, reward, prefix_reward=reward if config.baseline == "prefix" else None)
    return train_ppo(base, "policy", task, LearnerConfig(ppo=config), monitor or Unlimited(), 0)


def rollouts_of(base: BaseModel, seed: int = 0) -> tuple[list, list]:
    contexts = [prompt for prompt in PROMPTS for _ in range(CONFIG.replies_per_prompt)]
    queries = [base.encode_chat(context) for context in contexts]
    return contexts, sample_replies(
        base, "policy", queries, rollout_settings(CONFIG), range(seed, seed + len(queries))
    )


def scored_tokens(
    base: BaseModel, contexts: list, rollouts: list, order: torch.Tensor, rows: int, config: PPOConfig = CONFIG
) -> tuple:
    scores, _ = score_replies(contexts, rollouts, many_words, config)
    return score_tokens(base, "policy", rollouts, scores, None, order, None, 0.1, config, rows)


@pytest.mark.parametrize("baseline", ["prefix", "leave-one-out", "gae"])
def test_the_ratio_is_one_at_the_first_minibatch(policy: BaseModel, baseline: str) -> None:
    disturb(policy)
    history = train(policy, many_words, replace(CONFIG, baseline=baseline))
    for metrics in history:
        assert abs(metrics["val/ratio_first"] - 1) <= 1e-3


def test_a_new_adapter_is_the_reference_exactly(policy: BaseModel) -> None:
    _, rollouts = rollouts_of(policy)
    assert kl_to_base(policy, "policy", rollouts, CONFIG.temperature) == 0.0
    disturb(policy)
    assert kl_to_base(policy, "policy", rollouts, CONFIG.temperature) != 0.0


def test_the_kl_is_that_of_the_whole_distributions(policy: BaseModel) -> None:
    """Token by token through the plain Hugging Face forward pass; its mean is that of the sampled estimate."""
    disturb(policy, 0.02)
    _, rollouts = rollouts_of(policy)
    expected, sampled = [], []
    for rollout in rollouts:
        ids, start = torch.tensor([rollout.query + rollout.response]), len(rollout.query)
        logs = []
        for name in ("policy", None):
            with policy.using(name), torch.no_grad():
                logits = policy.model(input_ids=ids).logits[0, start - 1 : -1] / CONFIG.temperature
            logs.append(torch.log_softmax(logits, -1))
        expected.append(torch.nn.functional.kl_div(logs[1], logs[0], log_target=True, reduction="sum").item())
        chosen = torch.arange(len(rollout.response)), ids[0, start:]
        sampled.append((logs[0][chosen] - logs[1][chosen]).sum().item())
    found = kl_to_base(policy, "policy", rollouts, CONFIG.temperature)
    assert found == pytest.approx(np.mean(expected), rel=1e-3)
    assert np.std(expected) < np.std(sampled)


def test_old_logprobs_are_the_trainers_and_what_the_sampler_drew_is_corrected(policy: BaseModel) -> None:
    """As if the sampler had given every token .1 nats less than the trainer does."""
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    apart = [replace(r, sampler_logprobs=[p - 0.1 for p in r.sampler_logprobs]) for r in rollouts]
    (scored, metrics), (plain, _) = (scored_tokens(policy, contexts, said, order, 4) for said in (apart, rollouts))
    mask = scored.batch.response_mask
    expected = evaluate_policy(policy, "policy", scored.batch, CONFIG.temperature).logprobs
    assert torch.allclose(scored.old_logprobs[mask], expected[mask], atol=1e-4)
    assert metrics["sampler/gap"] == pytest.approx(0.1, abs=1e-3)
    assert torch.allclose(scored.advantages[mask], plain.advantages[mask] * np.exp(0.1), rtol=1e-2)


def test_rewards_are_less_the_distance_from_the_base_at_the_sampling_temperature(policy: BaseModel) -> None:
    """Reference and KL worked out by the plain Hugging Face forward pass, advantages from them by hand."""
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    scores, _ = score_replies(contexts, rollouts, many_words, CONFIG)
    config = replace(CONFIG, baseline="leave-one-out")
    scored, metrics = score_tokens(
        policy, "policy", rollouts, scores, None, torch.arange(len(rollouts)), None, 0.3, config, 4
    )
    kls = []
    for rollout in rollouts:
        ids, logs = torch.tensor([rollout.query + rollout.response]), []
        for name in ("policy", None):
            with policy.using(name), torch.no_grad():
                logits = policy.model(input_ids=ids).logits[0, len(rollout.query) - 1 : -1] / CONFIG.temperature
            logs.append(torch.log_softmax(logits, -1)[torch.arange(len(rollout.response)), rollout.response].sum())
        kls.append(logs[0] - logs[1])
    assert metrics["objective/kl"] == pytest.approx(float(torch.stack(kls).mean()), rel=1e-3)
    returns = (scores - 0.3 * torch.stack(kls)).view(-1, 4)
    assert metrics["objective/rlhf_reward"] == pytest.approx(float(returns.mean()), rel=1e-3)
    others = (returns.sum(-1, keepdim=True) - returns) / 3
    expected = (returns - others).flatten() / (returns - others).std()
    assert scored.advantages[:, 0].tolist() == pytest.approx(expected.tolist(), abs=1e-2)


def test_a_sampler_that_computes_something_else_stops_ppo(
    policy: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturb(policy)
    before = lora.state_sha256(policy.adapter_state("policy"))
    honest = ppo.sample_replies

    def another(*arguments: Any) -> list[Rollout]:
        return [replace(r, sampler_logprobs=[p - 0.3 for p in r.sampler_logprobs]) for r in honest(*arguments)]

    monkeypatch.setattr(ppo, "sample_replies", another)
    with pytest.raises(LearningError, match=r"disagree by 0\.3"):
        train(policy, many_words, CONFIG)
    assert lora.state_sha256(policy.adapter_state("policy")) == before


def test_an_epoch_that_went_too_far_is_the_last(policy: BaseModel) -> None:
    for bound, epochs in ((1e9, 3), (0.0, 1)):
        config = replace(CONFIG, iterations=1, epochs=3, learning_rate=1e-2, max_kl_step=bound)
        assert [metrics["policy/epochs"] for metrics in train(policy, many_words, config)] == [epochs]


def test_demonstrations_beside_ppo_add_their_gradient(policy: BaseModel) -> None:
    """PPO-ptx: the gradient with them less that without is `ptx_coef` times that of their mean log-likelihood."""
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    scored, _ = scored_tokens(policy, contexts, rollouts, order, 4)
    shown = [(PROMPTS[0], "good morning"), (PROMPTS[1], "it is ten in Paris and in Rome")]
    queries, replies = [policy.encode_chat(c) for c, _ in shown], [policy.encode_reply(text) for _, text in shown]
    demonstrations = batch_sequences(queries, replies, policy.pad_id, policy.device)
    parameters = policy.adapter_parameters("policy")
    found = []
    for given in (None, demonstrations):
        for size in (1, 12):
            minibatch_backward(policy, "policy", scored, order, None, False, CONFIG, size, given, 0.25)
            found.append(torch.cat([p.grad.flatten() for p in parameters]))
    total, tokens = torch.zeros(()), 0
    for query, reply in zip(queries, replies, strict=True):
        with policy.using("policy"):
            logits = policy.model(input_ids=torch.tensor([query + reply])).logits[0, len(query) - 1 : -1]
        total = total - torch.log_softmax(logits, -1)[torch.arange(len(reply)), torch.tensor(reply)].sum()
        tokens += len(reply)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(0.25 * total / tokens, parameters)])
    assert torch.allclose(found[2] - found[0], expected, rtol=1e-3, atol=1e-5)
    assert torch.allclose(found[3] - found[1], expected, rtol=1e-3, atol=1e-5)


def test_padding_changes_nothing(policy: BaseModel) -> None:
    """A batch of one equals the row of a batch of eight, in log-probabilities and in gradients."""
    disturb(policy)
    queries = [policy.encode_chat([Turn("user", "word " * n)]) for n in range(1, 9)]
    responses = [policy.encode_reply("answer " * (9 - n)) for n in range(1, 9)]
    together = batch_sequences(queries, responses, policy.pad_id, policy.device)
    for row in range(8):
        alone = batch_sequences([queries[row]], [responses[row]], policy.pad_id, policy.device)
        found = []
        for batch in (select(together, torch.tensor([row])), alone):
            out = evaluate_policy(policy, "policy", batch, 0.7)
            grads = torch.autograd.grad(out.logprobs.sum(), policy.adapter_parameters("policy"))
            found.append((out.logprobs.detach(), torch.cat([g.flatten() for g in grads])))
        whole = evaluate_policy(policy, "policy", together, 0.7).logprobs[row, : len(responses[row])]
        assert torch.allclose(found[0][0], found[1][0], atol=1e-5)
        assert torch.allclose(whole, found[1][0][0], atol=1e-4)
        assert torch.allclose(found[0][1], found[1][1], atol=1e-4)


def test_logits_are_divided_by_the_temperature(policy: BaseModel) -> None:
    query, response = policy.encode_chat(PROMPTS[0]), policy.encode_reply("good morning")
    batch = batch_sequences([query], [response], policy.pad_id, policy.device)
    found = evaluate_policy(policy, None, batch, 0.5).logprobs[0]
    with policy.using(None), torch.no_grad():
        logits = policy.model(input_ids=torch.tensor([query + response])).logits[0]
    expected = torch.log_softmax(logits[len(query) - 1 : -1] / 0.5, -1)
    expected = expected[torch.arange(len(response)), torch.tensor(response)]
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_end_of_turn_is_inside_the_response_though_it_is_the_padding_id(policy: BaseModel) -> None:
    assert policy.pad_id in policy.eos_ids
    short, long = policy.encode_reply("yes"), policy.encode_reply("yes and no and perhaps")
    batch = batch_sequences([[5, 6]] * 2, [short, long], policy.pad_id, policy.device)
    assert batch.response_mask.sum(-1).tolist() == [len(short), len(long)]
    last = batch.response_ids[0, len(short) - 1].item()
    assert last in policy.eos_ids and bool(batch.response_mask[0, len(short) - 1])


def test_the_gradient_is_that_of_the_textbook(policy: BaseModel) -> None:
    """At ratio 1 the clipped objective's gradient is -sum_t A_t grad log pi_t, over the constant normaliser."""
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    scored, _ = scored_tokens(policy, contexts, rollouts, order, 4)
    parameters = policy.adapter_parameters("policy")
    for parameter in parameters:
        parameter.grad = None
    minibatch_backward(policy, "policy", scored, order, None, False, CONFIG, 4)
    found = torch.cat([parameter.grad.flatten() for parameter in parameters])
    expected = torch.zeros_like(found)
    for row, rollout in enumerate(rollouts):  # one by one, through the plain Hugging Face forward pass
        ids = torch.tensor([rollout.query + rollout.response])
        with policy.using("policy"):
            logits = policy.model(input_ids=ids).logits[0, len(rollout.query) - 1 : -1] / CONFIG.temperature
            logprobs = torch.log_softmax(logits, -1)[torch.arange(len(rollout.response)), ids[0, len(rollout.query) :]]
            loss = -(logprobs * scored.advantages[row, : len(rollout.response)]).sum()
            grads = torch.autograd.grad(loss, parameters)
        expected += torch.cat([g.flatten() for g in grads]) / (len(rollouts) * CONFIG.response_tokens)
    assert torch.nn.functional.cosine_similarity(found, expected, dim=0) > 0.9999
    assert found.norm().item() == pytest.approx(expected.norm().item(), rel=1e-3)


def test_known_values_give_credit_to_tokens_and_to_whole_replies(policy: BaseModel) -> None:
    """With nothing but whole replies' credit a reply's tokens are all alike; without it they differ."""
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    values = torch.linspace(0, 1, CONFIG.response_tokens).repeat(len(rollouts), 1)
    spreads = {}
    for share in (0.0, 1e6):
        config = replace(CONFIG, credit_of_whole=share)
        scores, _ = score_replies(contexts, rollouts, many_words, config)
        scored, _ = score_tokens(policy, "policy", rollouts, scores, values, order, None, 0.0, config, 4)
        rows = zip(scored.advantages, scored.batch.response_mask, strict=True)
        spreads[share] = max(float(row[mask].max() - row[mask].min()) for row, mask in rows)
    assert spreads[0.0] > 0.1 and spreads[1e6] < 1e-2, spreads


def test_micro_batches_are_memory_only(policy: BaseModel) -> None:
    disturb(policy)
    contexts, rollouts = rollouts_of(policy)
    order = torch.arange(len(rollouts))
    found = []
    for size in (2, 12):
        config = replace(CONFIG, minibatch_size=12)
        scored, _ = scored_tokens(policy, contexts, rollouts, order, size, config)
        for parameter in policy.adapter_parameters("policy"):
            parameter.grad = None
        minibatch_backward(policy, "policy", scored, order, None, False, config, size)
        found.append(torch.cat([p.grad.flatten() for p in policy.adapter_parameters("policy")]))
    assert torch.allclose(found[0], found[1], rtol=1e-4, atol=1e-5)


def test_dropout_is_off_before_in_and_after_training(policy: BaseModel) -> None:
    seen: list[bool] = []

    def look(*_: object) -> None:
        seen.append(any(module.training for module in policy.model.modules()))

    look()
    hook = policy.adapter_parameters("policy")[0].register_hook(look)  # at every backward pass
    train(policy, many_words, replace(CONFIG, iterations=1))
    hook.remove()
    look()
    assert len(seen) > 2 and not any(seen)


@pytest.mark.parametrize("baseline", ["prefix", "leave-one-out", "gae"])
def test_ppo_raises_the_reward_and_leaves_the_base_alone(policy: BaseModel, baseline: str) -> None:
    base_before = {n: p.detach().clone() for n, p in policy.model.named_parameters() if "lora_" not in n}
    adapter_before = lora.state_sha256(policy.adapter_state("policy"))

    # A wish that a change of the hidden state can meet: tokens on one side of a direction of the embeddings.
    side = policy.model.get_input_embeddings().weight[:, 0] > 0

    def one_side(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> np.ndarray:
        return np.array([10 * float(side[policy.encode_reply(reply.text)].float().mean()) for reply in replies])

    config = replace(
        CONFIG, iterations=16, replies_per_prompt=8, replies_trained=8, minibatch_size=12, learning_rate=1e-2,
        baseline=baseline, kl_coef=0.0, kl_target=1e9,
        value_warmup_iterations=1, missing_eos_penalty=0.0, reward_clip=1e9,
    )  # fmt: skip
    history = train(policy, one_side, config)
    first = np.mean([m["objective/scores"] for m in history[:3]])
    last = np.mean([m["objective/scores"] for m in history[-3:]])
    assert last > first + 0.5
    assert lora.state_sha256(policy.adapter_state("policy")) != adapter_before
    for name, parameter in policy.model.named_parameters():
        if "lora_" not in name:
            assert torch.equal(parameter, base_before[name]), name


def test_values_only_warm_up_moves_no_policy(policy: BaseModel) -> None:
    disturb(policy)
    before = lora.state_sha256(policy.adapter_state("policy"))
    config = replace(CONFIG, iterations=1, baseline="gae", value_warmup_iterations=1, kl_target=1e9)
    train(policy, many_words, config)
    assert lora.state_sha256(policy.adapter_state("policy")) == before


class Short(Unlimited):
    """25 seconds, of which every look at the clock takes 10."""

    clock = 0.0

    def elapsed_s(self) -> float:
        self.clock += 10
        return self.clock

    def seconds_left(self, budget: str) -> float:
        return 25 - self.clock


def test_the_time_budget_ends_ppo_between_iterations(policy: BaseModel) -> None:
    history = train(policy, many_words, replace(CONFIG, iterations=50), Short())
    assert len(history) == 1


def test_no_iteration_begins_that_is_expected_to_take_longer_than_there_is_time(policy: BaseModel) -> None:
    task = Task(PROMPTS, many_words, prefix_reward=many_words)
    before = lora.state_sha256(policy.adapter_state("policy"))
    assert train_ppo(policy, "policy", task, LearnerConfig(ppo=CONFIG), Short(), 0, expected_s=26.0) == []
    assert lora.state_sha256(policy.adapter_state("policy")) == before
    assert train_ppo(policy, "policy", task, LearnerConfig(ppo=CONFIG), Short(), 0, expected_s=24.0)


def test_what_an_iteration_is_expected_to_take_gives_way_to_what_it_took(policy: BaseModel) -> None:
    class Roomy(Short):
        def seconds_left(self, budget: str) -> float:
            return 100 - self.clock

    task = Task(PROMPTS, many_words, prefix_reward=many_words)
    history = train_ppo(policy, "policy", task, LearnerConfig(ppo=replace(CONFIG, iterations=50)), Roomy(), 0, 60.0)
    took = [metrics["time/iteration_s"] for metrics in history]
    assert len(history) > 3 and max(took) <= 20  # with 60 seconds each there would be three


def test_the_warm_start_imitates_and_is_scaled_back_to_its_limit(policy: BaseModel) -> None:
    shown = [(prompt, Reply("okay then")) for prompt in PROMPTS * 3]
    settings = WarmStartConfig(learning_rate=5e-3, max_steps=8, batch_size=4, kl_limit=1e9, kl_prompts=2)
    free = warm_start(policy, "policy", shown, PROMPTS, settings, CONFIG, Unlimited(), 0)
    assert free.steps == 8 and free.kl > 0.5
    policy.set_adapter_state("policy", {k: torch.zeros_like(v) for k, v in policy.adapter_state("policy").items()})
    again = torch.Generator().manual_seed(3)
    state = {
        k: torch.randn(v.shape, generator=again) * 0.1 if "lora_A" in k else torch.zeros_like(v)
        for k, v in policy.adapter_state("policy").items()
    }
    policy.set_adapter_state("policy", state)
    limited = warm_start(
        policy, "policy", shown, PROMPTS, replace(settings, kl_limit=free.kl / 4), CONFIG, Unlimited(), 0
    )
    assert 0 < limited.kl <= free.kl / 4 and "scaled back" in limited.why




def test_switching_to_the_reference_and_back_leaves_the_adapter_trainable(policy: BaseModel) -> None:
    """PEFT's own switch clears requires_grad: training then goes on and changes nothing."""
    batch = batch_sequences(
        [policy.encode_chat(PROMPTS[0])], [policy.encode_reply("good")], policy.pad_id, policy.device
    )
    with policy.using("policy"), policy.using(None):
        pass
    loss = evaluate_policy(policy, "policy", batch, 1.0).logprobs.sum()
    loss.backward()
    assert all(p.requires_grad and p.grad is not None for p in policy.adapter_parameters("policy"))
    assert any(p.grad.abs().sum() > 0 for p in policy.adapter_parameters("policy"))
