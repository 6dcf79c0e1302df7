"""Errors whose message is meant for the person: one line that says what was wrong and what to do.

The command line prints them without a traceback, the HTTP interface turns them into its error shape
(`Invalid` 400, `NotFound` 404, `Conflict` 409) and the page into a toast.
"""


class AttuneError(Exception):
    """Something a person can act on. `str(error)` is one complete sentence or two."""


class Invalid(AttuneError):
    """A value that cannot be accepted. `param` names the field it was in, if it was in one."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class NotFound(AttuneError):
    """No such thing, or it belongs to somebody else: the two are never told apart."""


class Conflict(AttuneError):
    """Right in itself, but not now (a run is queued already, the name is taken)."""


class TakenBack(Conflict):
    """What an update was trained on no longer stands: its version must not go live."""
