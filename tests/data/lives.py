"""A person with everything that a profile holds, an adapter as the learner writes it included."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data.adapter_files import adapter_sha256
from data.home import Home
from data.types import BaseSpec, FeedbackUse

LAYER = "model.layers.0.self_attn.q_proj"
BASE = BaseSpec("embedded", "r1", "w" * 64, "t" * 64, {LAYER: (6, 4)})
OTHER_BASE = replace(BASE, id="other", weights_sha256="x" * 64, linear_shapes={"model.q": (3, 3)})


# As the learner writes them (docs/benchmarks holds some from real updates, which tests/data/test_reports.py looks at).
REPORT = {
    "feedback": {"train": 3, "held_out": 0, "left_out": 1},
    "evidence": {"learnable": True, "observations": 3, "exchanges": 99, "p_value": 0.01, "gain": None},
    "policy": {"win_rate": 0.6, "win_rate_lower": 0.55},
    "seconds": 12.5,
}


def write_adapter(home: Home, user: str, number: int, seed: int = 0) -> Path:
    """A small but real PEFT folder, and a reward model beside it."""
    folder = home.adapter_dir(user, number)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    key = f"base_model.model.{LAYER}.lora_"
    weights = {
        f"{key}A.weight": rng.normal(size=(2, 4)).astype(np.float32),
        f"{key}B.weight": rng.normal(size=(6, 2)).astype(np.float32),
    }
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "embedded", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj"], "bias": "none",
        "use_rslora": False, "inference_mode": True,
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "card.json").write_text(json.dumps({"kl": 1.5}, indent=2) + "\n")
    reward = home.reward_dir(user, number)
    reward.mkdir(parents=True)
    save_file({"w": rng.normal(size=3)}, reward / "reward.safetensors")
    (reward / "reward.json").write_text('{\n  "features": 3\n}\n')
    return folder


@pytest.fixture
def lived(store, home, chatted):
    """A person with everything: feedback of each kind, runs, notes, settings, a live and a rejected version."""
    user, reply = chatted.user.id, chatted.reply.id
    store.record_base(BASE)
    stars = store.add_feedback(user, "stars", 2, message_id=reply)
    store.add_feedback(user, "stars", 5, message_id=reply)
    store.add_feedback(user, "edit", "雨是水。Rain is water.", message_id=reply)
    thumb = store.add_feedback(user, "thumb", "up", message_id=chatted.sibling.id)
    store.retract_feedback(user, thumb.id)
    replies = [reply, chatted.sibling.id]
    comparison = store.create_comparison(user, chatted.conversation.id, chatted.question.id, replies)
    store.add_feedback(user, "ranking", {"order": [[replies[1]], [replies[0]]]}, comparison_id=comparison.id)
    run = store.queue_run(user, "manual")
    store.start_run(run.id, store.newest_feedback_id(user))
    store.record_feedback_use(run.id, [FeedbackUse(stars.id, "train", "seen")])
    store.add_metrics(run.id, 1, {"objective/kl": 1.25})
    folder = write_adapter(home, user, 1)
    store.record_version(user, 1, 0, "embedded", adapter_sha256(folder), "accepted", REPORT, "promoted")
    store.finish_run(run.id, "promoted", 1, "better", REPORT)
    store.record_version(user, 2, 1, "embedded", "", "rejected", {"seconds": 60.5}, None)
    store.put_notes(user, [{"text": "No lists", "source": "comment"}, {"text": "短", "enabled": False}])
    store.update_settings(user, {"theme": "dark", "temperature": 0.5, "muted": ["log_length"]})
    written = store.begin_reply(user, chatted.conversation.id, chatted.question.id, 1, {"seed": 3})
    store.finish_reply(written.id, "By version 1.", "length", 1, 2)
    assert store.verify() == []
    return chatted


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
