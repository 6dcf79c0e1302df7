"""Simulated people over a bank of base replies: hidden utilities, and the noisy feedback that they give.

A utility is a weighted sum of two to four attributes (attributes.py) and of sense: how likely the frozen base finds
what is new in the reply (what it repeats is not counted), and the question given the reply. It is scaled so that a
fifth of the choices between two replies to one prompt disagree with it; on top, every twentieth judgement is a lapse.
Stars and thumbs carry a bias of the person's own. Nothing of the utility reaches a model but the feedback.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.people import attributes as known
from benchmarks.people.edits import ways_to_edit
from benchmarks.replies import Bank
from data.types import FeedbackKind, Observation, Reply

Array = npt.NDArray[np.float64]

DISAGREEING = 0.2  # of the choices between two replies go against the utility
LAPSES = 0.05
SENSE_SHARE = 0.15  # of the utility's variance within a prompt
NATURAL: Mapping[FeedbackKind, float] = {"thumb": 0.38, "stars": 0.25, "edit": 0.20, "ranking": 0.12, "comment": 0.05}
PAIRS: Mapping[FeedbackKind, float] = {"ranking": 1.0}
STAR_CUTS = np.array([-2.0, -0.7, 0.7, 2.0])
BIAS_SD = 0.7
KEPT_WORDS = 0.7


@dataclass(frozen=True)
class Taste:
    """`parts` are (attribute, weight); `scale` turns the weighted sum into logits of a choice between two."""

    name: str
    parts: tuple[tuple[str, float], ...]
    sense: float
    scale: float


class Shown(NamedTuple):
    """A reply as somebody reads it. `sense` is standardised within its prompt; `row` is its place in the bank."""

    reply: Reply
    utility: float  # in logits
    sense: float
    row: int | None = None


class Measured:
    """The bank with every attribute's values, standardised over all its replies."""

    def __init__(self, bank: Bank) -> None:
        self.bank = bank
        self.of_prompt = [np.array(bank.of_prompt(p), dtype=np.int64) for p in range(len(bank.prompts))]
        self.attributes: dict[str, known.Attribute] = {
            **known.LENGTH, **known.STYLE, **known.STYLE_REPORTED_ONLY, **known.CONTENT, **known.CONTENT_REPORTED_ONLY
        }  # fmt: skip
        raw = {
            name: np.array([attribute(bank.reply(i)) for i in range(len(bank.rows))])
            for name, attribute in self.attributes.items()
        }
        self.mean = {name: float(values.mean()) for name, values in raw.items()}
        self.sd = {name: float(values.std()) or 1.0 for name, values in raw.items()}
        self.values = {name: (values - self.mean[name]) / self.sd[name] for name, values in raw.items()}
        self.differing = {
            name: float(np.mean(np.abs(self.pair_differences(values)) > 0.1)) for name, values in self.values.items()
        }
        # Sense has two parts: how likely the reply is (fluent), and the question given the reply (about). (N, 2)
        logprobs = np.array([(row.reply_logprob, row.question_logprob) for row in bank.rows])
        self._prompt_logprobs = {
            bank.prompts[p]: logprobs[rows].mean(axis=0) for p, rows in enumerate(self.of_prompt)
        }
        centred = np.stack([self.within(column) for column in logprobs.T], axis=1)
        self._logprob_sd = centred.std(axis=0)
        self.sense = (centred / self._logprob_sd).sum(axis=1)

    def within(self, values: Array) -> Array:
        """Values less their prompt's mean."""
        out = values.copy()
        for rows in self.of_prompt:
            out[rows] -= values[rows].mean()
        return out

    def sense_of(self, prompt: str, reply_logprob: float, question_logprob: float) -> float:
        """Sense of a new reply. Of a prompt that the bank has not, only differences between replies mean anything."""
        found = np.array([reply_logprob, question_logprob]) - self._prompt_logprobs.get(prompt, 0.0)
        return float((found / self._logprob_sd).sum())

    def pair_differences(self, utility: Array) -> Array:
        """Of all pairs of replies to one prompt."""
        found = []
        for rows in self.of_prompt:
            first, second = np.triu_indices(len(rows), 1)
            found.append(utility[rows[first]] - utility[rows[second]])
        return np.concatenate(found)


