"""The OpenAPI document is true: schemathesis over the real server and model, with accounts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from data.home import CHECKOUT
from learner.modeling.base import BaseModel
from tests.assistant.conftest import add_person, serving

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = "tests.assistant.schemathesis_hooks"
EXAMPLES = 15  # of each operation; ATTUNE_API_EXAMPLES=200 looks for longer


def test_schemathesis_finds_no_violation_and_no_500(base_model: BaseModel, tmp_path: Path) -> None:
    with serving(tmp_path / "home", base_model, requests_per_minute=0) as running:
        key = add_person(running.store, "ann")
        with running.client(key) as client:  # short replies, so that there is time for many
            client.patch("/v1/profile/settings", json={"max_tokens": 2}).raise_for_status()
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG), "run",
                f"{running.address}/v1/openapi.json", "--header", f"Authorization: Bearer {key}",
                "--max-examples", os.environ.get("ATTUNE_API_EXAMPLES", str(EXAMPLES)),
                "--continue-on-failure", "--seed", "1", "--no-color",
                "--request-timeout", "60",
            ],
            env={**os.environ, "SCHEMATHESIS_HOOKS": HOOKS, "PYTHONPATH": str(CHECKOUT)},
            cwd=tmp_path, capture_output=True, text=True, timeout=840,
        )  # fmt: skip
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
