"""Exported rows in the real TRL: `python launch.py test -m trainers`. It installs TRL in an environment of its own.

LLaMA-Factory is asked through its own converter, for its loader needs versions of its own of half a dozen packages.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path

import pytest

from data.datasets import export_data
from data.home import CHECKOUT, Home
from data.schema import migrate
from data.store import Store
from learner.modeling.embedded import EMBEDDED_FOLDER
from tests.tiny_models import save_tiny_model

pytestmark = [pytest.mark.trainers, pytest.mark.timeout(3600)]
ENVIRONMENT = CHECKOUT / "build" / "trl"
INSTALLED = ["trl==1.16.0", "llamafactory==0.9.5"]


@pytest.fixture(scope="module")
def trl_python() -> Path:
    """Python of an environment with TRL, with the versions of requirements.lock for what both need."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "-c", str(CHECKOUT / "requirements.lock"), INSTALLED[0]], check=True)
    subprocess.run([*pip, "--no-deps", INSTALLED[1]], check=True)
    return python


@pytest.fixture
def rated(tmp_path: Path) -> tuple[Store, str]:
    """Somebody who gave six edits, thumbs, stars and a comparison."""
    home = Home(tmp_path / "home").create()
    migrate(home)
    store = Store(home)
    user = store.ensure_user().id
    for i in range(6):
        conversation = store.create_conversation(user, f"Talk {i}", "Be kind.")
        asked = store.add_message(user, conversation.id, None, "user", f"What is {i} and why?")
        replies = [
            store.add_message(user, conversation.id, asked.id, "assistant", text.format(i)).id
            for text in ("{0} is a number, and a very interesting one at that.", "A number: {0}. 数字。")
        ]
        store.add_feedback(user, "edit", f"{i} is a number.", message_id=replies[0])
        store.add_feedback(user, "thumb", "up" if i % 2 else "down", message_id=replies[1])
        store.add_feedback(user, "stars", 5 if i % 2 else 1, message_id=replies[1])
        comparison = store.create_comparison(user, conversation.id, asked.id, replies)
        store.add_feedback(user, "ranking", {"order": [[replies[1]], [replies[0]]]}, comparison_id=comparison.id)
    return store, user


def test_trl_trains_a_step_on_every_format(
    trl_python: Path, rated: tuple[Store, str], tmp_path: Path, models_dir: Path
) -> None:
    model = save_tiny_model("llama", tmp_path / "tiny", models_dir / EMBEDDED_FOLDER)
    for format in ("preference", "unpaired", "demonstrations"):
        export_data(*rated, format, "trl", tmp_path / f"{format}.jsonl")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    script = Path(__file__).with_name("one_step.py")
    arguments = [str(trl_python), str(script), str(model), str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    changed = json.loads(done.stdout.splitlines()[-1])
    assert changed == {"DPOTrainer": True, "RewardTrainer": True, "KTOTrainer": True, "SFTTrainer": True}
