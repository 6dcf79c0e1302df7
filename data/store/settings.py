"""Settings of a person (checked, with defaults), of the home, and a person's preference notes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.characters import is_whole
from data.errors import Invalid
from data.ids import is_id, utc_now
from data.store.connection import Connected, from_json, to_json
from data.types import CHAT_TEMPERATURE, REWARD_KINDS

MAX_PROMPT_CHARS = 20_000
MAX_NOTES, MAX_NOTE_CHARS = 200, 2_000
MAX_MUTED = 100


def _number(least: float, most: float) -> Callable[[Any], bool]:
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and least <= value <= most
    )


def _whole(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_prompt(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_PROMPT_CHARS and is_whole(value)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _are_names(value: Any) -> bool:
    """A list of different names. Which there are, the learner knows: what it does not know has no effect there."""
    return (
        isinstance(value, list)
        and len(value) <= MAX_MUTED
        and all(isinstance(name, str) and re.fullmatch("[a-z0-9_]{1,40}", name) for name in value)
        and len(set(value)) == len(value)
    )


# key: (default, check, what it must be)
_SETTINGS: dict[str, tuple[Any, Callable[[Any], bool], str]] = {
    "temperature": (CHAT_TEMPERATURE, _number(0.0, 2.0), "a number from 0 to 2"),
    "top_p": (1.0, _number(1e-3, 1.0), "a number from 0.001 to 1"),
    "max_tokens": (256, _whole(1, 8192), "a whole number from 1 to 8192"),
    "system_prompt": (
        "",
        _is_prompt,
        f"a text of at most {MAX_PROMPT_CHARS:,} whole characters",
    ),
    "learning": (True, _is_bool, "true or false"),
    "paused": (False, _is_bool, "true or false"),
    "learn_after": (20, _whole(1, 10_000), "a whole number from 1 to 10000 (pieces of feedback)"),
    "quiet_minutes": (5.0, _number(0.0, 1440.0), "a number of minutes from 0 to 1440"),
    "language": ("en", lambda value: value in ("en", "zh"), '"en" or "zh"'),
    "theme": ("auto", lambda value: value in ("auto", "light", "dark"), '"auto", "light" or "dark"'),
    "reward_model": (
        "bayesian",
        lambda value: value in REWARD_KINDS,
        ", ".join(f'"{kind}"' for kind in REWARD_KINDS[:-1]) + f' or "{REWARD_KINDS[-1]}"',
    ),
    "offer_comparisons": (True, _is_bool, "true or false"),
    "muted": ([], _are_names, f"a list of at most {MAX_MUTED} different features"),  # what was learnt and switched off
}
DEFAULTS: Mapping[str, Any] = {key: default for key, (default, _, _) in _SETTINGS.items()}


def checked_settings(patch: Mapping[str, Any]) -> dict[str, Any]:
    """`patch` if every key is known and every value fits; raises Invalid with the key as `param`."""
    for key, value in patch.items():
        if key not in _SETTINGS:
            raise Invalid(f"There is no setting {key!r}; there are {', '.join(_SETTINGS)}.", str(key))
        _, fits, form = _SETTINGS[key]
        try:
            good = fits(value)
        except TypeError:  # an unhashable value
            good = False
        if not good:
            raise Invalid(f"The setting {key} must be {form}, not {value!r:.60}.", key)
    return dict(patch)


def checked_notes(notes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Notes as they are stored: {"text", "source", "enabled"} and, where given, "id" and "created_at"."""
    if not isinstance(notes, list | tuple) or len(notes) > MAX_NOTES:
        raise Invalid(f"Notes are a list of at most {MAX_NOTES}.", "notes")
    checked = []
    for note in notes:
        if not isinstance(note, Mapping) or not set(note) <= {
            "id",
            "text",
            "source",
            "enabled",
            "created_at",
        }:
            raise Invalid('A note is {"text": ..., "source": ..., "enabled": true or false}.', "notes")
        text, source, enabled = note.get("text"), note.get("source", "person"), note.get("enabled", True)
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_NOTE_CHARS:
            raise Invalid(f"A note's text has 1 to {MAX_NOTE_CHARS:,} characters.", "notes.text")
        if not isinstance(source, str) or len(source) > 200:
            raise Invalid("A note's source is a text of at most 200 characters.", "notes.source")
        if not isinstance(enabled, bool):
            raise Invalid("A note is enabled or not: true or false.", "notes.enabled")
        created = note.get("created_at")
        checked.append(
            {
                "id": note["id"] if is_id(note.get("id")) else None,
                "text": text,
                "source": source,
                "enabled": enabled,
                "created_at": created if isinstance(created, str) and len(created) <= 40 else None,
            }
        )
    return checked


