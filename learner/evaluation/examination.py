"""Stage 5 of an update: candidate, live version and base answer the gate's prompts, and are measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from data.prompts import general_prompts
from learner.config import LearnerConfig
from learner.evaluation import gate
from learner.evaluation.metrics import NeutralText, ReplyStatistics, distinct_2_ratio, reply_statistics
from learner.modeling import lora
from learner.modeling.base import BaseModel
from learner.monitor import Monitor
from learner.policy.contexts import with_system
from learner.policy.distance import kl_to_base, sample
from learner.policy.rollouts import Rollout
from learner.reward.features import Array, uncentred
from learner.reward.model import RewardModel
from learner.snapshot import Snapshot

SHORTER = 0.98  # than the estimate of a share: one that just fails costs another look
LIVE = "live"  # name of the live version's adapter while it is examined


class Gated:
    """Candidate, live version and base on the gate's prompts, with the same seeds."""

    def __init__(
        self,
        adapter: str,
        snapshot: Snapshot,
        base: BaseModel,
        config: LearnerConfig,
        monitor: Monitor,
        judge: RewardModel,
    ) -> None:
        self._adapter = adapter
        self._base, self._config, self._monitor, self._judge = base, config, monitor, judge
        texts = general_prompts("gate")[: config.gate.prompts]
        replies = config.gate.replies
        self._contexts = [with_system(snapshot.system_prompt, text) for text in texts for _ in range(replies)]
        self._queries = [base.encode_chat(context) for context in self._contexts]
        monitor.report("gate", 0.0, {})
        monitor.seconds_left("gate")  # its budget begins here
        self._base_rollouts, self.base_statistics = self._answers(None)
        self._base_features = self._features(self._base_rollouts)
        self._live_features, self.live_statistics = self._base_features, self.base_statistics
        if snapshot.live is not None:
            base.add_adapter(LIVE, snapshot.live[1], snapshot.live[0])
            rollouts, self.live_statistics = self._answers(LIVE)
            self._live_features = self._features(rollouts)
        self._neutral = NeutralText(base)
        monitor.report("gate", 0.4, {})

    def shrunk(self, weights: lora.State) -> tuple[lora.State, float]:
        """The candidate with as much of its change as neutral text allows, and that share of it."""
        config = self._config.gate

        def rise(share: float) -> float:
            self._base.set_adapter_state(self._adapter, lora.scaled(weights, share))
            return self._neutral.worst_increase(self._adapter)

        share = largest_share(rise, config.max_perplexity_increase, config.least_share)
        kept = lora.scaled(weights, share)
        self._base.set_adapter_state(self._adapter, kept)
        return kept, share

    def examine(self) -> tuple[gate.WinRate, gate.Sanity, dict[str, Any]]:
        """The candidate as it stands now."""
        rollouts, statistics = self._answers(self._adapter)
        rate = gate.win_rate(
            self._judge,
            self._features(rollouts),
            self._live_features,
            self._base_features,
            self._config.gate,
            self._config.seed,
        )
        prose, answers = self._neutral.perplexity_increases(self._adapter)
        sanity = gate.Sanity(
            kl=statistics.kl,
            perplexity_increase=prose,
            chat_perplexity_increase=answers,
            eos_rate=statistics.eos_rate,
            base_eos_rate=self.base_statistics.eos_rate,
            distinct_2_ratio=distinct_2_ratio(rollouts, self._base_rollouts),
        )
        self._monitor.report("gate", 0.8, {"gate/win_rate": rate.mean, "gate/win_rate_lower": rate.lower})
        rates = {"win_rate": rate.mean, "win_rate_lower": rate.lower, "win_rate_upper": rate.upper}
        found = asdict(statistics) | asdict(sanity) | rates
        return rate, sanity, found

    def _answers(self, adapter: str | None) -> tuple[list[Rollout], ReplyStatistics]:
        config = self._config.gate
        as_heard = replace(self._config.ppo, temperature=config.temperature)
        rollouts = sample(self._base, adapter, self._queries, as_heard, self._config.seed)
        first = rollouts[:: config.replies]  # of each prompt: enough for the distance, which takes time
        kl = kl_to_base(self._base, adapter, first, config.temperature) if adapter else 0.0
        return rollouts, reply_statistics([r.reply for r in rollouts], kl)

    def _features(self, rollouts: Sequence[Rollout]) -> Array:
        """(prompts, replies, F)"""
        found = uncentred(self._contexts, [r.reply for r in rollouts])
        return found.reshape(-1, self._config.gate.replies, found.shape[-1])


def largest_share(rise: Callable[[float], float], limit: float, least: float) -> float:
    """About the largest share of a change with which perplexity rises by no more than `limit`, from `least` to 1.

    `rise` measures it for a share. The reward falls less than with the share's first power; every share but `least` was
    measured to be within the limit.
    """
    share = 1.0
    while share > least and not (found := rise(share)) <= limit:
        share = max(least, share * SHORTER * lora.share_for(limit, found))
    return share
