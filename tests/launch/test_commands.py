"""The commands as people run them: `python launch.py ...` in a process of its own, on a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from data.home import CHECKOUT, Home
from data.store import Store
from data.types import Reply, Turn
from learner.worker import Learner

SECRET = "a long enough password"


class Attune:
    """The command line with one home."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(CHECKOUT / "launch.py"), "--home", str(self.home), *arguments],
            capture_output=True,
            text=True,
            input=typed,
            timeout=120,
            env={**os.environ, **environ},
        )

    def json(self, *arguments: str, typed: str = "") -> Any:
        done = self(*arguments, "--json", typed=typed)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refuses(self, *arguments: str, typed: str = "", **environ: str) -> str:
        """The one line of a failure: exit code 1, nothing on stdout, no traceback."""
        done = self(*arguments, typed=typed, **environ)
        assert done.returncode == 1, (done.stdout, done.stderr)
        assert done.stdout == ""
        lines = [line for line in done.stderr.splitlines() if not line.startswith("Starting; ")]
        assert len(lines) == 1, done.stderr
        assert "unexpected" not in lines[0]
        return lines[0]


@pytest.fixture
def attune(tmp_path: Path) -> Attune:
    return Attune(tmp_path / "home")


def say_something(home: Path, thumb: str = "up") -> str:
    """A stored conversation of `me` with one rated reply; returns the reply's id."""
    store = Store(Home(home).create())
    me = store.ensure_user()
    conversation = store.create_conversation(me.id, "about tea")
    turns = [Turn("user", "What is tea?"), Turn("assistant", "A drink made from leaves.")]
    _, reply = store.add_turn(me.id, conversation.id, None, turns)
    store.add_feedback(me.id, "thumb", thumb, message_id=reply.id)
    store.close()
    return reply.id


def test_how_the_learner_learns_can_be_set_and_taken_back(attune: Attune) -> None:
    everything = attune.json("settings")
    assert everything["settings"]["learner.budget_minutes"] == 10 and everything["changed"] == []
    assert everything["settings"]["learner.ppo.baseline"] == "prefix"
    said = attune.json(
        "settings", "learner.budget_minutes=0.5", "learner.algorithm=dpo", "learner.warm_start.enabled=false"
    )
    assert said["settings"] == {
        "learner.budget_minutes": 0.5, "learner.algorithm": "dpo", "learner.warm_start.enabled": False,
    }  # fmt: skip
    store = Store(Home(attune.home))
    config = Learner(Home(attune.home), store, "embedded").config()
    store.close()
    assert (config.budget_minutes, config.algorithm, config.warm_start.enabled) == (0.5, "dpo", False)
    assert "above 0, not -1" in attune.refuses("settings", "learner.seed=4", "learner.budget_minutes=-1")
    attune.json("settings", "learner.algorithm=default", "learner.warm_start.enabled=default")
    assert attune.json("settings")["changed"] == ["learner.budget_minutes"]


def test_status_of_an_empty_home_has_the_shape_that_programs_rely_on(attune):
    found = attune.json("status")
    assert set(found) == {"user", "feedback", "live_version", "base_model", "learner", "learnt", "runs"}
    assert found["user"] == "me"
    assert found["feedback"] == {"thumb": 0, "stars": 0, "comment": 0, "edit": 0, "ranking": 0}
    assert found["live_version"] == 0
    assert {"state", "phase", "progress"} <= set(found["learner"])
    assert found["learner"]["state"] in ("idle", "waiting", "running", "paused", "off")
    assert found["runs"] == []
    assert stat.S_IMODE(attune.home.stat().st_mode) == 0o700


def test_status_counts_what_was_said_and_names_the_last_runs(attune):
    say_something(attune.home)
    store = Store(Home(attune.home))
    me = store.ensure_user()
    run = store.queue_run(me.id, "manual")
    store.start_run(run.id, None)
    store.finish_run(run.id, "abstained", reason="Too little feedback.")
    store.close()
    found = attune.json("status")
    assert found["feedback"]["thumb"] == 1
    assert [(run["state"], run["reason"]) for run in found["runs"]] == [("abstained", "Too little feedback.")]
    assert "1 thumb" in attune("status").stdout


def test_attune_home_names_the_home_where_no_option_does(tmp_path):
    command = [sys.executable, str(CHECKOUT / "launch.py"), "status"]
    done = subprocess.run(
        command, capture_output=True, env={**os.environ, "ATTUNE_HOME": str(tmp_path / "h")}
    )
    assert done.returncode == 0
    assert (tmp_path / "h" / "attune.db").exists()


def test_the_base_model_is_always_there_to_go_back_to(attune):
    assert attune.json("versions")["versions"] == [
        {"version": 0, "status": "base", "parent": None, "created": None, "live": True}
    ]
    assert attune.json("rollback", "--to", "0")["live_version"] == 0
    assert "no version 3" in attune.refuses("rollback", "--to", "3")


def test_a_home_inside_the_checkout_is_refused():
    assert "choose another --home" in Attune(CHECKOUT / "home").refuses("status")
    assert not (CHECKOUT / "home").exists()


