"""POST /v1/profile/score on the real server, with reward models that were really fitted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from data.types import Observation, Reply, Turn
from learner.modeling.base import BaseModel
from learner.reward.design import build_design
from learner.reward.features import FEATURE_NAMES
from learner.reward.model import RewardModel, fit
from tests.assistant.conftest import Running
from tests.publishing import publish_an_adapter

NOW = "2026-11-22T00:00:00.000Z"
QUESTION = "How do I boil an egg?"
SHORT = "Ten minutes in boiling water."
LONG = "Well, there are many ways to look at this, and it very much depends on what one likes. " * 8


def someone_who_likes_it_short() -> RewardModel:
    said = [
        Observation(f"f{i}", "edit", (Turn("user", f"Question {i}?"),), (Reply(SHORT, True), Reply(LONG, True)), None,
                    1.0, False, NOW, root_id=f"c{i}")
        for i in range(30)
    ]  # fmt: skip
    return fit(build_design(said, {}))


def score(client: httpx.Client, *replies: str, **more: Any) -> httpx.Response:
    messages = [{"role": "user", "content": QUESTION}]
    return client.post("/v1/profile/score", json={"messages": messages, "replies": list(replies), **more})


@pytest.fixture
def learnt(server: Running, base_model: BaseModel) -> Path:
    """A live version with its reward model; the folder of the latter."""
    me = server.store.ensure_user().id
    number = publish_an_adapter(server.services.home, server.store, me, base_model)
    folder = server.services.home.reward_dir(me, number)
    folder.mkdir(parents=True)
    someone_who_likes_it_short().save(folder)
    return folder


def test_nothing_learnt_yet_is_a_conflict_that_says_what_to_do(server: Running) -> None:
    with server.client() as client:
        answer = score(client, SHORT)
        assert answer.status_code == 409
        assert "rate replies" in answer.json()["error"]["message"]


def test_what_the_person_prefers_scores_higher(server: Running, learnt: Path) -> None:
    with server.client() as client:
        answer = score(client, SHORT, LONG, "Ten minutes.")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["version"] == int(learnt.name)
        short, long, third = body["data"]
        assert [short["index"], long["index"], third["index"]] == [0, 1, 2]
        assert short["reward"] > long["reward"] + 1
        assert all(reply["sd"] > 0 for reply in body["data"])
        assert (
            score(client, LONG).json()["data"][0]["reward"] == long["reward"]
        )  # no reply changes another's score
        # The tie of two utilities: their difference is what the model itself says about the two texts.
        model = RewardModel.load(learnt)
        said = Observation(
            "x",
            "edit",
            (Turn("user", QUESTION),),
            (Reply(SHORT, True), Reply(LONG, True)),
            None,
            1.0,
            False,
            NOW,
        )
        rows = build_design([said], {}).replies
        assert short["reward"] - long["reward"] == pytest.approx(float(model.w @ (rows[0] - rows[1])))
        assert short["sd"] == pytest.approx(float(np.sqrt(rows[0] @ model.w_covariance @ rows[0])))


def test_what_is_switched_off_has_no_say_in_the_scores_from_that_moment_on(server: Running, learnt: Path) -> None:
    pair = (Reply(SHORT + " 🎉", True), Reply(SHORT, True))
    said = [
        Observation(f"f{i}", "edit", (Turn("user", f"Question {i}?"),), pair, None, 1.0, False, NOW, root_id=f"c{i}")
        for i in range(30)
    ]
    fit(build_design(said, {})).save(learnt)
    with server.client() as client:
        before = score(client, SHORT + " 🎉", SHORT).json()["data"]
        assert before[0]["reward"] > before[1]["reward"] + 0.5
        off = client.put("/v1/profile/learnt/emoji", json={"enabled": False})
        assert off.json() == {"feature": "emoji", "enabled": False, "muted": ["emoji"]}
        cheerful, plain = score(client, SHORT + " 🎉", SHORT).json()["data"]
        assert (cheerful["reward"], cheerful["sd"]) == (plain["reward"], plain["sd"])
        assert client.get("/v1/profile").json()["muted"] == ["emoji"]
        assert client.put("/v1/profile/learnt/emoji", json={"enabled": True}).json()["muted"] == []
        assert score(client, SHORT + " 🎉", SHORT).json()["data"] == before


def test_only_what_can_be_learnt_can_be_switched_off(server: Running) -> None:
    with server.client() as client:
        assert "charm" in refused(client.put("/v1/profile/learnt/charm", json={"enabled": False}), 404)
        refused(client.put("/v1/profile/learnt/emoji", json={"enabled": "no"}), 400)
        refused(client.patch("/v1/profile/settings", json={"muted": ["charm"]}), 400)
        assert client.get("/v1/profile/settings").json()["muted"] == []


def test_a_version_without_a_readable_reward_model_says_so_in_one_line(server: Running, learnt: Path) -> None:
    with server.client() as client:
        card = learnt / "reward.json"
        card.write_text(card.read_text().replace(FEATURE_NAMES[0], "another feature"))
        assert "learn again" in refused(score(client, SHORT), 409)
        (learnt / "reward.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00broken")
        assert "cannot be read" in refused(score(client, SHORT), 500)
        card.unlink()
        assert "without its reward model" in refused(score(client, SHORT), 409)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("replies", []), ("replies", "text"), ("replies", [1]), ("replies", ["x"] * 65), ("replies", ["x" * 200_001]),
        ("messages", []), ("messages", [{"role": "assistant", "content": "x"}]), ("colour", "red"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_by_name(server: Running, learnt: Path, field: str, value: object) -> None:
    with server.client() as client:
        answer = score(client, SHORT, **{field: value})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].partition(".")[0] == field


def refused(answer: httpx.Response, status: int) -> str:
    assert answer.status_code == status, answer.text
    message = str(answer.json()["error"]["message"])
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "text", ["." * 199_999 + "x", "*" * 200_000, "(1" * 100_000, " " * 200_000, "-\t" * 100_000]
)
def test_no_text_holds_up_the_server(server: Running, learnt: Path, text: str) -> None:
    with server.client() as client:
        answer = score(client, text)
        assert answer.status_code == 200
        assert answer.elapsed.total_seconds() < 10  # trying every start anew takes minutes
