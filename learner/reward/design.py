"""Feedback as arrays: what the likelihood reads, built from observations and the base's own replies.

A Design holds one row of centred features per rated reply and, for each kind of feedback, which rows its
observations are about. Nothing in it refers to texts any more, so that fitting, cross-fitting and the
randomisation test are plain array work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data.prompts import context_key
from data.types import Observation, Reply, Turn
from learner.reward.features import FEATURE_NAMES, Array, centred, features, features_of
from learner.reward.wishes import wishes_in

IntArray = npt.NDArray[np.int64]
MAX_RANKED = 8  # as many replies as a comparison may show; 2^8 sets are still quickly enumerated


class Text(NamedTuple):
    """A reply with the conversation that it answers."""

    context: tuple[Turn, ...]
    reply: Reply


class Ranking(NamedTuple):
    """Rows of the replies that were shown, and the order: tuples of positions in `rows`, best first."""

    observation: int
    rows: tuple[int, ...]
    order: tuple[tuple[int, ...], ...]


class Wish(NamedTuple):
    """A comment's wish for the contrast of one feature (prior.py): utility along it / its prior sd ~ N(mean, sd^2)."""

    observation: int
    feature: int
    mean: float
    sd: float


class Choices(NamedTuple):
    """Rankings as choices in stages: at each stage one set of replies is taken from those that are left.

    A stage's alternatives (all non-empty sets of the replies left) lie next to each other in the
    alternative arrays, and an alternative's members next to each other in `member_row`.
    """

    observation: IntArray  # (G,) of each stage
    first: IntArray  # (G,) the stage's first alternative
    chosen: IntArray  # (G,) the alternative that was taken
    stage: IntArray  # (A,) of each alternative
    size: IntArray  # (A,) how many replies it holds; above 1 it is a tie
    first_member: IntArray  # (A,) its first entry in member_row
    member_row: IntArray  # (M,) rows of Design.replies


@dataclass(frozen=True)
class Design:
    """n observations about R reply rows with F features.

    `root` names each observation's conversation. `edits` are (observation, row of the edited text, row of
    the original), `thumbs` (observation, row, +1 or -1), `stars` (observation, row, 1..5).
    """

    replies: Array  # (R, F) features, centred on what the base said to the prompt
    feedback_ids: tuple[str, ...]  # n
    kinds: tuple[str, ...]  # n
    roots: tuple[str, ...]  # n
    weight: Array  # (n,) in (0, 1]
    edits: IntArray  # (E, 3)
    thumbs: IntArray  # (T, 3)
    stars: IntArray  # (S, 3)
    rankings: tuple[Ranking, ...] = ()
    wishes: tuple[Wish, ...] = ()
    texts: tuple[Text, ...] = ()  # R, where the rows came from texts: for scores that are not made of features
    absolute: Array | None = None  # (R, F) the same features, centred on the population alone
    choices: Choices = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "choices", _choices(self.rankings))

    def __len__(self) -> int:
        return len(self.feedback_ids)

    @property
    def predictable(self) -> int:
        """How many observations have an outcome that could be predicted: all but comments."""
        return sum(kind != "comment" for kind in self.kinds)

    def changed(self, **fields: object) -> Design:
        """With other fields but the same rankings, whose stages are shared and not enumerated again."""
        other = object.__new__(Design)
        for name, value in {**self.__dict__, **fields}.items():
            object.__setattr__(other, name, value)
        return other

    def with_replies(self, replies: Array) -> Design:
        """The same feedback about other features."""
        return self.changed(replies=replies, absolute=None)

    def subset(self, keep: npt.NDArray[np.bool_], keep_wishes: bool = False) -> Design:
        """The observations where `keep` (n,) is true. With `keep_wishes`, all wishes stay (their own
        observations do not: such a wish belongs to no observation of the subset, index -1)."""
        new_index = np.where(keep, np.cumsum(keep) - 1, -1)
        index = np.flatnonzero(keep)

        def rows(table: IntArray) -> IntArray:
            kept = table[keep[table[:, 0]]].copy()
            kept[:, 0] = new_index[kept[:, 0]]
            return kept

        def own(observation: int) -> bool:
            return observation >= 0 and bool(keep[observation])

        return Design(
            replies=self.replies,
            feedback_ids=tuple(self.feedback_ids[i] for i in index),
            kinds=tuple(self.kinds[i] for i in index),
            roots=tuple(self.roots[i] for i in index),
            weight=self.weight[keep],
            edits=rows(self.edits),
            thumbs=rows(self.thumbs),
            stars=rows(self.stars),
            rankings=tuple(
                r._replace(observation=int(new_index[r.observation]))
                for r in self.rankings
                if own(r.observation)
            ),
            wishes=tuple(
                w._replace(observation=int(new_index[w.observation]) if own(w.observation) else -1)
                for w in self.wishes
                if keep_wishes or own(w.observation)
            ),
            texts=self.texts,
            absolute=self.absolute,
        )


