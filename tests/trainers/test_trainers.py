"""Exported rows in the real TRL and the real LLaMA-Factory: `python launch.py test -m trainers`.

Both are installed in environments of their own, for they need other versions of half a dozen packages than Attune.
"""

from __future__ import annotations

import json
import os
import subprocess
import venv
from pathlib import Path
from typing import Any

import pytest

from data.datasets import export_data
from data.home import CHECKOUT, Home
from data.schema import migrate
from data.store import Store
from learner.modeling.embedded import EMBEDDED_FOLDER
from tests.tiny_models import save_tiny_model

pytestmark = [pytest.mark.trainers, pytest.mark.timeout(3600)]
FORMATS = ("preference", "unpaired", "demonstrations")


def environment(name: str, *requirements: str) -> Path:
    """The Python of an environment with `requirements`, made once under build/."""
    python = CHECKOUT / "build" / name / "bin" / "python"
    if not python.exists():
        venv.create(python.parents[1], with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
    subprocess.run(install, check=True)
    return python


def run(python: Path, script: str, *arguments: str) -> Any:
    """The JSON that a script beside this file prints last, without a network."""
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"HF_HUB_OFFLINE": "1"}
    line = [str(python), str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(line, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


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


def test_trl_trains_a_step_on_every_format(rated: tuple[Store, str], tmp_path: Path, models_dir: Path) -> None:
    model = save_tiny_model("llama", tmp_path / "tiny", models_dir / EMBEDDED_FOLDER)
    for format in FORMATS:
        export_data(*rated, format, "trl", tmp_path / f"{format}.jsonl")
    # with the versions of the lock for what both need
    trl = environment("trl", "trl==1.16.0", "-c", str(CHECKOUT / "requirements.lock"))
    changed = run(trl, "one_step.py", str(model), str(tmp_path), str(tmp_path / "out"))
    assert changed == {"DPOTrainer": True, "RewardTrainer": True, "KTOTrainer": True, "SFTTrainer": True}


def test_llama_factory_reads_every_format(rated: tuple[Store, str], tmp_path: Path) -> None:
    folder = tmp_path / "rows"
    counts = {format: export_data(*rated, format, "llama-factory", folder)["rows"] for format in FORMATS}
    names = [f"attune_{format}" for format in FORMATS]
    # the newest torchaudio, and the torch that it was built for
    factory = environment("llama-factory", "llamafactory==0.9.5", "torch==2.11.0", "torchaudio==2.11.0")
    found = run(factory, "load_rows.py", str(folder), *names)
    assert {name.removeprefix("attune_"): entry["rows"] for name, entry in found.items()} == counts
    asked = [{"role": "user", "content": "What is 0 and why?"}]
    edited, original = "0 is a number.", "0 is a number, and a very interesting one at that."
    for name, answers in zip(names, ([edited, original], [edited, ""], [edited]), strict=True):
        first = found[name]["first"]
        assert (first["_system"], first["_prompt"]) == ("Be kind.", asked), name
        assert [answer["content"] for answer in first["_response"]] == answers, name
