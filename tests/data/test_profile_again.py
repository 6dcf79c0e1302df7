"""Imports beside what is there: later backups of what came before, other numbers, other ids, in the order they had."""

from __future__ import annotations

import json
import zipfile

import pytest

from data.home import Home
from data.profile import export_profile, import_profile, reset, undo_reset
from data.store import Store
from data.types import FeedbackUse
from tests.data.profile_files import Members, edit_json, edit_line, write


@pytest.fixture
def there(tmp_path):
    store = Store(Home(tmp_path / "there"))
    yield store
    store.close()


def in_order_of_ids(store: Store, user: str) -> list[str]:
    """What was written, compared and said, oldest first by its id."""
    found = []
    content = store.profile_content(user)
    for conversation in content["conversations"]:
        found += [(item["id"], item["content"]) for item in conversation["messages"]]
        found += [(item["id"], "compared") for item in conversation["comparisons"]]
    found += [(event["id"], f"{event['kind']} {event['value']}"[:8]) for event in content["feedback"]]
    return [what for _, what in sorted(found)]


def renumber(members: Members, number: int, parent: int) -> None:
    """The good file with another number for its one version."""
    edit_json("profile.json", lambda p: p["versions"][0].update(number=number, parent=parent))(members)
    edit_json("profile.json", lambda p: p.update(live_version=number))(members)
    for name in [name for name in members if "/1/" in name]:
        members[name.replace("/1/", f"/{number}/")] = members.pop(name)


def test_a_newer_backup_beside_an_older_one_stays_in_order(store, home, chatted, there, tmp_path):
    user, reply, conversation = chatted.user.id, chatted.reply.id, chatted.conversation.id
    march, april, both = (tmp_path / f"{name}.zip" for name in ("march", "april", "both"))
    store.add_feedback(user, "stars", 2, message_id=reply)
    store.add_message(user, conversation, reply, "user", "And snow?")
    export_profile(store, home, user, march)
    older = in_order_of_ids(store, user)
    store.add_feedback(user, "stars", 5, message_id=reply)
    store.create_comparison(user, conversation, chatted.question.id, [reply, chatted.sibling.id])
    store.add_message(user, conversation, chatted.sibling.id, "user", "And hail?")
    export_profile(store, home, user, april)
    newer = in_order_of_ids(store, user)

    me = there.ensure_user().id
    import_profile(there, there.home, me, march)
    import_profile(there, there.home, me, april)
    assert in_order_of_ids(there, me) == older + newer
    for event in there.list_feedback(me):
        assert event.supersedes is None or event.supersedes < event.id
    export_profile(there, there.home, me, both)
    import_profile(store, home, store.add_user("ann", None).id, both)
    before = there.profile_content(me)
    reset(there, there.home, me, "feedback")
    undo_reset(there, there.home, me)
    assert there.profile_content(me) == before and there.verify() == []


def test_a_file_in_which_the_older_event_stands_last_is_read(store, home, chatted, there, tmp_path):
    user = chatted.user.id
    for stars in (1, 2, 3):
        store.add_feedback(user, "stars", stars, message_id=chatted.reply.id)
    out = tmp_path / "out.zip"
    export_profile(store, home, user, out)
    with zipfile.ZipFile(out) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    lines = found["feedback.jsonl"].splitlines(keepends=True)
    found["feedback.jsonl"] = b"".join(reversed(lines))
    import_profile(there, there.home, there.ensure_user().id, write(tmp_path / "back.zip", found))
    (standing,) = there.standing_feedback(there.ensure_user().id)
    assert standing.value == 3


def test_what_a_run_had_seen_is_not_new_where_it_got_other_ids(store, home, chatted, there, tmp_path):
    user = chatted.user.id
    said = store.add_feedback(user, "stars", 2, message_id=chatted.reply.id)
    other = store.create_conversation(user)
    asked = store.add_message(user, other.id, None, "user", "Hm?")
    newest = store.add_feedback(
        user, "thumb", "up", message_id=store.add_message(user, other.id, asked.id, "assistant", "Yes.").id
    )
    run = store.queue_run(user, "manual")
    store.start_run(run.id, newest.id)
    store.record_feedback_use(run.id, [FeedbackUse(said.id, "train")])
    learnt = [{"feature": "emoji", "probability": 0.9, "weight": 1.0, "ratings": 1, "feedback_ids": [said.id]}]
    change = {"newer": 1, "older": 0, "since": said.id}
    store.finish_run(run.id, "rejected", reason="not better", report={"learnt": learnt, "change_of_taste": change})
    store.delete_conversation(user, other.id)
    out = tmp_path / "out.zip"
    export_profile(store, home, user, out)

    me = there.ensure_user().id
    for _ in range(2):
        import_profile(there, there.home, me, out)
        assert there.new_feedback_count(me) == 0
    first, second = there.list_feedback(me)
    assert there.list_runs(me)[0].report["learnt"][0]["feedback_ids"] == [second.id]
    assert there.list_runs(me)[0].report["change_of_taste"]["since"] == second.id
    assert there.list_runs(me)[1].report["learnt"][0]["feedback_ids"] == [first.id] == [said.id]
    third = there.add_feedback(me, "stars", 5, message_id=second.message_id)
    assert there.new_feedback_count(me) == 1 and third.id > second.id


def test_numbers_beyond_all_counting_are_dealt_anew(store, home, there, tmp_path, members):
    far = 999_999_999
    renumber(members, far, far - 1)
    edit_line("conversations.jsonl", 0, lambda c: c["messages"][1].update(adapter_version=far))(members)
    path = write(tmp_path / "far.zip", members)
    me = there.ensure_user().id
    for number in (2, 4):  # the parent, which is not in the file, keeps its place before it
        report = import_profile(there, there.home, me, path)
        assert report.versions == [number] and any(f"Version {number} was" in note for note in report.notes)
        assert there.version(me, number).parent == number - 1
        assert (there.home.adapter_dir(me, number) / "adapter_model.safetensors").is_file()
    written = [m["adapter_version"] for c in there.profile_content(me)["conversations"] for m in c["messages"]]
    assert [version for version in written if version] == [2, 4]
    again = tmp_path / "again.zip"
    export_profile(there, there.home, me, again)
    import_profile(store, home, store.add_user("ann", None).id, again)
    assert there.verify() == []


def test_numbers_keep_their_gaps_in_an_empty_home(store, home, there, tmp_path, members):
    renumber(members, 7, 3)
    me = there.ensure_user().id
    assert import_profile(there, there.home, me, write(tmp_path / "seven.zip", members)).versions == [7]
    assert there.version(me, 7).parent == 3


def test_a_title_is_no_longer_than_one_can_be_given_here(store, there, tmp_path, members):
    edit_line("conversations.jsonl", 0, lambda c: c.update(title="雨" * 100_000))(members)
    me = there.ensure_user().id
    import_profile(there, there.home, me, write(tmp_path / "long.zip", members))
    assert there.list_conversations(me)[0].title == "雨" * 200
    assert json.loads(members["conversations.jsonl"])["title"] == "雨" * 100_000
