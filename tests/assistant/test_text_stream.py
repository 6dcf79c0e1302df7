"""Text comes out of tokens whole, in order, and never past a stop string."""

from __future__ import annotations

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from assistant.text_stream import REPLACEMENT, TextStream
from learner.modeling.base import BaseModel

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=REPLACEMENT), max_size=60)


def streamed(base: BaseModel, text: str, stop: tuple[str, ...] = ()) -> list[str]:
    stream = TextStream(base.decode, stop)
    ids = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    return [*(stream.push(i) for i in ids), stream.flush()]


def through_tokens(base: BaseModel, text: str) -> str:
    """The text as the tokenizer can say it (it lacks a few bytes of characters that nobody uses)."""
    whole = base.decode(base.tokenizer(text, add_special_tokens=False)["input_ids"])
    assume(REPLACEMENT not in whole)
    return whole


@quick
@given(texts)
def test_every_text_arrives_whole_and_no_piece_holds_half_a_character(
    base_model: BaseModel, text: str
) -> None:
    whole = through_tokens(base_model, text)
    pieces = streamed(base_model, text)
    assert "".join(pieces) == whole
    assert REPLACEMENT not in "".join(pieces)


@quick
@given(texts, st.text("ab \n.", min_size=1, max_size=3))
def test_nothing_from_a_stop_string_on_is_returned(base_model: BaseModel, text: str, stop: str) -> None:
    whole = through_tokens(base_model, text)
    assert "".join(streamed(base_model, text, (stop,))) == whole.partition(stop)[0]


def test_an_emoji_of_several_tokens_comes_in_one_piece(base_model: BaseModel) -> None:
    pieces = [piece for piece in streamed(base_model, "Ja 🦩!") if piece]
    assert len(base_model.tokenizer("🦩", add_special_tokens=False)["input_ids"]) > 1
    assert any("🦩" in piece for piece in pieces)


def test_a_reply_that_ends_within_a_character_drops_the_broken_end(base_model: BaseModel) -> None:
    stream = TextStream(base_model.decode)
    ids = base_model.tokenizer("ok 🦩", add_special_tokens=False)["input_ids"]
    out = [stream.push(i) for i in ids[:-1]]
    assert "".join([*out, stream.flush()]).strip() == "ok"


def test_text_that_might_begin_a_stop_string_waits_until_it_is_known(base_model: BaseModel) -> None:
    stream = TextStream(lambda ids: "".join(chr(i) for i in ids), ("END",))
    assert [stream.push(ord(c)) for c in "aENx"] == ["a", "", "", "ENx"]
    assert [stream.push(ord(c)) for c in "END"] == ["", "", ""]
    assert stream.stopped
    assert stream.flush() == ""
