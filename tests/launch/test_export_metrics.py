"""What TensorBoard would read: the events of a run, taken from the written file."""

from __future__ import annotations

import struct
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event

from assistant.commands.metrics import write_events
from data.home import Home
from data.schema import migrate
from data.store import Store


def events(folder: Path) -> list[Event]:
    """Records of a TFRecord file: length (8 bytes), its checksum (4), the event, its checksum (4)."""
    [file] = folder.glob("events.out.*")
    data, found = file.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def test_every_value_of_a_run_is_an_event(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    run = store.start_run(store.queue_run(user, "manual").id, None)
    store.add_metrics(run.id, 1, {"objective/kl": 0.5, "objective/scores": -0.25})
    store.add_metrics(run.id, 2, {"objective/kl": 1.5})
    store.finish_run(run.id, "failed", reason="for this test")
    silent = store.queue_run(user, "manual")
    assert write_events(store, store.list_runs(user), tmp_path / "out") == [run.id]
    read = [(e.step, v.tag, v.simple_value) for e in events(tmp_path / "out" / run.id) for v in e.summary.value]
    assert read == [(1, "objective/kl", 0.5), (1, "objective/scores", -0.25), (2, "objective/kl", 1.5)]
    assert not (tmp_path / "out" / silent.id).exists()
    store.close()
