"""Wishes that a comment states in so many words: "shorter", "no lists please", "举个例子".

A small table of patterns, English and Chinese, maps a wish to the sign of a feature's weight. What matches
nothing stays a note. A wish is soft evidence, Gaussian on the weight. Its mean and sd are in units of the
prior's sd tau: +-1.8 and 1 make one clear comment worth a 90 % belief in the direction (1.8 / sqrt(2) = 1.27
posterior sd) and two 98 %, whatever tau is.
"""

from __future__ import annotations

import re
from typing import NamedTuple

WISH_MEAN = 1.8
WISH_SD = 1.0


class FeatureWish(NamedTuple):
    """The weight of `feature` is said to be about `mean`, give or take `sd`, in units of tau."""

    feature: str
    mean: float
    sd: float


class _Row(NamedTuple):
    """A pattern for English (between word boundaries) or Chinese (anywhere), and what it asks for."""

    english: str
    chinese: str
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()


# "no lists", "too many long lists", "without any of the emoji": up to two words may stand between
_NO = (
    r"(?:no|without|don'?t (?:use|like|want|need)|stop using|avoid|skip|drop|fewer|less|not so many"
    r"|too many|too much)(?: \w+){0,2}"
)
_MORE = r"(?:more|use|add|with|i like|i love|give me|include|love the)(?: \w+){0,2}"

_TABLE = (
    _Row(
        r"shorter(?! sentences)|too long|briefer|(?:more|be|keep it) (?:brief|concise|short|succinct)"
        r"|less wordy|too wordy|get to the point|cut it down|long-winded|rambling",
        "太长|短一点|短一些|短些|简短|简洁|精简|太啰嗦|少说",
        down=("log_length",),
    ),
    _Row(
        r"longer(?! sentences)|too short|more details?|more detailed|elaborate|in more depth|say more",
        "太短|长一点|长一些|详细|多说|展开",
        up=("log_length",),
    ),
    _Row(
        rf"{_NO} (?:bullets?|bullet points?|lists?)",
        "不要列表|别用列表|不要分点|少用列表",
        down=("bullets", "numbered_steps"),
    ),
    _Row(rf"{_MORE} (?:bullets?|bullet points?|lists?)|as a list", "用列表|列出来|分点", up=("bullets",)),
    _Row(
        r"step by step|numbered (?:steps|list)|in steps|number the steps",
        "分步骤|一步一步|按步骤",
        up=("numbered_steps", "sequence"),
    ),
    _Row(rf"{_NO} (?:headings?|headers?|titles?)", "不要标题", down=("headings",)),
    _Row(rf"{_NO} (?:emojis?|smileys?)", "不要表情|别用表情|少用表情", down=("emoji",)),
    _Row(rf"{_MORE} (?:emojis?|smileys?)", "多用表情|加表情|用些表情", up=("emoji",)),
    _Row(rf"{_NO} exclamation (?:marks?|points?)", "不要感叹号", down=("exclamations",)),
    _Row(
        r"simpler|simple words|plain(?:er)? (?:words|language|english)|easier words"
        r"|too (?:complicated|technical)|less jargon|no jargon",
        "简单点|简单一点|简单一些|通俗|太复杂|太专业",
        down=("long_words", "sentence_length"),
    ),
    _Row(r"shorter sentences|sentences are too long", "句子太长|短句", down=("sentence_length",)),
    _Row(
        r"more formal|too casual|be formal|more professional|too informal",
        "正式一点|正式一些|太随便|更正式",
        up=("formal",),
        down=("casual", "contractions"),
    ),
    _Row(
        r"less formal|more casual|too formal|too stiff|more relaxed|be casual",
        "随意一点|轻松一点|太正式|口语",
        up=("casual", "contractions"),
        down=("formal",),
    ),
    _Row(
        r"warmer|friendlier|more friendly|kinder|too cold|more empathy|more empathetic|nicer",
        "温暖|亲切|友好一点|太冷",
        up=("warmth",),
    ),
    _Row(
        rf"an example|examples? please|{_MORE} examples?", "举个例子|举例|举些例子|多些例子", up=("examples",)
    ),
    _Row(rf"{_NO} examples", "不要举例|不要例子", down=("examples",)),
    _Row(
        rf"don'?t ask|stop asking|{_NO} questions?",
        "不要反问|不要提问|别问",
        down=("closing_question", "questions"),
    ),
    _Row(
        r"ask me|end with a question|ask (?:a )?(?:follow-up )?questions?",
        "反问我|问我问题|以问题结尾",
        up=("closing_question",),
    ),
    _Row(r"stop repeating|repetitive|repeats itself|don'?t repeat", "重复", down=("repetition",)),
    _Row(
        r"cut off|unfinished|not finished|incomplete|stops in the middle",
        "没说完|没写完|不完整|被截断",
        up=("finished",),
    ),
    _Row(r"in chinese|use chinese", "用中文|说中文|中文回答", up=("chinese",)),
    _Row(r"in english|use english", "用英文|说英文|用英语", down=("chinese",)),
    _Row(
        r"more direct|less hedging|stop hedging|be decisive|wishy-washy",
        "直接一点|别模棱两可",
        down=("hedges",),
    ),
    _Row(rf"{_NO} (?:warnings|disclaimers?)", "不要免责", down=("disclaimers",)),
)
_COMPILED = tuple((re.compile(rf"\b(?:{row.english})\b|{row.chinese}"), row) for row in _TABLE)
# what stands right before a wish and takes it back
_DENIAL = re.compile(
    r"(?:\bdon'?t(?: make it)?|\bstop|\bnot|\bisn'?t|\bnever|\bno need to be|不要|不用|不必|别|不)\s*$"
)


def wishes_in(comment: str) -> list[FeatureWish]:
    """What the comment wishes, feature by feature; empty where it says nothing the table knows.

    A denied wish ("not shorter") is none, and a feature that is wished both ways is left out.
    """
    text = comment.lower().replace("’", "'")
    signs: dict[str, set[int]] = {}
    for pattern, row in _COMPILED:
        match = pattern.search(text)
        if match is None or _DENIAL.search(text[: match.start()]):
            continue
        for names, sign in ((row.up, 1), (row.down, -1)):
            for name in names:
                signs.setdefault(name, set()).add(sign)
    return [
        FeatureWish(name, WISH_MEAN * next(iter(found)), WISH_SD)
        for name, found in signs.items()
        if len(found) == 1
    ]
