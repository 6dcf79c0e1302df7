"""One thread, one batch: who joins, who waits, who leaves, and what happens when something fails."""

from __future__ import annotations

import time

import pytest
import torch

from assistant.engine import Engine
from assistant.errors import Busy, GenerationFailed
from data.types import Turn
from learner.config import LoraSettings
from learner.modeling.base import BaseModel
from learner.modeling.decode import SamplingSettings
from tests.assistant.conftest import Parts


def greedy(most: int) -> SamplingSettings:
    return SamplingSettings(temperature=0, max_new_tokens=most)


def prompt(base: BaseModel, text: str) -> list[int]:
    return base.encode_chat([Turn("user", text)])


def test_replies_that_share_a_batch_say_what_each_says_alone(parts: Parts) -> None:
    questions = ["Name three fruits.", "What is the capital of France?", "Count to five."]
    alone = ["".join(parts.engine.generate(prompt(parts.base, q), greedy(8))) for q in questions]
    together = [parts.engine.generate(prompt(parts.base, q), greedy(8)) for q in questions]
    assert ["".join(g) for g in together] == alone
    assert [g.finish_reason for g in together] == ["length"] * 3
    assert [g.completion_tokens for g in together] == [8] * 3


def test_at_most_max_rows_are_written_at_once_and_the_rest_come_in_order(parts: Parts) -> None:
    ids = prompt(parts.base, "Tell me a long story.")
    first, second = (parts.engine.generate(ids, greedy(300)) for _ in range(2))
    third, fourth = (parts.engine.generate(ids, greedy(2)) for _ in range(2))
    assert first.read(30)
    assert second.read(30)
    assert parts.engine.active == 2
    assert parts.engine.waiting == 2
    assert third.read(0.3) == ""
    first.cancel()
    assert "".join(third)
    assert "".join(fourth)
    assert second.finish_reason is None
    second.cancel()
    assert first.finish_reason == "cancelled"


def test_cancelling_frees_the_row_before_the_next_token_and_keeps_the_text(parts: Parts) -> None:
    generation = parts.engine.generate(prompt(parts.base, "Tell me a long story."), greedy(500))
    text = generation.read(30)
    generation.cancel()
    rest = "".join(generation)
    assert text
    assert generation.finish_reason == "cancelled"
    assert generation.completion_tokens < 50
    assert parts.base.decode(prompt(parts.base, "x")) != rest
    assert parts.engine.active == 0


def test_who_gives_up_while_waiting_never_gets_a_row(parts: Parts) -> None:
    ids = prompt(parts.base, "Tell me a long story.")
    busy = [parts.engine.generate(ids, greedy(300)) for _ in range(2)]
    assert all(g.read(30) for g in busy)
    waiting = parts.engine.generate(ids, greedy(300))
    waiting.cancel()
    assert "".join(waiting) == ""
    assert waiting.finish_reason == "cancelled"
    assert parts.engine.active == 2
    for generation in busy:
        generation.cancel()


def test_a_stop_string_ends_a_reply_and_is_not_shown(parts: Parts) -> None:
    ids = prompt(parts.base, "What is the capital of France?")
    whole = "".join(parts.engine.generate(ids, greedy(12)))
    word = whole.split()[2]
    stopped = parts.engine.generate(ids, greedy(12), stop=[word])
    assert "".join(stopped) == whole.partition(word)[0]
    assert stopped.finish_reason == "stop"
    assert stopped.completion_tokens < 12


def test_a_request_that_cannot_be_read_fails_alone_with_one_line(parts: Parts) -> None:
    good = prompt(parts.base, "Name three fruits.")
    too_long = good * (parts.base.context_length // len(good) + 1)
    answers = parts.engine.generate_many([good, too_long], [greedy(4), greedy(4)], [None, None])
    assert "".join(answers[0])
    with pytest.raises(GenerationFailed, match=r"^The model could not read the conversation: .*tokens"):
        "".join(answers[1])
    assert "".join(parts.engine.generate(good, greedy(4)))  # and the engine goes on


def test_an_adapter_that_is_not_there_fails_its_own_reply_only(parts: Parts) -> None:
    ids = prompt(parts.base, "Name three fruits.")
    fine = parts.engine.generate(ids, greedy(4))
    missing = parts.engine.generate(ids, greedy(4), "nobody")
    assert "".join(fine)
    with pytest.raises(GenerationFailed, match="nobody"):
        "".join(missing)


def test_a_full_queue_says_so(parts: Parts) -> None:
    small = Engine(parts.base, max_rows=1, max_waiting=1)
    try:
        ids = prompt(parts.base, "Tell me a long story.")
        first = small.generate(ids, greedy(200))
        assert first.read(30)
        second = small.generate(ids, greedy(200))
        with pytest.raises(Busy):
            small.generate(ids, greedy(200))
        second.cancel()
        first.cancel()
    finally:
        small.close()


def test_closing_ends_what_is_being_written_as_interrupted(base_model: BaseModel) -> None:
    engine = Engine(base_model, max_rows=1)
    ids = prompt(base_model, "Tell me a long story.")
    running, waiting = (engine.generate(ids, greedy(500)) for _ in range(2))
    assert running.read(30)
    started = time.monotonic()
    engine.close()
    "".join(running)
    "".join(waiting)
    assert (running.finish_reason, waiting.finish_reason) == ("interrupted", "interrupted")
    assert time.monotonic() - started < 10
    with pytest.raises(GenerationFailed):
        engine.generate(ids, greedy(5))


def test_a_running_reply_keeps_its_adapter_when_another_one_joins(parts: Parts) -> None:
    base = parts.base
    state = changed_adapter(parts)
    ids = prompt(base, "Name three fruits.")
    plain = "".join(parts.engine.generate(ids, greedy(6)))
    parts.engine.between_steps(lambda: base.add_adapter("one", LoraSettings(), state))
    adapted = "".join(parts.engine.generate(ids, greedy(6), "one"))
    assert adapted != plain
    first = parts.engine.generate(ids, greedy(6))
    head = first.read(30) or ""
    second = parts.engine.generate(ids, greedy(6), "one")
    assert head + "".join(first) == plain
    assert "".join(second) == adapted


_made: dict[int, dict[str, torch.Tensor]] = {}  # by base model: making one takes a second


def changed_adapter(parts: Parts) -> dict[str, torch.Tensor]:
    """Weights of an adapter that visibly changes what the model says."""
    base = parts.base

    def make() -> dict[str, torch.Tensor]:
        base.add_adapter("scratch", LoraSettings())
        state = base.adapter_state("scratch")
        base.remove_adapter("scratch")
        return state

    if id(base) not in _made:
        generator = torch.Generator().manual_seed(1)
        _made[id(base)] = {
            key: torch.randn(value.shape, generator=generator) * 0.05 if "lora_B" in key else value
            for key, value in parts.engine.between_steps(make).items()
        }
    return _made[id(base)]
