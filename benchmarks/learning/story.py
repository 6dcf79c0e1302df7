"""One simulated person's time with Attune: chat, feedback, updates, and what the live version then says."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

import httpx
import numpy as np

from assistant.page.real_page import ended, learning, served
from benchmarks.learning.ground import Ground, Said, code, write_whole
from benchmarks.people.live import converse
from benchmarks.people.tastes import Person
from benchmarks.results import machine
from data.home import Home
from data.schema import migrate
from data.store import Store
from learner.modeling import lora
from learner.reward.features import Array

T = TypeVar("T")

ADAPTER = "bench"
# The same code in under two minutes: it shows that everything runs, not that anything is learnt.
QUICK_LEARNER: Mapping[str, Any] = {
    "budget_minutes": 0.3, "gate_minutes": 0.2, "gate.prompts": 8, "ppo.iterations": 1, "ppo.prompts_per_iteration": 2,
    "ppo.response_tokens": 24, "practice.prompts": 2, "practice.replies": 2, "warm_start.max_steps": 2,
    "warm_start.kl_prompts": 2,
}  # fmt: skip


class Story:
    """Person `number` with a home of their own; `schedule` has the pieces after which they press "Learn now"."""

    def __init__(self, ground: Ground, number: int, schedule: Sequence[int]) -> None:
        self.ground, self.number, self.schedule = ground, number, schedule
        self.folder = ground.folder / f"person-{number}"
        self.home = Home(ground.homes / f"person-{number}")

    @cached_property
    def person(self) -> Person:
        return self.ground.person(self.number)

    @property
    def elsewhere(self) -> bool:
        """Whether some of it was kept by a machine with a home that is not here, so that it cannot be gone on with."""
        return self.folder.exists() and not self.home.db_path.exists()

    def advance(self, pieces: int) -> None:
        """Go on to `pieces` pieces of feedback and an update, unless that was done already."""
        path = self.folder / f"attune@{pieces}.json"
        if path.exists():
            return
        self._prepare()
        with served(self.home) as address, learning(self.home), _client(address) as client:
            self._talk(client, pieces)
            run = self._learn(client)
            live = client.get("/v1/profile").raise_for_status().json()["live_version"]
        said = self._with_live(live, lambda adapter: self.ground.sampled(adapter, seed=77))
        minutes = (datetime.fromisoformat(run["ended"]) - datetime.fromisoformat(run["started"])).total_seconds() / 60
        run = {name: run[name] for name in ("state", "reason", "report", "metrics") if name in run}
        made = {"minutes": minutes, "machine": machine(), "code": code()}
        write_whole(path, {"replies": said.rows(), "live": live, **made, "run": run})

    def only_talk(self, pieces: int) -> None:
        """Give `pieces` pieces of feedback in all and learn nothing."""
        self._prepare()
        with served(self.home) as address, _client(address) as client:
            self._talk(client, pieces)

    def found(self, name: str) -> dict[str, Any] | None:
        """What was kept of `attune@n` or of an arm; None where it is not there yet."""
        path = self.folder / f"{name}.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def says(self, name: str) -> Said:
        return Said.read(self.folder / f"{name}.json")

    def keep(self, name: str, make: Callable[[], tuple[Said, dict[str, Any]]]) -> None:
        """Keep what an arm says under `name`, with what else it tells, unless it is there already."""
        if self.found(name) is None:
            said, more = make()
            write_whole(self.folder / f"{name}.json", {"replies": said.rows(), "code": code(), **more})

    def _prepare(self) -> None:
        self.home.create()
        models = self.ground.home.models_dir
        if not self.home.models_dir.is_symlink():
            self.home.models_dir.rmdir()
            self.home.models_dir.symlink_to(models, target_is_directory=True)
        migrate(self.home)
        store = Store(self.home)
        store.update_settings(store.ensure_user().id, {"learn_after": 10_000})  # they press "Learn now" themselves
        if self.ground.quick:
            store.set_home_setting("learner", dict(QUICK_LEARNER))
        store.close()

    def _talk(self, client: httpx.Client, pieces: int) -> None:
        """Give what is missing to `pieces`: all of a stage, unless it was interrupted."""
        counts = client.get("/v1/profile").raise_for_status().json()["feedback"]
        missing = pieces - sum(counts.values())
        if missing > 0:
            person = self.ground.person(self.number, stage=sum(counts.values()) + 1)
            converse(client, person, self.ground.reader, self.ground.rated_prompts, missing)

    def _learn(self, client: httpx.Client) -> dict[str, Any]:
        state = client.get("/v1/learner").raise_for_status().json()
        run_id = state["run"]  # under way: left by a benchmark that was interrupted
        if run_id is None and state["next"]["new_feedback"] == 0:  # it ended, but what came of it was not kept
            run_id = self._newest_run()
        if run_id is None:
            run = client.post("/v1/learner/run", json={}).raise_for_status().json()
        else:
            run = client.get(f"/v1/learner/runs/{run_id}").raise_for_status().json()
        return ended(client, run)

    def _newest_run(self) -> str | None:
        store = Store(self.home)
        try:
            runs = store.list_runs(store.ensure_user().id)
        finally:
            store.close()
        return runs[0].id if runs else None

    def follow(self, pieces: int) -> None:
        """What the version that is live after `pieces` makes of instructions, unless that was measured already."""
        path, kept = self.folder / f"ifeval@{pieces}.json", self.found(f"attune@{pieces}")
        if kept is not None and not path.exists() and self.ground.instructed:
            write_whole(path, self._with_live(kept["live"], self.ground.followed).tolist())

    def followed(self, pieces: int) -> Array | None:
        path = self.folder / f"ifeval@{pieces}.json"
        return np.array(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def _with_live(self, version: int, do: Callable[[str | None], T]) -> T:
        """`do` with the name of this version's adapter, None for the base."""
        if version == 0:
            return do(None)
        base = self.ground.base
        state, settings = lora.read_adapter(self.home.adapter_dir(self.user_id, version))
        base.add_adapter(ADAPTER, settings, state)
        try:
            return do(ADAPTER)
        finally:
            base.remove_adapter(ADAPTER)

    @property
    def user_id(self) -> str:
        store = Store(self.home)
        try:
            return store.ensure_user().id
        finally:
            store.close()


def _client(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=600, trust_env=False)
