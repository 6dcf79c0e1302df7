"""Every text of the page has its Chinese, and says the same things in it."""

from __future__ import annotations

import json
import re

from assistant.page.component import STATIC
from data.quality import WHY

TABLE: dict[str, str] = json.loads((STATIC / "zh.json").read_text(encoding="utf-8"))
TEXT = r'"((?:[^"\\]|\\.)*)"'
# Constants whose texts go through t() or said() where they are drawn.
TABLES = (
    "EXAMPLES", "STAR_NAMES", "ENDINGS", "KINDS", "CODES", "SECTIONS", "STATUS", "PHASES", "TABS", "THEMES",
    "REWARD_MODELS", "RESETS", "CURVES",
)  # fmt: skip
NOT_TEXT = {
    "base replies", "reward model", "more base replies", "warm start", "policy optimisation", "up", "flat",
    "note", "alert", "status",
}  # fmt: skip


def sources() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js"))}


def used() -> dict[str, str]:
    """Every text that is looked up, and a file that does."""
    found: dict[str, str] = {}
    for name, source in sources().items():
        for text in re.findall(rf"\bt\(\s*{TEXT}", source):
            found[text] = name
        for first, second in re.findall(rf"\? {TEXT}\s*:\s*{TEXT}\)", source):
            found |= {text: name for text in (first, second) if text not in NOT_TEXT}
        for call in re.findall(
            r"\b(?:card|textArea|number|checkbox|choice|password|passwordForm)\(([^\n]*)", source
        ):
            found |= {
                text: name
                for text in re.findall(TEXT, call)
                if re.match(r"[A-Z0-9][^/]* |[A-Z][a-z]+$", text)
            }
        for table in TABLES:
            for body in re.findall(rf"const {table} = ([{{\[][\s\S]*?\n?[}}\]]);", source):
                found |= {text: name for text in re.findall(TEXT, body) if text not in NOT_TEXT and text}
    return {text.encode().decode("unicode_escape").encode("latin-1").decode() if "\\u" in text else text: name
            for text, name in found.items() if not text.startswith("/")}  # fmt: skip


def server_says() -> set[str]:
    report = (STATIC.parent / "report.py").read_text(encoding="utf-8")
    joined = re.findall(rf"_say\(\s*((?:{TEXT}\s*)+)", report)
    told = {"".join(re.findall(TEXT, pieces[0])) for pieces in joined} - {""}
    told |= set(re.findall(rf"{TEXT},\n", report.split("REFUSALS = {")[1].split("}")[0]))
    told |= set(re.findall(rf'"say": {TEXT}', (STATIC.parent / "profile.py").read_text(encoding="utf-8")))
    return told | set(WHY.values())


def test_every_text_is_in_the_table() -> None:
    texts = used()
    assert len(texts) > 200, "the texts are not found any more"
    assert {text: name for text, name in texts.items() if text not in TABLE} == {}
    assert len(server_says()) > 20
    assert server_says() - set(TABLE) == set()


def bare(text: str) -> str:
    return re.sub(r"\{\w+\}", "", text)


def test_a_translation_fills_the_same_places_and_is_chinese() -> None:
    for english, chinese in TABLE.items():
        places = [sorted(re.findall(r"\{\w+\}", text)) for text in (english, chinese)]
        if "nothing was changed" not in english and "--expires-days" not in english:
            assert set(places[1]) <= set(places[0]), english
        assert re.search(r"[\u4e00-\u9fff]", chinese) or not re.search(r"[a-z]{3}", bare(english)), english


def test_a_text_names_each_value_once() -> None:
    """The page recognises a filled text by a pattern with a group of each name; two of one name are no pattern."""
    for text in TABLE:
        names = re.findall(r"\{(\w+)\}", text)
        assert len(names) == len(set(names)), text
