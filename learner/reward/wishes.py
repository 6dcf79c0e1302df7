"""Wishes that a comment states in so many words: "shorter", "no lists please", "举个例子".

A small table of patterns, English and Chinese, maps a wish to the sign of a feature's weight. What matches
nothing stays a note. A wish is soft evidence, Gaussian with mean +-WISH_MEAN and sd WISH_SD on the weight:
with the prior's tau it makes one clear comment worth a 90 % belief in the direction, two 97 %.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WISH_MEAN = 0.8
WISH_SD = 0.4


class FeatureWish(NamedTuple):
    """The weight of `feature` is said to be about `mean`, give or take `sd`."""

    feature: str
    mean: float
    sd: float


_NO = r"(?:no|without|don'?t (?:use|like|want|need)|stop using|avoid|skip|drop|fewer|less|not so many|too many|too much)"
_MORE = r"(?:more|please use|use|add|with|with more|i like|love the|give me|include)"
_FILL = r"(?: \w+){0,2}"

# (pattern, features that go up, features that go down). The first column is searched in lower-case text.
_TABLE: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    (r"\b(?:shorter|too long|(?:more )?(?:brief|concise)|briefer|less wordy|too wordy|get to the point|keep it short"
     r"|be short|cut it down|long-winded|rambling)\b|太长|短一点|短一些|短些|简短|简洁|精简|太啰嗦|少说",
     (), ("log_length",)),
    (r"\b(?:longer|too short|more details?|more detailed|elaborate|in more depth|too brief|say more)\b"
     r"|太短|长一点|长一些|详细|多说|展开", ("log_length",), ()),
    (rf"\b{_NO}{_FILL} (?:bullets?|bullet points?|lists?)\b|不要列表|别用列表|不要分点|少用列表", (), ("bullets", "numbered_steps")),
    (rf"\b{_MORE}{_FILL} (?:bullets?|bullet points?|lists?)\b|\bas a list\b|用列表|列出来|分点", ("bullets",), ()),
    (r"\b(?:step by step|numbered (?:steps|list)|in steps|number the steps)\b|分步骤|一步一步|按步骤", ("numbered_steps", "sequence"), ()),
    (rf"\b{_NO}{_FILL} (?:headings?|headers?|titles?)\b|不要标题", (), ("headings",)),
    (rf"\b{_NO}{_FILL} (?:emojis?|smileys?)\b|不要表情|别用表情|少用表情", (), ("emoji",)),
    (rf"\b{_MORE}{_FILL} (?:emojis?|smileys?)\b|多用表情|加表情|用表情", ("emoji",), ()),
    (rf"\b{_NO}{_FILL} exclamation (?:marks?|points?)\b|不要感叹号", (), ("exclamations",)),
    (r"\b(?:simpler|simple words|plain(?:er)? (?:words|language|english)|easier words|too (?:complicated|technical)|less jargon"
     r"|no jargon)\b|简单点|简单一点|简单一些|通俗|太复杂|太专业", (), ("long_words", "sentence_length")),
    (r"\b(?:shorter sentences|sentences are too long)\b|句子太长|短句", (), ("sentence_length",)),
    (r"\b(?:more formal|too casual|be formal|more professional|too informal)\b|正式一点|正式一些|太随便|更正式",
     ("formal",), ("casual", "contractions")),
    (r"\b(?:less formal|more casual|too formal|too stiff|more relaxed|be casual|informal)\b|随意一点|轻松一点|太正式|口语",
     ("casual", "contractions"), ("formal",)),
    (r"\b(?:warmer|friendlier|more friendly|kinder|too cold|more empathy|more empathetic|nicer)\b|温暖|亲切|友好一点|太冷",
     ("warmth",), ()),
    (rf"\b(?:more examples?|an example|give (?:me )?examples?|{_MORE} examples?)\b|举个例子|举例|多举例|例子", ("examples",), ()),
    (rf"\b{_NO}{_FILL} examples\b|不要举例|不要例子", (), ("examples",)),
    (rf"\b(?:don'?t ask|stop asking|no (?:closing |follow-up )?questions?|{_NO}{_FILL} questions)\b|不要反问|不要提问|别问", (),
     ("closing_question", "questions")),
    (r"\b(?:ask me|end with a question|ask (?:a )?(?:follow-up )?questions?)\b|问我|反问我|以问题结尾", ("closing_question",), ()),
    (r"\b(?:stop repeating|repetitive|repeats itself|too repetitive|don'?t repeat)\b|重复", (), ("repetition",)),
    (r"\b(?:cut off|unfinished|not finished|incomplete|stops in the middle)\b|没说完|没写完|不完整|被截断", ("finished",), ()),
    (r"\b(?:in chinese|use chinese|answer in chinese)\b|用中文|说中文|中文回答", ("chinese",), ()),
    (r"\b(?:in english|use english|answer in english)\b|用英文|说英文|用英语", (), ("chinese",)),
    (r"\b(?:more direct|less hedging|stop hedging|be decisive|commit to|wishy-washy)\b|直接一点|别模棱两可", (), ("hedges",)),
    (rf"\b(?:no disclaimers?|{_NO}{_FILL} (?:warnings|disclaimers))\b|不要免责", (), ("disclaimers",)),
)  # fmt: skip

_COMPILED = tuple((re.compile(pattern), up, down) for pattern, up, down in _TABLE)
_OPPOSITES = ("don't make it ", "not ", "isn't ", "不要", "不用", "别")


def wishes_in(comment: str) -> list[FeatureWish]:
    """What the comment wishes, feature by feature; empty where it says nothing the table knows.

    A feature that is wished both ways ("shorter, but longer sentences are fine") is left out.
    """
    text = comment.lower().replace("’", "'")
    signs: dict[str, set[int]] = {}
    for pattern, up, down in _COMPILED:
        match = pattern.search(text)
        if match is None:
            continue
        sign = -1 if text[: match.start()].endswith(_OPPOSITES) else 1
        for features, direction in ((up, sign), (down, -sign)):
            for feature in features:
                signs.setdefault(feature, set()).add(direction)
    return [
        FeatureWish(feature, WISH_MEAN * next(iter(directions)), WISH_SD)
        for feature, directions in signs.items()
        if len(directions) == 1
    ]
