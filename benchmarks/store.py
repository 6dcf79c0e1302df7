"""How long the store takes with a long life in it: `python launch.py bench store`.

A person with 100,000 messages and 50,000 pieces of feedback; two processes then write feedback at the same time, as
chat and learner do, and everything that a page or a program lists is read again and again. Milliseconds; p50 is the
median, p99 what one call in a hundred exceeds.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.results import Result
from data.home import CHECKOUT, Home
from data.ids import new_id
from data.prompts import general_prompts
from data.schema import migrate
from data.store import Store

TURNS = 5  # of question and reply in a conversation
CHINESE = "今天下雨水很冷天空灰我在家学习回答问题山河花鸟风月雪夜"
WRITE_LIMIT_MS, READ_LIMIT_MS = 10.0, 50.0
READS = 50


def main(options: argparse.Namespace) -> Result:
    messages, writes = (4_000, 100) if options.quick else (100_000, 1_000)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="attune-bench-") as folder:
        home = Home(Path(folder)).create()
        migrate(home)
        store = Store(home)
        user = store.ensure_user().id
        replies = fill(store, user, messages)
        figures = {"fill_s": time.monotonic() - started, **reads(store, user)}
        figures |= writes_of_two_processes(home, user, replies, writes)
        problems = store.verify()
        store.close()
    if problems:
        raise SystemExit(f"The store is broken after the benchmark: {problems[0]}")
    limits = {name: WRITE_LIMIT_MS if "write" in name else READ_LIMIT_MS for name in figures if "p99" in name}
    settings = {"messages": messages, "feedback": messages // 2, "writes": writes, "writers": 2, "reads": READS}
    return Result("store", None, settings, figures, time.monotonic() - started, limits=limits)


def fill(store: Store, user: str, messages: int) -> list[str]:
    """Put conversations with feedback on every reply in; ids of the replies."""
    rng = random.Random(0)
    english = sorted({word for prompt in general_prompts("rollout") for word in prompt.split()})
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
    conversations, feedback, replies = [], [], []
    for number in range(messages // (2 * TURNS)):
        rows, parent = [], None
        for turn in range(2 * TURNS):
            is_reply = turn % 2 == 1
            row = {
                "id": new_id(), "parent_id": parent, "role": "assistant" if is_reply else "user",
                "content": _text(rng, english), "finish_reason": "stop" if is_reply else None,
                "prompt_tokens": None, "completion_tokens": None, "sampling": {},
                "adapter_version": 0 if is_reply else None, "created": at,
            }  # fmt: skip
            rows.append(row)
            parent = row["id"]
            if is_reply:
                replies.append(row["id"])
                feedback.append({
                    "id": new_id(), "message_id": row["id"], "comparison_id": None, "kind": "stars",
                    "value": rng.randint(1, 5), "created": at, "seen_s": None, "supersedes": None, "retracted": None,
                })  # fmt: skip
        conversations.append({
            "id": new_id(), "title": f"Talk {number}", "system_prompt": "", "created": at, "updated": at,
            "messages": rows, "comparisons": [],
        })  # fmt: skip
    content = {
        "conversations": conversations, "feedback": feedback, "runs": [], "versions": [], "notes": [], "settings": {},
    }  # fmt: skip
    store.add_profile_content(user, content, with_versions=False)
    return replies


def _text(rng: random.Random, english: list[str]) -> str:
    """Forty words, every fifth text Chinese."""
    if rng.random() < 0.2:
        return "".join(rng.choices(CHINESE, k=80))
    return " ".join(rng.choices(english, k=40))


def reads(store: Store, user: str) -> dict[str, float]:
    """Milliseconds of everything that a page or a program lists."""
    newest = store.list_conversations(user, limit=1)[0].id
    middle = store.list_feedback(user, limit=1000)[-1].id
    shown: dict[str, Callable[[], object]] = {
        "list_conversations": lambda: store.list_conversations(user, limit=200),
        "open_conversation": lambda: store.messages(user, newest),
        "list_feedback": lambda: store.list_feedback(user, after=middle, limit=100),
        "feedback_counts": lambda: store.feedback_counts(user),
        "new_feedback_count": lambda: store.new_feedback_count(user),
        "search_english": lambda: store.search(user, "explain"),
        "search_two_words": lambda: store.search(user, "explain between"),
        "search_chinese": lambda: store.search(user, "雨水"),
        "search_chinese_not_found": lambda: store.search(user, "海洋"),
        "search_not_found": lambda: store.search(user, "zebrafish"),
    }
    figures: dict[str, float] = {}
    for name, call in shown.items():
        figures |= percentiles(name, [_milliseconds(call) for _ in range(READS)])
    return figures


def writes_of_two_processes(home: Home, user: str, replies: list[str], count: int) -> dict[str, float]:
    """Milliseconds of a piece of feedback, from the call to its being on disk, while another process writes too."""
    rng = random.Random(1)
    chosen = rng.sample(replies, 2 * count)
    command = [sys.executable, "-m", "benchmarks.store", str(home.root), user]
    writers = [
        subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for writer in writers:  # both are up before either begins
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
    for number, writer in enumerate(writers):
        assert writer.stdin is not None
        writer.stdin.write("\n".join(chosen[number::2]))
        writer.stdin.close()
    taken = [float(line) for writer in writers for line in (writer.stdout or [])]
    if any(writer.wait() for writer in writers) or len(taken) != 2 * count:
        raise SystemExit(f"Only {len(taken)} of {2 * count} pieces of feedback were written.")
    return percentiles("write_feedback", taken)


def write(root: str, user: str) -> None:
    """One of the writing processes: ids of replies on standard input, milliseconds on standard output."""
    store = Store(Home(Path(root)))
    print("ready", flush=True)
    replies = sys.stdin.read().split()
    taken = [_milliseconds(partial(store.add_feedback, user, "thumb", "up", message_id=reply)) for reply in replies]
    store.close()
    print("\n".join(str(milliseconds) for milliseconds in taken))


def percentiles(name: str, milliseconds: list[float]) -> dict[str, float]:
    return {f"{name}_p{p}_ms": float(np.percentile(milliseconds, p)) for p in (50, 99)}


def _milliseconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
