"""Does a version still do as it is told? Prompts of IFEval (Zhou et al. 2023), with checkers written here.

A prompt asks for things that a program can check: words, paragraphs, endings, formats. Those whose check would need a
model or a download (language, sentence splitting) are left out, and the prompts that ask for them. The prompts are
read from `prompts/ifeval_input_data.jsonl` of the folder that `--data` names, or ../shared/data; nothing of them is
part of the project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.home import CHECKOUT

FILE = Path("prompts") / "ifeval_input_data.jsonl"
PROMPTS = 240
Wanted = Mapping[str, Any]
Check = Callable[[str, Wanted], bool]


@dataclass(frozen=True)
class Instructed:
    prompt: str
    instructions: tuple[tuple[str, Wanted], ...]

    def followed(self, reply: str) -> float:
        """Share of the instructions that a reply follows; an empty one follows none."""
        if not reply.strip():
            return 0.0
        return sum(CHECKS[name](reply, wanted) for name, wanted in self.instructions) / len(self.instructions)


def instructed(data: str | None, count: int = PROMPTS) -> list[Instructed]:
    """The first `count` prompts whose instructions can all be checked here; none where the file is not there."""
    path = (Path(data) if data else CHECKOUT.parent / "shared" / "data") / FILE
    if not path.is_file():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        named = tuple(zip(row["instruction_id_list"], row["kwargs"], strict=True))
        if all(name in CHECKS for name, _ in named):
            found.append(Instructed(row["prompt"], named))
    return found[:count]


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def compared(count: int, wanted: Wanted, key: str, relation: str = "relation") -> bool:
    """`wanted[relation]` is "at least" or "less than"."""
    return count < wanted[key] if wanted[relation] == "less than" else count >= wanted[key]


def occurrences(keyword: str, text: str) -> int:
    return len(re.findall(rf"\b{re.escape(keyword)}\b", text, re.IGNORECASE))


def paragraphs(text: str, divider: str = r"\n\s*\n") -> list[str]:
    return [part.strip() for part in re.split(divider, text) if part.strip()]


def is_json(text: str) -> bool:
    inner = re.sub(r"^```(?:json)?|```$", "", text.strip(), flags=re.IGNORECASE).strip()
    try:
        json.loads(inner)
    except ValueError:
        return False
    return True


def first_word_of_paragraph(text: str, wanted: Wanted) -> bool:
    parts = paragraphs(text)
    if len(parts) != wanted["num_paragraphs"] or wanted["nth_paragraph"] > len(parts):
        return False
    found = words(parts[wanted["nth_paragraph"] - 1])
    return bool(found) and found[0].lower() == str(wanted["first_word"]).lower()


def two_responses(text: str, wanted: Wanted) -> bool:
    parts = [part.strip() for part in text.split("******")]
    return len(parts) == 2 and all(parts) and parts[0] != parts[1]


def letters(text: str, wanted: Wanted) -> bool:
    return compared(text.lower().count(str(wanted["letter"]).lower()), wanted, "let_frequency", "let_relation")


def shouted(text: str, wanted: Wanted) -> bool:
    return compared(
        sum(word.isupper() for word in words(text)), wanted, "capital_frequency", "capital_relation"
    )


CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
CHECKS: Mapping[str, Check] = {
    "punctuation:no_comma": lambda t, w: "," not in t,
    "length_constraints:number_words": lambda t, w: compared(len(words(t)), w, "num_words"),
    "length_constraints:number_paragraphs": lambda t, w: len(paragraphs(t, r"\s?\*\*\*\s?")) == w["num_paragraphs"],
    "length_constraints:nth_paragraph_first_word": first_word_of_paragraph,
    "keywords:existence": lambda t, w: all(occurrences(k, t) for k in w["keywords"]),
    "keywords:forbidden_words": lambda t, w: not any(occurrences(k, t) for k in w["forbidden_words"]),
    "keywords:frequency": lambda t, w: compared(occurrences(w["keyword"], t), w, "frequency"),
    "keywords:letter_frequency": letters,
    "detectable_format:number_highlighted_sections": lambda t, w: len(
        re.findall(r"\*\*[^\n*]+\*\*|\*[^\n*]+\*", t)
    ) >= w["num_highlights"],
    "detectable_format:number_bullet_lists": lambda t, w: len(
        re.findall(r"^\s*[*-]\s", t, re.MULTILINE)
    ) == w["num_bullets"],
    "detectable_format:title": lambda t, w: bool(re.search(r"<<[^\n<>]*\S[^\n<>]*>>", t)),
    "detectable_format:json_format": lambda t, w: is_json(t),
    "detectable_format:multiple_sections": lambda t, w: len(
        re.findall(rf"\s?{re.escape(w['section_spliter'])}\s?\d+", t)
    ) >= w["num_sections"],
    "detectable_format:constrained_response": lambda t, w: any(answer in t for answer in CONSTRAINED),
    "detectable_content:number_placeholders": lambda t, w: len(re.findall(r"\[.*?\]", t)) >= w["num_placeholders"],
    "detectable_content:postscript": lambda t, w: w["postscript_marker"].lower() in t.lower(),
    "combination:repeat_prompt": lambda t, w: t.strip().lower().startswith(w["prompt_to_repeat"].strip().lower()),
    "combination:two_responses": two_responses,
    "startend:quotation": lambda t, w: len(t.strip()) > 1 and t.strip()[0] == t.strip()[-1] == '"',
    "startend:end_checker": lambda t, w: t.strip().strip('"').lower().endswith(w["end_phrase"].strip().lower()),
    "change_case:english_lowercase": lambda t, w: t == t.lower(),
    "change_case:english_capital": lambda t, w: t == t.upper(),
    "change_case:capital_word_frequency": shouted,
}  # fmt: skip


def share_followed(asked: Sequence[Instructed], replies: Sequence[str]) -> list[float]:
    return [one.followed(reply) for one, reply in zip(asked, replies, strict=True)]
