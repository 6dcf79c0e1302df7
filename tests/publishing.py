"""A version as the learner publishes it, without having learnt anything."""

from __future__ import annotations

from typing import Any

import torch

from data.adapter_files import adapter_sha256
from data.home import Home
from data.store import Store
from learner.config import LoraSettings
from learner.modeling import lora
from learner.modeling.base import BaseModel


def publish_an_adapter(
    home: Home, store: Store, user_id: str, base: BaseModel, report: dict[str, Any] | None = None
) -> int:
    """Put the next version live, whose weights change a little what the model says; its number."""
    settings = LoraSettings()
    base.add_adapter("to publish", settings)
    state = base.adapter_state("to publish")
    base.remove_adapter("to publish")
    generator = torch.Generator().manual_seed(0)
    state = {name: torch.randn(value.shape, generator=generator) * 1e-3 for name, value in state.items()}
    number = store.next_version_number(user_id)
    folder = home.adapter_dir(user_id, number)
    lora.save_adapter(folder, state, settings, base.spec.id, base.adapter_targets())
    store.record_version(
        user_id, number, 0, base.spec.id, adapter_sha256(folder), "accepted", report or {}, "promoted"
    )
    return number
