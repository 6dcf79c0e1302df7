"""What the base says to a context: sampled once for each model, and remembered in the store."""

from __future__ import annotations

from collections.abc import Mapping

from data.store import Store
from data.types import Reply
from learner.config import LearnerConfig
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from learner.monitor import Monitor
from learner.policy.contexts import within
from learner.policy.rollouts import sample_replies
from learner.policy.task import Context

ROWS_AT_ONCE = 96  # replies that are sampled together, and all that an interruption loses


class BaseReplies:
    """The base's replies for one run. What is sampled for a run that was asked to stop is not stored."""

    def __init__(self, store: Store, run_id: str, base: BaseModel, config: LearnerConfig, monitor: Monitor) -> None:
        self._store, self._run_id, self._base, self._config, self._monitor = store, run_id, base, config, monitor
        ppo = config.ppo
        self._settings = SamplingSettings(ppo.temperature, 1.0, ppo.response_tokens)
        self._key = f"{base.spec.weights_sha256}:{ppo.temperature}:{ppo.response_tokens}"

    def to(
        self, contexts: Mapping[str, Context], count: int, phase: str, reserve_s: float = 0.0
    ) -> dict[str, list[Reply]]:
        """`count` replies to each of `contexts` (by `context_key`) that the model can read; `phase` is what the monitor
        is told.

        With `reserve_s` only as many are sampled as leave that much of the learning budget, and what then has fewer
        than `count` replies is left out. Raises what the monitor raises.
        """
        cut = {name: within(self._base, context, self._config.context_tokens) for name, context in contexts.items()}
        known = {name: context for name, context in cut.items() if context is not None}
        found = {name: self._store.base_replies(self._key, name)[:count] for name in known}
        missing = [name for name, replies in found.items() if len(replies) < count]
        done = 0
        while done < len(missing) and (not reserve_s or self._monitor.seconds_left("learning") > reserve_s):
            names: list[str] = []
            rows = 0
            for name in missing[done:]:
                rows += count - len(found[name])
                if names and rows > ROWS_AT_ONCE:
                    break
                names.append(name)
            asked = [(name, seed) for name in names for seed in range(len(found[name]), count)]
            queries = [self._base.encode_chat(known[name]) for name, _ in asked]
            rollouts = sample_replies(self._base, None, queries, self._settings, [seed for _, seed in asked])
            new: dict[str, list[Reply]] = {name: [] for name in names}
            for (name, _), rollout in zip(asked, rollouts, strict=True):
                new[name].append(rollout.reply)
            for name, replies in new.items():
                self._store.add_base_replies(self._key, name, len(found[name]), replies, self._run_id)
                found[name] += replies
            done += len(names)
            self._monitor.report(phase, done / len(missing), {})
        return {name: replies for name, replies in found.items() if len(replies) == count}
