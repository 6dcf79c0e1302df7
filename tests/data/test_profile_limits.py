"""A small file cannot claim much memory, and what an export writes is always within what an import takes."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile

import pytest

from data.errors import AttuneError
from data.home import Home
from data.profile import export_profile, import_profile
from data.store import Store
from tests.data.profile_files import refused, write


@pytest.mark.parametrize("megabytes", [12, 200])
@pytest.mark.parametrize("member", ["conversations.jsonl", "feedback.jsonl", "runs.jsonl"])
def test_nothing_but_line_ends_costs_no_memory(store, home, tmp_path, members, member, megabytes):
    path = write(tmp_path / "ends.zip", {**members, member: b"\n" * (megabytes * 2**20)})
    assert path.stat().st_size < 2**18
    tracemalloc.start()
    try:
        line = refused(store, home, path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert f"line 1 of {member}" in line if megabytes == 12 else f"{member} grows from" in line
    assert peak < 16 * 2**20


def test_a_bad_row_is_refused_before_the_next_is_read(store, home, tmp_path, members):
    path = write(tmp_path / "rows.zip", {**members, "runs.jsonl": b'{"x": [[[]]]}\n' * 500_000})
    tracemalloc.start()
    try:
        assert "runs.jsonl has not the fields" in refused(store, home, path)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_members_that_overlap_are_refused(store, home, tmp_path, members):
    """A directory that says of a member that it lies in the others too would pass for one that is hardly deflated."""
    path = write(tmp_path / "x.zip", members)
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("feedback.jsonl")
    raw, sizes = path.read_bytes(), struct.pack("<LL", info.compress_size, info.file_size)
    assert raw.count(sizes) == 2
    path.write_bytes(raw.replace(sizes, struct.pack("<LL", len(raw), info.file_size)))
    assert "more bytes than the file" in refused(store, home, path)


def test_whoever_says_one_thing_over_and_over_can_take_it_along(store, home, chatted, tmp_path, monkeypatch):
    monkeypatch.setattr("data.profile.format.ANY_RATIO_BYTES", 2**16)
    user = chatted.user.id
    store.add_message(user, chatted.conversation.id, None, "user", "la " * 60_000)
    out = tmp_path / "la.zip"
    export_profile(store, home, user, out)
    with zipfile.ZipFile(out) as archive:
        assert archive.getinfo("conversations.jsonl").compress_type == zipfile.ZIP_STORED
        assert archive.getinfo("feedback.jsonl").compress_type == zipfile.ZIP_DEFLATED
    new = Store(Home(tmp_path / "there"))
    me = new.ensure_user().id
    import_profile(new, new.home, me, out)
    assert new.profile_content(me) == store.profile_content(user)
    new.close()


@pytest.mark.parametrize(("limit", "most"), [("MAX_LINE_BYTES", 500), ("MAX_ROWS", 2), ("MAX_MEASURES", 1)])
def test_what_could_not_be_read_again_is_not_exported_and_not_imported(
    store, home, chatted, tmp_path, monkeypatch, limit, most
):
    user = chatted.user.id
    run = store.queue_run(user, "manual")
    store.add_metrics(run.id, 1, {"objective/kl": 1.0, "val/loss": 2.0})
    store.finish_run(run.id, "rejected")
    out = tmp_path / "out.zip"
    export_profile(store, home, user, out)
    for module in ("exporting", "reading", "checks"):
        monkeypatch.setattr(f"data.profile.{module}.{limit}", most, raising=False)
    assert "has more than" in refused(store, home, out)
    with pytest.raises(AttuneError, match="too large for a profile file"):
        export_profile(store, home, user, tmp_path / "again.zip")
    assert not (tmp_path / "again.zip").exists()
