"""kill -9 of the learner in the middle of training: the chat does not notice, the update starts again."""

from __future__ import annotations

import json
import time

from data.home import Home
from data.store import Store
from data.types import Turn
from tests.launched import assistant_message, wait_for
from tests.publishing import publish_an_adapter

WORKER = "learner.worker"
TRAINING = ("warm start", "practice", "policy optimisation")
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
    overrides = {
        "base_replies": 1, "practice.prompts": 4, "practice.replies": 2, "ppo.response_tokens": 24,
        "ppo.iterations": 50, "gate.prompts": 8, "gate.replies": 1,
    }  # fmt: skip
    store.set_home_setting("learner", overrides)
    store.update_settings(me.id, {"learning": False})  # nothing is learnt unless it is asked for
    store.close()
    return given


def test_a_killed_learner_starts_the_update_again_and_the_chat_goes_on(launched, home_with_model, base_model):
    home = home_with_model("home")
    given = feedback_of_somebody_who_likes_it_short(home)
    store = Store(home)
    publish_an_adapter(home, store, store.ensure_user().id, base_model)
    store.close()
    attune = launched("--log-json", home=home)
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

    def is_in(state: str) -> bool:
        return attune.client.get(f"/v1/learner/runs/{run['id']}").json()["state"] == state

    # A pause leaves it and starts nothing; a cancellation ends it.
    attune.client.post("/v1/learner/pause").raise_for_status()
    wait_for(lambda: is_in("queued"), 60, "the run is left when it is paused")
    time.sleep(3)
    assert is_in("queued") and attune.client.get("/v1/learner").json()["state"] == "paused"
    attune.client.post("/v1/learner/resume").raise_for_status()
    wait_for(lambda: is_in("running"), 20, "the run begins again when it is resumed")
    attune.client.post(f"/v1/learner/runs/{run['id']}/cancel", json={})
    wait_for(lambda: is_in("cancelled"), 60, "the run ends when it is cancelled")
    store = Store(home)
    me = store.ensure_user()
    assert sorted(event.id for event in store.standing_feedback(me.id)) == sorted(given)
    assert store.live_version(me.id) == 1
    assert store.verify() == []
    assert [path.name for path in home.adapters_dir(me.id).iterdir()] == ["1"]  # no half-written version
    store.close()
    lines = [line for line in (home.logs_dir / "learner.log").read_text().splitlines() if line.startswith("{")]
    assert any(json.loads(line)["message"].startswith(f"run {run['id']} begins") for line in lines)
    assert "The learner ended with signal SIGKILL; starting it again." in attune.log.read_text()
