"""What is said of a taste, in English and Chinese: one row a feature."""

from __future__ import annotations

from typing import Literal, NamedTuple

Language = Literal["en", "zh"]


class Words(NamedTuple):
    """How a feature is spoken of when its weight is positive, and when it is negative."""

    more: str
    less: str


PHRASES: dict[Language, dict[str, Words]] = {
    "en": {
        "log_length": Words("prefers longer replies", "prefers shorter replies"),
        "sentence_length": Words("prefers longer sentences", "prefers shorter sentences"),
        "paragraphs": Words("prefers text in several paragraphs", "prefers text in one piece"),
        "bullets": Words("likes bullet lists", "dislikes bullet lists"),
        "numbered_steps": Words("likes numbered steps", "dislikes numbered steps"),
        "headings": Words("likes headings", "dislikes headings"),
        "emphasis": Words("likes words set in bold", "dislikes words set in bold"),
        "code": Words("likes code in replies", "would rather have no code"),
        "emoji": Words("likes emoji", "dislikes emoji"),
        "exclamations": Words("likes exclamation marks", "dislikes exclamation marks"),
        "closing_question": Words("likes a question at the end", "dislikes a question at the end"),
        "questions": Words("likes being asked on the way", "dislikes questions in the middle"),
        "second_person": Words("likes being addressed", "prefers not being addressed"),
        "first_person": Words("likes replies that say I or we", "dislikes replies that say I or we"),
        "hedges": Words("prefers careful wording (might, usually)", "prefers definite statements"),
        "formal": Words("prefers formal wording", "dislikes formal wording"),
        "casual": Words("prefers casual wording", "dislikes casual wording"),
        "contractions": Words("likes contractions (it's, don't)", "dislikes contractions (it's, don't)"),
        "long_words": Words("is fine with long words", "prefers simple words"),
        "warmth": Words("likes warm words", "prefers a sober tone"),
        "intensifiers": Words("likes strong words (very, amazing)", "dislikes strong words (very, amazing)"),
        "greeting": Words("likes a friendly opening", "prefers no pleasantries at the start"),
        "closing_offer": Words("likes an offer of help at the end", "prefers no offer of help at the end"),
        "examples": Words("likes examples", "prefers no examples"),
        "figures": Words("likes figures", "prefers few figures"),
        "clauses": Words("likes sentences with several clauses", "prefers plain sentences"),
        "asides": Words("likes asides in brackets or dashes", "dislikes asides in brackets or dashes"),
        "quotations": Words("likes quotations", "prefers no quotation marks"),
        "directives": Words("likes being told what to do", "dislikes being told what to do"),
        "disclaimers": Words("accepts disclaimers", "dislikes disclaimers"),
        "reasons": Words("likes reasons", "prefers no reasons"),
        "sequence": Words("likes things told in order (first, then)", "dislikes first-then-finally wording"),
        "imagery": Words("likes images and stories", "prefers literal wording"),
        "chinese": Words("prefers Chinese", "prefers no Chinese"),
        "other_language": Words(
            "is fine with another language than the question's", "wants the language of the question"
        ),
        "repetition": Words("does not mind repetition", "dislikes repetition"),
        "echo": Words("likes replies that take up the question's words", "dislikes the question repeated"),
        "finished": Words("prefers replies that come to an end", "does not mind replies that are cut off"),
    },
    "zh": {
        "log_length": Words("喜欢更长的回复", "喜欢更短的回复"),
        "sentence_length": Words("喜欢长句", "喜欢短句"),
        "paragraphs": Words("喜欢分成几段的文字", "喜欢不分段的文字"),
        "bullets": Words("喜欢项目列表", "不喜欢项目列表"),
        "numbered_steps": Words("喜欢编号的步骤", "不喜欢编号的步骤"),
        "headings": Words("喜欢标题", "不喜欢标题"),
        "emphasis": Words("喜欢加粗的词", "不喜欢加粗的词"),
        "code": Words("喜欢回复里有代码", "不希望有代码"),
        "emoji": Words("喜欢表情符号", "不喜欢表情符号"),
        "exclamations": Words("喜欢感叹号", "不喜欢感叹号"),
        "closing_question": Words("喜欢以提问结尾", "不喜欢以提问结尾"),
        "questions": Words("喜欢中途被提问", "不喜欢中途的提问"),
        "second_person": Words("喜欢被直接称呼", "不喜欢被直接称呼"),
        "first_person": Words("喜欢用“我”“我们”的回复", "不喜欢用“我”“我们”的回复"),
        "hedges": Words("喜欢谨慎的说法（也许、通常）", "喜欢肯定的说法"),
        "formal": Words("喜欢正式的用词", "不喜欢正式的用词"),
        "casual": Words("喜欢随意的用词", "不喜欢随意的用词"),
        "contractions": Words("喜欢缩写（it's、don't）", "不喜欢缩写（it's、don't）"),
        "long_words": Words("不介意长词", "喜欢简单的词"),
        "warmth": Words("喜欢温暖的话", "喜欢冷静的语气"),
        "intensifiers": Words("喜欢强烈的词（非常、极其）", "不喜欢强烈的词（非常、极其）"),
        "greeting": Words("喜欢友好的开场", "不喜欢开头的客套"),
        "closing_offer": Words("喜欢结尾主动提出帮忙", "不希望结尾主动提出帮忙"),
        "examples": Words("喜欢举例", "不喜欢举例"),
        "figures": Words("喜欢数字", "喜欢少用数字"),
        "clauses": Words("喜欢多分句的句子", "喜欢简单的句子"),
        "asides": Words("喜欢括号或破折号里的插话", "不喜欢括号或破折号里的插话"),
        "quotations": Words("喜欢引语", "不喜欢引号"),
        "directives": Words("喜欢直接告诉怎么做", "不喜欢被告知怎么做"),
        "disclaimers": Words("接受免责声明", "不喜欢免责声明"),
        "reasons": Words("喜欢说明理由", "不需要说明理由"),
        "sequence": Words("喜欢按顺序讲述（首先、然后）", "不喜欢“首先、最后”这类说法"),
        "imagery": Words("喜欢比喻和故事", "喜欢直白的说法"),
        "chinese": Words("喜欢中文", "不喜欢中文"),
        "other_language": Words("不介意用与提问不同的语言", "希望用提问的语言回答"),
        "repetition": Words("不介意重复", "不喜欢重复"),
        "echo": Words("喜欢回复重提问题中的词", "不喜欢重复问题"),
        "finished": Words("喜欢有结尾的回复", "不介意回复被截断"),
    },
}
# Said of a length that is liked best, where neither the shortest nor the longest is.
BEST_LENGTH: dict[Language, str] = {
    "en": "likes replies of about {words} words best",
    "zh": "最喜欢约 {words} 词的回复",
}
SENTENCES: dict[Language, tuple[str, str]] = {
    "en": ("{phrase}, {percent} % sure, from {ratings} ratings", "{phrase}, {percent} % sure, from 1 rating"),
    "zh": ("{phrase}，{percent}% 把握，来自 {ratings} 条评价", "{phrase}，{percent}% 把握，来自 1 条评价"),
}


def phrase(feature: str, weight: float, best_words: int | None, language: Language) -> str:
    """What is said of liking (weight above 0) or disliking a feature; one without words there is named as it is."""
    if best_words is not None:
        return BEST_LENGTH[language].format(words=best_words)
    words = PHRASES[language].get(feature, Words(f"likes more {feature}", f"likes less {feature}"))
    return words.more if weight > 0 else words.less
