"""Pure: which standing feedback says less than it seems to, and what is done about it.

Nothing is deleted. What repeats or contradicts something else is left out of learning; what was given in a burst or
faster than one can read counts less. Both keep their reason, which the person reads beside the rating.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import combinations, product
from typing import Literal

from data.edits import words
from data.types import Evidence, FeedbackUse, Observation, Reply

QualityCode = Literal["white_space", "contradicted", "duplicate", "burst", "too_fast", "small_edit"]

WHY: dict[QualityCode, str] = {
    "white_space": "only white space was changed",
    "contradicted": "a later one says the opposite about the same words",
    "duplicate": "the same was already said about the same words",
    "burst": "one of many alike in a few seconds, so that each counts less",
    "too_fast": "given faster than the reply can be read, so that it counts half",
    "small_edit": "a small change, so that it counts less",
}
# A star rating of 3 takes no side: it neither contradicts a thumb nor is contradicted by one.
LOW_STARS, HIGH_STARS = 2, 4
# So many thumbs or stars alike, each within the gap of the one before, count together as BURST_COUNTS_AS.
BURST_LENGTH, BURST_GAP_S, BURST_COUNTS_AS = 6, 3.0, 5
# A thousand words a minute is beyond reading; skimming with any understanding is slower (Rayner et al. 2016, "So much
# to read, so little time").
FASTEST_WORDS_PER_S = 1000 / 60
TOO_FAST_WEIGHT = 0.5

# What was said about: the context and the one text, or the better and the worse of two texts.
_Claim = tuple[object, ...]


def weigh(
    observations: Sequence[Observation], seen_s: Mapping[str, float]
) -> tuple[list[Observation], list[FeedbackUse]]:
    """(what counts, perhaps less than before and then with `why`; what does not count and why).

    `observations` are in the order in which they were said. `seen_s` maps ids of feedback to the seconds for which the
    page had shown the replies; feedback that came from elsewhere is not in it and is not judged by speed.
    """
    left_out: dict[str, QualityCode] = dict.fromkeys(_contradicted(observations), "contradicted")
    rest = [o for o in observations if o.feedback_id not in left_out]
    left_out |= dict.fromkeys(_repeated(rest), "duplicate")
    kept = [o for o in rest if o.feedback_id not in left_out]
    shares = _burst_shares(kept)
    counting = [_reduced(o, shares.get(o.feedback_id, 1.0), seen_s.get(o.feedback_id)) for o in kept]
    uses = [FeedbackUse(o.feedback_id, "left out", WHY[left_out[o.feedback_id]])
            for o in observations if o.feedback_id in left_out]  # fmt: skip
    return counting, uses


def quality_counts(evidence: Evidence) -> dict[QualityCode, int]:
    """How much of the standing feedback each check found, zeros included."""
    reasons = [use.why for use in evidence.left_out] + [o.why for o in evidence.observations]
    return {code: sum(text in why for why in reasons) for code, text in WHY.items()}


def _reduced(observation: Observation, share: float, seen_s: float | None) -> Observation:
    weight, reasons = observation.weight * share, []
    if observation.kind == "edit" and observation.weight < 1.0:
        reasons.append(WHY["small_edit"])
    if share < 1.0:
        reasons.append(WHY["burst"])
    if observation.kind in ("thumb", "stars", "ranking") and seen_s is not None:
        length = sum(len(words(reply.text)) for reply in observation.replies)
        if length > FASTEST_WORDS_PER_S * seen_s:
            weight *= TOO_FAST_WEIGHT
            reasons.append(WHY["too_fast"])
    return replace(observation, weight=weight, why="; ".join(reasons))


def _contradicted(observations: Iterable[Observation]) -> set[str]:
    """Ids of feedback of which something later says the opposite, about the same words in the same context."""
    found: set[str] = set()
    said: dict[_Claim, list[str]] = {}
    for observation in observations:
        for claim, opposite in _claims(observation):
            found.update(said.pop(opposite, ()))
            said.setdefault(claim, []).append(observation.feedback_id)
    return found


def _claims(observation: Observation) -> Iterable[tuple[_Claim, _Claim]]:
    """(what is claimed, what would deny it)."""
    good = is_good(observation)
    if good is not None:
        said_of = (observation.context, observation.replies[0].text)
        yield (*said_of, good), (*said_of, not good)
    for better, worse in preferred(observation):
        about = observation.context
        yield (about, better.text, worse.text), (about, worse.text, better.text)


def is_good(observation: Observation) -> bool | None:
    """What a thumb or stars call a reply; None where they take no side, and for every other kind."""
    if observation.kind == "thumb":
        return bool(observation.outcome == 1)
    if observation.kind != "stars" or LOW_STARS < observation.outcome < HIGH_STARS:
        return None
    return bool(observation.outcome >= HIGH_STARS)


def preferred(observation: Observation) -> Iterator[tuple[Reply, Reply]]:
    """(better, worse) of an edit, or of every two replies of a ranking that do not tie and are not the same words."""
    for better, worse in preferred_positions(observation):
        yield observation.replies[better], observation.replies[worse]


def preferred_positions(observation: Observation) -> Iterator[tuple[int, int]]:
    """The same as positions in the observation's replies."""
    if observation.kind not in ("edit", "ranking"):
        return
    order = ((0,), (1,)) if observation.kind == "edit" else observation.outcome
    for better, worse in combinations(order, 2):
        for a, b in product(better, worse):
            if observation.replies[a].text != observation.replies[b].text:
                yield a, b


def _repeated(observations: Iterable[Observation]) -> set[str]:
    """Ids of feedback that says what an earlier one said. The first stays: so does its side of the split."""
    found: set[str] = set()
    seen: set[_Claim] = set()
    for observation in observations:
        said = (observation.kind, observation.context, _content(observation))
        if said in seen:
            found.add(observation.feedback_id)
        seen.add(said)
    return found


def _content(observation: Observation) -> object:
    texts = [reply.text for reply in observation.replies]
    if observation.kind == "ranking":
        return tuple(tuple(sorted(texts[i] for i in group)) for group in observation.outcome)
    return (tuple(texts), observation.outcome)


def _burst_shares(observations: Sequence[Observation]) -> dict[str, float]:
    """By id, the share of its weight that feedback in a burst keeps."""
    runs: list[list[Observation]] = []
    for observation in observations:
        if runs and _follows(runs[-1][-1], observation):
            runs[-1].append(observation)
        else:
            runs.append([observation])
    return {o.feedback_id: BURST_COUNTS_AS / len(run) for run in runs if len(run) >= BURST_LENGTH for o in run}


def _follows(earlier: Observation, later: Observation) -> bool:
    """Whether two ratings are alike and close; nobody gives edits, rankings or comments without looking."""
    alike = later.kind in ("thumb", "stars") and (earlier.kind, earlier.outcome) == (later.kind, later.outcome)
    return alike and _seconds(later) - _seconds(earlier) <= BURST_GAP_S


def _seconds(observation: Observation) -> float:
    return datetime.fromisoformat(observation.created_at).timestamp()
