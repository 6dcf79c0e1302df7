"""Formulas of a reply: LaTeX to MathML, which browsers draw by themselves, without a script or a font of ours.

latex2mathml does not escape what it puts into its text and passes links on, so only its tree is taken; what is
written from it is on the lists below, and all text is escaped here.
"""

from __future__ import annotations

from functools import lru_cache
from html import escape, unescape
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

UP_TO_CHARS = 2_000  # a longer formula is shown as it was written
_ELEMENTS = (
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mmultiscripts "
    "mprescripts none mtable mtr mtd mstyle mpadded mphantom menclose"
)
_ATTRIBUTES = (
    "display mathvariant stretchy fence form separator largeop movablelimits lspace rspace width height depth "
    "linethickness columnalign rowspacing columnspacing displaystyle scriptlevel accent accentunder notation "
    "minsize maxsize symmetric"
)
ELEMENTS, ATTRIBUTES = frozenset(_ELEMENTS.split()), frozenset(_ATTRIBUTES.split())


@lru_cache(maxsize=256)
def mathml(source: str, display: str) -> str:
    """MathML of a formula (`display` "inline" or "block"); its source as code where it is not understood."""
    try:
        if len(source) > UP_TO_CHARS:
            raise ValueError("too long")
        return _written(convert_to_element(source, display=display))
    except Exception:  # the library raises what it pleases on a formula that is still being written
        return f"<code>{escape(source)}</code>"


def _written(element: Element) -> str:
    name = element.tag if element.tag in ELEMENTS else "mrow"
    attributes = "".join(
        f' {key}="{escape(unescape(value))}"' for key, value in element.attrib.items() if key in ATTRIBUTES
    )
    inside = escape(unescape(element.text or "")) + "".join(_written(child) for child in element)
    return f"<{name}{attributes}>{inside}</{name}>"