def build_design(
    observations: Sequence[Observation], base_replies: Mapping[str, Sequence[Reply]]
) -> Design:
    """Arrays for these observations, in their order.

    base_replies: what the base said to each context, under `data.prompts.context_key(context)`; features
    are centred on them. A context without any is centred on the population mean alone. A thumb and stars
    on the same reply share a row. Raises ValueError for an observation whose outcome or replies do not fit
    its kind.
    """
    builder = _Builder(base_replies)
    for index, observation in enumerate(observations):
        builder.add(index, observation)
    return Design(
        replies=np.array(builder.rows).reshape(-1, len(FEATURE_NAMES)),
        feedback_ids=tuple(o.feedback_id for o in observations),
        kinds=tuple(o.kind for o in observations),
        roots=tuple(_root(o) for o in observations),
        weight=np.array([o.weight for o in observations], dtype=np.float64),
        edits=_table(builder.edits),
        thumbs=_table(builder.thumbs),
        stars=_table(builder.stars),
        rankings=tuple(builder.rankings),
        wishes=tuple(builder.wishes),
        texts=tuple(builder.texts),
        absolute=np.array(builder.absolute).reshape(-1, len(FEATURE_NAMES)),
    )


def join(first: Design, second: Design) -> Design:
    """The observations of both, first's before second's."""
    n, r = len(first), len(first.replies)

    def shifted(table: IntArray, reply_columns: int) -> IntArray:
        moved = table.copy()
        moved[:, 0] += n
        moved[:, 1 : 1 + reply_columns] += r
        return moved

    return Design(
        replies=np.concatenate([first.replies, second.replies]),
        feedback_ids=first.feedback_ids + second.feedback_ids,
        kinds=first.kinds + second.kinds,
        roots=first.roots + second.roots,
        weight=np.concatenate([first.weight, second.weight]),
        edits=np.concatenate([first.edits, shifted(second.edits, 2)]),
        thumbs=np.concatenate([first.thumbs, shifted(second.thumbs, 1)]),
        stars=np.concatenate([first.stars, shifted(second.stars, 1)]),
        rankings=first.rankings
        + tuple(Ranking(o + n, tuple(i + r for i in rows), order) for o, rows, order in second.rankings),
        wishes=first.wishes
        + tuple(w._replace(observation=w.observation + n * (w.observation >= 0)) for w in second.wishes),
        texts=first.texts + second.texts,
        absolute=(
            np.concatenate([first.absolute, second.absolute])
            if first.absolute is not None and second.absolute is not None
            else None
        ),
    )


