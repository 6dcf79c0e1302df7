"""Style features phi(x, y) of a reply: a few dozen numbers that a person could check by reading.

English and Chinese alike: length counts word units (a Chinese character or Japanese kana is one, and so is a
word of any other script), sentence ends and lists are known in both, word lists (lexicon.py) have both.
Everything is plain text work, far below a millisecond a reply; nothing here knows a model.

`features` gives raw numbers in natural units; `centred` turns them into what the reward model takes:
differences from what the base would have said to the same prompt, in population standard deviations.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import log1p

import numpy as np
import numpy.typing as npt

from data.types import Reply, Turn
from learner.reward import lexicon
from learner.reward.population import MEASURED, NOTICEABLE

Array = npt.NDArray[np.float64]

FEATURE_NAMES: tuple[str, ...] = tuple(NOTICEABLE)
_MEASURED = np.array([MEASURED.get(name, (0.0, 1.0, 1.0, 1.0)) for name in FEATURE_NAMES])
FEATURE_MEANS: Array = _MEASURED[:, 0]  # (F,) of base replies
FEATURE_SCALES: Array = np.maximum(_MEASURED[:, 1], list(NOTICEABLE.values()))  # (F,)
CENTRING_STRENGTH: Array = _MEASURED[:, 2]  # (F,) in base replies
WEIGHT_SD: Array = _MEASURED[:, 3]  # (F,) of people's weights, relative to each other
CLIP = 5.0  # no reply counts as further from the base than this many population sd in any feature

# Hinges: features that grow on one side of a number of words alone. A sum of them has a best length, a slope has none.
# Below SHORTEST_WORDS only the hinge of its own counts. One reply in sixteen of the base is as short, too few to be
# rated: a slope that went on there would promise more for ever fewer words, and policy optimisation would take it.
SHORTEST_WORDS = 20
BRIEF_WORDS = 40  # "brevity" grows below it, down to SHORTEST_WORDS
LONG_REPLIES = (80, 130)
LONG_SENTENCES = (12, 20)
CONTRASTED_REPLIES = (30, 120)  # words of the short and the long reply
CONTRASTED_SENTENCES = (8, 25)
_SHORT_HINGE = f"under_{SHORTEST_WORDS}_words"
_LONG_HINGES = tuple(f"over_{n}_words" for n in LONG_REPLIES)
REPLY_HINGES = (_SHORT_HINGE, "brevity", *_LONG_HINGES)
SENTENCE_HINGES = tuple(f"over_{n}_word_sentences" for n in LONG_SENTENCES)
_RATE_PRIOR = 30.0  # words added to the denominator of a rate, so that one word in five is not "20 %"

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNIT = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:['\-][^\W_{_CJK}]+)*")
_CJK_CHAR = re.compile(rf"[{_CJK}]")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_INLINE_CODE = re.compile(r"`[^`\n]+`")
# Only from the first of a run of marks: trying each of 200,000 dots again would take minutes.
_SENTENCE_END = re.compile(r"(?<![.!?])[.!?]++[\"')\]*_]*+(?=\s|$)|[。！？…]+|\n+")
_BULLET = re.compile(r"^[ \t]*(?:[-*+•·●▪–][ \t]+)", re.MULTILINE)
_NUMBERED = re.compile(
    r"^[ \t]*(?:\*\*)?(?:\d{1,2}[.)、:]|[(（]\d{1,2}[)）]|[Ss]tep \d{1,2}\b|[一二三四五六七八九十]{1,2}、)",
    re.MULTILINE,
)
_HEADING = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t].*|\*\*[^*\n]{1,60}\*\*:?|[^\n.!?。！？]{1,60}[:：])[ \t]*$", re.MULTILINE
)
_EMPHASIS = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__|(?<![\w*])\*[^*\s][^*\n]*\*(?![\w*])")
_EMOJI = re.compile(
    "[\U0001f300-\U0001f3fa\U0001f400-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]|(?<!\\S)[:;]-?[)(DPp](?!\\w)"
)
_CLOSING_NOISE = " \t\r\n*_\"'”’)）」』~～"
_S_CONTRACTIONS = frozenset(
    ("it's", "that's", "there's", "here's", "what's", "let's", "he's", "she's", "who's")
)
_SINGLE = {
    name: frozenset(p for p in phrases if " " not in p) for name, phrases in lexicon.ENGLISH.items()
}
_PHRASES = {
    name: tuple(f" {p} " for p in phrases if " " in p) for name, phrases in lexicon.ENGLISH.items()
}
_CATEGORIES_OF: dict[str, tuple[str, ...]] = {
    word: tuple(name for name, words in _SINGLE.items() if word in words)
    for word in frozenset().union(*_SINGLE.values())
}


def names_of(features: int) -> tuple[str, ...]:
    """Names of that many features: the style features', or numbers where they are other ones."""
    return FEATURE_NAMES if features == len(FEATURE_NAMES) else tuple(map(str, range(features)))


