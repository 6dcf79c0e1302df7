"""The parts of `bench learning`: people who talk over HTTP, win rates, intervals; a small setting of the same code."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.learning import plan, schedule
from benchmarks.learning.arms import trained, wishes
from benchmarks.learning.ground import Ground, Said, code
from benchmarks.learning.story import Story
from benchmarks.learning.table import Figures
from benchmarks.people.live import Reader, converse
from benchmarks.people.tastes import KEPT_WORDS, Measured, Person, Shown, Taste
from benchmarks.replies import Bank, BankRow
from data.home import Home
from data.prompts import general_prompts
from data.schema import migrate
from data.store import Store
from data.types import FEEDBACK_KINDS, Reply
from learner.modeling.base import BaseModel
from tests.assistant.conftest import Running, serving

LONG = "The sea is wide. Ships sail on it. Some carry grain, and others carry people. Few of them come back early."
SHORT = "It is wide!"


@pytest.fixture(scope="module")
def measured() -> Measured:
    prompts = tuple(general_prompts("rollout")[:4])
    texts = (LONG, SHORT, "- wide\n- deep", "You would love it, my friend. Shall I tell you more?")
    rows = tuple(
        BankRow(p, f"{text} {p}", i != 0, 10 * (i + 1), -2.0 - 0.1 * i, -3.0 + 0.2 * ((i + p) % 4))
        for p in range(4)
        for i, text in enumerate(texts)
    )
    return Measured(Bank(prompts, ("talk",) * 4, rows))


@pytest.fixture
def server(tmp_path: Path, base_model: BaseModel) -> Iterator[Running]:
    with serving(tmp_path / "home", base_model) as running:
        yield running


def somebody(measured: Measured, *parts: tuple[str, float]) -> Person:
    return Person(measured, Taste("test", parts, 0.2, 2.0), np.random.default_rng(3), keeps_substance=True)


def test_people_chat_and_rate_over_http(server: Running, measured: Measured, base_model: BaseModel) -> None:
    person = somebody(measured, ("about 15 words", 1.0), ("exclaims", 0.5))
    with server.client() as client:
        client.patch("/v1/profile/settings", json={"max_tokens": 12}).raise_for_status()
        given = converse(client, person, Reader(measured, base_model), measured.bank.prompts, 24)
        events = client.get("/v1/feedback?limit=100").json()["data"]
    assert sum(given.values()) == len(events) == 24
    assert set(given) <= set(FEEDBACK_KINDS) and len(given) >= 3
    assert all(event["outcome"]["code"] in ("waiting", "left_out") for event in events)
    rankings = [event for event in events if event["kind"] == "ranking"]
    assert all(2 <= len(event["value"]["order"]) <= 4 for event in rankings)


def test_sense_falls_for_a_reply_that_is_beside_the_question(measured: Measured, base_model: BaseModel) -> None:
    prompt = "How do I boil an egg?"
    replies = [
        Reply("Put the egg into boiling water for eight minutes, then cool it under cold water."),
        Reply("The parliament of that country met for eight sessions, then it closed in the cold."),
    ]
    to_the_point, beside = Reader(measured, base_model).senses([prompt, prompt], replies)
    assert to_the_point > beside


def test_an_edit_keeps_the_substance_of_a_reply(measured: Measured) -> None:
    person = somebody(measured, ("warm", 1.5))
    shown = Shown(Reply(LONG), person.utility_of_text(Reply(LONG), 0.0), 0.0)
    edits = [replies[0] for kind, replies, _ in (person.says("edit", [shown]) for _ in range(20)) if kind == "edit"]
    assert edits
    assert all(len(edit.text.split()) >= KEPT_WORDS * len(LONG.split()) - 1 for edit in edits)


def test_win_rates_count_ties_half(measured: Measured) -> None:
    person = somebody(measured, ("exclaims", 1.0))
    base = Said((Reply("a"), Reply("b!"), Reply("c!!")), (0.0, 0.0, 0.0))
    ours = Said((Reply("a!"), Reply("b!"), Reply("c")), (0.0, 0.0, 0.0))
    ground = SimpleNamespace(opponents=[base])
    assert Ground.wins(ground, person, ours).tolist() == [1.0, 0.5, 0.0]  # type: ignore[arg-type]


def test_what_was_said_is_read_as_it_was_kept(tmp_path: Path) -> None:
    from benchmarks.learning.ground import write_whole

    said = Said((Reply("你好!", True), Reply("cut", False)), (0.25, -1.5))
    write_whole(tmp_path / "said.json", {"replies": said.rows()})
    assert Said.read(tmp_path / "said.json") == said


def test_an_interval_is_over_prompts_and_pairs_stay_paired() -> None:
    rng = np.random.default_rng(0)
    luck = rng.normal(size=200)  # what a prompt does to both arms
    figures = Figures()
    figures.add("ours", [luck + 0.1, luck + 0.3])
    figures.add("difference", [luck + 0.1 - luck, luck + 0.3 - luck])
    assert figures.values["difference"] == pytest.approx(0.2)
    assert figures.intervals["difference"] == pytest.approx((0.2, 0.2))
    low, high = figures.intervals["ours"]
    assert high - low == pytest.approx(2 * 1.96 / 200**0.5, rel=0.25)


def test_wishes_in_words() -> None:
    taste = Taste("t", (("about 30 words", 1.0), ("lists", -0.7), ("digits", 0.9)), 0.1, 1.0)
    assert wishes(taste) == ["Answer in about 30 words.", "No lists, please.", "More of this: digits."]


def test_an_arm_that_learns_nothing_speaks_as_the_base(tmp_path: Path, tiny_base: BaseModel) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    for number, prompt in enumerate(general_prompts("rollout")[:16]):  # nothing that should be imitated
        conversation = store.create_conversation(user).id
        asked = store.add_message(user, conversation, None, "user", prompt)
        said = store.add_message(user, conversation, asked.id, "assistant", (LONG, SHORT)[number % 2])
        store.add_feedback(user, "stars", (1, 3)[number % 2], message_id=said.id)
    store.close()
    ground = SimpleNamespace(base=tiny_base, model="embedded", quick=True, sampled=lambda adapter, seed: adapter)
    spoken, more = trained(SimpleNamespace(home=home, user_id=user, ground=ground), "none")  # type: ignore[arg-type]
    assert spoken is None
    assert "left the adapter as it was" in more["failed"]


def test_what_another_machine_made_is_not_gone_on_with(tmp_path: Path) -> None:
    ground = SimpleNamespace(folder=tmp_path / "kept", homes=tmp_path / "homes")
    story = Story(ground, 4, (100,))  # type: ignore[arg-type]
    assert not story.elsewhere  # nothing of it is there
    story.keep("notes@100", lambda: (Said((), ()), {}))
    assert story.elsewhere
    migrate(story.home.create())
    assert not story.elsewhere
    kept = story.found("notes@100")
    assert kept is not None and kept["code"] == code()


def test_a_person_is_done_before_the_next_and_their_arms_before_the_story_goes_on() -> None:
    stories = [Story(SimpleNamespace(folder=Path(), homes=Path()), n, schedule(n, False)) for n in (0, 3, 4)]  # type: ignore[arg-type]
    done: list[tuple[int, str]] = []
    for story in stories:
        for name in ("advance", "follow", "keep"):
            setattr(story, name, lambda what, *_, n=story.number: done.append((n, str(what))))
    for step in plan(stories):
        step()
    assert [n for n, _ in itertools.groupby(n for n, _ in done)] == [3, 4, 0]
    steps = [what for n, what in done if n == 0]
    assert steps.index("20") < steps.index("50") < steps.index("100") < steps.index("best_of_4@100")
    assert steps.index("warm_start@100") < steps.index("200")
    assert [what for n, what in done if n == 3] == ["100", "best_of_4@100", "warm_start@100", "100", "100"]
    assert {"dpo@100", "length@100", "notes@100", "true_utility@100"} <= {what for n, what in done if n == 4}
