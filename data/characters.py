"""What is text: JSON may carry halves of characters, which no encoding of the store or of a file takes."""

from __future__ import annotations


def is_whole(text: str) -> bool:
    """Whether no half of a character (a lone surrogate) is in it."""
    return not any("\ud800" <= char <= "\udfff" for char in text)