def word_units(text: str) -> list[str]:
    """Lower-case word units in order; a Chinese character or a kana is a unit of its own."""
    return _UNIT.findall(text.replace("’", "'").lower())


def features(context: Sequence[Turn], reply: Reply) -> Array:
    """Raw features (F,) of one reply, in the order of FEATURE_NAMES; an empty reply is allowed."""
    values = _structure(reply.text)
    values.update(_language(context, reply.text))
    values["finished"] = float(reply.finished)
    return np.array([values[name] for name in FEATURE_NAMES], dtype=np.float64)


def features_of(context: Sequence[Turn], replies: Sequence[Reply]) -> Array:
    """Raw features (k, F) of several replies to one context."""
    if not replies:
        return np.zeros((0, len(FEATURE_NAMES)))
    return np.stack([features(context, reply) for reply in replies])


def centred(phi: Array, base_phi: Array) -> Array:
    """Features as the reward model takes them: difference from the base's replies, in population sd.

    phi: (F,) or (N, F) raw features of replies to one prompt; base_phi: (k, F) raw features of what the base
    said to it, k may be 0. Two or four base replies give a noisy mean, so it is shrunk towards the population
    mean, feature by feature: (sum of base_phi + strength * population mean) / (k + strength).
    Clipped to +-CLIP. Returns the shape of phi.
    """
    k = base_phi.shape[0]
    centre = (base_phi.sum(axis=0) + CENTRING_STRENGTH * FEATURE_MEANS) / (k + CENTRING_STRENGTH)
    clipped: Array = np.clip((phi - centre) / FEATURE_SCALES, -CLIP, CLIP)
    return clipped


def uncentred(contexts: Sequence[Sequence[Turn]], replies: Sequence[Reply]) -> Array:
    """Features (N, F) in population standard deviations from the population's mean."""
    nothing = np.zeros((0, len(FEATURE_NAMES)))
    raw = [features(context, reply) for context, reply in zip(contexts, replies, strict=True)]
    return centred(np.array(raw).reshape(-1, len(FEATURE_NAMES)), nothing)


def length_features(words: int) -> Array:
    """(F,) what a reply's number of words alone adds to its scaled features."""
    return _scaled(_reply_length(words))


def length_slope() -> Array:
    """(F,) weights on scaled features: the log of a reply's number of words, also below SHORTEST_WORDS.

    In units of the scale of `log_length`.
    """
    raw = np.array([{"log_length": 1.0, _SHORT_HINGE: -1.0}.get(name, 0.0) for name in FEATURE_NAMES])
    slope: Array = raw * FEATURE_SCALES / FEATURE_SCALES[FEATURE_NAMES.index("log_length")]
    return slope


def sentence_features(words: float) -> Array:
    """(F,) what a mean sentence length alone adds to a reply's scaled features."""
    return _scaled(_sentence_length(words))


def contrast(feature: str) -> Array:
    """(F,) difference in scaled features between a reply that has more of something and one that has less.

    For most features that is the feature alone; for the two lengths, which are a slope and hinges, a long reply against
    a short one. What is said of a person, and what they say in words, is about contrasts.
    """
    if feature == "log_length":
        shorter, longer = CONTRASTED_REPLIES
        return length_features(longer) - length_features(shorter)
    if feature == "sentence_length":
        shorter, longer = CONTRASTED_SENTENCES
        return sentence_features(longer) - sentence_features(shorter)
    return np.array([float(name == feature) for name in FEATURE_NAMES])


def _scaled(values: dict[str, float]) -> Array:
    return np.array([values.get(name, 0.0) for name in FEATURE_NAMES]) / FEATURE_SCALES


def _reply_length(words: int) -> dict[str, float]:
    """Slope and hinges; features that grow on one side of a number of words alone."""
    length = log1p(max(words, SHORTEST_WORDS))
    hinges = zip(_LONG_HINGES, LONG_REPLIES, strict=True)
    return {
        "log_length": length,
        _SHORT_HINGE: length - log1p(words),
        "brevity": max(0.0, log1p(BRIEF_WORDS) - length),
        **{name: max(0.0, length - log1p(n)) for name, n in hinges},
    }


def _sentence_length(words: float) -> dict[str, float]:
    """The same of the mean sentence."""
    length = log1p(words)
    hinges = zip(SENTENCE_HINGES, LONG_SENTENCES, strict=True)
    return {"sentence_length": length, **{name: max(0.0, length - log1p(n)) for name, n in hinges}}


