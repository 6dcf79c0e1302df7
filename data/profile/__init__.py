"""A person's whole profile: export, import, reset, undo. The file's format is in `format.py`."""

from data.profile.exporting import export_profile
from data.profile.format import ImportReport
from data.profile.importing import import_profile
from data.profile.resetting import erased, reset, sweep, undo_reset

__all__ = ["ImportReport", "erased", "export_profile", "import_profile", "reset", "sweep", "undo_reset"]
