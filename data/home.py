"""Where a home's files live. Paths only: nothing here opens a file or knows what is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from data.errors import AttuneError, Invalid

CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Home:
    """The folder that holds everything of the people who use this Attune (mode 0700)."""

    root: Path

    @classmethod
    def locate(cls, arg: str | None = None) -> Home:
        """The home named by `arg`, else by ATTUNE_HOME, else the platform's user data folder.

        Raises Invalid for a place inside the checkout: what people wrote must not end up in a commit.
        """
        chosen = arg or os.environ.get("ATTUNE_HOME") or platformdirs.user_data_dir("attune", appauthor=False)
        root = Path(chosen).expanduser().resolve()
        if root == CHECKOUT or CHECKOUT in root.parents:
            raise Invalid(
                f"The home folder {root} is inside the program's own folder {CHECKOUT}; "
                "choose another --home.",
                param="home",
            )
        return cls(root)

    def create(self) -> Home:
        """Make the folder and the ones inside it, readable by their owner alone; returns the home."""
        try:
            for folder in (self.root, self.models_dir, self.profiles_dir, self.logs_dir, self.tmp_dir):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.root.chmod(0o700)
        except OSError as error:
            raise AttuneError(
                f"The home folder {self.root} cannot be made: {error.strerror}. Choose another with --home."
            ) from error
        return self

    @property
    def db_path(self) -> Path:
        return self.root / "attune.db"

    @property
    def migrate_lock(self) -> Path:
        return self.root / "migrate.lock"

    @property
    def models_dir(self) -> Path:
        return self.root / "models"

    @property
    def profiles_dir(self) -> Path:
        return self.root / "profiles"

    @property
    def logs_dir(self) -> Path:
        return self.root / "logs"

    @property
    def tmp_dir(self) -> Path:
        return self.root / "tmp"

    def profile_dir(self, user_id: str) -> Path:
        return self.profiles_dir / user_id

    def adapters_dir(self, user_id: str) -> Path:
        return self.profile_dir(user_id) / "adapters"

    def adapter_dir(self, user_id: str, number: int) -> Path:
        """Version `number`'s plain PEFT folder: adapter_model.safetensors, adapter_config.json, card.json."""
        return self.adapters_dir(user_id) / str(number)

    def reward_dir(self, user_id: str, number: int) -> Path:
        """The reward model that version `number` was trained with."""
        return self.profile_dir(user_id) / "reward" / str(number)

    def undo_dir(self, user_id: str) -> Path:
        """What `undo-reset` needs, until it expires."""
        return self.profile_dir(user_id) / "undo"