class Person:
    """A taste over a bank. `utility` (N,) in logits; `rng` draws everything that they say.

    `keeps_substance`: whether an edit leaves at least KEPT_WORDS of a reply, or of the length that the person likes. An
    edit is judged with the sense of the reply that it was made from; without this, whoever likes warm words could make
    "I hope this helps, my friend." of anything.
    """

    def __init__(
        self, measured: Measured, taste: Taste, rng: np.random.Generator, keeps_substance: bool = False
    ) -> None:
        self.measured, self.taste, self.rng, self.keeps_substance = measured, taste, rng, keeps_substance
        self.utility = utility_of(measured, taste)
        self.bias = rng.normal(0, BIAS_SD)

    def utility_of_text(self, reply: Reply, sense: float) -> float:
        """In logits, of any text: one of the bank, one that somebody wrote, or one that a new version says."""
        m = self.measured
        total = sum(
            weight * (m.attributes[name](reply) - m.mean[name]) / m.sd[name] for name, weight in self.taste.parts
        )
        return self.taste.scale * float(total + self.taste.sense * sense)

    def heard(self, shown: Shown) -> float:
        """The utility, or by a lapse that of any other reply."""
        if self.rng.random() < LAPSES:
            return float(self.utility[int(self.rng.integers(len(self.utility)))])
        return shown.utility

    def feedback(
        self, prompts: Sequence[int], pieces: int, shares: Mapping[FeedbackKind, float] = NATURAL, first: int = 0
    ) -> list[Observation]:
        """`pieces` pieces in conversations of one or two, about replies to `prompts`; numbered from `first`."""
        found: list[Observation] = []
        while len(found) < pieces:
            prompt = int(self.rng.choice(prompts))
            root = hashlib.sha256(f"{self.taste.name} {first + len(found)}".encode()).hexdigest()
            for _ in range(int(self.rng.integers(1, 3))):
                kind = self.next_kind(shares)
                number = first + len(found)
                found.append(self._piece(f"f{number:05d}", kind, prompt, root, 2 if shares is PAIRS else 4))
        return found[:pieces]

    def next_kind(self, shares: Mapping[FeedbackKind, float] = NATURAL) -> FeedbackKind:
        kinds, chances = list(shares), list(shares.values())
        return kinds[int(self.rng.choice(len(kinds), p=chances))]

    def _piece(self, name: str, kind: FeedbackKind, prompt: int, root: str, most: int) -> Observation:
        bank, m = self.measured.bank, self.measured
        rows = [int(i) for i in self.rng.permutation(m.of_prompt[prompt])]
        rows = rows[: int(self.rng.integers(2, most + 1)) if kind == "ranking" else 1]
        shown = [Shown(bank.reply(i), float(self.utility[i]), float(m.sense[i]), i) for i in rows]
        kind, replies, outcome = self.says(kind, shown)
        held_out = hashlib.sha256(root.encode()).digest()[0] < 51
        return Observation(name, kind, bank.context(rows[0]), replies, outcome, 1.0, held_out, "", root)

    def says(
        self, kind: FeedbackKind, shown: Sequence[Shown]
    ) -> tuple[FeedbackKind, tuple[Reply, ...], object]:
        """(kind, replies it is about, outcome) as an Observation has them; a ranking is of all that are shown.

        Whoever would not change a reply gives stars instead of an edit; who has no words for it, a thumb.
        """
        replies: tuple[Reply, ...] = (shown[0].reply,)
        outcome: object = None
        if kind == "edit":
            better = self._edited(shown[0])
            if better is None:
                kind = "stars"
            else:
                replies = (better, replies[0])
        if kind == "comment":
            outcome = self._comment(shown[0].reply)
            kind = "comment" if outcome else "thumb"
        if kind == "thumb":
            outcome = 1 if self.heard(shown[0]) + self.rng.logistic() > self.bias else -1
        elif kind == "stars":
            heard = self.heard(shown[0]) + self.rng.logistic() + self.bias
            outcome = 1 + int((heard > STAR_CUTS).sum())
        elif kind == "ranking":
            replies = tuple(s.reply for s in shown)
            noisy = [self.heard(s) + float(self.rng.gumbel()) for s in shown]
            outcome = tuple((int(i),) for i in np.argsort(noisy)[::-1])
        return kind, replies, outcome

    def _edited(self, shown: Shown) -> Reply | None:
        """The reply after the two changes that please this person most; None where none is worth the trouble."""
        original = reply = shown.reply
        least = self._least_words(original) if self.keeps_substance else 0.0
        for _ in range(2):
            ways = [way for way in ways_to_edit(reply) if len(known.words_of(way.text)) >= least]
            if self.rng.random() < LAPSES and ways:
                reply = ways[int(self.rng.integers(len(ways)))]
            else:
                reply = max([reply, *ways], key=lambda way: self.utility_of_text(way, shown.sense))
        gain = self.utility_of_text(reply, shown.sense) - self.utility_of_text(original, shown.sense)
        return reply if reply != original and gain > 0.5 else None

    def _least_words(self, original: Reply) -> float:
        wished = [int(name.split()[1]) for name, weight in self.taste.parts if name in known.LENGTH and weight > 0]
        return KEPT_WORDS * min([len(known.words_of(original.text)), *wished])

    def _comment(self, reply: Reply) -> str | None:
        """What this reply lacks most, where the person has words for it that say so."""
        m = self.measured

        def adds(part: tuple[str, float]) -> float:
            name, weight = part
            return weight * (m.attributes[name](reply) - m.mean[name]) / m.sd[name]

        for name, weight in sorted(self.taste.parts, key=adds):
            if name in known.LENGTH:
                target = int(name.split()[1])
                return "too long" if len(known.words_of(reply.text)) > target else "too short"
            wish = WISHES.get(name)
            if wish:
                return wish[weight < 0]
        return None


