"""Reset, undo, erase, sweep: what comes back, what stays, what is gone."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import pytest

from data.adapter_files import adapter_sha256
from data.errors import AttuneError, NotFound
from data.profile import export_profile, reset, sweep, undo_reset
from tests.data.lives import files_of, write_adapter


@pytest.mark.parametrize("what", ["model", "feedback", "all"])
def test_a_reset_can_be_undone(store, home, lived, what):
    user = lived.user.id
    before, files = store.profile_content(user), files_of(home.adapters_dir(user))
    answer = reset(store, home, user, what)
    after = store.profile_content(user)
    assert store.live_version(user) == 0 and store.publications(user)[-1].reason == "reset"
    assert store.new_feedback_count(user) == 0
    gone = {"model": ["versions"], "feedback": ["versions", "conversations", "feedback", "runs"]}
    gone["all"] = [*gone["feedback"], "notes", "settings"]
    for key in before:
        assert (not after[key]) if key in gone[what] else (after[key] == before[key]), key
    assert answer["removed"]["feedback"] == (0 if what == "model" else 5)
    assert answer["undo_until"] and "kept" in answer["kept"]
    if what == "model":
        assert answer["kept_file"] is None
    else:
        kept = Path(answer["kept_file"])
        assert kept.stat().st_mode & 0o777 == 0o600 and home.root in kept.parents
        assert store.search(user, "clouds") == []
    assert store.verify() == []

    later = store.create_conversation(user, "since then")
    back = undo_reset(store, home, user)
    assert back["live_version"] == 1 == store.live_version(user)
    store.delete_conversation(user, later.id)
    assert store.profile_content(user) == before and files_of(home.adapters_dir(user)) == files
    assert not list(home.undo_dir(user).glob("*")) and store.verify() == []
    with pytest.raises(NotFound):
        undo_reset(store, home, user)


def test_a_reset_takes_the_versions_out_of_use_until_it_is_undone(store, home, lived, tmp_path):
    user = lived.user.id
    for folder in (home.adapter_dir(user, 1), home.reward_dir(user, 1)):
        os.utime(folder, (0, 0))
    reset(store, home, user, "model")
    assert store.versions(user) == [] and store.next_version_number(user) == 3
    with pytest.raises(NotFound, match="no version 1 any more"):
        store.publish(user, 1, "rollback")
    assert store.live_version(user) == 0
    out = tmp_path / "after.zip"
    assert export_profile(store, home, user, out)["versions"] == 0
    with zipfile.ZipFile(out) as archive:
        assert not [name for name in archive.namelist() if name.startswith(("adapters/", "reward/"))]
    sweep(store, home)
    assert home.adapter_dir(user, 1).is_dir() and home.reward_dir(user, 1).is_dir()
    assert store.verify() == []

    folder = write_adapter(home, user, 3, seed=1)
    store.record_version(user, 3, 0, "embedded", adapter_sha256(folder), "accepted", {}, "promoted")
    assert [v.number for v in store.versions(user)] == [3] and store.live_version(user) == 3
    assert undo_reset(store, home, user)["live_version"] == 1
    assert [v.number for v in store.versions(user)] == [1, 2, 3]
    assert store.publish(user, 3, "rollback").version == 3 and store.verify() == []


def test_two_resets_are_undone_one_after_the_other(store, home, lived):
    user = lived.user.id
    reset(store, home, user, "model")
    folder = write_adapter(home, user, 3, seed=1)
    store.record_version(user, 3, 0, "embedded", adapter_sha256(folder), "accepted", {}, "promoted")
    reset(store, home, user, "model")
    assert store.versions(user) == []
    assert undo_reset(store, home, user)["live_version"] == 3
    assert [v.number for v in store.versions(user)] == [3]  # the first reset still stands
    assert undo_reset(store, home, user)["live_version"] == 1
    assert [v.number for v in store.versions(user)] == [1, 2, 3]


def test_another_persons_reset_takes_nothing(store, home, lived):
    other = store.ensure_user("other").id
    store.record_version(other, 1, 0, "embedded", "", "rejected", {}, None)
    reset(store, home, lived.user.id, "model")
    assert [v.number for v in store.versions(other)] == [1]


def test_a_reset_stops_an_update_that_is_at_work_from_publishing(store, home, lived):
    user = lived.user.id
    run = store.queue_run(user, "manual")
    store.start_run(run.id, None)
    reset(store, home, user, "feedback")
    assert store.cancel_requested(run.id)
    with pytest.raises(AttuneError, match="cancelled"):
        store.record_version(user, 3, 0, "embedded", "a" * 64, "accepted", {}, "promoted")
    assert store.live_version(user) == 0
    assert store.finish_run(run.id, "cancelled").state == "cancelled"


@pytest.mark.parametrize("what", ["feedback", "all"])
def test_what_is_erased_now_is_nowhere_in_the_home(store, home, lived, what):
    user = lived.user.id
    # the index holds pieces of three letters; another person's words keep it from being simply empty
    store.add_message(user, lived.conversation.id, None, "user", "zqxjzqxj")
    other = store.ensure_user("other").id
    for i in range(30):
        store.add_message(other, store.create_conversation(other).id, None, "user", f"keeping {i}")
    reset(store, home, user, "model")
    answer = reset(store, home, user, what, erase_now=True)
    assert answer["undo_until"] is None and answer["removed"]["versions"] == 2
    assert "Nothing is kept" in answer["kept"] and "traces" not in answer["kept"]
    with pytest.raises(NotFound):
        undo_reset(store, home, user)
    assert store.versions(user) == [] and store.next_version_number(user) == 3
    assert not list(home.profile_dir(user).rglob("*.safetensors"))
    for path in home.root.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            for word in (b"clouds", b"falling", b"what is rain", "雨是水".encode()):
                assert word not in raw.lower(), f"{word!r} in {path}"
            for piece in (b"zqx", b"qxj", b"xjz"):  # in small letters: ids have capitals alone
                assert piece not in raw, f"{piece!r} in {path}"
    assert store.verify() == []


def test_after_thirty_days_what_was_kept_goes(store, home, lived, monkeypatch):
    user = lived.user.id
    answer = reset(store, home, user, "feedback")
    monkeypatch.setattr("data.profile.resetting.utc_now", lambda: "2999-01-01T00:00:00.000Z")
    with pytest.raises(NotFound):
        undo_reset(store, home, user)
    assert not Path(answer["kept_file"]).exists() and not home.adapter_dir(user, 1).exists()
    assert store.versions(user) == [] and store.verify() == []


def test_sweep_removes_old_folders_without_a_row_and_nothing_else(store, home, lived):
    user = lived.user.id
    orphan, fresh, broken = (home.adapters_dir(user) / name for name in ("7", "8", ".tmp-9"))
    for folder in (orphan, fresh, broken):
        shutil.copytree(home.adapter_dir(user, 1), folder)
    for folder in (orphan, broken, home.adapter_dir(user, 1), home.reward_dir(user, 1)):
        os.utime(folder, (0, 0))
    sweep(store, home)
    assert sorted(p.name for p in home.adapters_dir(user).iterdir()) == ["1", "8"]
    assert home.reward_dir(user, 1).is_dir()
