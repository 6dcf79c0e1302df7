"""Export and import: what comes along, and what stays as it was."""

from __future__ import annotations

import os
import shutil
import zipfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.errors import AttuneError, NotFound
from data.evidence import load_evidence
from data.home import Home
from data.profile import export_profile, import_profile
from data.quality import WHY
from data.store import Store
from tests.data.lives import BASE, OTHER_BASE, REPORT, files_of


def test_export_then_import_into_an_empty_home_gives_an_equal_profile(store, home, lived, tmp_path):
    user = lived.user.id
    out = tmp_path / "me.zip"
    counts = export_profile(store, home, user, out)
    assert counts == {
        "conversations": 1, "messages": 4, "comparisons": 1, "feedback": 5, "versions": 2, "runs": 1, "notes": 2,
    }  # fmt: skip
    assert out.stat().st_mode & 0o777 == 0o600

    there = Home(tmp_path / "there")
    new = Store(there)
    new.record_base(BASE)
    me = new.ensure_user("me").id
    report = import_profile(new, there, me, out)
    assert report.counts == counts and report.versions == [1] and report.loadable
    assert new.profile_content(me) == store.profile_content(user)
    assert files_of(there.profile_dir(me)) == files_of(home.profile_dir(user))
    assert new.live_version(me) == 0  # until the person says so
    assert new.publish(me, 1, "rollback").version == 1
    assert new.verify() == []
    mine, theirs = load_evidence(store, user), load_evidence(new, me)
    assert mine.observations == theirs.observations
    assert new.search(me, "clouds")[0].id == lived.reply.id
    assert not list(there.tmp_dir.iterdir())

    again = tmp_path / "again.zip"
    new.publish(me, 1, "rollback")
    export_profile(new, there, me, again)
    with zipfile.ZipFile(out) as a, zipfile.ZipFile(again) as b:
        assert a.namelist() == b.namelist()
        for name in set(a.namelist()) - {"profile.json", "SHA256SUMS"}:
            assert a.read(name) == b.read(name), name
    new.close()


def test_the_sums_in_the_file_are_what_sha256sum_checks(store, home, lived, tmp_path):
    out = tmp_path / "me.zip"
    export_profile(store, home, lived.user.id, out)
    with zipfile.ZipFile(out) as archive:
        archive.extractall(tmp_path / "x")
    assert os.system(f"cd {tmp_path}/x && sha256sum --quiet -c SHA256SUMS") == 0


def test_importing_beside_what_is_there_gives_new_ids_and_numbers(store, home, lived, tmp_path):
    user = lived.user.id
    out = tmp_path / "me.zip"
    export_profile(store, home, user, out)
    before = store.profile_content(user)
    report = import_profile(store, home, user, out)
    after = store.profile_content(user)
    assert report.versions == [3] and [v.number for v in store.versions(user)] == [1, 2, 3, 4]
    assert store.version(user, 4).parent == 3
    assert len(after["conversations"]) == 2 and len(after["feedback"]) == 10
    assert after["conversations"][0] == before["conversations"][0]
    copy = after["conversations"][1]
    assert [m["content"] for m in copy["messages"]] == [
        m["content"] for m in before["conversations"][0]["messages"]
    ]
    assert copy["messages"][-1]["adapter_version"] == 3  # what was version 1 is version 3 here
    assert after["runs"][1]["version"] == 3
    assert [n["text"] for n in after["notes"]] == ["No lists", "短"]
    assert store.live_version(user) == 1 and store.next_version_number(user) == 5
    assert store.verify() == []
    both = load_evidence(store, user)  # the same again is no further evidence
    assert len(both.observations) == 3
    assert [use.why for use in both.left_out] == [WHY["duplicate"]] * 3


def test_an_import_into_another_persons_profile_of_the_same_home_works(store, home, lived, tmp_path):
    out = tmp_path / "me.zip"
    export_profile(store, home, lived.user.id, out)
    ann = store.add_user("ann", "hash").id
    import_profile(store, home, ann, out)
    assert store.feedback_counts(ann) == store.feedback_counts(lived.user.id)
    assert store.verify() == []


