"""Proximal policy optimisation of a LoRA adapter against a reward, on one copy of the 4-bit base.

Policy: adapter on. Reference: the same weights, adapter off. Values: of the reward model on the beginning of each reply
(`baseline="prefix"`, critic.py), or of a value head on the policy's hidden states (`"gae"`), or none
(`"leave-one-out"`). One iteration, in order:

 1. sample `replies_per_prompt` replies to each of `prompts_per_iteration` prompts
 2. score each reply, less a penalty where it did not end by itself; of each prompt's replies go on with the
    `replies_trained` whose scores are farthest apart: sampling is cheap, training is not
 3. one training-mode forward pass for old log-probabilities (and values), one for the reference's
 4. reward of a token = -kl_coef (log pi - log ref), plus the score on the last token
 5. advantages: generalised advantage estimation, or each reply's return less the others' to the same prompt
 6. `epochs` passes over minibatches: clipped policy loss, clipped value loss, loss on demonstrations (PPO-ptx)
 7. the KL coefficient moves towards its target

What comes out is the mean of the iterations' weights (averaging.py).

Sources: Schulman et al. 2017; Ziegler et al. 2019; Ouyang et al. 2022 (ptx); Huang et al. 2023 (details and metric
names); Ahmadian et al. 2024 (leave-one-out); Xu et al. 2025, "Not all rollouts are useful" (step 2). Left out: entropy
bonus, learning-rate decay, reward whitening over the batch (scores come in population standard deviations already).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from learner.config import LearnerConfig, PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.heads import ValueHead
from learner.monitor import Monitor
from learner.policy.advantages import (
    farthest_apart,
    generalised_advantage_estimation,
    leave_one_out,
    masked_mean,
    sampler_correction,
    token_rewards,
    with_credit_of_whole,
)
from learner.policy.averaging import WeightAverage, mean_of
from learner.policy.critic import prefix_values
from learner.policy.distance import scale_back
from learner.policy.imitation import imitation_backward
from learner.policy.losses import AdaptiveKL, clipped_policy_loss, clipped_value_loss
from learner.policy.micro_batches import MicroBatch
from learner.policy.rollouts import Rollout, rollout_settings, sample_replies
from learner.policy.sequences import (
    SequenceBatch,
    batch_sequences,
    evaluate_policy,
    select,
    with_lower_states,
)
from learner.policy.steps import add_to, clear_gradients, clipped_step, mean_metrics, policy_metrics
from learner.policy.task import Context, History, LearningError, Reward, Task


@dataclass(frozen=True)
class Scored:
    """An iteration's rollouts with all that the epochs need; tensors `(B, T)`."""

    batch: SequenceBatch
    old_logprobs: torch.Tensor
    old_values: torch.Tensor | None
    advantages: torch.Tensor
    returns: torch.Tensor


