"""Which replies are compared where the assistant itself asks: those whose comparison says most."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from assistant.page.offers import Offers, compared
from assistant.rewards import live_reward_model
from data.types import Message, Observation, Reply, Turn
from learner.modeling.base import BaseModel
from learner.reward.design import build_design
from learner.reward.features import uncentred
from learner.reward.model import RewardModel, fit
from tests.assistant.conftest import Running
from tests.publishing import publish_an_adapter

QUESTION = "How do I boil an egg?"
PLAIN = "Ten minutes in boiling water."
SHOUTED = PLAIN.replace(".", "!!")
TEXTS = (PLAIN, PLAIN + " 🎉", SHOUTED)


def sure_about_emoji() -> RewardModel:
    """Of somebody who has said thirty times that they want none, and nothing about exclamation marks."""
    said = [
        Observation(f"f{i}", "edit", (Turn("user", f"Question {i}?"),), (Reply(PLAIN), Reply(PLAIN + " 🎉")), None, 1.0,
                    False, "2026-11-22T00:00:00.000Z", root_id=f"c{i}")
        for i in range(30)
    ]  # fmt: skip
    return fit(build_design(said, {}))


def answered(server: Running, texts: tuple[str, ...]) -> tuple[str, list[Message]]:
    """The person, and stored replies to one question."""
    store, me = server.store, server.store.ensure_user().id
    talk = store.create_conversation(me, "Eggs").id
    asked = store.add_message(me, talk, None, "user", QUESTION)
    said = [store.add_message(me, talk, asked.id, "assistant", text, adapter_version=0) for text in texts]
    return me, said


def test_the_pair_is_the_one_whose_difference_is_least_known(server: Running) -> None:
    me, said = answered(server, TEXTS)
    model = sure_about_emoji()
    phi = uncentred([(Turn("user", QUESTION),)] * 3, [Reply(text) for text in TEXTS])
    spread = {
        frozenset({said[i].id, said[j].id}): float((phi[i] - phi[j]) @ model.w_covariance @ (phi[i] - phi[j]))
        for i, j in ((0, 1), (0, 2), (1, 2))
    }
    best = max(spread, key=lambda pair: spread[pair])
    assert spread[best] > 1.05 * sorted(spread.values())[1], "two pairs are as informative: a poor test"
    # One in ten is drawn by lot (from the last id), so most of many and not every one.
    drawn = []
    for _ in range(40):
        me, said_again = answered(server, TEXTS)
        pair = compared(server.store, me, model, [m.id for m in said_again])
        drawn.append(frozenset(said_again.index(m) for m in said_again if m.id in pair))
    wanted = frozenset(i for i, m in enumerate(said) if m.id in best)
    assert drawn.count(wanted) >= 32


def test_what_has_no_text_is_not_compared(server: Running) -> None:
    me, said = answered(server, (PLAIN, " ", SHOUTED))
    pair = compared(server.store, me, sure_about_emoji(), [m.id for m in said])
    assert set(pair) == {said[0].id, said[2].id}
    me, said = answered(server, (PLAIN, ""))
    assert compared(server.store, me, sure_about_emoji(), [m.id for m in said]) == []


def test_with_nothing_learnt_nothing_is_chosen(server: Running) -> None:
    me, said = answered(server, TEXTS)
    assert live_reward_model(server.services, me) is None
    assert Offers(server.services).chooser(me, said[0].id) is None


def test_a_comparison_that_was_offered_may_hold_the_reply_that_it_was_offered_below(
    server: Running, base_model: BaseModel
) -> None:
    me, said = answered(server, (PLAIN,))
    number = publish_an_adapter(server.services.home, server.store, me, base_model)
    folder: Path = server.services.home.reward_dir(me, number)
    folder.mkdir(parents=True)
    sure_about_emoji().save(folder)
    try:
        offers = Offers(server.services)
        assert offers.chooser(me, said[0].id) is None  # a new version is compared with the one before it
        server.store.publish(me, number, "rollback")  # chosen by hand: no longer watched
        choose = offers.chooser(me, said[0].id)
        assert choose is not None
        seen: list[str] = []
        made = server.services.chat.compare(
            me, None, parent_id=said[0].id, choose=lambda new: seen.extend(new) or choose(new)
        )
        for stream in made.streams:
            for _ in stream:
                pass
        server.services.chat.wait_until_stored()
        assert len(seen) == 2 and made.comparison is not None
        assert made.comparison.prompt_message_id == said[0].parent_id
        assert len(made.comparison.reply_ids) == 2 and set(made.comparison.reply_ids) <= {said[0].id, *seen}
        # of the newest six replies the sd is read, newest first
        newest = server.store.newest_replies(me, seen[1], 6)
        assert newest[0].id == seen[1] and [m.id for m in newest] == sorted((m.id for m in newest), reverse=True)
        model = live_reward_model(server.services, me)
        assert model is not None and np.all(model.mean_and_sd(uncentred([()], [Reply(PLAIN)]))[1] > 0)
    finally:
        server.store.publish(me, 0, "rollback")
