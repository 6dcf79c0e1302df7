"""The lists that the page shows: how long they are, and how one reaches what is older."""

from __future__ import annotations

from pathlib import Path

from assistant.page.profile import RATINGS_SHOWN, profile_view
from assistant.page.view import LIST_LENGTH, MOST_LISTED, list_view, wanted_length
from data.home import Home
from data.store import Store


def test_a_conversation_that_is_older_than_the_list_is_found_and_reached(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home").create())
    user = store.ensure_user().id
    oldest = store.create_conversation(user, "Names of whales").id
    store.add_message(user, oldest, None, "user", "Which whale sings?")
    for i in range(LIST_LENGTH):
        store.create_conversation(user, f"No. {i}")
    newest = list_view(store, user)
    assert len(newest["conversations"]) == LIST_LENGTH and newest["more"]
    for query in ("whales", "names OF", "sings"):
        found = list_view(store, user, query)
        assert [one["id"] for one in found["conversations"]] == [oldest]
        assert not found["more"]
    every = list_view(store, user, length=LIST_LENGTH + 1)
    assert every["conversations"][-1]["id"] == oldest and not every["more"]
    assert list_view(store, user, "no.", length=5)["more"]
    store.close()


def test_older_ratings_are_shown_when_they_are_asked_for(tmp_path: Path) -> None:
    store = Store(Home(tmp_path / "home").create())
    user = store.ensure_user().id
    conversation = store.create_conversation(user, "Rated").id
    rated = []
    for i in range(RATINGS_SHOWN + 1):
        reply = store.add_message(user, conversation, None, "assistant", f"Reply {i}.")
        rated.append(store.add_feedback(user, "thumb", "up", message_id=reply.id).id)
    view = profile_view(store, user)
    assert [one["id"] for one in view["ratings"]] == rated[:0:-1] and view["more_ratings"]
    view = profile_view(store, user, RATINGS_SHOWN + 1)
    assert [one["id"] for one in view["ratings"]] == rated[::-1] and not view["more_ratings"]
    store.close()


def test_a_length_from_the_browser_is_a_number_within_bounds() -> None:
    asked = [None, "9", 9.5, -1, 10, 250, 10**30]
    assert [wanted_length(one, 200) for one in asked] == [200, 200, 200, 200, 200, 250, MOST_LISTED]
