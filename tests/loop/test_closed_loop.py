"""The whole loop on the real model, driven from outside: chat, feedback, an update, the new version, and back again.

Nothing is faked: Attune runs as a person starts it, the person reads what the model really says and answers through the
HTTP interface, and the learner is the background process. CI runs a small setting; the full one is
`python launch.py test -m slow tests/loop` and its figures are in docs/log.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import httpx
import pytest

from benchmarks.people.simulated import Person, RatesAtRandom, WantsShort, rate, word_count
from data.home import CHECKOUT, Home
from data.prompts import general_prompts
from data.schema import migrate
from data.store import Store
from tests.launched import Launched, wait_for

ENDED = ("promoted", "rejected", "abstained", "cancelled", "failed")


@dataclass(frozen=True)
class Setting:
    person: Person
    pieces: int
    max_tokens: int  # of every reply, before and after
    prompts: int  # on which base and new version are compared; never rated, trained on or used by the gate
    minutes: float  # after which waiting for the update is given up; what it took is printed
    # The mean length afterwards is at most this share of the base's. Not the median: the limit cuts most replies, and a
    # median of cut ones stands still until half of them end.
    shorter: float
    learner: dict[str, Any] = field(default_factory=dict)


FULL = Setting(WantsShort(), pieces=40, max_tokens=96, prompts=20, minutes=40, shorter=0.6)
SMALL = Setting(
    WantsShort(words=8, kinds=("edit", "stars", "edit", "thumb", "edit", "ranking", "edit", "comment")),
    pieces=40,
    max_tokens=40,
    prompts=20,
    minutes=20,
    shorter=0.85,
    learner={
        "base_replies": 1,
        "practice.prompts": 24,
        "practice.replies": 4,
        "ppo.iterations": 5,
        "ppo.response_tokens": 40,
        "ppo.learning_rate": 3e-4,
        "gate.prompts": 48,
        "gate.replies": 1,
        # Replies this short differ little, so the judge stays unsure; the strict gate is the full test's to show.
        "gate.confidence": 0.6,
    },
)


@pytest.fixture
def launch(home_with_model: Callable[[str], Home]) -> Iterator[Callable[..., Launched]]:
    started: list[Launched] = []

    def start(name: str, learner: dict[str, Any]) -> Launched:
        home = home_with_model(name)
        migrate(home)
        store = Store(home)
        store.set_home_setting("learner", learner)
        store.close()
        started.append(Launched(home))
        started[-1].wait_until_healthy()
        return started[-1]

    yield start
    for attune in started:
        attune.stop()


def command(home: Home, *arguments: str) -> dict[str, Any]:
    """A command as a person types it; its --json result."""
    line = [sys.executable, str(CHECKOUT / "launch.py"), "--home", str(home.root), *arguments, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def replies(client: httpx.Client, model: str, texts: list[str], max_tokens: int, **more: Any) -> list[dict[str, Any]]:
    found = []
    for i, text in enumerate(texts):
        body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": max_tokens}
        response = client.post("/v1/chat/completions", json={**body, "store": False, "seed": i, **more})
        assert response.status_code == 200, response.text
        found.append(response.json())
    return found


def texts_of(found: list[dict[str, Any]]) -> list[str]:
    return [reply["choices"][0]["message"]["content"] for reply in found]


def ended_share(found: list[dict[str, Any]]) -> float:
    return sum(reply["choices"][0]["finish_reason"] == "stop" for reply in found) / len(found)


def learn(client: httpx.Client, minutes: float) -> dict[str, Any]:
    """Press "Learn now" and wait for the end; progress must have been visible on the way."""
    queued = client.post("/v1/learner/run", json={})
    assert queued.status_code == 202, queued.text
    address = f"/v1/learner/runs/{queued.json()['id']}"
    seen: set[str] = set()

    def end() -> dict[str, Any] | None:
        run = dict(client.get(address).json())
        seen.add(run["phase"])
        return run if run["state"] in ENDED else None

    run = wait_for(end, 60 * minutes, "the update ends")
    assert len(seen - {""}) >= 2, f"no progress was visible: {seen}"
    return dict(run)


@pytest.mark.parametrize("setting", [SMALL, pytest.param(FULL, marks=pytest.mark.slow)], ids=["small", "full"])
@pytest.mark.timeout(3600)
def test_the_loop_learns_and_every_way_back_works(
    setting: Setting, launch: Callable[..., Launched], tmp_path: Path
) -> None:
    attune = launch("home", setting.learner)
    client, limit = attune.client, setting.max_tokens
    asked, other = general_prompts("rollout")[: setting.pieces], general_prompts("spare")[: setting.prompts]
    before = replies(client, "base", other, limit)
    base_greedy = texts_of(replies(client, "attune", other[:3], limit, temperature=0))

    given = rate(client, setting.person, asked, setting.pieces, limit)
    assert sum(given.values()) == setting.pieces and len(given) >= 4, given

    run = learn(client, setting.minutes)
    assert run["state"] == "promoted", run["reason"]
    report, version = run["report"], run["version"]
    assert report["policy"]["kl"] < 12
    # the warm start alone stands beside the final policy
    assert 0 < report["warm_start_alone"]["win_rate"] < 1
    assert {statement["feature"] for statement in report["learnt"]} & {"log_length", "finished"}, report["learnt"]

    # the running chat answers with the new version, shorter, and more replies end by themselves
    after = replies(client, "attune", other, limit)
    assert {reply["adapter_version"] for reply in after} == {version}
    words_before = mean(map(word_count, texts_of(before)))
    words_after = mean(map(word_count, texts_of(after)))
    print(f"mean words {words_before:.1f} -> {words_after:.1f}")
    print(f"ended {ended_share(before):.2f} -> {ended_share(after):.2f}")
    print(json.dumps({name: report[name] for name in ("policy", "warm_start_alone", "base", "seconds")}))
    assert words_after <= setting.shorter * words_before
    assert ended_share(after) > ended_share(before)
    greedy = texts_of(replies(client, "attune", other[:3], limit, temperature=0))
    assert greedy != base_greedy

    # rollback brings the base's greedy replies back to the letter, and the version again
    command(attune.home, "rollback", "--to", "0")
    assert texts_of(replies(client, "attune", other[:3], limit, temperature=0)) == base_greedy
    assert client.post("/v1/profile/rollback", json={"version": version}).status_code == 200
    assert texts_of(replies(client, "attune", other[:3], limit, temperature=0)) == greedy

    # export, import into an empty home, confirm: the same greedy replies
    file = tmp_path / "profile.zip"
    command(attune.home, "export", "--out", str(file))
    elsewhere = launch("elsewhere", {})
    command(elsewhere.home, "import", str(file))
    assert texts_of(replies(elsewhere.client, "attune", other[:3], limit, temperature=0)) == base_greedy
    assert elsewhere.client.post("/v1/profile/rollback", json={"version": version}).status_code == 200
    assert texts_of(replies(elsewhere.client, "attune", other[:3], limit, temperature=0)) == greedy
    assert command(elsewhere.home, "status")["feedback"] == command(attune.home, "status")["feedback"]

    # reset returns to the base
    command(attune.home, "reset", "--what", "model", "--yes")
    assert texts_of(replies(client, "attune", other[:3], limit, temperature=0)) == base_greedy
    assert command(attune.home, "status")["live_version"] == 0


def test_contradictory_and_too_little_feedback_make_no_version_and_say_why(launch: Callable[..., Launched]) -> None:
    # At the default level three of a hundred people who rate at random pass the first test, as they may: not here.
    attune = launch("home", {**SMALL.learner, "gate.alpha": 1e-4})
    rate(attune.client, RatesAtRandom(), general_prompts("rollout")[:4], 4, 16)
    run = learn(attune.client, 5)
    assert run["state"] == "abstained" and "too few" in run["reason"]
    rate(attune.client, RatesAtRandom(), general_prompts("rollout")[4:24], 20, 16)
    run = learn(attune.client, 5)
    assert run["state"] == "abstained" and "chance" in run["reason"]
    assert command(attune.home, "status")["live_version"] == 0
    used = attune.client.get("/v1/feedback?limit=100").json()["data"]
    assert len(used) == 24 and all(piece["outcome"]["text"] for piece in used)
