"""Comments: what is understood as a wish, and what is left a note."""

from __future__ import annotations

import pytest

from learner.reward import wishes
from learner.reward.features import FEATURE_NAMES, REPLY_HINGES, SENTENCE_HINGES
from learner.reward.phrases import PHRASES
from learner.reward.wishes import wishes_in


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("Too long!", {"log_length": -1}),
        ("Could you be brief, please?", {"log_length": -1}),
        ("more details would be nice", {"log_length": 1}),
        ("No lists please.", {"bullets": -1, "numbered_steps": -1}),
        ("I don’t like the long lists", {"bullets": -1, "numbered_steps": -1}),
        ("Please use more bullet points", {"bullets": 1}),
        ("step by step please", {"numbered_steps": 1, "sequence": 1}),
        ("don't use emojis", {"emoji": -1}),
        ("use simpler words", {"long_words": -1, "sentence_length": -1}),
        ("more examples but no emoji", {"examples": 1, "emoji": -1}),
        ("shorter sentences", {"sentence_length": -1}),
        ("too formal for me", {"casual": 1, "contractions": 1, "formal": -1}),
        ("stop asking me questions", {"closing_question": -1, "questions": -1}),
        ("the end was cut off", {"finished": 1}),
        ("请简短一点", {"log_length": -1}),
        ("太专业了，用中文回答", {"long_words": -1, "sentence_length": -1, "chinese": 1}),
        ("举个例子", {"examples": 1}),
        ("不要列表，别用表情", {"bullets": -1, "numbered_steps": -1, "emoji": -1}),
        ("Great answer, thanks!", {}),
        ("This is brief and good.", {}),
        ("Not too long, thanks", {}),
        ("不要太长", {}),
        ("shorter, no, longer", {}),
        ("", {}),
    ],
)
def test_wishes_of_a_comment(comment: str, expected: dict[str, int]) -> None:
    assert {w.feature: (1 if w.mean > 0 else -1) for w in wishes_in(comment)} == expected


def test_the_table_names_only_features_that_there_are() -> None:
    named = {name for row in wishes._TABLE for name in (*row.up, *row.down)}
    assert named <= set(FEATURE_NAMES)


def test_every_feature_can_be_spoken_of() -> None:
    for phrases in PHRASES.values():
        assert set(phrases) == set(FEATURE_NAMES) - {*REPLY_HINGES, *SENTENCE_HINGES}  # spoken of with the lengths
