"""Designs made of numbers, and observations made of texts, for the tests of the reward model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from data.types import Observation, Reply, Turn
from learner.reward.design import Design, Ranking, Wish

ALL_KINDS = ("edit", "thumb", "stars", "ranking", "comment")


def simulated(
    n: int, w: Sequence[float], seed: int, kinds: Sequence[str] = ALL_KINDS, conversations: int | None = None
) -> Design:
    """n observations of the kinds in turn, by a person with these weights; features are standard normal."""
    rng = np.random.default_rng(seed)
    weights = np.asarray(w, dtype=np.float64)
    rows: list[np.ndarray] = []
    edits, thumbs, stars = [], [], []
    rankings, wishes, used = [], [], []

    def row() -> int:
        rows.append(rng.standard_normal(len(weights)))
        return len(rows) - 1

    for i in range(n):
        kind = kinds[i % len(kinds)]
        used.append(kind)
        if kind == "edit":
            better, worse = row(), row()
            if (rows[better] - rows[worse]) @ weights + rng.logistic() < 0:
                better, worse = worse, better
            edits.append((i, better, worse))
        elif kind == "thumb":
            reply = row()
            thumbs.append((i, reply, 1 if rows[reply] @ weights + rng.logistic() > 0.5 else -1))
        elif kind == "stars":
            reply = row()
            latent = rows[reply] @ weights + rng.logistic()
            stars.append((i, reply, 1 + int(np.sum(latent > np.array([-2.0, -0.7, 0.7, 2.0])))))
        elif kind == "ranking":
            shown = tuple(row() for _ in range(int(rng.integers(2, 5))))
            order = [(int(k),) for k in np.argsort([-(rows[j] @ weights + rng.gumbel()) for j in shown])]
            if len(order) > 2 and rng.random() < 0.3:
                order = [order[0] + order[1], *order[2:]]
            rankings.append(Ranking(i, shown, tuple(order)))
        else:
            wishes.append(Wish(i, 0, float(np.sign(weights[0])) * 1.8, 1.0))
    groups = conversations or max(1, n // 2)
    return design(
        np.array(rows).reshape(-1, len(weights)), used, edits=edits, thumbs=thumbs, stars=stars,
        rankings=rankings, wishes=wishes, roots=[f"c{i % groups}" for i in range(n)],
    )


def design(replies: Any, kinds: Sequence[str], **tables: Any) -> Design:
    """A Design from plain lists; tables that are left out are empty."""

    def table(name: str) -> np.ndarray:
        return np.array(tables.get(name, []), dtype=np.int64).reshape(-1, 3)

    n = len(kinds)
    return Design(
        replies=np.asarray(replies, dtype=np.float64),
        feedback_ids=tuple(f"f{i}" for i in range(n)),
        kinds=tuple(kinds),
        roots=tuple(tables.get("roots", [f"c{i}" for i in range(n)])),
        weight=np.asarray(tables.get("weight", np.ones(n)), dtype=np.float64),
        edits=table("edits"),
        thumbs=table("thumbs"),
        stars=table("stars"),
        rankings=tuple(tables.get("rankings", ())),
        wishes=tuple(tables.get("wishes", ())),
    )


def observation(
    number: int, kind: Any, texts: Sequence[str], outcome: Any = None, *, prompt: str = "Tell me about tea.",
    weight: float = 1.0, held_out: bool = False, root_id: str = "",
) -> Observation:
    """An observation about replies with these texts, all of them finished."""
    return Observation(
        feedback_id=f"f{number}", kind=kind, context=(Turn("user", prompt),),
        replies=tuple(Reply(text) for text in texts), outcome=outcome, weight=weight, held_out=held_out,
        created_at="2026-11-22T10:00:00.000Z", root_id=root_id,
    )