class Settings(Connected):
    """The part of the store about settings and notes."""

    def settings(self, user_id: str) -> dict[str, Any]:
        """Every setting of a person, defaults where nothing was chosen."""
        rows = self._all_rows("SELECT key, value FROM settings WHERE user_id = ?", (user_id,))
        chosen = {row["key"]: from_json(row["value"]) for row in rows if row["key"] in _SETTINGS}
        return {**DEFAULTS, **chosen}

    def mute(self, user_id: str, feature: str, muted: bool) -> dict[str, Any]:
        """Switch one thing that was learnt off, or on again; returns all settings. Two at once lose nothing."""
        with self._write():
            others = [name for name in self.settings(user_id)["muted"] if name != feature]
            return self.update_settings(user_id, {"muted": [*others, feature] if muted else others})

    def update_settings(self, user_id: str, patch: Mapping[str, Any]) -> dict[str, Any]:
        """Change some settings, all or none; returns them all. Raises Invalid."""
        checked = checked_settings(patch)
        with self._write() as db:
            db.executemany(
                "INSERT OR REPLACE INTO settings VALUES (?, ?, ?)",
                [(user_id, key, to_json(value)) for key, value in checked.items()],
            )
        return self.settings(user_id)

    def home_setting(self, key: str, default: Any = None) -> Any:
        """A value that concerns the whole home, any JSON."""
        row = self._one_row("SELECT value FROM home_settings WHERE key = ?", (key,))
        return default if row is None else from_json(row["value"])

    def set_home_setting(self, key: str, value: Any) -> None:
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO home_settings VALUES (?, ?)", (key, to_json(value)))

    def notes(self, user_id: str) -> list[dict[str, Any]]:
        """A person's preference notes in their order: id, text, source, enabled, created_at."""
        rows = self._all_rows(
            "SELECT id, text, source, enabled, created_at FROM notes WHERE user_id = ? ORDER BY rowid",
            (user_id,),
        )
        return [{**dict(row), "enabled": bool(row["enabled"])} for row in rows]

    def put_notes(
        self, user_id: str, notes: Sequence[Mapping[str, Any]], keep_ids: bool = False
    ) -> list[dict[str, Any]]:
        """Replace a person's notes by these, all or none; known ids keep their time. Raises Invalid.

        With `keep_ids` (an import, an undo) ids and times that nobody has yet are kept as given.
        """
        checked = checked_notes(notes)
        with self._write() as db:
            kept = {row["id"]: row["created_at"] for row in self.notes(user_id)}
            db.execute("DELETE FROM notes WHERE user_id = ?", (user_id,))
            for note in checked:
                note_id, created = note["id"], note["created_at"]
                if note_id in kept:
                    created = kept[note_id]
                elif not (keep_ids and note_id and created) or self._one_row(
                    "SELECT 1 FROM notes WHERE id = ?", (note_id,)
                ):
                    note_id, created = self._new_id(db), utc_now()
                db.execute(
                    "INSERT INTO notes (id, user_id, text, source, enabled, created_at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (note_id, user_id, note["text"], note["source"], int(note["enabled"]), created),
                )
        return self.notes(user_id)
