"""What the embedded model says to the project's own rollout prompts, sampled in advance.

Every first update would sample the same replies, for minutes on a CPU: the model is pinned by its hash, the prompts
ship with Attune. `python -m learner.base_replies` makes the file. For another model, temperature or length nothing
is shipped, and the replies are sampled when they are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from data.row_files import read_rows, write_rows
from data.types import Reply

FILE = Path(__file__).with_name("shipped_replies.jsonl.gz")


@lru_cache(maxsize=1)
def shipped_replies(base_key: str) -> Mapping[str, Sequence[Reply]]:
    """Replies by `context_key`, those to one prompt in the order of their seeds; none for another `base_key`."""
    rows = read_rows(FILE)
    if next(rows)["base_key"] != base_key:
        return {}
    found: dict[str, list[Reply]] = {}
    for row in rows:
        found.setdefault(row["context"], []).append(Reply(row["text"], row["finished"]))
    return found


def write_shipped_replies(base_key: str, replies: Mapping[str, Sequence[Reply]], path: Path = FILE) -> None:
    rows = (
        {"context": context, "text": reply.text, "finished": reply.finished}
        for context, said in replies.items()
        for reply in said
    )
    write_rows(path, {"base_key": base_key}, rows)
