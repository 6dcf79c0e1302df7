"""What the base says to a context: sampled once for each model, and remembered in the store.

The embedded model's replies to the project's own rollout prompts ship with Attune (data/shipped_replies.py). This
module makes them: `python -m learner.base_replies` writes the file anew, in a quarter of an hour on two cores, as
needed where the model, the prompts, or the temperature or length of rollouts have changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from data.home import Home
from data.prompts import context_key, general_prompts
from data.shipped_replies import FILE, shipped_replies, write_shipped_replies
from data.store import Store
from data.types import Reply, Turn
from learner.config import LearnerConfig, PPOConfig
from learner.modeling.base import BaseModel
from learner.modeling.embedded import EMBEDDED
from learner.modeling.loading import load_base
from learner.monitor import Monitor
from learner.policy.contexts import within
from learner.policy.rollouts import rollout_settings, sample_replies
from learner.policy.task import Context

ROWS_AT_ONCE = 96  # replies that are sampled together, and all that an interruption loses


class BaseReplies:
    """The base's replies for one run. What is sampled for a run that was asked to stop is not stored."""

    def __init__(self, store: Store, run_id: str, base: BaseModel, config: LearnerConfig, monitor: Monitor) -> None:
        self._store, self._run_id, self._base, self._config, self._monitor = store, run_id, base, config, monitor
        self._key = base_key(base, config.ppo)
        self._shipped = shipped_replies(self._key)

    def to(
        self, contexts: Mapping[str, Context], count: int, phase: str, reserve_s: float = 0.0
    ) -> dict[str, list[Reply]]:
        """`count` replies to each of `contexts` (by `context_key`) that the model can read, the shipped ones first;
        `phase` is what the monitor is told.

        With `reserve_s` only as many are sampled as leave that much of the learning budget, and what then has fewer
        than `count` replies is left out. Raises what the monitor raises.
        """
        cut = {name: within(self._base, context, self._config.context_tokens) for name, context in contexts.items()}
        known = {name: context for name, context in cut.items() if context is not None}
        found = {
            name: [*self._shipped.get(name, ()), *self._store.base_replies(self._key, name)][:count] for name in known
        }
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
            asked = [(name, known[name], seed) for name in names for seed in range(len(found[name]), count)]
            for name, replies in _sampled(self._base, self._config.ppo, asked).items():
                self._store.add_base_replies(self._key, name, len(found[name]), replies, self._run_id)
                found[name] += replies
            done += len(names)
            self._monitor.report(phase, done / len(missing), {})
        return {name: replies for name, replies in found.items() if len(replies) == count}


def base_key(base: BaseModel, ppo: PPOConfig) -> str:
    """Of what the base says: the same model, and sampled alike."""
    return f"{base.spec.weights_sha256}:{ppo.temperature}:{ppo.response_tokens}"


def _sampled(base: BaseModel, ppo: PPOConfig, asked: Sequence[tuple[str, Context, int]]) -> dict[str, list[Reply]]:
    """A reply to each (name, context, seed), by name."""
    queries = [base.encode_chat(context) for _, context, _ in asked]
    rollouts = sample_replies(base, None, queries, rollout_settings(ppo), [seed for _, _, seed in asked])
    found: dict[str, list[Reply]] = {}
    for (name, _, _), rollout in zip(asked, rollouts, strict=True):
        found.setdefault(name, []).append(rollout.reply)
    return found


def ship(base: BaseModel, config: LearnerConfig, prompts: Sequence[str], path: Path = FILE) -> None:
    """Write the shipped replies: as many to each of `prompts` as PPO's first pass takes."""
    count = config.practice.replies
    at_once = ROWS_AT_ONCE // count
    found: dict[str, list[Reply]] = {}
    for start in range(0, len(prompts), at_once):
        contexts: list[Context] = [(Turn("user", text),) for text in prompts[start : start + at_once]]
        asked = [(context_key(context), context, seed) for context in contexts for seed in range(count)]
        found |= _sampled(base, config.ppo, asked)
        print(f"{len(found)} of {len(prompts)} prompts answered", flush=True)
    write_shipped_replies(base_key(base, config.ppo), found, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sample the shipped replies anew.")
    parser.add_argument("--home")
    home = Home.locate(parser.parse_args().home)
    ship(load_base(EMBEDDED, home.models_dir, trainable=False), LearnerConfig(), general_prompts("rollout"))
