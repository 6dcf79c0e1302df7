"""The policy that every algorithm's tests train."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from learner.config import LoraSettings
from learner.modeling.base import BaseModel


@pytest.fixture
def policy(tiny_base: BaseModel) -> Iterator[BaseModel]:
    """A tiny base with a new adapter "policy"."""
    tiny_base.add_adapter("policy", LoraSettings(rank=4))
    yield tiny_base
    tiny_base.remove_adapter("policy")
