"""The stock openai client against the real server and model."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from tests.assistant.conftest import Running

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="not needed here", max_retries=0) as made:
        yield made


def test_models_are_the_base_and_the_callers_own(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["attune", "base"]
    assert client.models.retrieve("attune").id == "attune"


def test_a_completion_is_answered_counted_and_stored(client: openai.OpenAI, server: Running) -> None:
    answer = client.chat.completions.create(
        model="attune",
        messages=QUESTION,
        temperature=0,
        max_tokens=8,  # type: ignore[arg-type]
    )
    [choice] = answer.choices
    assert "Paris" in (choice.message.content or "")
    assert choice.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 8
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 8
    assert answer.adapter_version == 0  # type: ignore[attr-defined]
    me = server.store.ensure_user().id
    stored = server.store.message(me, choice.message_id)  # type: ignore[attr-defined]
    assert stored.content == choice.message.content


def test_streamed_pieces_make_the_same_reply_and_usage_comes_last(client: openai.OpenAI) -> None:
    wanted = {"model": "base", "messages": QUESTION, "temperature": 0, "max_tokens": 8}
    whole = client.chat.completions.create(**wanted)  # type: ignore[call-overload]
    chunks = list(
        client.chat.completions.create(**wanted, stream=True, stream_options={"include_usage": True})  # type: ignore[call-overload]
    )
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 8
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "length"
    assert chunks[0].choices[0].delta.role == "assistant"


def test_a_seed_repeats_all_choices_and_the_choices_differ(client: openai.OpenAI) -> None:
    def ask() -> list[str | None]:
        made = client.chat.completions.create(
            model="attune",
            messages=QUESTION,
            n=3,
            seed=11,
            temperature=1.5,
            max_tokens=8,
            store=False,  # type: ignore[arg-type]
        )
        assert all(choice.message_id is None for choice in made.choices)  # type: ignore[attr-defined]
        return [choice.message.content for choice in made.choices]

    first = ask()
    assert ask() == first
    assert len(set(first)) == 3


def test_a_stop_text_ends_the_reply_before_it(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(
        model="attune",
        messages=QUESTION,
        temperature=0,
        max_tokens=20,
        stop=["Paris"],  # type: ignore[arg-type]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content == "The capital of France is "


def test_a_stored_conversation_goes_on(client: openai.OpenAI, server: Running) -> None:
    first = client.chat.completions.create(model="attune", messages=QUESTION, max_tokens=4)  # type: ignore[arg-type]
    conversation = first.conversation_id  # type: ignore[attr-defined]
    client.chat.completions.create(
        model="attune",
        messages=[{"role": "user", "content": "And of Spain?"}],
        max_tokens=4,
        extra_body={"conversation_id": conversation},
    )
    messages = server.store.messages(server.store.ensure_user().id, conversation)
    assert [m.role for m in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[2].parent_id == messages[1].id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function", "function": {"name": "x"}}]),
        ("response_format", {"type": "json_object"}),
        ("logprobs", True),
        ("temperature", 3),
        ("n", 9),
        ("max_tokens", 0),
        ("presence_penalty", 0.5),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("colour", "red"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(client: openai.OpenAI, field: str, value: object) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="attune", messages=QUESTION, extra_body={field: value})  # type: ignore[arg-type]
    assert caught.value.type == "invalid_request_error"
    assert field in str(caught.value.param)


def test_neutral_values_of_what_is_not_supported_are_fine(client: openai.OpenAI) -> None:
    client.chat.completions.create(
        model="attune", messages=QUESTION, max_tokens=1, tools=[], logprobs=False, presence_penalty=0.0,
        response_format={"type": "text"}, user="somebody", tool_choice="none",
    )  # type: ignore[call-overload]  # fmt: skip


def test_an_unknown_model_is_a_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="choose attune or base"):
        client.chat.completions.create(model="gpt-4", messages=QUESTION)  # type: ignore[arg-type]


def test_a_client_that_goes_away_stops_its_reply(client: openai.OpenAI, server: Running) -> None:
    with client.chat.completions.create(
        model="attune",
        messages=[{"role": "user", "content": "Tell me a long story."}],
        max_tokens=400,
        stream=True,
    ) as stream:
        message_id = next(stream).choices[0].message_id  # type: ignore[attr-defined]
    writers = server.services.chat._running.all()
    for writer in writers:
        assert writer.done.wait(15)
    stored = server.store.message(server.store.ensure_user().id, message_id)
    assert stored.finish_reason == "cancelled"
    assert server.services.engine.active == 0
