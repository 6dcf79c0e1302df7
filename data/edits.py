"""Pure: how much an edit changed, in words of any script."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

# An edit of a tenth of the words or more counts in full: w = min(1, d / 0.1).
FULL_WEIGHT_DISTANCE = 0.1
ENDING_WORDS = 5  # an edit that leaves so many last words alone has not touched the ending
# A word, or one character of a script that is written without spaces (Chinese, Japanese).
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def words(text: str) -> list[str]:
    """The units in which the size of an edit is measured."""
    return _WORD.findall(text)


def word_edit_distance(a: Sequence[str], b: Sequence[str], cap: int | None = None) -> int:
    """Insertions, deletions and replacements of words from `a` to `b` (Levenshtein), at most `cap`.

    Ukkonen 1985, "Algorithms for approximate string matching": after d edits only the furthest place on each
    diagonal matters, so that it costs about length + d^2: little for a small change to a long text.
    """
    limit = max(len(a), len(b)) if cap is None else cap
    in_common = (Counter(a) & Counter(b)).total()  # every other word costs an edit of its own
    if max(len(a), len(b)) - in_common >= limit:
        return limit
    goal = len(b) - len(a)  # the diagonal j - i that ends at the end of both

    def slide(i: int, diagonal: int) -> int:
        """The furthest i that equal words lead to."""
        while i < len(a) and i + diagonal < len(b) and a[i] == b[i + diagonal]:
            i += 1
        return i

    furthest = {0: slide(0, 0)}
    for edits in range(limit):
        if furthest.get(goal, -1) >= len(a):
            return edits
        reached: dict[int, int] = {}
        for diagonal in range(-edits - 1, edits + 2):
            replaced_or_deleted = max(furthest.get(diagonal, -2), furthest.get(diagonal + 1, -2)) + 1
            i = min(max(replaced_or_deleted, furthest.get(diagonal - 1, -1)), len(a), len(b) - diagonal)
            if i >= max(0, -diagonal):
                reached[diagonal] = slide(i, diagonal)
        furthest = reached
    return limit


def edit_weight(original: str, edited: str) -> float:
    """min(1, d / 0.1), d = word edit distance / words of the longer text; 0.0 where no word changed.

    A change inside one word of an unspaced script or of punctuation glued to a word changes that word.
    """
    before, after = words(original), words(edited)
    length = max(len(before), len(after), 1)
    enough = FULL_WEIGHT_DISTANCE * length
    distance = word_edit_distance(before, after, cap=int(enough) + 1)
    return min(1.0, distance / enough)


def ends_anew(original: str, edited: str) -> bool:
    """Whether the person wrote another ending: one that was cut off and is left alone does not end well."""
    return words(edited)[-ENDING_WORDS:] != words(original)[-ENDING_WORDS:]
