"""Rows for other trainers: every kind of feedback in its place, and nothing written that would not load."""

from __future__ import annotations

import json

import pytest

from data.datasets import as_sharegpt, export_data, rows, takes_turns
from data.errors import Invalid, NotFound
from data.types import Evidence, Observation, Reply, Turn

ASKED = (Turn("system", "Be kind."), Turn("user", "What is rain?"))
PROMPT = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "What is rain?"}]


def said(kind, outcome, *texts, held_out=False, finished=True) -> Observation:
    replies = tuple(Reply(text, finished) for text in texts)
    return Observation(f"F{texts}", kind, ASKED, replies, outcome, 1.0, held_out, "2026-01-01T00:00:00.000Z")


def made(format, *observations):
    return list(rows(Evidence(observations, (), None), format))


def reply(text):
    return [{"role": "assistant", "content": text}]


def test_preference_rows_are_edits_and_every_pair_of_a_ranking():
    found = made(
        "preference",
        said("edit", None, "Short.", "Long."),
        said("thumb", 1, "Yes."),
        said("ranking", ((2,), (0, 1)), "A", "B", "C"),
        said("ranking", ((0,), (1,)), "Same", "Same"),
        said("ranking", ((0, 1),), "A", "B"),
    )
    assert found == [
        {"prompt": PROMPT, "chosen": reply("Short."), "rejected": reply("Long.")},
        {"prompt": PROMPT, "chosen": reply("C"), "rejected": reply("A")},
        {"prompt": PROMPT, "chosen": reply("C"), "rejected": reply("B")},
    ]


def test_unpaired_rows_say_which_reply_was_good():
    found = made(
        "unpaired",
        said("thumb", 1, "Up."),
        said("thumb", -1, "Down."),
        *(said("stars", n, f"{n}") for n in (1, 2, 3, 4, 5)),
        said("edit", None, "Edited.", "Original."),
        said("comment", "Shorter!", "Commented."),
    )
    assert [(row["completion"][0]["content"], row["label"]) for row in found] == [
        ("Up.", True), ("Down.", False), ("1", False), ("2", False), ("4", True), ("5", True),
        ("Edited.", True), ("Original.", False),
    ]  # fmt: skip
    assert all(row["prompt"] == PROMPT for row in found)


def test_demonstrations_are_edits_and_best_replies_held_out_ones_too():
    found = made(
        "demonstrations",
        said("edit", None, "Edited.", "Original.", held_out=True),
        said("stars", 5, "Best."),
        said("stars", 5, "Best, but cut", finished=False),
        said("stars", 4, "Good."),
    )
    assert found == [
        {"prompt": PROMPT, "completion": reply("Edited.")},
        {"prompt": PROMPT, "completion": reply("Best.")},
    ]


def test_the_shape_for_llama_factory():
    pair, judged, shown = (
        made(format, said("edit", None, "New.", "Old."))[0] for format in ("preference", "unpaired", "demonstrations")
    )
    assert as_sharegpt(pair) == {
        "messages": PROMPT, "chosen": reply("New.")[0], "rejected": reply("Old.")[0]
    }  # fmt: skip
    assert as_sharegpt(judged) == {"messages": [*PROMPT, *reply("New.")], "label": True}
    assert as_sharegpt(shown) == {"messages": [*PROMPT, *reply("New.")]}


@pytest.mark.parametrize(
    ("roles", "usable"),
    [
        ("user", True), ("system user", True), ("user assistant user", True), ("system user assistant user", True),
        ("assistant user", False), ("user user", False), ("user assistant", False), ("system", False), ("", False),
    ],
)  # fmt: skip
def test_who_takes_turns(roles, usable):
    assert takes_turns([{"role": role, "content": "x"} for role in roles.split()]) is usable


@pytest.fixture
def rated(store, chatted):
    """The person who has chatted gave an edit and five stars, and compared the two replies."""
    user, replies = chatted.user.id, [chatted.reply.id, chatted.sibling.id]
    store.add_feedback(user, "edit", "雨是水。Rain is water.", message_id=replies[0])
    store.add_feedback(user, "stars", 5, message_id=replies[1])
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, replies)
    store.add_feedback(user, "ranking", {"order": [[replies[1]], [replies[0]]]}, comparison_id=comparison.id)
    return chatted


def test_a_file_for_trl_and_a_folder_for_llama_factory(store, rated, tmp_path):
    user = rated.user.id
    file, folder = tmp_path / "rows.jsonl", tmp_path / "lf"
    counts = export_data(store, user, "preference", "trl", file)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == counts["rows"] == 2 and counts["left_out"] == 0  # one edit, one comparison of two
    assert all(set(line) == {"prompt", "chosen", "rejected"} for line in lines)

    for format in ("preference", "unpaired", "demonstrations"):
        export_data(store, user, format, "llama-factory", folder)
    info = json.loads((folder / "dataset_info.json").read_text())
    assert set(info) == {"attune_preference", "attune_unpaired", "attune_demonstrations"}
    for entry in info.values():
        written = [json.loads(line) for line in (folder / entry["file_name"]).read_text().splitlines()]
        assert written and all(set(row) == set(entry["columns"].values()) for row in written)
    assert not list(tmp_path.rglob("*.part"))


def test_what_cannot_be_written_gets_one_line_and_changes_nothing(store, rated, tmp_path):
    user = rated.user.id
    nobody = store.add_user("nobody", None).id
    with pytest.raises(NotFound, match="nothing to write: --format preference takes edits or comparisons"):
        export_data(store, nobody, "preference", "trl", tmp_path / "rows.jsonl")
    with pytest.raises(Invalid, match="is a folder; name a file"):
        export_data(store, user, "preference", "trl", tmp_path)
    with pytest.raises(NotFound, match="There is no folder"):
        export_data(store, user, "preference", "trl", tmp_path / "none" / "rows.jsonl")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Invalid, match="takes a folder"):
        export_data(store, user, "preference", "llama-factory", tmp_path / "file")
    (tmp_path / "lf").mkdir()
    (tmp_path / "lf" / "dataset_info.json").write_text("{broken")
    with pytest.raises(Invalid, match="cannot be read"):
        export_data(store, user, "preference", "llama-factory", tmp_path / "lf")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and "home" not in path.parts) == [
        "dataset_info.json", "file"
    ]  # fmt: skip