def train_ppo(
    base: BaseModel,
    adapter: str,
    task: Task,
    settings: LearnerConfig,
    monitor: Monitor,
    seed: int,
    expected_s: float = 0.0,
) -> History:
    """Improve `adapter` in place until the iterations or the time are used up; returns each iteration's metrics.

    No iteration begins that would take longer than there is time: the first is expected to take `expected_s`.
    The adapter ends as the mean of what it was after each iteration (averaging.py). Where the policies that spoke were
    in that mean farther from the base than the KL target allows, its change is scaled back.
    Raises LearningError where sampler and trainer disagree or a loss is not finite, and whatever the monitor raises.
    """
    config, prompts, demonstrations = settings.ppo, task.prompts, task.demonstrations
    micro_batch = MicroBatch(config.micro_batch_size)
    if demonstrations is not None:
        demonstrations = with_lower_states(base, adapter, demonstrations, config.micro_batch_size)
    value_head = None
    parameters = base.adapter_parameters(adapter)
    groups = [{"params": parameters, "lr": config.learning_rate}]
    if config.baseline == "gae":
        value_head = ValueHead(base.model.config.get_text_config().hidden_size).to(base.device)
        groups.append({"params": list(value_head.parameters()), "lr": config.value_learning_rate})
    optimiser = torch.optim.AdamW(groups, eps=config.adam_epsilon, weight_decay=0.0)
    controller = AdaptiveKL(config.kl_coef, config.kl_target, config.kl_tolerance, config.kl_factor)
    average = WeightAverage(parameters)
    generator = torch.Generator().manual_seed(seed)
    seeds = random.Random(seed)
    history: History = []
    longest_s = expected_s  # that an iteration is expected to take; measured ones say it better

    for iteration in range(config.iterations):
        if monitor.seconds_left("learning") <= longest_s:
            break
        began_s = monitor.elapsed_s()
        start = iteration * config.prompts_per_iteration
        chosen = [prompts[(start + i) % len(prompts)] for i in range(config.prompts_per_iteration)]
        contexts = [context for context in chosen for _ in range(config.replies_per_prompt)]

        # 1. rollouts
        rollouts = sample_replies(
            base,
            adapter,
            [base.encode_chat(context) for context in contexts],
            rollout_settings(config),
            [seeds.getrandbits(31) for _ in contexts],
        )
        # 2. scores
        scores, metrics = score_replies(contexts, rollouts, task.reward, config)
        kept = farthest_apart(scores.view(-1, config.replies_per_prompt), config.replies_trained)
        values = None
        if config.baseline == "prefix" and task.prefix_reward is not None:
            values = prefix_values(base, contexts, rollouts, scores, task.prefix_reward, config)[kept].to(base.device)
        rollouts, scores = [rollouts[i] for i in kept], scores[kept].to(base.device)
        # Micro-batches keep their rows for the first epoch, so that its first ratio is exactly 1 in any precision.
        order = torch.randperm(len(rollouts), generator=generator)
        scored, found = micro_batch.fit(
            partial(score_tokens, base, adapter, rollouts, scores, values, order, value_head, controller.coef, config)
        )
        metrics |= found
        if metrics["sampler/gap"] > config.max_sampler_gap:
            raise LearningError(
                f"Sampler and trainer disagree by {metrics['sampler/gap']:.3f} nats a token, more than rounding can "
                f"(at most {config.max_sampler_gap}); nothing was learnt. `python launch.py doctor` checks the setup."
            )

        # 6. epochs
        value_only = value_head is not None and iteration < config.value_warmup_iterations
        ptx_coef = config.demonstration_coef * 0.5 ** (iteration / config.demonstration_half_life)
        for epoch in range(config.epochs):
            if epoch > 0:
                order = torch.randperm(len(rollouts), generator=generator)
            steps: list[dict[str, float]] = []
            for i in range(0, len(order), config.minibatch_size):
                rows = order[i : i + config.minibatch_size].to(base.device)
                shown = None
                if demonstrations is not None and ptx_coef > 0 and not value_only:
                    drawn = torch.randperm(len(demonstrations.response_ids), generator=generator)
                    shown = select(demonstrations, drawn[: config.demonstration_rows].to(base.device))
                backward = partial(minibatch_backward, base, adapter, scored, rows, value_head, value_only, config)
                step = micro_batch.fit(partial(backward, demonstrations=shown, ptx_coef=ptx_coef))
                if value_only:  # the value loss reaches the adapter through the hidden states
                    clear_gradients(parameters)
                norm = clipped_step(optimiser, parameters, config.max_grad_norm)
                steps.append(step | {"policy/grad_norm": norm})
            if epoch == 0:
                metrics["val/ratio_first"] = steps[0]["val/ratio"]
            metrics |= mean_metrics(steps)
            metrics["policy/epochs"] = epoch + 1
            if metrics["policy/approxkl"] > config.max_kl_step:
                break

        average.add()

        # 7. the coefficient
        metrics["objective/kl_coef"] = controller.coef
        controller.update(metrics["objective/kl"])
        metrics["policy/iteration"] = iteration + 1
        metrics["time/iteration_s"] = monitor.elapsed_s() - began_s
        history.append(metrics)
        longest_s = max(past["time/iteration_s"] for past in history)
        monitor.report("policy optimisation", (iteration + 1) / config.iterations, metrics)
    if history:
        average.apply()
        # KL is about a quadratic of the change, and so convex: a mean is no farther away than its parts are on average.
        # (What the last iteration made of it has not spoken yet; the gate measures what comes out.)
        scale_back(base, adapter, mean_of([past["objective/kl"] for past in history]), config)
    return history


def score_replies(
    contexts: Sequence[Context], rollouts: Sequence[Rollout], reward: Reward, config: PPOConfig
) -> tuple[torch.Tensor, dict[str, float]]:
    """Step 2: the score of each reply `(N,)`, clipped, less the penalty of those that did not end by themselves."""
    judged = np.clip(reward(contexts, [r.reply for r in rollouts]), -config.reward_clip, config.reward_clip)
    missing_eos = np.array([not r.reply.finished for r in rollouts])
    metrics = {
        "objective/scores": float(judged.mean()),
        "val/eos_rate": 1.0 - float(missing_eos.mean()),
        "val/response_tokens": float(np.mean([len(r.response) for r in rollouts])),
    }
    return torch.tensor(judged - config.missing_eos_penalty * missing_eos, dtype=torch.float32), metrics


