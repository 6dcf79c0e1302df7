"""From observations to arrays: rows, kinds, conversations, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from data.prompts import context_key
from data.types import Reply, Turn
from learner.reward.design import build_design, join
from learner.reward.features import FEATURE_NAMES, centred, features, features_of
from learner.reward.model import fit
from tests.reward.people import observation

SHORT = "Pour hot water on the leaves and wait three minutes."
LONG = (
    "Tea is a drink that is made from the leaves of a bush. First, you should boil fresh water. Then pour "
    "the water over the leaves and let them stand for a few minutes. After that you may add milk, sugar or a "
    "slice of lemon, as you like it best. Finally, enjoy the tea while it is hot, and store the rest of the "
    "leaves in a dry and dark place, where they keep for about a year."
)
LENGTH = FEATURE_NAMES.index("log_length")


def test_each_observation_finds_its_rows() -> None:
    d = build_design(
        [
            observation(0, "edit", [SHORT, LONG], weight=0.5),
            observation(1, "thumb", [LONG], -1),
            observation(2, "stars", [LONG], 2),
            observation(3, "ranking", [LONG, SHORT], ((1,), (0,))),
            observation(4, "comment", [LONG], "Too long, please"),
            observation(5, "comment", [LONG], "I see."),
        ],
        {},
    )
    assert len(d) == 6 and d.kinds == ("edit", "thumb", "stars", "ranking", "comment", "comment")
    assert d.feedback_ids == ("f0", "f1", "f2", "f3", "f4", "f5")
    assert d.weight == pytest.approx([0.5, 1, 1, 1, 1, 1])
    context = (Turn("user", "Tell me about tea."),)
    nothing = np.zeros((0, len(FEATURE_NAMES)))
    short, long = (centred(features(context, Reply(t)), nothing) for t in (SHORT, LONG))
    assert d.replies[d.edits[0, 1]] == pytest.approx(short)
    assert d.replies[d.edits[0, 2]] == pytest.approx(long)
    assert d.thumbs.tolist() == [[1, 2, -1]] and d.stars.tolist() == [[2, 2, 2]]  # one reply, one row
    assert d.replies[d.rankings[0].rows[1]] == pytest.approx(short)
    assert [(w.observation, w.feature, w.mean < 0) for w in d.wishes] == [(4, LENGTH, True)]


def test_features_are_centred_on_what_the_base_said_to_this_prompt() -> None:
    context = (Turn("user", "Tell me about tea."),)
    base = [Reply(" ".join([LONG] * n)) for n in (12, 24)]
    one = observation(0, "thumb", [SHORT], 1)
    d = build_design([one], {context_key(context): base, context_key(()): [Reply(SHORT)]})
    assert d.replies[0] == pytest.approx(centred(features(context, Reply(SHORT)), features_of(context, base)))
    assert d.replies[0, LENGTH] < build_design([one], {}).replies[0, LENGTH]


@pytest.mark.parametrize(
    ("kind", "texts", "outcome"),
    [
        ("stars", [SHORT], 9),
        ("stars", [SHORT], "5"),
        ("thumb", [SHORT], 0),
        ("thumb", [SHORT, LONG], 1),
        ("edit", [SHORT], None),
        ("ranking", [SHORT, LONG], ((0,), (0,))),
        ("ranking", [SHORT, LONG], ((0,),)),
        ("ranking", [SHORT], ((0,),)),
        ("ranking", [SHORT, LONG], ((0, 1), ())),
        ("comment", [SHORT], 3),
    ],
)
def test_an_outcome_that_does_not_fit_its_kind_is_refused(
    kind: str, texts: list[str], outcome: object
) -> None:
    with pytest.raises(ValueError, match="feedback f0"):
        build_design([observation(0, kind, texts, outcome)], {})


def test_conversations_are_told_apart_by_their_root_or_their_first_message() -> None:
    d = build_design(
        [
            observation(0, "thumb", [SHORT], 1, root_id="r1"),
            observation(1, "thumb", [LONG], 1, root_id="r1"),
            observation(2, "thumb", [SHORT], 1, prompt="And coffee?"),
            observation(3, "thumb", [LONG], 1, prompt="And coffee?"),
            observation(4, "thumb", [LONG], 1),
        ],
        {},
    )
    assert d.roots[0] == d.roots[1] == "r1"
    assert d.roots[2] == d.roots[3] != d.roots[4]


def mixed(n: int) -> list:
    rows = []
    for i in range(n):
        rows += [
            observation(5 * i, "edit", [SHORT, LONG], root_id=f"r{i}"),
            observation(5 * i + 1, "thumb", [LONG], -1, root_id=f"r{i}"),
            observation(5 * i + 2, "stars", [SHORT], 4, root_id=f"r{i}"),
            observation(5 * i + 3, "ranking", [LONG, SHORT], ((1,), (0,)), root_id=f"r{i}"),
            observation(5 * i + 4, "comment", [LONG], "shorter", root_id=f"r{i}"),
        ]
    return rows


def test_a_subset_says_the_same_as_a_design_of_those_observations() -> None:
    rows = mixed(4)
    keep = np.arange(20) % 3 != 1
    part = build_design(rows, {}).subset(keep)
    alone = build_design([row for row, kept in zip(rows, keep, strict=True) if kept], {})
    assert part.feedback_ids == alone.feedback_ids and part.roots == alone.roots
    assert fit(part).theta == pytest.approx(fit(alone).theta)
    assert len(build_design(rows, {}).subset(keep, keep_wishes=True).wishes) == 4


def test_joined_designs_say_the_same_as_one_of_all_observations() -> None:
    rows = mixed(4)
    both = join(build_design(rows[:7], {}), build_design(rows[7:], {}))
    assert both.feedback_ids == build_design(rows, {}).feedback_ids
    assert fit(both).theta == pytest.approx(fit(build_design(rows, {})).theta)


def test_a_person_who_likes_it_short_is_understood_from_texts() -> None:
    model = fit(build_design(mixed(6), {}))
    context = (Turn("user", "What is jam?"),)
    nothing = np.zeros((0, len(FEATURE_NAMES)))
    phi = np.stack([centred(features(context, Reply(t)), nothing) for t in (SHORT, LONG)])
    assert model.w[LENGTH] < 0
    assert model.preference_probability(phi[:1], phi[1:])[0] > 0.75
