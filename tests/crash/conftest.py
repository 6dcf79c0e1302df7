"""A running Attune for the crash tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from data.home import Home
from tests.launched import Launched


@pytest.fixture
def launched(home_with_model: Callable[[str], Home]) -> Iterator[Callable[..., Launched]]:
    """Starts Attune on a given or a fresh home; everything it started is ended after the test."""
    running: list[Launched] = []

    def start(*arguments: str, home: Home | None = None) -> Launched:
        running.append(Launched(home or home_with_model("home"), *arguments))
        running[-1].wait_until_healthy()
        return running[-1]

    yield start
    for attune in running:
        attune.stop()
