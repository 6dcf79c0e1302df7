"""Style features: counted by hand on short replies, English and Chinese."""

from __future__ import annotations

import time
from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.types import Reply, Turn
from learner.reward.features import (
    CENTRING_STRENGTH,
    CLIP,
    FEATURE_MEANS,
    FEATURE_NAMES,
    FEATURE_SCALES,
    REPLY_HINGES,
    SENTENCE_HINGES,
    centred,
    features,
    length_features,
    word_units,
)
from learner.reward.population import MEASURED, NOTICEABLE

ASK = (Turn("user", "How do I keep basil alive on a windowsill?"),)


def phi(text: str, context: tuple[Turn, ...] = ASK, finished: bool = True) -> dict[str, float]:
    return dict(zip(FEATURE_NAMES, features(context, Reply(text, finished)), strict=True))


def test_between_20_and_40_features_all_of_them_measured() -> None:
    assert 20 <= len(set(FEATURE_NAMES) - {*REPLY_HINGES, *SENTENCE_HINGES}) <= 40
    assert set(MEASURED) == set(NOTICEABLE) == set(FEATURE_NAMES)
    assert (FEATURE_SCALES > 0).all() and (CENTRING_STRENGTH > 0).all()
    assert all(FEATURE_SCALES[i] >= NOTICEABLE[name] for i, name in enumerate(FEATURE_NAMES))


def test_a_chinese_character_is_a_word_and_so_is_an_english_one() -> None:
    assert word_units("Don't panic，喝茶 2 杯") == ["don't", "panic", "喝", "茶", "2", "杯"]
    assert phi("one two three " * 7)["log_length"] == pytest.approx(log(22))
    assert phi("一二三" * 7)["log_length"] == pytest.approx(log(22))


def test_hinges_grow_on_one_side_of_their_number_of_words() -> None:
    assert phi("word " * 80)["over_80_words"] == 0
    assert phi("word " * 161)["over_80_words"] == pytest.approx(log(2))
    assert phi("one two. " * 9)["over_12_word_sentences"] == 0
    assert phi("word " * 25 + ".")["over_12_word_sentences"] == pytest.approx(log(2))
    scaled = length_features(161) - length_features(80)
    assert scaled[FEATURE_NAMES.index("over_80_words")] == pytest.approx(
        log(2) / FEATURE_SCALES[FEATURE_NAMES.index("over_80_words")]
    )


def test_brevity_is_zero_from_40_words_on_and_grows_below_down_to_20() -> None:
    assert phi("word " * 40)["brevity"] == 0
    assert phi("word " * 80)["brevity"] == 0
    assert phi("word " * 27)["brevity"] == pytest.approx(log(41 / 28))
    assert phi("word " * 10)["brevity"] == pytest.approx(log(41 / 21))


def test_below_20_words_only_the_hinge_of_its_own_changes() -> None:
    """What is learnt from 20 words on promises nothing for fewer: policy optimisation would go there."""
    assert phi("word " * 20)["under_20_words"] == phi("word " * 80)["under_20_words"] == 0
    assert phi("word " * 5)["under_20_words"] == pytest.approx(log(21 / 6))
    changed = length_features(5) - length_features(20)
    assert [FEATURE_NAMES[i] for i in np.flatnonzero(changed)] == ["under_20_words"]
    assert length_features(0) == pytest.approx(length_features(20) + changed * log(21) / log(21 / 6))


@pytest.mark.parametrize(
    ("text", "words"),
    [("Water it. Give it sun and warmth.", 7 / 2), ("浇水。给它阳光。", 6 / 2), ("Water it!\nSun", 3 / 2)],
)
def test_sentence_length_is_words_by_sentences_in_both_languages(text: str, words: float) -> None:
    assert phi(text)["sentence_length"] == pytest.approx(log(1 + words))