def _structure(text: str) -> dict[str, float]:
    """Layout and punctuation: what can be seen without reading the words."""
    code_chars = sum(len(m) for m in _FENCE.findall(text))
    prose = _FENCE.sub("\n", text)
    code_chars += sum(len(m) for m in _INLINE_CODE.findall(prose))
    bullets, numbered = len(_BULLET.findall(prose)), len(_NUMBERED.findall(prose))
    headings, emphasis = len(_HEADING.findall(prose)), len(_EMPHASIS.findall(prose))
    plain = _NUMBERED.sub("", _BULLET.sub("", prose))
    units = len(_UNIT.findall(text))
    pieces = [p for p in _SENTENCE_END.split(plain) if _UNIT.search(p)]
    sentences = max(1, len(pieces))
    closing = text.rstrip(_CLOSING_NOISE)
    closing = _EMOJI.sub("", closing[-12:]).rstrip(_CLOSING_NOISE)
    ends_with_question = closing.endswith(("?", "？"))
    questions = text.count("?") + text.count("？") - ends_with_question
    commas = sum(text.count(c) for c in ",;，；、")
    dashes = text.count(" - ") + text.count("—") + text.count(" – ")
    quotes = text.count('"') + text.count("“") + text.count("”") + text.count("「") + text.count("《")
    return {
        **_reply_length(units),
        **_sentence_length(len(_UNIT.findall(plain)) / sentences),
        "paragraphs": log1p(sum(1 for p in text.split("\n\n") if p.strip())),
        "bullets": log1p(bullets),
        "numbered_steps": log1p(numbered),
        "headings": log1p(headings),
        "emphasis": log1p(emphasis),
        "code": min(1.0, code_chars / max(1, len(text))),
        "emoji": log1p(len(_EMOJI.findall(text))),
        "exclamations": (text.count("!") + text.count("！")) / (sentences + 2),
        "closing_question": float(ends_with_question),
        "questions": max(0, questions) / (sentences + 2),
        "clauses": log1p(commas / sentences),
        "asides": 100 * (text.count("(") + text.count("（") + dashes) / (units + _RATE_PRIOR),
        "quotations": 100 * quotes / (units + _RATE_PRIOR),
    }


def _language(context: Sequence[Turn], text: str) -> dict[str, float]:
    """Choice of words, script, repetition, and how much of the question comes back."""
    units = word_units(text)
    n = len(units)
    per_100 = 100 / (n + _RATE_PRIOR)
    counts = _lexicon_counts(units, text)
    chinese = sum(1 for u in units if len(u) == 1 and _CJK_CHAR.match(u))
    letters = [u for u in units if len(u) > 1 and not u[0].isdigit()]
    question = next((turn.content for turn in reversed(context) if turn.role == "user"), "")
    asked = word_units(question)
    asked_chinese = sum(1 for u in asked if len(u) == 1 and _CJK_CHAR.match(u))
    share, asked_share = chinese / max(1, n), asked_chinese / max(1, len(asked))
    grams = [tuple(units[i : i + 3]) for i in range(n - 2)]
    content = {u for u in asked if len(u) > 3 or _CJK_CHAR.match(u)}
    contractions = sum(1 for u in letters if "'" in u and (u[-2:] != "'s" or u in _S_CONTRACTIONS))
    start = " ".join(word_units(text[:60])[:6]) + " "
    compact = text[:20].strip()  # Chinese openings have no spaces between their words
    tail = " ".join(word_units(text[-220:]))
    return {
        **{name: per_100 * counts[name] for name in _RATES},
        **{name: log1p(counts[name]) for name in _COUNTS},
        "contractions": per_100 * contractions,
        "long_words": sum(1 for u in letters if len(u) >= 8) / (len(letters) + 10.0),
        "figures": per_100 * sum(1 for u in units if u[0].isdigit()),
        "greeting": float(any(start.startswith(p + " ") or compact.startswith(p) for p in lexicon.GREETINGS)),
        "closing_offer": float(any(p in tail or p in text[-80:] for p in lexicon.CLOSING_OFFERS)),
        "chinese": share,
        "other_language": abs(share - asked_share) if n and asked else 0.0,
        "repetition": 1 - len(set(grams)) / len(grams) if grams else 0.0,
        "echo": len(content & set(units)) / len(content) if content else 0.0,
    }


_COUNTS = ("examples", "disclaimers", "reasons", "sequence", "imagery")
_RATES = tuple(name for name in lexicon.ENGLISH if name not in _COUNTS)


def _lexicon_counts(units: list[str], text: str) -> dict[str, int]:
    """How often each category of lexicon.py occurs."""
    counts = dict.fromkeys(lexicon.ENGLISH, 0)
    for unit in units:
        for name in _CATEGORIES_OF.get(unit, ()):
            counts[name] += 1
    joined = f" {' '.join(units)} "
    for name, phrases in _PHRASES.items():
        counts[name] += sum(joined.count(phrase) for phrase in phrases)
    if _CJK_CHAR.search(text):
        for name, phrases in lexicon.CHINESE.items():
            counts[name] += sum(text.count(phrase) for phrase in phrases)
    return counts
