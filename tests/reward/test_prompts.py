"""The prompts that ship: enough of them, each with one use for ever."""

from __future__ import annotations

from collections import Counter

import pytest

from data.prompts import (
    context_key,
    general_prompts,
    neutral_chat,
    neutral_text,
    prompt_table,
    rehearsal_chat,
    rehearsal_text,
)
from data.types import Turn


def test_320_different_prompts_each_with_one_use() -> None:
    rows = prompt_table()
    assert len({row["text"] for row in rows}) == len({row["id"] for row in rows}) == len(rows) == 320
    assert Counter(row["use"] for row in rows) == {"rollout": 160, "gate": 128, "spare": 32}
    assert set(general_prompts("gate")).isdisjoint(general_prompts("rollout"))


def test_every_use_has_every_kind_and_some_chinese() -> None:
    rows = prompt_table()
    for use in ("rollout", "gate", "spare"):
        assert {row["kind"] for row in rows if row["use"] == use} == {row["kind"] for row in rows}
    chinese = [row for row in rows if any("\u4e00" <= c <= "\u9fff" for c in row["text"])]
    assert {row["kind"] for row in chinese} == {"chinese"} and 25 <= len(chinese) <= 40


def test_an_unknown_use_is_an_error() -> None:
    with pytest.raises(ValueError, match="training"):
        general_prompts("training")  # type: ignore[arg-type]


def test_the_neutral_texts_are_there() -> None:
    assert 1000 < len(neutral_text().split()) < 1800
    assert len(neutral_chat()) >= 8 and all(q.endswith("?") and len(a) > 80 for q, a in neutral_chat())


def test_texts_for_rehearsal_are_others_than_those_that_measure() -> None:
    assert 500 < len(rehearsal_text().split()) < 800
    assert len(rehearsal_chat()) == 24 and all(q.endswith("?") and len(a) > 80 for q, a in rehearsal_chat())
    others = {*(row["text"] for row in prompt_table()), *(question for question, _ in neutral_chat())}
    assert {question for question, _ in rehearsal_chat()}.isdisjoint(others)

    def sentences(text: str) -> set[str]:
        return {sentence.strip() for sentence in text.replace("\n", " ").split(".") if sentence.strip()}

    shown = sentences(" ".join([rehearsal_text(), *(answer for _, answer in rehearsal_chat())]))
    assert shown.isdisjoint(sentences(" ".join([neutral_text(), *(answer for _, answer in neutral_chat())])))


def test_a_context_key_names_roles_and_texts() -> None:
    ask = (Turn("user", "Tea?"),)
    assert context_key(ask) == context_key([Turn("user", "Tea?")])
    assert len(context_key(())) == 64
    others = [(Turn("system", "Tea?"),), (Turn("user", "Tea"),), (*ask, Turn("assistant", "")), ()]
    assert len({context_key(c) for c in (ask, *others)}) == 5
