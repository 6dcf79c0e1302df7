"""What tests of several parts share: the real embedded model, fetched and converted once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from data.home import CHECKOUT, Home
from learner.modeling.base import BaseModel, load_base
from learner.modeling.embedded import EMBEDDED, prepare_embedded


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """A folder with the embedded model in it, kept from one run to the next.

    In the home ATTUNE_TEST_HOME where that is set, else in build/ (ignored by git).
    """
    home = os.environ.get("ATTUNE_TEST_HOME")
    folder = Home(Path(home)).models_dir if home else CHECKOUT / "build" / "models"
    prepare_embedded(folder)
    return folder


@pytest.fixture(scope="session")
def base_model(models_dir: Path) -> BaseModel:
    """The embedded model, loaded once on the CPU. Not for two threads at once: one test at a time uses it."""
    return load_base(EMBEDDED, models_dir, device="cpu")


@pytest.fixture
def home_with_model(tmp_path: Path, models_dir: Path) -> Callable[[str], Home]:
    """Makes homes that share the embedded model, so that none has to fetch and convert it again."""

    def make(name: str = "home") -> Home:
        home = Home(tmp_path / name)
        home.root.mkdir(mode=0o700)
        home.models_dir.symlink_to(models_dir, target_is_directory=True)
        return home.create()

    return make
