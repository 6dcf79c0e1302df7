"""The checkers of instructions, on replies whose answer is plain."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.learning.ifeval import CHECKS, Instructed, instructed

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("punctuation:no_comma", {}, "No comma here.", "One, two."),
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "one two three", "one two"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "one two", "one two three"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n***\nTwo.", "One.\n\nTwo."),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "So"},
        "Well.\n\nso it is.",
        "So it is.\n\nWell.",
    ),
    ("keywords:existence", {"keywords": ["sea", "ship"]}, "A ship on the Sea.", "A shipment overseas."),
    ("keywords:forbidden_words", {"forbidden_words": ["rock"]}, "The rocket.", "A Rock."),
    ("keywords:frequency", {"relation": "at least", "keyword": "a", "frequency": 2}, "A ship, a sea", "A ship at sea"),
    ("keywords:letter_frequency", {"let_relation": "less than", "letter": "e", "let_frequency": 2}, "one", "eve"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*one* and **two**", "*one* and two"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "- a\n* b", "- a\n- b\n- c"),
    ("detectable_format:title", {}, "<<A title>>\nText", "<< >> Text"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{a: 1}"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1\nx\nPART 2\ny",
        "PART 1\nx",
    ),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[name] [date]", "[name] date"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye. P.S. Hello.", "Bye. Hello."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "Say it. I do.", "I say it."),
    ("combination:two_responses", {}, "One.******Two.", "One.******One."),
    ("startend:quotation", {}, '"All of it."', '"Half" of it.'),
    ("startend:end_checker", {"end_phrase": "Is that all?"}, "Yes. is that all?", "Is that all? Yes."),
    ("change_case:english_lowercase", {}, "all small 1.", "All small."),
    ("change_case:english_capital", {}, "ALL BIG 1.", "All BIG."),
    (
        "change_case:capital_word_frequency",
        {"capital_relation": "at least", "capital_frequency": 2},
        "THIS is LOUD.",
        "THIS is not.",
    ),
]


@pytest.mark.parametrize(("name", "wanted", "right", "wrong"), CASES)
def test_a_checker_tells_right_from_wrong(name: str, wanted: dict[str, Any], right: str, wrong: str) -> None:
    assert CHECKS[name](right, wanted)
    assert not CHECKS[name](wrong, wanted)


def test_every_checker_has_a_case() -> None:
    assert {name for name, *_ in CASES} == set(CHECKS)


def test_the_share_that_is_followed() -> None:
    asked = Instructed("", (("punctuation:no_comma", {}), ("change_case:english_lowercase", {})))
    assert [asked.followed(reply) for reply in ("all fine", "Fine", "Not, fine", " ")] == [1.0, 0.5, 0.0, 0.0]


def test_without_the_file_there_are_no_prompts(tmp_path) -> None:
    assert instructed(str(tmp_path)) == []
