"""Other ways to use the same feedback, each on the evidence that Attune had: what PPO has to be better than.

- `warm_start`: supervised steps on edits and best rated replies alone.
- `best_of_4`: the base answers four times, and the personal reward model chooses.
- `dpo`, `reinforce`: after the same warm start, in PPO's place.
- `length`: PPO with a reward model that knows log length alone.
- `notes`: the base, with the person's true wishes in words in its system prompt.
- `true_utility`: PPO against the hidden utility itself; a ceiling for any reward model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from assistant.prompting import system_text
from benchmarks.learning.ground import Said
from benchmarks.learning.story import ADAPTER, QUICK_LEARNER, Story
from benchmarks.people import attributes as known
from benchmarks.people.live import utilities
from benchmarks.people.tastes import WISHES, Taste
from data.evidence import load_evidence
from data.store import Store
from data.types import Reply, Turn
from learner.budgets import Budgets
from learner.config import LearnerConfig, with_overrides
from learner.evaluation.examination import Gated
from learner.evaluation.gate import is_better, is_sane
from learner.monitor import Monitor, Unlimited
from learner.policy.task import Context, LearningError, Reward
from learner.reward.features import Array
from learner.snapshot import Snapshot
from learner.taste import understand
from learner.training import improve
from learner.worker import Learner

Kept = tuple[Said, dict[str, Any]]


class _Clock(Budgets, Unlimited):
    """Tells nothing, and keeps to the time budgets."""


@contextmanager
def snapshot_of(story: Story, config: LearnerConfig, monitor: Monitor) -> Iterator[Snapshot]:
    """What an update of this person would be given now, on the base; it asks the base for more while this is open."""
    store = Store(story.home)
    try:
        learner = Learner(story.home, store, story.ground.model)
        runs = store.list_runs(story.user_id)
        run = runs[0] if runs else store.queue_run(story.user_id, "manual")
        evidence = load_evidence(store, story.user_id)
        found = learner.snapshot(run, evidence, story.ground.base, config, monitor)
        yield replace(found, live=None, live_version=0, tested_before=0, found_before=False)
    finally:
        store.close()


def config_of(story: Story) -> LearnerConfig:
    return with_overrides(LearnerConfig(), QUICK_LEARNER if story.ground.quick else {})


def trained(
    story: Story,
    algorithm: str = "ppo",
    kind: str = "bayesian",
    reward: tuple[Reward, Reward] | None = None,
    overrides: Mapping[str, Any] | None = None,
    gated: bool = False,
) -> Kept:
    """Replies after an update with another algorithm, kind of reward model, or reward. No gate is asked; `gated`: it
    takes back what it would of the change, and its verdict is told, but a refused version speaks all the same."""
    base = story.ground.base
    config = with_overrides(config_of(story), {"algorithm": algorithm, **(overrides or {})})
    clock: Monitor = _Clock(config)
    report: dict[str, Any] = {}
    with snapshot_of(story, config, clock) as found:
        snapshot = replace(found, reward_kind=kind)  # type: ignore[arg-type]
        taste = understand(snapshot, base, config, clock, report)
        whole, beginnings = reward or (taste.reward, taste.prefix_reward)
        if whole is None:
            return story.ground.sampled(None, seed=77), {"report": report}
        base.add_adapter(ADAPTER, config.lora, None, config.seed)
        try:
            weights = improve(ADAPTER, snapshot, whole, beginnings, base, config, clock, report).weights
            if gated and taste.judge is not None:
                examined = Gated(ADAPTER, snapshot, base, config, clock, taste.judge)
                _, share = examined.shrunk(weights)
                rate, sanity, found_by_gate = examined.examine()
                refusal = is_better(rate, config.gate) or is_sane(sanity, config.gate)
                report["gate"] = found_by_gate | {"share_kept": share, "refusal": refusal}
            return story.ground.sampled(ADAPTER, seed=77), {"report": report, "seconds": clock.elapsed_s()}
        except LearningError as error:  # such an update publishes nothing: the base goes on answering
            return story.ground.sampled(None, seed=77), {"report": report, "failed": str(error)}
        finally:
            base.remove_adapter(ADAPTER)


def best_of_4(story: Story) -> Kept:
    config = config_of(story)
    with snapshot_of(story, config, Unlimited()) as snapshot:
        taste = understand(snapshot, story.ground.base, config, Unlimited(), {})
    contexts: list[Context] = [(Turn("user", prompt),) for prompt in story.ground.prompts]
    said = story.ground.of_n
    if taste.reward is None:
        return said[0], {}
    best = np.argmax([taste.reward(contexts, other.replies) for other in said], axis=0)
    rows = [(said[b].replies[i], said[b].senses[i]) for i, b in enumerate(best)]
    return Said(tuple(reply for reply, _ in rows), tuple(sense for _, sense in rows)), {}


def notes(story: Story) -> Kept:
    listed = wishes(story.person.taste)
    system = system_text("", [{"text": wish, "enabled": True} for wish in listed])
    return story.ground.sampled(None, seed=77, system=system), {"notes": listed}


def wishes(taste: Taste) -> list[str]:
    """The taste as the person would write it down."""
    found = []
    for name, weight in taste.parts:
        if name in known.LENGTH:
            found.append(f"Answer in {name}.")
        elif name in WISHES:
            found.append(WISHES[name][weight < 0])
        else:
            found.append(f"{'More' if weight > 0 else 'Less'} of this: {name}.")
    return found


def true_utility(story: Story) -> Kept:
    person, reader = story.person, story.ground.reader
    middle, spread = float(person.utility.mean()), float(person.utility.std())

    def reward(contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
        prompts = [context[-1].content for context in contexts]
        senses = np.array(reader.senses(prompts, replies))
        for prompt in set(prompts):  # sense is relative to a prompt, and not every prompt is in the bank
            rows = [i for i, other in enumerate(prompts) if other == prompt]
            senses[rows] -= senses[rows].mean()
        return (utilities(person, replies, list(senses)) - middle) / spread

    def without_sense(contexts: Sequence[Context], replies: Sequence[Reply]) -> Array:
        return (utilities(person, replies, [0.0] * len(replies)) - middle) / spread

    return trained(story, reward=(reward, without_sense))


ARMS: Mapping[str, Callable[[Story], Kept]] = {
    "warm_start": lambda story: trained(story, "none"),
    "best_of_4": best_of_4,
    "dpo": lambda story: trained(story, "dpo"),
    "reinforce": lambda story: trained(story, "reinforce"),
    "length": lambda story: trained(story, kind="length"),
    "notes": notes,
    "true_utility": true_utility,
}
