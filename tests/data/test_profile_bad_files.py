"""A profile file that is not whole, true and plain is refused in one line, and nothing is changed."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from data.errors import AttuneError
from data.profile import import_profile
from tests.data.profile_files import (
    ADAPTER,
    SETUP,
    WHEN,
    A,
    B,
    Members,
    again,
    config,
    drop,
    edit_json,
    edit_line,
    put,
    refused,
    run,
    weights,
    write,
)

BAD: dict[str, tuple[Callable[[Members], None], str]] = {
    # names
    "a path out of the folder": (put("../evil.txt", b"x"), "member"),
    "a path out through an adapter": (put("adapters/1/../../evil", b"x"), "member"),
    "an absolute path": (put("/etc/evil", b"x"), "member"),
    "a pickle": (put("reward/1/model.pkl", b"x"), "member"),
    "a torch file": (put("adapters/1/adapter_model.bin", b"x"), "member"),
    "a program": (put("adapters/1/modeling.py", b"x"), "member"),
    "a file without its conversations": (drop("conversations.jsonl"), "no conversations.jsonl"),
    "a version without weights": (drop(ADAPTER), "no adapter_model"),
    "a version without configuration": (drop(SETUP), "no adapter_config"),
    "an adapter without a row": (put("adapters/5/adapter_model.safetensors", b"x"), "no row"),
    # counts and schema
    "wrong counts": (edit_json("profile.json", lambda p: p["counts"].update(feedback=7)), "counts"),
    "another format": (edit_json("profile.json", lambda p: p.update(format=2)), "format 2"),
    "no format": (edit_json("profile.json", lambda p: p.pop("format")), "format"),
    "no JSON": (put("profile.json", b"{"), "not JSON"),
    "deep JSON": (put("notes.json", b"[" * 100_000 + b"]" * 100_000), "not JSON"),
    "NaN": (put("settings.json", b'{"temperature": NaN}'), "not JSON"),
    "a line cut off": (lambda m: put("feedback.jsonl", m["feedback.jsonl"][:-9])(m), "whole line"),
    "an unknown setting": (put("settings.json", b'{"colour": "red"}'), "no setting"),
    "bad names of what is off": (put("settings.json", b'{"muted": ["<b>"]}'), "muted"),
    "a bad setting": (put("settings.json", b'{"temperature": 99}'), "temperature"),
    "stars of nine": (edit_line("feedback.jsonl", 0, lambda e: e.update(value=9)), "from 1 to 5"),
    "an unknown kind": (edit_line("feedback.jsonl", 0, lambda e: e.update(kind="smile")), "smile"),
    "feedback on a question": (
        lambda m: edit_line(
            "feedback.jsonl", 0,
            lambda e: e.update(message_id=json.loads(m["conversations.jsonl"])["messages"][0]["id"]),
        )(m),
        "not in the file",
    ),
    "feedback on nothing": (edit_line("feedback.jsonl", 0, lambda e: e.update(message_id=e["id"])), "not in"),
    "feedback that supersedes itself": (
        edit_line("feedback.jsonl", 0, lambda e: e.update(supersedes=e["id"])), "supersedes"
    ),
    "feedback that supersedes in a ring": (
        lambda m: [
            edit_line("feedback.jsonl", 1, lambda e: (e.clear(), e.update(again(m))))(m),
            edit_line("feedback.jsonl", 0, lambda e: e.update(supersedes=again(m)["id"]))(m),
        ],
        "in a ring",
    ),
    "one id twice": (
        edit_line("conversations.jsonl", 0, lambda c: c["messages"][1].update(id=c["messages"][0]["id"])), "twice"
    ),
    "an id that is none": (edit_line("conversations.jsonl", 0, lambda c: c.update(id="../x")), "as id"),
    "a field too many": (edit_line("conversations.jsonl", 0, lambda c: c.update(user="x")), "fields"),
    "a message that is its own parent": (
        edit_line("conversations.jsonl", 0, lambda c: c["messages"][0].update(parent_id=c["messages"][0]["id"])),
        "parent",
    ),
    "half a character": (
        edit_line("conversations.jsonl", 0, lambda c: c["messages"][0].update(content="\ud800")), "content"
    ),
    "a time that is none": (edit_line("conversations.jsonl", 0, lambda c: c.update(created="now")), "created"),
    "a day that is none": (
        edit_line("feedback.jsonl", 0, lambda e: e.update(created=WHEN.replace("01", "19"))), "created"
    ),
    "edits that are none": (
        edit_line("conversations.jsonl", 0, lambda c: c["messages"][1].update(sampling={"edited": ["x"]})), "sampling"
    ),
    "settings of a reply that name a file": (
        edit_line("conversations.jsonl", 0, lambda c: c["messages"][1].update(sampling={"seed": {"path": "x"}})),
        "sampling",
    ),
    "an endless whole number": (run(metrics=[[1, "objective/kl", 10**400]]), "metrics"),
    "seconds that no clock counts": (edit_line("feedback.jsonl", 0, lambda e: e.update(seen_s=10**400)), "seen_s"),
    "more progress than all": (run(progress=1e300), "progress"),
    "a reason of a book's length": (run(reason="x" * 10_000), "reason"),
    "an empty line": (lambda m: put("feedback.jsonl", b"\n" + m["feedback.jsonl"])(m), "line 1 of feedback.jsonl"),
    "a number as text": (edit_line("conversations.jsonl", 0, lambda c: c.update(title=5)), "title"),
    "a version zero": (edit_json("profile.json", lambda p: p["versions"][0].update(number=0)), "number"),
    "a live version that is not there": (edit_json("profile.json", lambda p: p.update(live_version=9)), "live"),
    # weights
    "weights cut off": (put(ADAPTER, weights()[:-8]), "cannot be read"),
    "a header that promises too much": (put(ADAPTER, struct.pack("<Q", 2**60) + b"{}"), "cannot be read"),
    "weights that are not finite": (put(ADAPTER, weights(value=np.nan)), "not finite"),
    "infinite half weights": (put(ADAPTER, weights(value=np.inf, dtype=np.float16)), "not finite"),
    "whole numbers as weights": (put(ADAPTER, weights(dtype=np.int64)), "type I64"),
    "another layer's shape": (put(ADAPTER, weights(a=(2, 5))), "6 x 5"),
    "another rank": (put(ADAPTER, weights(a=(3, 4), b=(6, 3))), "r = 2"),
    "half a pair": (put(ADAPTER, save({A: np.ones((2, 4), np.float32)})), "shapes"),
    "weights of no layer": (put(ADAPTER, save({"lm_head.weight": np.ones((2, 2), np.float32)})), "called"),
    "a layer that the base has not": (
        put(ADAPTER, save({k.replace("q_proj", "z_proj"): np.ones(s, np.float32)
                           for k, s in ((A, (2, 4)), (B, (6, 2)))})),
        "no layer",
    ),
    "no weights": (put(ADAPTER, save({})), "no weights"),
    "a reward model that is not finite": (
        put("reward/1/reward.safetensors", save({"w": np.array([np.inf])})), "not finite"
    ),
    # configuration
    "a prompt-tuning adapter": (config(peft_type="PROMPT_TUNING"), "plain LoRA"),
    "a module to save": (config(modules_to_save=["lm_head"]), "modules_to_save"),
    "a scale of another kind": (config(use_rslora=True), "use_rslora"),
    "dora": (config(use_dora=True), "use_dora"),
    "a rank of its own": (config(rank_pattern={"q_proj": 64}), "rank_pattern"),
    "an endless scale": (put(SETUP, b'{"peft_type": "LORA", "r": 2, "lora_alpha": 1e999}'), "lora_alpha"),
    "a scale beyond numbers": (config(lora_alpha=10**400), "lora_alpha"),
    "a rank that is text": (config(r="2"), "whole number"),
    "a target that is a pattern": (config(target_modules=[".*"]), "plain names"),
    "a list as configuration": (put(SETUP, b"[]"), "not a JSON object"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line_and_changes_nothing(store, home, tmp_path, members, name):
    change, says = BAD[name]
    change(members)
    assert says in refused(store, home, write(tmp_path / "bad.zip", members))


def test_the_good_file_that_the_bad_ones_were_made_from_is_taken(store, home, tmp_path, members):
    report = import_profile(store, home, store.ensure_user().id, write(tmp_path / "good.zip", members))
    assert report.loadable and report.versions == [2]
    assert store.verify() == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_doubled_changed_missing_and_listed_too_much(store, home, tmp_path, members):
    path = write(tmp_path / "twice.zip", members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.json", b"[]")
    assert "twice" in refused(store, home, path)
    changed = write(tmp_path / "changed.zip", {**members, "notes.json": b"[] "}, sums=False)
    assert "hash differs" in refused(store, home, changed)
    unlisted = {**members, "adapters/1/card.json": b"{}"}
    assert "does not list" in refused(store, home, write(tmp_path / "unlisted.zip", unlisted, sums=False))
    members["SHA256SUMS"] += f"{'0' * 64}  reward/1/x.json\n".encode()
    assert "not there" in refused(store, home, write(tmp_path / "listed.zip", members, sums=False))


def test_a_zip_bomb_stops_at_the_size_it_announced(store, home, tmp_path, members, monkeypatch):
    monkeypatch.setattr("data.profile.format.MAX_SMALL_BYTES", 2**20)
    bomb = write(tmp_path / "bomb.zip", {**members, "notes.json": b" " * 2**21 + b"[]"})
    assert "more than 1,048,576 bytes" in refused(store, home, bomb)
    # one that lies about its size: the directory says 2 bytes where a mebibyte comes out
    raw = bytearray(
        write(tmp_path / "liar.zip", {**members, "notes.json": b" " * 2**19 + b"[]"}).read_bytes()
    )
    size = struct.pack("<L", 2**19 + 2)
    assert raw.count(size) == 2
    liar = tmp_path / "liar.zip"
    liar.write_bytes(bytes(raw).replace(size, struct.pack("<L", 2)))
    refused(store, home, liar)


def test_what_is_no_zip_gets_one_line(store, home, tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"hello")
    assert "not a whole zip" in refused(store, home, path)
    with pytest.raises(AttuneError, match="cannot be read"):
        import_profile(store, home, store.ensure_user().id, tmp_path / "none.zip")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("photo.jpg", b"x")
    assert "not a profile file" in refused(store, home, path)


def test_a_configuration_keeps_plain_values_alone(store, home, tmp_path, members):
    evil = {
        "auto_mapping": {"base_model_class": "Evil", "parent_library": "os"},
        "base_model_name_or_path": "/somewhere/else", "revision": "x", "target_modules": "all-linear",
        "init_lora_weights": "pissa", "loftq_config": {"a": 1}, "runtime_config": {"x": 1}, "extra": "y",
    }  # fmt: skip
    config(**evil)(members)
    user = store.ensure_user().id
    (number,) = import_profile(store, home, user, write(tmp_path / "x.zip", members)).versions
    kept = json.loads((home.adapter_dir(user, number) / "adapter_config.json").read_text())
    assert kept == {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "embedded", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj"], "bias": "none",
        "use_rslora": False, "inference_mode": True,
    }  # fmt: skip


def test_half_precision_weights_are_read_as_what_they_are(store, home, tmp_path, members):
    def bf16(bits: int) -> bytes:
        header, data = {}, b""
        for name, shape in ((A, [2, 4]), (B, [6, 2])):
            block = struct.pack("<H", bits) * (shape[0] * shape[1])
            header[name] = {
                "dtype": "BF16",
                "shape": shape,
                "data_offsets": [len(data), len(data) + len(block)],
            }
            data += block
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    put(ADAPTER, bf16(0x7F80))(members)  # infinity
    assert "not finite" in refused(store, home, write(tmp_path / "inf.zip", members))
    put(ADAPTER, bf16(0xFFC1))(members)  # not a number
    assert "not finite" in refused(store, home, write(tmp_path / "nan.zip", members))
    put(ADAPTER, bf16(0x3F80))(members)  # 1.0
    import_profile(store, home, store.ensure_user().id, write(tmp_path / "one.zip", members))


def test_ids_from_the_future_do_not_hold_back_new_ones(store, home, tmp_path, members):
    future = "7" + "Z" * 25
    lines = members["feedback.jsonl"].decode().split("\n")
    first = json.loads(lines[0])["id"]
    members["feedback.jsonl"] = members["feedback.jsonl"].replace(first.encode(), future.encode())
    ann = store.add_user("ann", None).id
    import_profile(store, home, ann, write(tmp_path / "future.zip", members))
    assert all(event.id < "1" for event in store.list_feedback(ann))
    assert store.create_conversation(ann).id < "1"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_with_flipped_bytes_is_refused_or_whole(store, home, tmp_path, members, data):
    good = write(tmp_path / "good.zip", members).read_bytes()
    raw = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(raw), len(raw), data.draw(st.integers(0, len(raw)))]))
    path = tmp_path / "flipped.zip"
    path.write_bytes(raw[:cut])
    user = store.add_user(f"u{len(store.list_users())}", None).id
    empty = store.profile_content(user)
    try:
        import_profile(store, home, user, path)
    except AttuneError as error:
        assert "\n" not in str(error)
        assert store.profile_content(user) == empty and not home.adapters_dir(user).exists()
    else:
        assert len(store.profile_content(user)["feedback"]) == 2
