"""Markdown of a reply to HTML that is safe to show.

Replies come from a model that repeats whatever it was fed, so nothing in them may become live: raw HTML
is off (it is shown as the text it is), pictures become links (a remote picture would tell its server that
the reply was read), links go to http, https and mailto only. `static/safe.js` checks the result once more
with an allow-list before it enters the page, so a mistake here alone is not enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, MutableMapping, Sequence
from functools import lru_cache
from html import escape
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.dollarmath.index import math_inline_dollar
from mdit_py_plugins.texmath.index import RuleDictType, make_inline_func
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

from assistant.page.maths import mathml

SAFE_SCHEMES = ("http://", "https://", "mailto:")
HIGHLIGHT_UP_TO_CHARS = 20_000  # colouring a larger block costs more time than it is worth
MARKDOWN_UP_TO_CHARS = 120_000  # beyond that a reply is shown as plain text
# Maths in brackets, \\(x\\) and \\[x\\], anywhere in a paragraph; bounded, so that many that never end cost little.
_BRACKETS: tuple[RuleDictType, ...] = (
    {"name": "math_inline", "rex": re.compile(r"^\\\(([\s\S]{1,1000}?)\\\)"), "tmpl": "", "tag": "\\("},
    {"name": "math_display", "rex": re.compile(r"^\\\[([\s\S]{1,1000}?)\\\]"), "tmpl": "", "tag": "\\["},
)


def render(text: str) -> str:
    """HTML of `text` (CommonMark with tables, strikethrough, and maths as MathML). Never raises on any text."""
    if len(text) > MARKDOWN_UP_TO_CHARS:
        return f"<p>{escape(text)}</p>"
    return str(_parser().render(text))


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True})
    parser.enable(["table", "strikethrough"]).disable(["image"])
    # $x$ and $$x$$, and what models write more often: \\(x\\) and \\[x\\]. "$5 and $10" stays text.
    dollarmath_plugin(
        parser, allow_space=False, allow_digits=False, double_inline=True, allow_blank_lines=False,
        allow_labels=False,
    )  # fmt: skip
    parser.inline.ruler.at("math_inline", _dollars())
    for brackets in _BRACKETS:
        parser.inline.ruler.before("escape", f"{brackets['name']}_brackets", make_inline_func(brackets))
    parser.add_render_rule("math_inline", _inline_maths)
    for rule in ("math_inline_double", "math_block", "math_display"):
        parser.add_render_rule(rule, _display_maths)
    parser.validateLink = _is_safe_link  # type: ignore[method-assign]
    parser.add_render_rule("link_open", _link_open)
    parser.add_render_rule("fence", _code_block)
    parser.add_render_rule("code_block", _code_block)
    return parser


def _dollars() -> Callable[[StateInline, bool], bool]:
    """The plugin's rule, but not for `${name}` of shells and JavaScript, nor over a code span."""
    rule = math_inline_dollar(allow_space=False, allow_digits=False, allow_double=True)

    def checked(state: StateInline, silent: bool) -> bool:
        if state.src.startswith("${", state.pos):
            return False
        position, written = state.pos, len(state.tokens)
        found = rule(state, silent)
        if found and "`" in state.src[position : state.pos]:
            del state.tokens[written:]
            state.pos = position
            return False
        return found

    return checked


def _is_safe_link(url: str) -> bool:
    return url.strip().lower().startswith(SAFE_SCHEMES)


def _link_open(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    tokens[index].attrSet("target", "_blank")
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    return str(renderer.renderToken(tokens, index, options, env))


def _code_block(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    words = tokens[index].info.split()
    language = words[0][:30] if words else ""
    body = _highlighted(language, tokens[index].content)
    return f'<pre data-language="{escape(language)}"><code>{body}</code></pre>\n'


def _inline_maths(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return mathml(tokens[index].content, "inline")


def _display_maths(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: MutableMapping[str, Any]
) -> str:
    return f'<span class="maths">{mathml(tokens[index].content, "block")}</span>'


@lru_cache(maxsize=256)
def _highlighted(language: str, code: str) -> str:
    if not language or len(code) > HIGHLIGHT_UP_TO_CHARS:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, HtmlFormatter(nowrap=True)))
