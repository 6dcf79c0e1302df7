"""What tests of several parts share: the real embedded model, fetched and converted once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data.home import CHECKOUT, Home
from learner.modeling.base import BaseModel
from learner.modeling.embedded import EMBEDDED, EMBEDDED_FOLDER, prepare_embedded
from learner.modeling.loading import load_base
from tests.tiny_models import save_tiny_model


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


@pytest.fixture(scope="session", params=["llama", "qwen"])
def tiny_base(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> BaseModel:
    """A tiny random model in float32, so that only what is wrong differs; every test runs on both architectures."""
    folder = tmp_path_factory.mktemp("tiny") / request.param
    save_tiny_model(request.param, folder, models_dir / EMBEDDED_FOLDER)
    return load_base(
        str(folder), folder.parent / "models", device="cpu", weights="dequantised", dtype=torch.float32
    )
