"""What keeps a website, or somebody with an account, from what Gradio can do beyond the page's own events."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from assistant.page.app import build_page
from assistant.page.component import without_files
from assistant.page.settings import Account
from assistant.services import USER_KEY
from tests.assistant.conftest import Running, sign_in

SHUT = (
    ("GET", "/gradio_api/file=/etc/hostname"),
    ("GET", "/gradio_api/file=http://127.0.0.1:9/pixel.png"),  # the server itself would ask there
    ("GET", "/gradio_api/file/etc/hostname"),
    ("GET", "/gradio_api/proxy=http://127.0.0.1:9/pixel.png"),
    ("POST", "/gradio_api/upload"),
    ("POST", "/gradio_api/run/predict"),
    ("POST", "/gradio_api/call/predict"),
    ("GET", "/gradio_api/openapi.json"),
    ("GET", "/openapi.json"),
    ("GET", "/monitoring/summary"),
)


def as_file(path: str) -> dict[str, Any]:
    """What Gradio takes for a file: it copies the path into a folder that it serves."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


@pytest.mark.parametrize(("method", "path"), SHUT)
def test_doors_that_the_page_does_not_need_are_shut(
    with_page: tuple[Running, str, str], method: str, path: str
) -> None:
    with sign_in(with_page[0], "ann") as ann:
        answer = ann.request(method, path, json={} if method == "POST" else None)
        assert answer.status_code == 404
        assert answer.json()["error"]["message"] == f"There is no {path} here."


def test_no_event_takes_a_file_by_its_path(with_page: tuple[Running, str, str]) -> None:
    """As the page asks: the event that takes a key back, with the database in the place of the page's counter."""
    running, _, _ = with_page
    event = {
        "data": [], "fn_index": 0, "session_hash": "hers", "trigger_id": 1,
        "event_data": {"id": "x", "nonce": as_file(str(running.services.home.db_path))},
    }  # fmt: skip
    plain = json.dumps(event)
    for body in (plain, plain.replace("gradio.FileData", "gradio\\u002eFileData"), plain.encode("utf-16")):
        with sign_in(running, "ann") as ann:
            sent = ann.post("/gradio_api/queue/join", content=body, headers={"Content-Type": "application/json"})
            assert (sent.status_code, sent.json()["error"]["type"]) == (400, "invalid_request_error"), sent.text


def test_no_view_holds_a_file(with_page: tuple[Running, str, str]) -> None:
    """Where one comes in all the same, in an imported report say, Gradio does not see it."""
    file = as_file("/etc/hostname")
    view = {"report": [1, {"with": file}], "say": "path"}
    assert without_files(view) == {"report": [1, {"with": None}], "say": "path"}
    page = build_page(with_page[0].services)
    panels = [block for block in page.blocks.values() if isinstance(block, gr.HTML)]
    assert len(panels) > 4 and all(panel.postprocess is without_files for panel in panels)


@pytest.mark.parametrize("sent", [as_file("/etc/hostname"), "text", None, [1]])
def test_an_event_is_answered_with_the_pages_counter_and_nothing_else_that_was_sent(
    with_page: tuple[Running, str, str], sent: Any
) -> None:
    services = with_page[0].services
    request: Any = SimpleNamespace(scope={USER_KEY: services.store.user_named("ann")})
    for nonce, back in ((7, 7), (sent, None)):
        event = gr.EventData(None, {"id": "x", "nonce": nonce})
        assert Account(services).revoke_key(event, request)["nonce"] == back


def test_a_key_is_for_programs_and_opens_no_page(with_page: tuple[Running, str, str]) -> None:
    """An event of the page makes keys and accounts: with a key that ends soon one could make one that never does."""
    running, ann_key, _ = with_page
    join = {"data": [], "fn_index": 0, "session_hash": "hers", "event_data": {"name": "for ever"}}
    with running.client(ann_key) as program, sign_in(running, "ann") as ann:
        assert program.get("/v1/models").status_code == program.get("/metrics").status_code == 200
        assert program.get("/").status_code == program.post("/gradio_api/queue/join", json=join).status_code == 401
        assert ann.get("/").status_code == 200