def test_an_unknown_user_is_named(attune):
    assert "There is no user 'bob'" in attune.refuses("--user", "bob", "status")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "/no/such/folder"], "There is no model '/no/such/folder'"),
        (["--model", "nobody/never-fetched"], "fetch-model nobody/never-fetched"),
        (["--host", "0.0.0.0"], "users add"),
    ],
)
def test_chat_says_in_one_line_why_it_cannot_start(attune, arguments, says):
    assert says in attune.refuses("--no-browser", "--no-learner", *arguments)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_port_in_use_is_named(attune, taken_port):
    line = attune.refuses("--no-browser", "--port", str(taken_port))
    assert f"Port {taken_port} on 127.0.0.1 is in use" in line and "--port" in line


def test_export_and_import_carry_everything_into_an_empty_home(attune, tmp_path):
    say_something(attune.home)
    file = tmp_path / "me.zip"
    attune.json("export", "--out", str(file))
    assert {"profile.json", "feedback.jsonl", "SHA256SUMS"} <= set(zipfile.ZipFile(file).namelist())
    other = Attune(tmp_path / "other")
    assert "Imported" in other("import", str(file)).stdout
    assert other.json("status")["feedback"]["thumb"] == 1


def test_a_broken_or_missing_export_file_changes_nothing(attune, tmp_path):
    say_something(attune.home)
    file = tmp_path / "me.zip"
    attune.json("export", "--out", str(file))
    content = file.read_bytes()
    other = Attune(tmp_path / "other")
    file.write_bytes(content[: len(content) // 2])
    other.refuses("import", str(file))
    file.write_bytes(b"not a zip at all")
    other.refuses("import", str(file))
    assert "There is no file" in other.refuses("import", str(tmp_path / "absent.zip"))
    assert other.json("status")["feedback"]["thumb"] == 0


def test_an_export_into_a_folder_that_is_not_there_is_refused(attune, tmp_path):
    assert "There is no folder" in attune.refuses("export", "--out", str(tmp_path / "absent" / "me.zip"))
    assert "is a folder" in attune.refuses("export", "--out", str(tmp_path))


def test_rows_for_other_trainers_and_a_backup(attune, tmp_path):
    say_something(attune.home)
    rows = tmp_path / "rows.jsonl"
    arguments = ("export-data", "--format", "unpaired", "--for", "trl", "--out", str(rows))
    assert attune.json(*arguments) == {"out": str(rows), "rows": 1, "left_out": 0}
    assert set(json.loads(rows.read_text())) == {"prompt", "completion", "label"}
    assert attune(*arguments).stdout == f"Wrote {rows}: 1 row.\n"
    nothing = attune.refuses("export-data", "--format", "preference", "--for", "trl", "--out", str(rows))
    assert "--format preference takes edits or comparisons" in nothing

    copy = tmp_path / "copy.db"
    assert attune.json("backup", "--out", str(copy))["bytes"] == copy.stat().st_size > 0
    assert "inside the home folder" in attune.refuses("backup", "--out", str(attune.home / "copy.db"))
    assert "There is no folder" in attune.refuses("backup", "--out", str(tmp_path / "none" / "copy.db"))
    elsewhere = Attune(tmp_path / "elsewhere")
    Home(elsewhere.home).create()
    shutil.copy(copy, Home(elsewhere.home).db_path)
    assert elsewhere.json("status")["feedback"] == attune.json("status")["feedback"]


def test_reset_asks_first_and_can_be_taken_back(attune):
    say_something(attune.home)
    assert "--yes" in attune.refuses("reset", "--what", "feedback")
    assert attune.json("status")["feedback"]["thumb"] == 1
    assert attune("reset", "--what", "feedback", "--yes").returncode == 0
    assert attune.json("status")["feedback"]["thumb"] == 0
    assert attune("undo-reset").returncode == 0
    assert attune.json("status")["feedback"]["thumb"] == 1


def test_a_new_account_takes_over_what_me_had(attune):
    say_something(attune.home)
    added = attune.json("users", "add", "ada", "--take-over", "--password-stdin", typed=SECRET + "\n")
    assert added["took_over_me"] is True
    assert attune.json("--user", "ada", "status")["feedback"]["thumb"] == 1
    assert [user["name"] for user in attune.json("users", "list")["users"]] == ["ada"]
    assert "no user 'me'" in attune.refuses("status")


def test_accounts_refuse_short_passwords_and_taken_names_and_can_be_removed(attune):
    add = ("users", "add", "ada", "--password-stdin")
    assert "at least 8" in attune.refuses(*add, typed="short\n")
    assert attune.json("users", "list")["users"] == []
    attune.json(*add, typed=SECRET + "\n")
    assert "already" in attune.refuses(*add, typed=SECRET + "\n")
    assert "--password-stdin" in attune.refuses("users", "passwd", "ada")
    attune.json("users", "passwd", "ada", "--password-stdin", typed="another long one\n")
    assert "--yes" in attune.refuses("users", "remove", "ada")
    assert "Nothing is kept" in attune.json("users", "remove", "ada", "--yes")["kept"]
    assert attune.json("users", "list")["users"] == []


def test_the_first_account_is_an_admins_and_others_where_it_is_said(attune):
    def add(name: str, *more: str) -> bool:
        return attune.json("users", "add", name, "--password-stdin", *more, typed=SECRET + "\n")["admin"]

    def admins() -> set[str]:
        return {user["name"] for user in attune.json("users", "list")["users"] if user["admin"]}

    assert [add("ada"), add("bob"), add("eve", "--admin")] == [True, False, True]
    attune.json("users", "admin", "bob")
    attune.json("users", "admin", "ada", "--off")
    assert admins() == {"bob", "eve"}
    attune.json("users", "passwd", "ada", "--password-stdin", typed="another long one\n")
    assert admins() == {"bob", "eve"}


def test_nothing_of_a_removed_person_is_left_in_the_home(attune):
    say_something(attune.home)
    store = Store(Home(attune.home))
    store.add_base_replies("base", "prompt", 0, [Reply("Leaves, steeped.")])
    store.close()
    attune.json("users", "remove", "me", "--yes")
    for path in attune.home.rglob("*"):
        if path.is_file():
            raw = path.read_bytes().lower()
            assert b"leaves" not in raw and b"what is tea" not in raw, path


def test_keys_are_shown_once_listed_and_revoked(attune):
    made = attune.json("keys", "add", "laptop")
    listed = attune.json("keys", "list")["keys"]
    assert [key["name"] for key in listed] == ["laptop"]
    assert made["key"] not in json.dumps(listed)
    assert made["key"].encode() not in (attune.home / "attune.db").read_bytes()
    attune.json("keys", "revoke", listed[0]["id"])
    assert attune.json("keys", "list")["keys"] == []
    assert "no such API key" in attune.refuses("keys", "revoke", listed[0]["id"])


def test_a_key_that_is_to_end_says_when_and_a_person_is_signed_out_everywhere(attune):
    assert attune.json("keys", "add", "for good")["expires_at"] is None
    assert "1 to 3650 days" in attune.refuses("keys", "add", "never", "--expires-days", "0")
    ends = datetime.fromisoformat(attune.json("keys", "add", "guest", "--expires-days", "7")["expires_at"])
    assert timedelta(days=6) < ends - datetime.now(UTC) < timedelta(days=8)
    store = Store(Home(attune.home))
    me = store.ensure_user().id
    store.add_sign_in(me, "a hash", "2999-01-01T00:00:00.000Z")
    assert store.sign_in_owner("a hash") is not None
    attune.json("users", "sign-out", "me")
    assert store.sign_in_owner("a hash") is None
    store.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_home_without_permission_is_one_line(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    Attune(tmp_path / "locked" / "home").refuses("status")


def small_disk(folder: Path) -> bool:
    """Mount a file system of one megabyte, where this is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(folder)]
    return shutil.which("mount") is not None and subprocess.run(command, capture_output=True).returncode == 0


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if not small_disk(disk):
        pytest.skip("mounting a small file system needs root")
    try:
        attune = Attune(disk / "home")
        say_something(attune.home)
        with pytest.raises(OSError, match="space"), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        line = attune.refuses("export", "--out", str(disk / "me.zip"))
        assert "full" in line or "space" in line
        assert not (disk / "me.zip").exists()
        (disk / "filler").unlink()
        assert attune.json("status")["feedback"]["thumb"] == 1
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_learning_from_too_little_abstains_and_says_why(home_with_model):
    attune = Attune(home_with_model("home").root)
    say_something(attune.home)
    run = attune.json("learn")
    assert (run["state"], run["version"], run["user"]) == ("abstained", None, "me")
    assert run["reason"]
    found = attune.json("status")
    assert [(run["state"], run["reason"]) for run in found["runs"]] == [("abstained", run["reason"])]
    assert found["live_version"] == 0


def test_learning_is_refused_while_another_learner_has_the_home(attune):
    say_something(attune.home)
    store = Store(Home(attune.home))
    assert store.acquire_lease("another:1", 60)
    line = attune.refuses("learn", "--model", "/not/looked/at")
    assert "another:1" in line
    assert [run["state"] for run in attune.json("status")["runs"]] == []
    store.close()


def test_debug_adds_the_traceback(attune):
    done = attune("--debug", "rollback", "--to", "3")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == attune.refuses("rollback", "--to", "3")


def test_doctor_checks_the_gradients_and_needs_no_model_for_it(attune):
    found = attune.json("doctor")
    checks = {check["name"]: check for check in found["checks"]}
    assert found["ok"] is True
    assert {"Python", "torch", "GPU", "disk", "database", "bitsandbytes", "base model"} <= set(checks)
    assert checks["bitsandbytes"]["state"] == "ok"
    assert checks["base model"]["state"] == "note"  # nothing is fetched by looking
    assert list((attune.home / "models").iterdir()) == []


def test_doctor_fails_on_a_damaged_database(attune):
    say_something(attune.home)
    with (attune.home / "attune.db").open("r+b") as database:
        database.seek(100)
        database.write(b"\xff" * 3000)
    done = attune("doctor")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
