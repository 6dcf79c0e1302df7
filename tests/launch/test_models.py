"""`fetch-model` without the hub: what it says about what came."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from assistant.commands.models import fetch_from_hub
from data.errors import AttuneError, Invalid


def test_a_model_without_weights_that_can_be_loaded_is_refused_in_one_line(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *given, **more: str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AttuneError, match="'owner/name' has no weights as safetensors") as refusal:
        fetch_from_hub("owner/name")
    assert "\n" not in str(refusal.value)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert fetch_from_hub("owner/name") == str(tmp_path)


@pytest.mark.parametrize("model_id", ["name", "./a/b", "/a/b", "a/b/c"])
def test_what_is_no_hub_id_is_not_asked_for(model_id: str):
    with pytest.raises(Invalid, match="not a hub id"):
        fetch_from_hub(model_id)
