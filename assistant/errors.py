"""What can go wrong while a reply is written, in words for the person who waits for it."""

from __future__ import annotations

from data.errors import AttuneError


class Busy(AttuneError):
    """Too many requests are waiting already; the person should try again in a little while."""


class GenerationFailed(AttuneError):
    """The model failed while it wrote; the message says how."""
