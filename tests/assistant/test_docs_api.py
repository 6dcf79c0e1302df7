"""The examples of docs/api.md run as they stand, against the real server with an account."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from data.home import CHECKOUT
from tests.assistant.conftest import Running

EXAMPLES = re.findall(r"^```(sh|python)\n(.*?)^```$", (CHECKOUT / "docs/api.md").read_text("utf-8"), re.M | re.S)
SAYS = ["What is tea?|chatcmpl", "Paris", "The update: queued"]  # no learner runs here; tests/loop has one


@pytest.mark.parametrize(("example", "says"), zip(EXAMPLES, SAYS, strict=True), ids=["curl", "openai", "script"])
def test_an_example_runs_as_it_stands(
    accounts: tuple[Running, str, str], tmp_path: Path, example: tuple[str, str], says: str
) -> None:
    running, key, _ = accounts
    language, code = example
    command = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
    settings = {"ATTUNE_URL": running.address, "ATTUNE_KEY": key, "ATTUNE_RATED": "2", "ATTUNE_WAIT_S": "1"}
    run = subprocess.run(
        [*command, code], cwd=tmp_path, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(says, run.stdout), run.stdout