def test_on_another_base_the_feedback_comes_and_the_adapters_are_marked(store, home, lived, tmp_path):
    out = tmp_path / "me.zip"
    export_profile(store, home, lived.user.id, out)
    there = Home(tmp_path / "there")
    new = Store(there)
    new.record_base(OTHER_BASE)
    me = new.ensure_user("me").id
    report = import_profile(new, there, me, out)
    assert not report.loadable and any("another base model (embedded)" in note for note in report.notes)
    assert new.version(me, 1).status == "unloadable"
    assert new.feedback_counts(me) == store.feedback_counts(lived.user.id)
    with pytest.raises(NotFound):
        new.publish(me, 1, "rollback")
    assert new.verify() == []
    new.close()


def test_a_home_that_has_loaded_no_base_yet_says_so(store, home, lived, tmp_path):
    out = tmp_path / "me.zip"
    export_profile(store, home, lived.user.id, out)
    there = Home(tmp_path / "there")
    new = Store(there)
    report = import_profile(new, there, new.ensure_user().id, out)
    assert report.loadable and any("No base model" in note for note in report.notes)
    new.close()


@pytest.mark.parametrize("gone", ["", "adapter_model.safetensors", "adapter_config.json"])
def test_a_version_whose_files_are_gone_does_not_keep_the_rest_from_coming_along(store, home, lived, tmp_path, gone):
    user = lived.user.id
    shutil.rmtree(home.adapter_dir(user, 1)) if not gone else (home.adapter_dir(user, 1) / gone).unlink()
    out = tmp_path / "me.zip"
    counts = export_profile(store, home, user, out)
    there = Home(tmp_path / "there")
    new = Store(there)
    me = new.ensure_user().id
    report = import_profile(new, there, me, out)
    assert report.counts == counts and report.versions == []
    assert [(v.number, v.has_weights) for v in new.versions(me)] == [(1, False), (2, False)]
    assert new.version(me, 1).report == REPORT and new.verify() == []
    assert store.version(user, 1).has_weights  # what is written here is as it was
    new.close()


def test_an_import_that_breaks_while_files_go_into_place_changes_nothing(
    store, home, lived, tmp_path, monkeypatch
):
    user = lived.user.id
    out = tmp_path / "me.zip"
    export_profile(store, home, user, out)
    before, files = store.profile_content(user), files_of(home.root / "profiles")
    real, calls = os.replace, []

    def second_fails(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(source, target)

    monkeypatch.setattr("data.profile.importing.os.replace", second_fails)
    with pytest.raises(AttuneError, match="No space left"):
        import_profile(store, home, user, out)
    assert len(calls) == 2
    assert store.profile_content(user) == before and files_of(home.root / "profiles") == files
    assert store.verify() == []


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=TEXT, turns=st.lists(st.tuples(TEXT, TEXT.filter(str.strip)), max_size=4),
    stars=st.lists(st.integers(1, 5), max_size=4), note=TEXT.filter(str.strip),
)  # fmt: skip
def test_any_profile_survives_the_way_out_and_in(store, home, tmp_path, title, turns, stars, note):
    person = store.add_user(f"p{len(store.list_users())}", None).id
    conversation = store.create_conversation(person, title, note)
    parent = None
    for question, answer in turns:
        asked = store.add_message(person, conversation.id, parent, "user", question)
        parent = store.add_message(person, conversation.id, asked.id, "assistant", answer).id
        for value in stars:
            store.add_feedback(person, "stars", value, message_id=parent)
        store.add_feedback(person, "comment", note, message_id=parent)
    store.put_notes(person, [{"text": note}])
    before = store.profile_content(person)
    out = tmp_path / "any.zip"
    export_profile(store, home, person, out)
    store.remove_user(person)
    again = store.add_user(f"p{len(store.list_users())}b{person}", None).id
    import_profile(store, home, again, out)
    assert store.profile_content(again) == before