@torch.no_grad()
def score_tokens(
    base: BaseModel,
    adapter: str,
    rollouts: Sequence[Rollout],
    scores: torch.Tensor,
    known_values: torch.Tensor | None,
    order: torch.Tensor,
    value_head: ValueHead | None,
    kl_coef: float,
    config: PPOConfig,
    rows_at_once: int,
) -> tuple[Scored, dict[str, float]]:
    """Steps 3 to 5. `order` says which rows will share a micro-batch in the first epoch; the rows of one prompt are
    next to each other, `replies_trained` of them. `known_values` `(B, response_tokens)`: values that no head makes."""
    batch = batch_sequences([r.query for r in rollouts], [r.response for r in rollouts], base.pad_id, base.device)
    batch = with_lower_states(base, adapter, batch, rows_at_once)
    mask = batch.response_mask
    logprobs, ref_logprobs, values = (torch.zeros(mask.shape, device=base.device) for _ in range(3))
    if known_values is not None:
        values = known_values[:, : mask.shape[1]] * mask

    # 3. old and reference log-probabilities, both tempered like the sampler
    for i in range(0, len(order), config.minibatch_size):
        for rows in order[i : i + config.minibatch_size].to(base.device).split(rows_at_once):
            part = select(batch, rows)
            width = part.response_ids.shape[1]
            out = evaluate_policy(base, adapter, part, config.temperature, value_head)
            logprobs[rows, :width] = out.logprobs
            if out.values is not None:
                values[rows, :width] = out.values
            ref_logprobs[rows, :width] = evaluate_policy(base, None, part, config.temperature).logprobs

    # 4. rewards of tokens
    rewards = token_rewards(scores, logprobs, ref_logprobs, mask, kl_coef)

    # 5. advantages
    totals = rewards.sum(-1)
    if value_head is not None or known_values is not None:
        lam = config.lam if value_head is not None else config.prefix_lam
        advantages, returns = generalised_advantage_estimation(rewards, values, mask, config.gamma, lam)
        share = config.credit_of_whole if value_head is None else 0.0
        advantages = with_credit_of_whole(advantages, rewards, values, mask, share)
    else:
        centred = leave_one_out(totals.view(-1, config.replies_trained)).view(-1)
        scale = centred.std().clamp(min=1e-4)
        advantages = (centred / scale)[:, None] * mask
        returns = totals[:, None] * mask

    kl = (logprobs - ref_logprobs).sum(-1)
    sampler = torch.zeros_like(logprobs)
    for row, rollout in enumerate(rollouts):
        sampler[row, : len(rollout.sampler_logprobs)] = torch.tensor(rollout.sampler_logprobs, device=base.device)
    # The sampler, with its cache and other batch shapes, rounds differently in bfloat16: what it drew is corrected.
    advantages = advantages * sampler_correction(logprobs, sampler, mask, config.max_importance_weight)
    metrics = {
        "objective/kl": float(kl.mean()),
        "objective/rlhf_reward": float(totals.mean()),
        "objective/entropy": float(-logprobs.sum(-1).mean()),
        "sampler/gap": float(masked_mean((sampler - logprobs).abs(), mask)),
        "sampler/kl": float((sampler - logprobs).sum(-1).mean()),
    }
    old_values = values if value_head is not None else None
    return Scored(batch, logprobs, old_values, advantages, returns), metrics


def minibatch_backward(
    base: BaseModel,
    adapter: str,
    scored: Scored,
    rows: torch.Tensor,
    value_head: ValueHead | None,
    value_only: bool,
    config: PPOConfig,
    rows_at_once: int,
    demonstrations: SequenceBatch | None = None,
    ptx_coef: float = 0.0,
) -> dict[str, float]:
    """Set the gradients of one minibatch, micro-batch by micro-batch, and of `demonstrations` beside it (PPO-ptx);
    returns its metrics."""
    clear_gradients([*base.adapter_parameters(adapter), *(value_head.parameters() if value_head else ())])
    normaliser = len(rows) * config.response_tokens
    totals: dict[str, float] = {}
    for part in rows.split(rows_at_once):
        batch = select(scored.batch, part)
        width = batch.response_ids.shape[1]
        mask = batch.response_mask
        out = evaluate_policy(base, adapter, batch, config.temperature, value_head)
        policy = clipped_policy_loss(
            out.logprobs,
            scored.old_logprobs[part, :width],
            scored.advantages[part, :width],
            mask,
            config.clip_range,
            normaliser,
        )
        loss = policy.loss * 0.0 if value_only else policy.loss
        found = policy_metrics(policy, len(part) / len(rows))
        if value_head is not None:
            assert out.values is not None and scored.old_values is not None
            value_loss = clipped_value_loss(
                out.values,
                scored.old_values[part, :width],
                scored.returns[part, :width],
                mask,
                config.value_clip_range,
                normaliser,
            )
            loss = loss + config.vf_coef * value_loss
            found["loss/value_avg"] = float(value_loss.detach())
        loss.backward()
        add_to(totals, found)
    if demonstrations is not None:
        totals["ptx/loss"] = imitation_backward(base, adapter, demonstrations, ptx_coef, rows_at_once)
    return totals