# What people say who want more of an attribute, and less of it.
WISHES: Mapping[str, tuple[str, str]] = {
    "lists": ("Use a list, please.", "No lists, please."),
    "steps": ("Explain it step by step.", "Not so many steps."),
    "emoji": ("Add an emoji!", "No emojis."),
    "closing question": ("Ask me something back.", "Don't ask me questions."),
    "examples": ("Give me an example.", "No examples needed."),
    "casual": ("More casual, please.", "Be more formal."),
    "warm": ("A bit warmer, please.", "Less gushing."),
    "comes to an end": ("It was cut off.", "Fine that it stops there."),
}


class RandomPerson(Person):
    """Somebody without any taste: whatever they say is drawn by lot.

    What they put in a reply's place is another reply of the base: one that always ended, or was always shorter than
    what it replaced, would be a taste.
    """

    def __init__(self, measured: Measured, rng: np.random.Generator) -> None:
        super().__init__(measured, Taste("at random", (), 0.0, 0.0), rng)

    def _edited(self, shown: Shown) -> Reply | None:
        assert shown.row is not None, "people at random read replies of the bank"
        others = self.measured.of_prompt[self.measured.bank.rows[shown.row].prompt]
        other = self.measured.bank.reply(int(self.rng.choice(others[others != shown.row])))
        return other if other.text != shown.reply.text else None


def utility_of(measured: Measured, taste: Taste) -> Array:
    """(N,) logits of every reply of the bank."""
    total = taste.sense * measured.sense
    for name, weight in taste.parts:
        total = total + weight * measured.values[name]
    return taste.scale * total


def scaled(measured: Measured, name: str, parts: Sequence[tuple[str, float]]) -> Taste:
    """A taste of these parts, with its share of sense, at the scale where DISAGREEING of the choices go against it."""
    mixed = utility_of(measured, Taste(name, tuple(parts), 0.0, 1.0))
    spread = measured.within(mixed).std()
    sense = float(np.sqrt(SENSE_SHARE / (1 - SENSE_SHARE)) * spread / measured.sense.std())
    differences = np.abs(measured.pair_differences(utility_of(measured, Taste(name, tuple(parts), sense, 1.0))))
    low, high = 0.0, 1e3
    for _ in range(60):
        middle = (low + high) / 2
        disagreeing = float(np.mean(1 / (1 + np.exp(np.minimum(middle * differences, 700)))))
        low, high = (middle, high) if disagreeing > DISAGREEING else (low, middle)
    return Taste(name, tuple(parts), sense, high)


def draw_taste(measured: Measured, seed: int, number: int, reported: bool, content: bool) -> Taste:
    """Person `number` of a population: for tuning or for the reported figures, half content or none.

    Every third has no attribute of length among theirs, and everybody has one attribute in which at least half of the
    replies to a prompt differ (else most of their choices would be about sense alone). The reported people also have
    the attributes that no tuning person ever has.
    """
    rng = np.random.default_rng([seed, number, int(reported), int(content)])
    style = sorted({**known.STYLE, **(known.STYLE_REPORTED_ONLY if reported else {})})
    common = [name for name in style if measured.differing[name] >= 0.5]
    names = [] if number % 3 else [str(rng.choice(common))]
    rest = [name for name in style if name not in names]
    names += [str(name) for name in rng.choice(rest, size=int(rng.integers(1, 3)), replace=False)]
    parts = [(name, float(rng.choice([-1.0, 1.0]) * rng.uniform(0.6, 1.4))) for name in names]
    if number % 3:
        parts.append((str(rng.choice(list(known.LENGTH))), float(rng.uniform(0.6, 1.4))))
    label = f"{'reported' if reported else 'tuning'} {seed} {number}"
    if not content:
        return scaled(measured, label, parts)
    topics = known.CONTENT_REPORTED_ONLY if reported else known.CONTENT
    topic = str(rng.choice(list(topics)))
    style_spread = measured.within(utility_of(measured, Taste("", tuple(parts), 0.0, 1.0))).std()
    weight = float(rng.choice([-1.0, 1.0])) * style_spread / measured.within(measured.values[topic]).std()
    return scaled(measured, f"{label} {topic}", [*parts, (topic, float(weight))])

