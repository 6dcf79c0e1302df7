"""The store: the only SQL of the project. `Store` is put together from one class for each subject."""

from __future__ import annotations

from data.store.backup import Backup
from data.store.bases import Bases
from data.store.chat import Chat
from data.store.feedback import Feedback
from data.store.outcomes import Outcomes
from data.store.people import People
from data.store.profile_rows import ProfileRows
from data.store.resets import Resets
from data.store.search import Search
from data.store.totals import Totals
from data.store.verify import Verify


class Store(People, Chat, Search, Feedback, Bases, Resets, ProfileRows, Outcomes, Totals, Verify, Backup):
    """Everything that Attune remembers, in one SQLite file of one home.

    Safe to use from any number of threads and processes at once. Opening it migrates the database where
    needed. Every method is one transaction: done completely, or, with an error of `data.errors`, not at all.
    """


__all__ = ["Store"]
