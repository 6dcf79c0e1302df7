"""Formulas become MathML that holds nothing but formulas."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest

from assistant.page.markdown import render
from assistant.page.maths import ATTRIBUTES, ELEMENTS


@pytest.mark.parametrize(
    "text", [r"Area: $\pi r^2$.", r"Area: \(\pi r^2\).", "Area:\n\\[ \\pi r^2 \\]\nthen", "$$\n\\pi r^2\n$$"]
)
def test_every_way_of_writing_a_formula_is_drawn(text: str) -> None:
    html = render(text)
    assert "<msup><mi>r</mi><mn>2</mn></msup>" in html
    assert "π" in html
    for word in ("Area", "then"):
        assert (word in html) == (word in text), "text around the formula was lost"


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10.",
        "`$x$`",
        "```\n$x$\n```",
        r"\\(x\\)",
        "an open \\( bracket",
        "\\[",
        "5 $ is 5 \\$",
        "${HOME} and ${USER}",
        "a $b `c$` d",
        "${x} `${y}`",
    ],
)
def test_what_is_no_formula_stays_text(text: str) -> None:
    assert "<math" not in render(text)


@pytest.mark.parametrize(
    "formula",
    [
        r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\href{http://example.com}{x}",
        r'\color{red" onclick="x}{y}', r'\hspace{1em" onload="x}', r"\text{&lt;img src=x onerror=y&gt;}", "<b>", "{{",
        r"\includegraphics{http://example.com/p.png}", r"\style{background:url(http://example.com)}{x}",
    ],
)  # fmt: skip
def test_a_formula_never_makes_anything_live(formula: str) -> None:
    for text in (f"${formula}$", rf"\({formula}\)", rf"\[{formula}\]"):
        for name, attributes in elements(render(text)):
            assert name in ELEMENTS or name in ("p", "span", "code", "br"), name
            assert set(attributes) <= ATTRIBUTES | {"class"}, attributes
            assert not any(c in value for value in attributes.values() for c in "<>:()"), attributes


def elements(html: str) -> list[tuple[str, dict[str, str]]]:
    """Every element of `html` as a browser reads it."""
    found: list[tuple[str, dict[str, str]]] = []
    reader = HTMLParser()
    reader.handle_starttag = lambda tag, attrs: found.append((tag, {k: v or "" for k, v in attrs}))  # type: ignore[method-assign]
    reader.feed(html)
    return found


def test_very_many_formulas_that_never_end_cost_little() -> None:
    started = time.process_time()
    for piece in ("\\[ ", "\\( ", "$a ", "$$a "):
        render(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 8
