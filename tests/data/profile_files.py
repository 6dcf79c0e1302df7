"""Profile files to be changed and written again: a good one's members, and what changes them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from data.adapter_files import adapter_sha256
from data.errors import Invalid
from data.home import Home
from data.profile import export_profile, import_profile
from data.store import Store
from data.types import BaseSpec

LAYER = "model.layers.0.self_attn.q_proj"
A, B = (f"base_model.model.{LAYER}.lora_{side}.weight" for side in "AB")
BASE = BaseSpec("embedded", "", "w" * 64, "t" * 64, {LAYER: (6, 4)})
CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "bias": "none"}

WHEN = "2026-01-31T12:00:00.000Z"

Members = dict[str, bytes]


def weights(a=(2, 4), b=(6, 2), value=1.0, dtype=np.float32) -> bytes:
    return save({A: np.full(a, value, dtype), B: np.full(b, value, dtype)})


def good_members(store: Store, home: Home, chatted: Any) -> Members:
    """The members of a good file: a chat with feedback and one adapter with its reward model."""
    user = chatted.user.id
    store.record_base(BASE)
    store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    replies = [chatted.reply.id, chatted.sibling.id]
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, replies)
    store.add_feedback(user, "ranking", {"order": [replies]}, comparison_id=comparison.id)
    folder = home.adapter_dir(user, 1)
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(weights())
    (folder / "adapter_config.json").write_text(json.dumps(CONFIG))
    home.reward_dir(user, 1).mkdir(parents=True)
    save_file({"w": np.ones(3)}, home.reward_dir(user, 1) / "reward.safetensors")
    store.record_version(user, 1, 0, "embedded", adapter_sha256(folder), "accepted", {}, "promoted")
    out = home.tmp_dir / "good.zip"
    export_profile(store, home, user, out)
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members, sums: bool = True) -> Path:
    """A zip of these members, with true sums unless told otherwise."""
    if sums:
        lines = [f"{hashlib.sha256(v).hexdigest()}  {k}\n" for k, v in members.items() if k != "SHA256SUMS"]
        members = {**members, "SHA256SUMS": "".join(lines).encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(store: Store, home: Home, path: Path) -> str:
    """Import `path`, see it refused, see that nothing has changed; returns the line."""
    user = store.ensure_user().id
    rows = store.profile_content(user)
    files = sorted(p for p in home.root.rglob("*") if p.name not in ("attune.db-wal", "attune.db-shm"))
    with pytest.raises(Invalid) as caught:
        import_profile(store, home, user, path)
    assert store.profile_content(user) == rows
    now = sorted(p for p in home.root.rglob("*") if p.name not in ("attune.db-wal", "attune.db-shm"))
    assert now == files
    line = str(caught.value)
    assert "\n" not in line and len(line) < 300
    return line


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Members], None]:
    def apply(members: Members) -> None:
        value = json.loads(members[name])
        change(value)
        members[name] = json.dumps(value).encode()

    return apply


def edit_line(name: str, number: int, change: Callable[[dict], object]) -> Callable[[Members], None]:
    def apply(members: Members) -> None:
        lines = members[name].decode().split("\n")
        value = json.loads(lines[number])
        change(value)
        lines[number] = json.dumps(value)
        members[name] = "\n".join(lines).encode()

    return apply


def run(**changes: object) -> Callable[[Members], None]:
    """A file with one run, which is as it should be but for the changes."""
    one = {
        "id": "01J00000000000000000000000", "state": "rejected", "phase": "gate", "progress": 1.0, "trigger": "manual",
        "queued_at": WHEN, "started_at": WHEN, "ended_at": WHEN, "heartbeat_at": None, "watermark": None,
        "version": None, "reason": "not better", "report": {}, "uses": [], "metrics": [],
    }  # fmt: skip
    assert set(changes) <= set(one)

    def apply(members: Members) -> None:
        put("runs.jsonl", json.dumps({**one, **changes}).encode() + b"\n")(members)
        edit_json("profile.json", lambda p: p["counts"].update(runs=1))(members)

    return apply


def put(name: str, content: bytes) -> Callable[[Members], None]:
    return lambda members: members.__setitem__(name, content)


def drop(name: str) -> Callable[[Members], None]:
    return lambda members: members.__delitem__(name)


def again(members: Members) -> dict:
    """The first piece of feedback said once more, which supersedes it."""
    first = json.loads(members["feedback.jsonl"].split(b"\n")[0])
    return {**first, "id": first["id"][:-1] + ("0" if first["id"][-1] != "0" else "1"), "supersedes": first["id"]}


ADAPTER = "adapters/1/adapter_model.safetensors"
SETUP = "adapters/1/adapter_config.json"


def config(**changes: object) -> Callable[[Members], None]:
    return put(SETUP, json.dumps({**CONFIG, **changes}).encode())
