"""Erase, while a reply is being written and an update is at work: afterwards no file of the home has a word of it."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from typing import Any

import httpx

from data.home import CHECKOUT, Home
from data.store import Store
from tests.launched import Launched, assistant_message, wait_for

LAYERS = ("data", "learner", "assistant")  # where the words of runs and reports come from
OWN = ["zvorkel", "plimdash", "quexnar", "brontick", "wulfrey", "glanthop", "snerdle", "kwipsom", "trendolf", "yaxmire"]


def words_in(*texts: str) -> set[str]:
    return {word.lower() for text in texts for word in re.findall(r"[^\W\d_]{5,}", text)}


def everything_in(home: Home) -> dict[Path, bytes]:
    """Every file of the home but the model's."""
    files = [p for p in home.root.rglob("*") if p.is_file() and home.models_dir not in p.parents]
    return {path: path.read_bytes() for path in files}


def left_in(raw: bytes, words: set[str], pieces: set[str]) -> list[str]:
    """Which words are in it in any case, and which pieces as they are (in capitals they are parts of ids)."""
    small = raw.lower()
    return sorted(word for word in words if word.encode() in small) + sorted(p for p in pieces if p.encode() in raw)


def say_everything(attune: Launched) -> set[str]:
    """One of each kind of feedback, a note, a title, a system prompt, a search; every word of it."""
    client, said = attune.client, set(OWN)

    def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = client.post(path, json=body)
        assert response.status_code in (200, 201, 202), response.text
        return dict(response.json())

    conversation = post("/v1/conversations", {"title": "Zvorkel", "system_prompt": "Speak of plimdash."})["id"]
    for i in range(8):
        reply = assistant_message(client, f"What is {OWN[2]} number {i}?", 16, conversation_id=conversation)
        choice = reply["choices"][0]
        said |= words_in(choice["message"]["content"])
        post("/v1/feedback", {"message_id": choice["message_id"], "kind": "stars", "value": 1 + i % 5})
        edited = f"A {OWN[3]}, {i * 7919 % 97}."  # no series: the model would go on with it, and an edit must change
        post("/v1/feedback", {"message_id": choice["message_id"], "kind": "edit", "value": edited})
        post("/v1/feedback", {"message_id": choice["message_id"], "kind": "comment", "value": f"More {OWN[4]}!"})
    question = [{"role": "user", "content": f"Compare {OWN[5]} and {OWN[6]}."}]
    pair = post("/v1/comparisons", {"messages": question, "n": 2, "max_tokens": 16})
    said |= words_in(*(shown["content"] for shown in pair["replies"]))
    order = {"order": [[shown["message_id"]] for shown in pair["replies"]]}
    post("/v1/feedback", {"comparison_id": pair["id"], "kind": "ranking", "value": order})
    noted = client.put("/v1/profile/notes", json={"notes": [{"text": f"Likes {OWN[7]}", "source": "me"}]})
    assert noted.status_code == 200, noted.text
    assert client.get("/v1/search", params={"q": OWN[2]}).json()["data"]
    return said


def test_no_word_stays_when_it_is_erased_in_the_middle_of_everything(launched, home_with_model):
    untouched = home_with_model("untouched")
    launched(home=untouched).stop()
    known = b"\n".join(everything_in(untouched).values())  # what a home holds before anybody said anything

    home = home_with_model("home")
    attune = launched(home=home)
    ours = b"\n".join(path.read_bytes() for layer in LAYERS for path in (CHECKOUT / layer).rglob("*.py"))
    # a reply may hold a word ("nothing") that an update's own reason holds too
    words = {word for word in say_everything(attune) if word.encode() not in (known + ours).lower()}
    # the full-text index holds words in pieces of three letters
    pieces = {word[i : i + 3] for word in OWN for i in range(len(word) - 2)}
    pieces = {piece for piece in pieces if piece.encode() not in known + ours}
    assert set(OWN) - {OWN[8], OWN[9]} <= words
    found = {one for raw in everything_in(home).values() for one in left_in(raw, words, pieces)}
    assert len(found) > 2 * len(OWN)  # they can be found as long as they are there

    run = attune.client.post("/v1/learner/run", json={}).json()

    def at_work() -> bool:
        return attune.client.get(f"/v1/learner/runs/{run['id']}").json()["state"] == "running"

    wait_for(at_work, 60, "the update begins")

    def long_reply() -> None:
        try:
            assistant_message(attune.client, f"Tell me all about {OWN[8]} and {OWN[9]}.", 400)
        except (AssertionError, httpx.HTTPError):
            pass  # its conversation went while it was written

    writing = threading.Thread(target=long_reply)
    writing.start()
    wait_for(lambda: any(OWN[8].encode() in raw for raw in everything_in(home).values()), 30, "the question is stored")
    answer = attune.client.post("/v1/profile/reset", json={"what": "all", "erase_now": True})
    assert answer.status_code == 200 and "traces" not in answer.json()["kept"], answer.text
    writing.join()
    state = f"/v1/learner/runs/{run['id']}"
    wait_for(lambda: attune.client.get(state).json()["state"] not in ("queued", "running"), 120, "the update stops")

    for when in ("while Attune runs", "after it was stopped"):
        for path, raw in everything_in(home).items():
            left = left_in(raw, words, pieces)
            assert not left, f"{when}, {path.relative_to(home.root)} has {left[:10]}"
        attune.stop()
    store = Store(home)
    assert store.verify() == [] and store.list_conversations(store.ensure_user().id) == []
    store.close()
