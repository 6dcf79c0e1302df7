"""What simulated people care for in a reply: attributes, counted by code of this file alone.

None of this is shared with the features of learner/reward: other patterns, other word lists, plain string work, and
mostly not linear in anything that a feature counts (a target length, a cap). Style attributes are about form; content
attributes are about what a reply speaks of, which no style feature is made to see.

The lists are fixed before anything is tuned with them. `TUNING` attributes may be used for choosing priors and for
learning directions of hidden states; `REPORTED_ONLY` ones (some of style, whole families of content) occur only in the
people of the reported figures.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import partial

from data.types import Reply

Attribute = Callable[[Reply], float]

_WORD = re.compile(r"[a-z']+|[\u4e00-\u9fff]")


def words_of(text: str) -> list[str]:
    """Lower-case English words; every Chinese character is one."""
    return _WORD.findall(text.lower())


def near_words(target: int, reply: Reply) -> float:
    """0 at `target` words, falling with the log of the ratio."""
    return -abs(math.log((1 + len(words_of(reply.text))) / (1 + target)))


def near_sentence(target: int, reply: Reply) -> float:
    """0 where a sentence has `target` characters on average."""
    sentences = [s for s in re.split(r"[.!?。！？]\s*", reply.text) if s.strip()]
    mean = sum(map(len, sentences)) / max(1, len(sentences))
    return -abs(math.log((1 + mean) / (1 + target)))


def rate_of(vocabulary: str, cap: float, reply: Reply) -> float:
    """Words of a list (stems end in *) per 100 words, at most `cap`."""
    words = words_of(reply.text)
    whole = {w for w in vocabulary.split() if not w.endswith("*")}
    stems = tuple(w[:-1] for w in vocabulary.split() if w.endswith("*"))
    hits = sum(w in whole or bool(stems and w.startswith(stems)) for w in words)
    return min(cap, 100 * hits / (20 + len(words)))


def list_share(reply: Reply) -> float:
    """Share of the lines that open an item, with anything that opens one."""
    lines = [line.lstrip() for line in reply.text.splitlines() if line.strip()]
    return sum(line[0] in "-*•" or line[0].isdigit() for line in lines) / max(1, len(lines))


def in_steps(reply: Reply) -> float:
    marks = ("step", "first", "then", "next", "finally", "after that", "第一", "然后", "最后")
    found = sum(mark in reply.text.lower() for mark in marks)
    return min(3.0, found + reply.text.count("\n1") + reply.text.count("\n2"))


def emoji(reply: Reply) -> float:
    return float(any(ord(c) >= 0x1F300 for c in reply.text) or ":)" in reply.text)


def closing_question(reply: Reply) -> float:
    return float("?" in reply.text[-4:] or "？" in reply.text[-4:])


def examples(reply: Reply) -> float:
    text = reply.text.lower()
    return float(min(2, sum(text.count(m) for m in ("for example", "for instance", "such as", "e.g", "例如", "比如"))))


def casual(reply: Reply) -> float:
    shortened = len(re.findall(r"[a-z][’'](?:s|re|ll|ve|d|m|t)\b", reply.text.lower()))
    slang = rate_of("gonna kinda yeah hey okay ok cool stuff guys awesome yep wow folks", 5, reply)
    return min(5.0, 100 * shortened / (20 + len(words_of(reply.text))) + slang)


def exclaims(reply: Reply) -> float:
    return float(min(3, reply.text.count("!") + reply.text.count("！")))


def paragraphs(reply: Reply) -> float:
    return float(min(5, len(re.split(r"\n\s*\n", reply.text.strip()))))


def digits(reply: Reply) -> float:
    return min(6.0, 100 * sum(c.isdigit() for c in reply.text) / (60 + len(reply.text)))


def finished(reply: Reply) -> float:
    return float(reply.finished)


def chinese(reply: Reply) -> float:
    return sum("\u4e00" <= c <= "\u9fff" for c in reply.text) / max(1, len(reply.text))


def quotes(reply: Reply) -> float:
    return float(min(4, sum(reply.text.count(c) for c in '"“「')))


LENGTH: Mapping[str, Attribute] = {f"about {n} words": partial(near_words, n) for n in (15, 30, 60, 110, 180)}
STYLE: Mapping[str, Attribute] = {
    "lists": list_share,
    "steps": in_steps,
    "emoji": emoji,
    "closing question": closing_question,
    "examples": examples,
    "casual": casual,
    "warm": partial(rate_of, "glad happy hope love* wonderful great enjoy* welcome dear thank* sorry kind* friend*", 6),
    "exclaims": exclaims,
    "speaks to me": partial(rate_of, "you your yours you're you'll you've", 12),
    "comes to an end": finished,
    "careful": partial(rate_of, "may might perhaps maybe possibl* probabl* likely seem* could often usually", 6),
}
STYLE_REPORTED_ONLY: Mapping[str, Attribute] = {
    "short sentences": partial(near_sentence, 45),
    "long sentences": partial(near_sentence, 140),
    "paragraphs": paragraphs,
    "digits": digits,
    "speaks of itself": partial(rate_of, "i i'm i'd i'll i've me my mine", 12),
    "quotes": quotes,
    "clear instructions": partial(rate_of, "must should always never need* ensure make sure use avoid keep try", 8),
}
CONTENT: Mapping[str, Attribute] = {
    "nature": partial(
        rate_of,
        "tree* plant* flower* garden* river* sea ocean* bird* animal* forest* "
        "rain* sun sky leaf leaves water",
        8,
    ),
    "food": partial(
        rate_of,
        "food* eat* cook* dish* bread tea coffee soup rice sugar salt meal* "
        "fruit* vegetable* recipe* taste* oil",
        8,
    ),
    "machines": partial(
        rate_of,
        "computer* phone* software device* machine* internet data code "
        "program* system* screen* app* electr*",
        8,
    ),
    "feelings": partial(
        rate_of, "feel* emotion* joy sad* fear* anger angry proud lonely calm peace* worr* heart stress* comfort*", 8
    ),
    "the past": partial(rate_of, "was were had did went came said saw began became felt knew once ago", 10),
    "Chinese": chinese,
}
CONTENT_REPORTED_ONLY: Mapping[str, Attribute] = {
    "money and work": partial(
        rate_of, "money pay* cost* price* job* work* business* compan* market* budget* sav* career* employ* bank*", 8
    ),
    "people": partial(
        rate_of,
        "people person family families mother* father* parent* child* friend* "
        "team* group* communit* other* we",
        8,
    ),
    "health": partial(
        rate_of, "health* body sleep* exercise* doctor* pain muscle* breath* blood disease* symptom* skin medic*", 8
    ),
    "places": partial(
        rate_of,
        "city cities town* country countries street* travel* house* home* "
        "room* world north south local place*",
        8,
    ),
    "abstract": partial(
        rate_of,
        "idea* concept* meaning* reason* understand* knowledge truth importan* "
        "essential principle* process* key",
        8,
    ),
    "time": partial(
        rate_of, "time* day* week* month* year* hour* minute* morning* night* today early late soon always", 8
    ),
}
