"""Brings a profile file into a home: everything is checked first, and all of it comes in or nothing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from data.adapter_files import adapter_sha256, fsync_folder
from data.errors import AttuneError
from data.home import Home
from data.profile.adapters import check_adapter, check_reward
from data.profile.format import ImportReport
from data.profile.reading import ProfileFile, read_profile
from data.store import Store
from data.types import BaseSpec


def import_profile(store: Store, home: Home, user_id: str, zip_path: Path) -> ImportReport:
    """Add what is in a profile file to this person's profile. Nothing of it goes live by itself.

    Raises Invalid with one line for a file that is not whole, true and plain; then nothing was changed.
    """
    store.user(user_id)
    home.tmp_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(prefix="import-", dir=home.tmp_dir) as temporary:
        file = read_profile(zip_path, Path(temporary))
        base = store.base()
        fit = _fit(file, base)
        _check_files(file, base, fit)
        new_numbers: dict[int, int] = {}
        placed: list[Path] = []

        def place(numbers: Mapping[int, int]) -> None:
            new_numbers.update(numbers)
            _place(home, user_id, file, numbers, placed)

        try:
            counts = store.add_profile_content(user_id, file.content, with_versions=True, before_commit=place)
        except BaseException:
            for folder in placed:
                shutil.rmtree(folder, ignore_errors=True)
            raise
    kept = [version for version in file.content["versions"] if version["has_weights"]]
    fit = replace(fit, loadable=all(version["status"] != "unloadable" for version in kept))
    versions = [new_numbers[version["number"]] for version in kept]
    return ImportReport(counts, versions, fit.loadable, _notes(file, fit, new_numbers, versions))


@dataclass(frozen=True)
class _Fit:
    """Whether the file's adapters are for this home's base; `known` is False where none was loaded yet."""

    loadable: bool
    known: bool


def _fit(file: ProfileFile, base: BaseSpec | None) -> _Fit:
    """The weights decide: the same model may go by another id or path here."""
    if base is None:
        return _Fit(loadable=True, known=False)
    if file.base is None:
        return _Fit(loadable=not file.content["versions"], known=True)
    return _Fit(loadable=file.base["weights_sha256"] == base.weights_sha256, known=True)


def _check_files(file: ProfileFile, base: BaseSpec | None, fit: _Fit) -> None:
    """Check every extracted folder, and give each version's row what is true of it here."""
    same_base = base if fit.known and fit.loadable else None
    for version in file.content["versions"]:
        if not version["has_weights"]:
            continue
        number = version["number"]
        # a version may have been made on a base that was used before the one named in the file
        of_file_base = file.base is not None and version["base_id"] == file.base["id"]
        here = same_base if of_file_base else None
        folder = file.folder / "adapters" / str(number)
        check_adapter(
            folder, f"adapters/{number}", here.id if here else None, here.linear_shapes if here else None
        )
        version["sha256"] = adapter_sha256(folder)
        if here is not None:
            version["base_id"] = here.id
        if version["status"] == "accepted" and fit.known and here is None:
            version["status"] = "unloadable"
        reward = file.folder / "reward" / str(number)
        if reward.is_dir():
            check_reward(reward, f"reward/{number}")


def _place(home: Home, user_id: str, file: ProfileFile, numbers: Mapping[int, int], placed: list[Path]) -> None:
    """Move the checked folders to where they belong; they are whole on the disk before their rows are.

    A folder that is there already has no row (numbers are new): what a broken publication left.
    """
    try:
        for version in file.content["versions"]:
            number = version["number"]
            for source, target in (
                (file.folder / "adapters" / str(number), home.adapter_dir(user_id, numbers[number])),
                (file.folder / "reward" / str(number), home.reward_dir(user_id, numbers[number])),
            ):
                if not source.is_dir():
                    continue
                target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if target.exists():
                    shutil.rmtree(target)
                fsync_folder(source)
                os.replace(source, target)
                placed.append(target)
                fsync_folder(target.parent)
    except OSError as error:
        raise AttuneError(f"The adapters could not be put in place: {error.strerror or error}.") from error


def _notes(file: ProfileFile, fit: _Fit, numbers: Mapping[int, int], versions: list[int]) -> list[str]:
    notes = []
    if versions and not fit.loadable:
        name = file.base["id"] if file.base else "an unknown model"
        notes.append(
            f"The adapters were made for another base model ({name}) and cannot be loaded on this one; "
            "feedback, conversations and notes are here."
        )
    if versions and not fit.known:
        notes.append("No base model has been loaded here yet; whether the adapters fit shows when one is.")
    if versions and any(old != new for old, new in numbers.items()):
        notes.append(f"The imported versions are numbers {versions[0]} to {versions[-1]} here.")
    if file.live_version and fit.loadable:
        notes.append(f"Version {numbers[file.live_version]} was the live one where the file was made.")
    return notes
