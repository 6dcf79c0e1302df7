"""PPO's first step: it learns from the best and the worst of what the base itself says.

The base's replies to a prompt are the same for every update and every person, so they are sampled once and kept; each
update scores them anew. Where the policy is the base they are on-policy: every ratio is 1 and nothing is clipped. So
all of them are read there, and then one step is taken, as long as the KL allows: a natural gradient in a trust region
(Schulman et al. 2015). Smaller steps on the same replies were worse: after the first few, clipping holds fast the very
tokens that matter, and the rest of the distance goes into noise (docs/log.md). In order, with ppo.py's steps:

 1. score the replies to each prompt, less as much for a missing end as keeps ends from being unlearnt, and go on with
    the two that are farthest apart
 2. advantages over whole replies, from the reward of their beginnings (critic.py) or of the two replies alone
 3. the gradient of PPO's objective on all of them, at the base
 4. of the warm start's change as much as that gradient finds worth its nats, and from there one step in the
    gradient's natural direction (natural.py), to `kl_target`
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch

from data.types import Reply
from learner.config import LearnerConfig, PPOConfig
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.advantages import (
    farthest_apart,
    generalised_advantage_estimation,
    missing_end_penalty,
    token_rewards,
    with_credit_of_whole,
)
from learner.policy.critic import prefix_values
from learner.policy.distance import batches_of
from learner.policy.fisher import Fisher, conjugate_gradients
from learner.policy.losses import clipped_policy_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.natural import NaturalGradient
from learner.policy.ppo import score_replies, train_ppo
from learner.policy.rollouts import Rollout
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    evaluate_policy,
    select,
    with_lower_states,
)
from learner.policy.steps import add_to, clear_gradients, mean_metrics, policy_metrics
from learner.policy.task import Context, History, LearningError, Task
from learner.policy.trust_region import share_of_warm_start, step_to_target

STEP_MINIBATCHES = 4  # as much progress as the step is worth


def train_ppo_from_base(
    base: BaseModel, adapter: str, task: Task, config: LearnerConfig, monitor: Monitor, seed: int
) -> History:
    """`practise`, where the base's replies are given, then on-policy iterations as long as there is time.

    A policy that was trained before is not the base: it learns from what it says itself, and the base's replies tell
    only what a missing end is to cost.
    """
    ppo = config.ppo
    if not task.said:
        return train_ppo(base, adapter, task, config, monitor, seed)
    if task.goes_on:
        _, found = choose_replies(base, task, config)
        ppo = replace(ppo, missing_eos_penalty=found["practice/missing_eos_penalty"])
        return train_ppo(base, adapter, task, replace(config, ppo=ppo), monitor, seed)
    first = practise(base, adapter, task, config, monitor, seed)
    # A round of replies, and per reply an epoch that takes about as long as the first step's gradient.
    rows = ppo.prompts_per_iteration * ppo.replies_trained * ppo.epochs
    expected_s = first.get("time/round_s", 0.0) + rows * first["time/gradient_s"] / (2 * len(task.said))
    settings = replace(config, ppo=replace(
        ppo,
        missing_eos_penalty=first["practice/missing_eos_penalty"],
        demonstration_coef=first.get("practice/warm_start_kept", 1.0) * ppo.demonstration_coef,
    ))  # fmt: skip
    then = train_ppo(base, adapter, task, settings, monitor, seed, expected_s)
    return [first, *then]


@dataclass(frozen=True)
class Chosen:
    """The best and the worst of what the base said to each prompt, next to each other."""

    batch: SequenceBatch
    advantages: torch.Tensor  # (B, T)


def practise(
    base: BaseModel, adapter: str, task: Task, settings: LearnerConfig, monitor: Monitor, seed: int
) -> dict[str, float]:
    """Improve `adapter` in place from `task.said`, or from as much of it as there is time for; returns metrics.

    Raises LearningError where a gradient is not finite, and whatever the monitor raises.
    """
    began_s = monitor.elapsed_s()
    config = settings.practice
    chosen, metrics = choose_replies(base, task, settings)
    begun = base.adapter_state(adapter)
    base.set_adapter_state(adapter, lora.scaled(begun, 0.0))
    parameters = base.adapter_parameters(adapter)
    gradient, halves = NaturalGradient(parameters), [NaturalGradient(parameters) for _ in range(2)]
    micro_batch = MicroBatch(config.micro_batch_size)
    order = torch.randperm(len(chosen.advantages), generator=torch.Generator().manual_seed(seed)).to(base.device)
    minibatches = order.split(config.minibatch_size)
    found: list[dict[str, float]] = []

    def tell(done: int) -> None:
        monitor.report("practice", done / (len(minibatches) + config.fisher_products + STEP_MINIBATCHES), {})

    def go_on(product: int) -> bool:
        """In any case for one: it is the preconditioned gradient at its right length."""
        tell(len(minibatches) + product)
        return product == 0 or monitor.seconds_left("learning") > 0

    gradient_began_s = monitor.elapsed_s()
    for number, rows in enumerate(minibatches):
        if monitor.seconds_left("learning") <= 0:
            break
        found.append(micro_batch.fit(partial(_backward, base, adapter, chosen, rows, settings)))
        gradient.add()
        halves[number % 2].add()
        tell(number + 1)
    metrics["time/gradient_s"] = monitor.elapsed_s() - gradient_began_s
    metrics["practice/minibatches"] = float(gradient.minibatches)
    if found:
        metrics |= mean_metrics(found)
    if not all(bool(torch.isfinite(part).all()) for part in gradient.mean):
        raise LearningError("The gradient is not finite; nothing of this update is kept.")
    batches = said_batches(base, adapter, task, settings)
    direction = conjugate_gradients(
        Fisher(base, adapter, batches, settings.ppo.temperature).product,
        partial(gradient.divided, damping=config.damping, column_damping=config.column_damping),
        gradient.descent(),
        config.fisher_products,
        config.probe,
        go_on,
    )
    kept = share_of_warm_start(base, adapter, begun, gradient, halves, batches, settings)
    metrics["practice/warm_start_kept"] = kept
    base.set_adapter_state(adapter, lora.scaled(begun, kept))
    if any(bool(part.any()) for part in direction):
        metrics |= step_to_target(base, adapter, direction, batches, task, settings, monitor, seed)
    metrics["time/iteration_s"] = monitor.elapsed_s() - began_s
    monitor.report("practice", 1.0, metrics)
    return metrics


def said_batches(base: BaseModel, adapter: str, task: Task, settings: LearnerConfig) -> list[SequenceBatch]:
    """One reply of the base to each of some prompts, along which a distance costs no sampling."""
    config, longest = settings.practice, settings.ppo.response_tokens
    of_base = [_spoken(base, context, said[0], longest) for context, said in task.said[: config.fisher_replies]]
    return [
        with_lower_states(base, adapter, batch, config.micro_batch_size)
        for batch in batches_of(base, of_base, config.micro_batch_size)
    ]


def choose_replies(base: BaseModel, task: Task, settings: LearnerConfig) -> tuple[Chosen, dict[str, float]]:
    """Steps 1 and 2."""
    config, ppo = settings.practice, replace(settings.ppo, replies_per_prompt=settings.practice.replies)
    longest = ppo.response_tokens
    contexts = [context for context, replies in task.said for _ in replies]
    rollouts = [_spoken(base, context, reply, longest) for context, replies in task.said for reply in replies]
    scores, metrics = score_replies(contexts, rollouts, task.reward, replace(ppo, missing_eos_penalty=0.0))
    ended = torch.tensor([r.reply.finished for r in rollouts])
    penalty = missing_end_penalty(
        scores.view(-1, config.replies), ended.view(-1, config.replies), ppo.missing_eos_penalty
    )
    scores = scores - penalty * ~ended
    metrics["practice/missing_eos_penalty"] = penalty
    if task.prefix_reward is not None:
        values, lam = prefix_values(base, contexts, rollouts, scores, task.prefix_reward, ppo), ppo.prefix_lam
    else:  # the mean of the prompt's replies, for all of a reply
        values, lam = scores.view(-1, config.replies).mean(-1).repeat_interleave(config.replies)[:, None], 1.0
        values = values.expand(-1, longest)
    kept = farthest_apart(scores.view(-1, config.replies), 2)
    rollouts, scores, values = [rollouts[i] for i in kept], scores[kept], values[kept]
    pairs = scores.view(-1, 2)
    advantages = _advantages([len(r.response) for r in rollouts], scores, values, lam, ppo)
    batch = batch_sequences([r.query for r in rollouts], [r.response for r in rollouts], base.pad_id, base.device)
    metrics["practice/gap"] = float((pairs.amax(-1) - pairs.amin(-1)).mean())
    return Chosen(batch, advantages.to(base.device)), metrics


def _spoken(base: BaseModel, context: Context, reply: Reply, longest: int) -> Rollout:
    response = base.encode_reply(reply.text, reply.finished) or [base.end_of_turn_id]
    return Rollout(0, base.encode_chat(context), response[:longest], reply, [])


def _advantages(
    lengths: list[int], scores: torch.Tensor, values: torch.Tensor, lam: float, ppo: PPOConfig
) -> torch.Tensor:
    """(B, T) of whole replies, whitened. The policy that spoke is the reference: no KL stands in the reward."""
    mask = torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]
    zero = torch.zeros(mask.shape)
    rewards = token_rewards(scores, zero, zero, mask, 0.0)
    values = values[:, : mask.shape[1]] * mask
    found, _ = generalised_advantage_estimation(rewards, values, mask, ppo.gamma, lam)
    return with_credit_of_whole(found, rewards, values, mask, ppo.credit_of_whole if lam < 1.0 else 0.0)


def _backward(
    base: BaseModel, adapter: str, chosen: Chosen, rows: torch.Tensor, settings: LearnerConfig, rows_at_once: int
) -> dict[str, float]:
    """Step 3: set the gradients of the minibatch `rows`, where the policy is the base; returns its metrics."""
    ppo = settings.ppo
    clear_gradients(base.adapter_parameters(adapter))
    normaliser = len(rows) * ppo.response_tokens
    totals: dict[str, float] = {}
    for part in rows.split(rows_at_once):
        batch = select(chosen.batch, part)
        mask = batch.response_mask
        logprobs = evaluate_policy(base, adapter, batch, ppo.temperature).logprobs
        advantages = chosen.advantages[part, : mask.shape[1]]
        policy = clipped_policy_loss(logprobs, logprobs.detach(), advantages, mask, ppo.clip_range, normaliser)
        policy.loss.backward()
        add_to(totals, policy_metrics(policy, len(part) / len(rows)))
    return totals
