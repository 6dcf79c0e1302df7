"""Export, import, reset, undo, erase: what comes back, what stays, what is gone."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from data.adapter_files import adapter_sha256
from data.errors import AttuneError, NotFound
from data.evidence import load_evidence
from data.home import Home
from data.profile import export_profile, import_profile, reset, sweep, undo_reset
from data.quality import WHY
from data.store import Store
from data.types import BaseSpec, FeedbackUse

LAYER = "model.layers.0.self_attn.q_proj"
BASE = BaseSpec("embedded", "r1", "w" * 64, "t" * 64, {LAYER: (6, 4)})
OTHER_BASE = replace(BASE, id="other", weights_sha256="x" * 64, linear_shapes={"model.q": (3, 3)})


# As the learner writes them (docs/benchmarks holds some from real updates, which tests/data/test_reports.py looks at).
REPORT = {
    "feedback": {"train": 3, "held_out": 0, "left_out": 1},
    "evidence": {"learnable": True, "observations": 3, "exchanges": 99, "p_value": 0.01, "gain": None},
    "policy": {"win_rate": 0.6, "win_rate_lower": 0.55},
    "seconds": 12.5,
}


def write_adapter(home: Home, user: str, number: int, seed: int = 0) -> Path:
    """A small but real PEFT folder, and a reward model beside it."""
    folder = home.adapter_dir(user, number)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    key = f"base_model.model.{LAYER}.lora_"
    weights = {
        f"{key}A.weight": rng.normal(size=(2, 4)).astype(np.float32),
        f"{key}B.weight": rng.normal(size=(6, 2)).astype(np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "embedded", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj"], "bias": "none",
        "use_rslora": False, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "card.json").write_text(json.dumps({"kl": 1.5}, indent=2) + "\n")
    reward = home.reward_dir(user, number)
    reward.mkdir(parents=True)
    save_file({"w": rng.normal(size=3)}, reward / "reward.safetensors")
    (reward / "reward.json").write_text('{\n  "features": 3\n}\n')
    return folder


@pytest.fixture
def lived(store, home, chatted):
    """A person with everything: feedback of each kind, runs, notes, settings, a live and a rejected version."""
    user, reply = chatted.user.id, chatted.reply.id
    store.record_base(BASE)
    stars = store.add_feedback(user, "stars", 2, message_id=reply)
    store.add_feedback(user, "stars", 5, message_id=reply)
    store.add_feedback(user, "edit", "雨是水。Rain is water.", message_id=reply)
    thumb = store.add_feedback(user, "thumb", "up", message_id=chatted.sibling.id)
    store.retract_feedback(user, thumb.id)
    replies = [reply, chatted.sibling.id]
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, replies)
    store.add_feedback(user, "ranking", {"order": [[replies[1]], [replies[0]]]}, comparison_id=comparison.id)
    run = store.queue_run(user, "manual")
    store.start_run(run.id, store.newest_feedback_id(user))
    store.record_feedback_use(run.id, [FeedbackUse(stars.id, "train", "seen")])
    store.add_metrics(run.id, 1, {"objective/kl": 1.25})
    folder = write_adapter(home, user, 1)
    store.record_version(user, 1, 0, "embedded", adapter_sha256(folder), "accepted", REPORT, "promoted")
    store.finish_run(run.id, "promoted", 1, "better", REPORT)
    store.record_version(user, 2, 1, "embedded", "", "rejected", {"seconds": 60.5}, None)
    store.put_notes(user, [{"text": "No lists", "source": "comment"}, {"text": "短", "enabled": False}])
    store.update_settings(user, {"theme": "dark", "temperature": 0.5, "muted": ["log_length"]})
    written = store.begin_reply(user, chatted.conversation.id, chatted.question.id, 1, {"seed": 3})
    store.finish_reply(written.id, "By version 1.", "length", 1, 2)
    assert store.verify() == []
    return chatted


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


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