class _Builder:
    """Collects rows and tables while observations are added."""

    def __init__(self, base_replies: Mapping[str, Sequence[Reply]]) -> None:
        self.base_replies = base_replies
        self.base_phi: dict[str, Array] = {}
        self.rated_row: dict[tuple[str, Reply], int] = {}
        self.rows: list[Array] = []
        self.absolute: list[Array] = []
        self.texts: list[Text] = []
        self.edits: list[tuple[int, int, int]] = []
        self.thumbs: list[tuple[int, int, int]] = []
        self.stars: list[tuple[int, int, int]] = []
        self.rankings: list[Ranking] = []
        self.wishes: list[Wish] = []

    def row(self, observation: Observation, reply: Reply) -> int:
        key = context_key(observation.context)
        if key not in self.base_phi:
            self.base_phi[key] = features_of(observation.context, self.base_replies.get(key, ()))
        raw = features(observation.context, reply)
        self.rows.append(centred(raw, self.base_phi[key]))
        self.absolute.append(centred(raw, self.base_phi[key][:0]))
        self.texts.append(Text(observation.context, reply))
        return len(self.rows) - 1

    def shared_row(self, observation: Observation) -> int:
        key = (context_key(observation.context), observation.replies[0])
        if key not in self.rated_row:
            self.rated_row[key] = self.row(observation, observation.replies[0])
        return self.rated_row[key]

    def add(self, index: int, observation: Observation) -> None:
        outcome, replies = observation.outcome, observation.replies
        if observation.kind == "edit" and len(replies) == 2:
            edited, original = (self.row(observation, reply) for reply in replies)
            self.edits.append((index, edited, original))
        elif observation.kind == "ranking" and _is_order(outcome, len(replies)):
            rows = tuple(self.row(observation, reply) for reply in replies)
            self.rankings.append(Ranking(index, rows, tuple(tuple(group) for group in outcome)))
        elif observation.kind == "stars" and len(replies) == 1 and outcome in (1, 2, 3, 4, 5):
            self.stars.append((index, self.shared_row(observation), int(outcome)))
        elif observation.kind == "thumb" and len(replies) == 1 and outcome in (1, -1):
            self.thumbs.append((index, self.shared_row(observation), int(outcome)))
        elif observation.kind == "comment" and isinstance(outcome, str):
            for wish in wishes_in(outcome):
                self.wishes.append(Wish(index, FEATURE_NAMES.index(wish.feature), wish.mean, wish.sd))
        else:
            raise ValueError(
                f"feedback {observation.feedback_id}: a {observation.kind} with {len(replies)} replies "
                f"cannot have the outcome {outcome!r}"
            )


def _root(observation: Observation) -> str:
    if observation.root_id or not observation.context:
        return observation.root_id
    return context_key(observation.context[:1])


def _table(rows: list[tuple[int, int, int]]) -> IntArray:
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def _is_order(order: object, n: int) -> bool:
    """Whether this is groups of positions, each of 0..n-1 exactly once, for as many as may be shown."""
    if not 2 <= n <= MAX_RANKED or not isinstance(order, (tuple, list)):
        return False
    if not all(isinstance(group, (tuple, list)) and group for group in order):
        return False
    return sorted(i for group in order for i in group) == list(range(n))


def _choices(rankings: Sequence[Ranking]) -> Choices:
    """All stages of all rankings. The last set is no choice any more and has no stage unless it is a tie
    (two replies left and called equal is a statement; one reply left is not)."""
    observation: list[int] = []
    first: list[int] = []
    chosen: list[int] = []
    stage: list[int] = []
    size: list[int] = []
    first_member: list[int] = []
    member_row: list[int] = []
    for ranking in rankings:
        left = list(range(len(ranking.rows)))
        for group in ranking.order:
            if len(left) < 2:
                break
            observation.append(ranking.observation)
            first.append(len(stage))
            for count in range(1, len(left) + 1):
                for members in combinations(left, count):
                    if set(members) == set(group):
                        chosen.append(len(stage))
                    stage.append(len(observation) - 1)
                    size.append(count)
                    first_member.append(len(member_row))
                    member_row.extend(ranking.rows[i] for i in members)
            left = [i for i in left if i not in group]
    columns = (observation, first, chosen, stage, size, first_member, member_row)
    return Choices(*(np.array(column, dtype=np.int64) for column in columns))


