"""Sign-ins and keys that end, how often one may ask, and what the log does not say. On the real server."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assistant.auth import ATTEMPTS, hash_password, new_api_key
from data.home import CHECKOUT
from data.ids import as_text
from learner.modeling.base import BaseModel
from tests.assistant.conftest import Running, add_person, serving, sign_in


def test_signing_out_everywhere_ends_every_sign_in_of_that_person_alone(
    accounts: tuple[Running, str, str],
) -> None:
    running, ann_key, _ = accounts
    with sign_in(running, "ann") as desk, sign_in(running, "ann") as phone, sign_in(running, "bob") as bob:
        assert desk.post("/logout", data={"everywhere": "1"}).status_code == 303
        assert [c.get("/v1/profile").status_code for c in (desk, phone, bob)] == [401, 401, 200]
    with sign_in(running, "ann") as desk, sign_in(running, "ann") as phone:
        assert desk.post("/logout").status_code == 303
        assert [c.get("/v1/profile").status_code for c in (desk, phone)] == [401, 200]
    with running.client(ann_key) as program:
        assert program.get("/v1/profile").status_code == 200


def test_a_key_and_a_sign_in_end_when_they_are_to(accounts: tuple[Running, str, str]) -> None:
    running, _, _ = accounts
    user = running.store.user_named("ann")
    assert user is not None
    for lasts_s, status in ((60, 200), (-1, 401)):
        ends = as_text(datetime.now(UTC) + timedelta(seconds=lasts_s))
        key, key_hash = new_api_key()
        running.store.add_api_key(user.id, "short", key_hash, ends)
        with running.client(key) as client:
            assert client.get("/v1/profile").status_code == status
        token, token_hash = new_api_key()
        running.store.add_sign_in(user.id, token_hash, ends)
        with running.client() as client:
            client.cookies.set("attune_session", token)
            assert client.get("/v1/profile").status_code == status


def test_of_many_passwords_tried_at_once_only_so_many_are_looked_at(
    base_model: BaseModel, tmp_path: Path
) -> None:
    with serving(tmp_path / "tried", base_model) as running, running.client() as client:
        add_person(running.store, "ann")
        seen: list[int] = []

        def guess(i: int) -> None:
            seen.append(client.post("/login", data={"name": "ann", "password": f"guess {i}"}).status_code)

        threads = [threading.Thread(target=guess, args=(i,)) for i in range(3 * ATTEMPTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(seen) == [401] * ATTEMPTS + [429] * 2 * ATTEMPTS
        late = client.post("/login", data={"name": "ann", "password": "ann's password"})
        assert late.status_code == 429
        assert 0 < int(late.headers["retry-after"]) <= 300


def test_one_person_asks_so_often_in_a_minute_and_nobody_else_pays_for_it(
    base_model: BaseModel, tmp_path: Path
) -> None:
    with serving(tmp_path / "busy", base_model, requests_per_minute=5) as running:
        ann, bob = add_person(running.store, "ann"), add_person(running.store, "bob")
        with running.client(ann) as client:
            answers = [client.get("/v1/learner") for _ in range(7)]
            assert [a.status_code for a in answers] == [200] * 5 + [429] * 2
            error = answers[-1].json()["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
            assert 0 < int(answers[-1].headers["retry-after"]) <= 60
            assert client.get("/healthz").status_code == 200  # the API is limited, not the health check
        with running.client(bob) as client:
            assert client.get("/v1/learner").status_code == 200
        with running.client("attune_guessed") as client:
            assert [client.get("/v1/learner").status_code for _ in range(6)] == [401] * 5 + [429]


def test_no_secret_and_no_text_reaches_the_log(
    base_model: BaseModel, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(tmp_path / "logged", base_model) as running:
        key = add_person(running.store, "ann")
        with sign_in(running, "ann") as page, running.client(key) as program:
            token = page.cookies["attune_session"]
            page.post("/login", data={"name": "ann", "password": "a mistyped password"})
            program.get("/v1/models", headers={"Authorization": "Bearer attune_almostright"})
            said = {"model": "attune", "messages": [{"role": "user", "content": "My secret is a pangolin."}]}
            program.post("/v1/chat/completions", json={**said, "max_tokens": 2})
            # What is logged with a traceback is what went wrong, not what was sent.
            monkeypatch.setattr(running.services.engine, "generate_many", None)
            failed = program.post("/v1/chat/completions", json=said)
            assert failed.status_code == 500
    ours = [r for r in caplog.records if r.name.split(".")[0] in ("assistant", "data", "learner", "uvicorn")]
    text = "\n".join(logging.Formatter().format(record) for record in ours)
    assert "/v1/chat/completions failed" in text  # something was logged at all
    secrets = (key, token, "ann's password", "a mistyped password", "attune_almostright", "pangolin")
    assert [secret for secret in secrets if secret in text] == []
    assert hash_password("x")[:9] not in text  # nor a hash


LOGGING = """
import logging, sys
from data.logs import set_up_logging
set_up_logging(sys.argv[1], as_json=sys.argv[2] == "json")
logging.getLogger("assistant.x").info("went %s", "well")
logging.getLogger("httpx").info("headers")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("learner.y").exception("failed")
"""


def test_the_log_is_lines_or_json_from_a_level_on() -> None:
    def logged(level: str, shape: str) -> list[str]:
        run = subprocess.run(
            [sys.executable, "-c", LOGGING, level, shape], cwd=CHECKOUT, capture_output=True, text=True
        )
        assert run.returncode == 0, run.stderr
        return run.stderr.splitlines()

    info, failed = (json.loads(line) for line in logged("info", "json"))
    assert (info["level"], info["logger"], info["message"]) == ("INFO", "assistant.x", "went well")
    assert failed["traceback"].endswith("ZeroDivisionError: division by zero")
    assert logged("info", "text")[0].endswith("INFO assistant.x: went well")
    assert [json.loads(line)["level"] for line in logged("error", "json")] == ["ERROR"]
