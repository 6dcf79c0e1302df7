"""Reset, undo and erase: taking what was learnt, or everything, out of use, with a way back for 30 days."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from data.errors import Invalid, NotFound
from data.home import Home
from data.ids import as_text, new_id, utc_now
from data.profile.exporting import write_profile_zip
from data.profile.reading import read_profile
from data.store import Store
from data.store.profile_rows import Content, counts_of
from data.store.resets import Reset, ResetWhat

UNDO_DAYS = 30
# A folder without a row is garbage, unless somebody is just about to insert its row.
GARBAGE_AGE_S = 3600.0


def reset(store: Store, home: Home, user_id: str, what: ResetWhat, erase_now: bool = False) -> dict[str, Any]:
    """Go back to the base model; every version leaves use, and `what` says what else does.

    "model": nothing else, feedback stays and can be learnt from again. "feedback": conversations, the
    feedback on them and the runs too. "all": notes and settings as well. What can be undone for 30 days is
    kept (rows in a zip of the home, mode 0600; the adapters where they are) unless `erase_now`.

    Returns {"what", "removed": counts, "erased", "kept": a sentence, "kept_file", "undo_until"}.
    """
    if what not in ("model", "feedback", "all"):
        raise Invalid(f'What to reset is "model", "feedback" or "all", not {what!r}.', "what")
    store.user(user_id)
    expires = as_text(datetime.now(UTC) + timedelta(days=UNDO_DAYS))
    removed: Content = {}
    kept = None if erase_now or what == "model" else home.undo_dir(user_id) / f"{new_id()}.zip"

    def keep() -> str | None:
        removed.update(_removed(store.profile_content(user_id), what))
        if kept is None:
            return None
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_profile_zip(store, user_id, removed, {}, kept, live_version=0)
        return kept.name

    try:
        done, versions = store.reset_rows(user_id, what, expires, erase_now, keep)
    except BaseException:
        if kept:
            kept.unlink(missing_ok=True)
        raise
    counts = counts_of(removed) | {"versions": len(versions)}
    answer: dict[str, Any] = {"what": what, "removed": counts, "erased": erase_now}
    if erase_now:
        _remove_folders(home, user_id, versions)
        shutil.rmtree(home.undo_dir(user_id), ignore_errors=True)
        clean = store.scrub()
        return answer | {"kept": erased(clean), "kept_file": None, "undo_until": None}
    return answer | {
        "kept": _kept(what, expires),
        "kept_file": str(kept) if kept else None,
        "undo_until": done.expires_at,
    }


def undo_reset(store: Store, home: Home, user_id: str) -> dict[str, Any]:
    """Take the latest reset back: its rows, and the version that was live before it.

    Returns counts of what came back, and `live_version`. Raises NotFound where there is nothing to undo.
    """
    sweep(store, home)
    resets = store.open_resets(user_id)
    if not resets:
        raise NotFound(f"There is no reset to undo (it can be undone for {UNDO_DAYS} days, unless erased).")
    latest = resets[-1]
    live: list[int] = []

    def end(_: object) -> None:
        live.append(store.undo_reset_rows(latest))

    content = _empty()
    kept = home.undo_dir(user_id) / latest.kept_file if latest.kept_file else None
    if kept is not None:
        if not kept.is_file():
            raise NotFound(f"What was kept for the undo is gone ({kept}).")
        with tempfile.TemporaryDirectory(prefix="undo-", dir=home.tmp_dir) as temporary:
            content = read_profile(kept, Path(temporary)).content
    counts = store.add_profile_content(user_id, content, with_versions=False, before_commit=end)
    if kept is not None:
        kept.unlink(missing_ok=True)
    return {
        **{name: number for name, number in counts.items() if name != "versions"},
        "live_version": live[0],
    }


def sweep(store: Store, home: Home) -> None:
    """Remove what nobody needs any more: expired resets, folders without a row, stray temporary files.

    To be called when a process starts; it leaves alone what is younger than an hour.
    """
    now = utc_now()
    for user in store.list_users():
        for expired in store.open_resets(user.id):
            if expired.expires_at <= now:
                _expire(store, home, expired)
        rows = store.numbers_with_weights(user.id)
        for parent in (home.adapters_dir(user.id), home.profile_dir(user.id) / "reward"):
            for folder in _entries(parent):
                number = int(folder.name) if folder.name.isdecimal() else None
                if number not in rows and _is_old(folder):
                    _remove(folder)
        names = {item.kept_file for item in store.open_resets(user.id)}
        for file in _entries(home.undo_dir(user.id)):
            if file.name not in names and _is_old(file):
                _remove(file)
    for leftover in _entries(home.tmp_dir):
        if leftover.name.startswith(("import-", "undo-")) and _is_old(leftover):
            _remove(leftover)


def _expire(store: Store, home: Home, expired: Reset) -> None:
    versions = store.expire_reset(expired)
    _remove_folders(home, expired.user_id, versions)
    if expired.kept_file:
        (home.undo_dir(expired.user_id) / expired.kept_file).unlink(missing_ok=True)


def _removed(content: Content, what: ResetWhat) -> Content:
    """The part of a profile's rows that a reset removes."""
    removed = _empty()
    if what in ("feedback", "all"):
        removed |= {key: content[key] for key in ("conversations", "feedback", "runs")}
    if what == "all":
        removed |= {key: content[key] for key in ("notes", "settings")}
    return removed


def _empty() -> Content:
    return {"conversations": [], "feedback": [], "runs": [], "versions": [], "notes": [], "settings": {}}


def _kept(what: ResetWhat, expires: str) -> str:
    until = expires[:10]
    if what == "model":
        return f"The adapters are kept until {until}, so that this can be undone."
    return (
        f"What was removed is kept in a file of the home folder, and the adapters, until {until} for an undo."
    )


def erased(clean: bool) -> str:
    """What to tell somebody whose data was erased; `clean` is what `Store.scrub` returned."""
    if clean:
        return "Nothing is kept; this cannot be undone."
    return (
        "Nothing is kept; this cannot be undone. The database was in use, so traces stay in its log until "
        "both processes have stopped."
    )


def _remove_folders(home: Home, user_id: str, versions: Iterable[int]) -> None:
    for number in versions:
        _remove(home.adapter_dir(user_id, number))
        _remove(home.reward_dir(user_id, number))


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > GARBAGE_AGE_S


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
