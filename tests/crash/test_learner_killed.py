"""kill -9 of the learner in the middle of training: the chat does not notice, the update starts again."""

from __future__ import annotations

import time

import torch

from data.adapter_files import adapter_sha256
from data.home import Home
from data.store import Store
from data.types import Turn
from learner.config import LoraSettings
from learner.modeling import lora
from tests.launched import assistant_message, wait_for

WORKER = "learner.worker"
TRAINING = ("warm start", "policy optimisation")
SUBJECTS = ("tea", "rain", "bread", "a bicycle", "the moon", "sleep", "salt", "a library", "snow", "honey")
LONG = (
    "There are many things that one could say about {0}. First of all, {0} has a long history, and people "
    "have thought about it for many years. Furthermore, {0} plays a role in many "
    "parts of life. In conclusion, {0} is a very interesting subject, and I hope that this helped you!"
)
SHORT = "In short: {0} is worth knowing."


def feedback_of_somebody_who_likes_it_short(home: Home) -> list[str]:
    """30 edits and thumbs on ten conversations, as the chat would have stored them; their ids."""
    store = Store(home)
    me = store.ensure_user()
    given = []
    for subject in SUBJECTS:
        conversation = store.create_conversation(me.id, subject)
        question, wordy = store.add_turn(
            me.id,
            conversation.id,
            None,
            [Turn("user", f"Tell me about {subject}."), Turn("assistant", LONG.format(subject))],
        )
        (brief,) = store.add_turn(
            me.id, conversation.id, question.id, [Turn("assistant", SHORT.format(subject))]
        )
        for kind, value, message in (
            ("edit", SHORT.format(subject), wordy),
            ("thumb", "down", wordy),
            ("thumb", "up", brief),
        ):
            given.append(store.add_feedback(me.id, kind, value, message_id=message.id).id)
    # Small numbers: this test is about dying, not about learning.
    overrides = {"base_replies": 1, "ppo.response_tokens": 24, "ppo.iterations": 50, "gate.prompts": 8}
    store.set_home_setting("learner", overrides)
    store.update_settings(me.id, {"learning": False})  # nothing is learnt unless it is asked for
    store.close()
    return given


def publish_an_adapter(home: Home, base_model) -> None:
    """A live version 1, whose weights change what the model says a little."""
    settings = LoraSettings()
    base_model.add_adapter("crash", settings)
    state = base_model.adapter_state("crash")
    base_model.remove_adapter("crash")
    generator = torch.Generator().manual_seed(0)
    state = {k: torch.randn(v.shape, generator=generator) * 1e-3 for k, v in state.items()}
    store = Store(home)
    me = store.ensure_user()
    folder = home.adapter_dir(me.id, 1)
    lora.save_adapter(folder, state, settings, base_model.spec.id, base_model.adapter_targets())
    store.record_version(me.id, 1, 0, base_model.spec.id, adapter_sha256(folder), "accepted", {}, "promoted")
    store.close()


def test_a_killed_learner_starts_the_update_again_and_the_chat_goes_on(launched, home_with_model, base_model):
    home = home_with_model("home")
    given = feedback_of_somebody_who_likes_it_short(home)
    publish_an_adapter(home, base_model)
    attune = launched(home=home)
    run = attune.client.post("/v1/learner/run", json={}).json()

    def training_since() -> str | None:
        """When the run that now trains began; None while it does not train."""
        state = attune.client.get(f"/v1/learner/runs/{run['id']}").json()
        assert state["state"] in ("queued", "running"), state
        return state["started"] if state["state"] == "running" and state["phase"] in TRAINING else None

    began_first = wait_for(training_since, 120, "training begins")
    first = attune.child(WORKER)
    attune.kill(WORKER)

    # The chat is another process: it answers at once, with the live version.
    began = time.monotonic()
    reply = assistant_message(attune.client, "Name a colour.")
    assert reply["adapter_version"] == 1
    assert time.monotonic() - began < 30

    # The learner comes back by itself and takes the same run up again.
    wait_for(lambda: attune.child(WORKER), 20, "the learner is started again")
    assert attune.child(WORKER).pid != first.pid
    # (Its lease has to run out first: a learner that only hangs must not be doubled.)
    wait_for(lambda: (training_since() or began_first) > began_first, 180, "training begins again")

    attune.client.post(f"/v1/learner/runs/{run['id']}/cancel", json={})

    def has_ended() -> bool:
        return attune.client.get(f"/v1/learner/runs/{run['id']}").json()["state"] == "cancelled"

    wait_for(has_ended, 60, "the run ends when it is cancelled")
    store = Store(home)
    me = store.ensure_user()
    assert sorted(event.id for event in store.standing_feedback(me.id)) == sorted(given)
    assert store.live_version(me.id) == 1
    assert store.verify() == []
    assert [path.name for path in home.adapters_dir(me.id).iterdir()] == ["1"]  # no half-written version
    store.close()
    assert "The learner ended with signal SIGKILL; starting it again." in attune.log.read_text()
