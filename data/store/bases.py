"""Which base model there is, and what it says by itself to what people asked."""

from __future__ import annotations

from collections.abc import Sequence

from data.store.connection import from_json, to_json
from data.store.runs import Runs
from data.types import BaseSpec, Reply

_BASE_KEY = "base_spec"


class Bases(Runs):
    """The part of the store about the base model."""

    def record_base(self, spec: BaseSpec) -> None:
        """Remember which base the chat server has loaded."""
        value = {
            "id": spec.id,
            "revision": spec.revision,
            "weights_sha256": spec.weights_sha256,
            "template_sha256": spec.template_sha256,
            "linear_shapes": {name: list(shape) for name, shape in spec.linear_shapes.items()},
        }
        with self._write() as db:
            db.execute("INSERT OR REPLACE INTO home_settings VALUES (?, ?)", (_BASE_KEY, to_json(value)))

    def base(self) -> BaseSpec | None:
        """The base that the chat server loaded last, None before the first time."""
        row = self._one_row("SELECT value FROM home_settings WHERE key = ?", (_BASE_KEY,))
        if row is None:
            return None
        value = from_json(row["value"])
        shapes = {name: (int(out), int(into)) for name, (out, into) in value.pop("linear_shapes").items()}
        return BaseSpec(linear_shapes=shapes, **value)

    def base_replies(self, base_key: str, prompt_sha256: str) -> list[Reply]:
        """What the plain base says to a prompt, ordered by seed."""
        rows = self._all_rows(
            "SELECT text, finished FROM base_replies WHERE base_key = ? AND prompt_sha256 = ? ORDER BY seed",
            (base_key, prompt_sha256),
        )
        return [Reply(row["text"], bool(row["finished"])) for row in rows]

    def add_base_replies(
        self,
        base_key: str,
        prompt_sha256: str,
        start_seed: int,
        replies: Sequence[Reply],
        run_id: str | None = None,
    ) -> None:
        """Store replies for the seeds from `start_seed` on; a seed that is there already stays as it is.

        Nothing is stored for a run that was asked to stop: what was erased under it must not come back.
        """
        with self._write() as db:
            if run_id is not None and self.cancel_requested(run_id):
                return
            db.executemany(
                "INSERT OR IGNORE INTO base_replies (base_key, prompt_sha256, seed, text, finished)"
                " VALUES (?, ?, ?, ?, ?)",
                [
                    (base_key, prompt_sha256, start_seed + i, reply.text, int(reply.finished))
                    for i, reply in enumerate(replies)
                ],
            )