@pytest.mark.parametrize(
    ("feature", "text", "value"),
    [
        ("bullets", "- one\n- two\n* three", log(4)),
        ("numbered_steps", "1. one\n2) two\n三、three", log(4)),
        ("headings", "# Title\ntext here.\n**Part**\nmore text.", log(3)),
        ("emphasis", "a **bold** and an *odd* word", log(3)),
        ("code", "`ab`", 1.0),
        ("emoji", "Nice 😊🌿 :)", log(4)),
        ("exclamations", "Good! Fine.", 1 / 4),
        ("closing_question", "It needs sun. Does it get any?", 1.0),
        ("closing_question", "它需要阳光。你想知道更多吗？ 😊", 1.0),
        ("closing_question", "Does it get sun? It needs it.", 0.0),
        ("questions", "Does it get sun? It needs it.", 1 / 4),
        ("second_person", "you can water it", 100 / 34),
        ("second_person", "你可以浇水", 100 / 35),
        ("hedges", "perhaps it might", 200 / 33),
        ("contractions", "it's dry and don't", 200 / 34),
        ("warmth", "谢谢朋友", 200 / 34),
        ("greeting", "Sure! Here it is.", 1.0),
        ("greeting", "好的，这样做。", 1.0),
        ("greeting", "Water it.", 0.0),
        ("closing_offer", "Water it. Let me know how it goes.", 1.0),
        ("examples", "for example, thyme", log(3)),  # the phrase, and the word in it
        ("chinese", "茶 tea", 0.5),
        ("other_language", "茶茶", 1.0),
        ("other_language", "tea", 0.0),
        ("repetition", "a b c a b c a b c", 1 - 3 / 7),
        ("echo", "Basil is alive.", 2 / 4),  # keep, basil, alive, windowsill
    ],
)  # fmt: skip
def test_counted_by_hand(feature: str, text: str, value: float) -> None:
    assert phi(text)[feature] == pytest.approx(value)


def test_a_reply_that_was_cut_off_is_not_finished() -> None:
    assert phi("Water", finished=True)["finished"] == 1
    assert phi("Water", finished=False)["finished"] == 0


@given(st.text(max_size=300), st.text(max_size=60), st.booleans())
def test_any_text_gives_finite_numbers_and_the_same_ones_again(text: str, ask: str, finished: bool) -> None:
    once = features((Turn("user", ask),), Reply(text, finished))
    assert np.isfinite(once).all()
    assert (once == features((Turn("user", ask),), Reply(text, finished))).all()


def test_an_empty_reply_without_context_is_allowed() -> None:
    assert np.isfinite(features((), Reply(""))).all()


def test_a_long_reply_takes_about_a_millisecond() -> None:
    reply = Reply("Sure! Water the plant when it's dry, but don't drown it. You could also move it. " * 12)
    best = min(_seconds(reply) for _ in range(20))
    assert best < 2.5e-3


def _seconds(reply: Reply) -> float:
    start = time.perf_counter()
    features(ASK, reply)
    return time.perf_counter() - start


def test_without_base_replies_the_population_is_the_centre() -> None:
    raw = FEATURE_MEANS + 0.5 * FEATURE_SCALES
    assert centred(raw, np.zeros((0, len(FEATURE_NAMES)))) == pytest.approx(0.5)


def test_the_centre_lies_between_the_prompts_base_replies_and_the_population() -> None:
    base = np.tile(FEATURE_MEANS + FEATURE_SCALES, (2, 1))
    expected = -2 / (2 + CENTRING_STRENGTH)  # the population's mean reply, seen from two that are 1 sd above
    assert centred(FEATURE_MEANS, base) == pytest.approx(expected)
    many = np.tile(FEATURE_MEANS + FEATURE_SCALES, (4000, 1))
    assert centred(FEATURE_MEANS, many) == pytest.approx(-1.0, abs=0.01)


def test_centred_takes_one_reply_or_many_and_clips() -> None:
    base = np.zeros((0, len(FEATURE_NAMES)))
    far = 100 * FEATURE_SCALES
    many = np.stack([FEATURE_MEANS, FEATURE_MEANS + far, FEATURE_MEANS - far])
    both = centred(many, base)
    assert both[0] == pytest.approx(centred(many[0], base))
    assert (both[1] == CLIP).all() and (both[2] == -CLIP).all()
