"""What became of a piece of feedback: a code for programs, a sentence for the person."""

from __future__ import annotations

from data.edits import edit_weight
from data.errors import NotFound
from data.quality import WHY
from data.store.connection import Connected, Row, from_json
from data.store.feedback import ABOUT
from data.types import FeedbackOutcome

HELD_OUT_WHY = "set aside to check that what is learnt from the rest is true"


class Outcomes(Connected):
    """The part of the store that answers "what happened to my rating?"."""

    def outcome(self, user_id: str, feedback_id: str) -> FeedbackOutcome:
        """Raises NotFound."""
        row = self._one_row(
            "SELECT feedback.*, newer.id AS superseded_by, retractions.id AS retracted_by, deleted_at,"
            " messages.content AS original FROM feedback"
            " LEFT JOIN feedback AS newer ON newer.supersedes = feedback.id"
            " LEFT JOIN retractions ON retractions.feedback_id = feedback.id"
            f" {ABOUT}"
            " WHERE feedback.id = ? AND feedback.user_id = ?",
            (feedback_id, user_id),
        )
        if row is None:
            raise NotFound("There is no such feedback.")
        if row["retracted_by"]:
            return FeedbackOutcome("retracted", None, "taken back", "You took this back; it teaches nothing.")
        if row["superseded_by"]:
            text = "You changed your mind later; only the newer one counts."
            return FeedbackOutcome("superseded", None, "a newer one counts", text)
        if row["deleted_at"]:
            return left_out("its conversation was deleted")
        if row["kind"] == "edit" and edit_weight(row["original"], from_json(row["value"])) == 0.0:
            return left_out(WHY["white_space"])
        return self._by_runs(feedback_id)

    def _by_runs(self, feedback_id: str) -> FeedbackOutcome:
        runs = self._all_rows(
            "SELECT role, why, state, version, learning_runs.reason FROM feedback_use"
            " JOIN learning_runs ON learning_runs.id = run_id"
            " WHERE feedback_id = ? AND state IN ('promoted', 'rejected', 'abstained') ORDER BY run_id DESC",
            (feedback_id,),
        )
        if not runs:
            return FeedbackOutcome(
                "waiting", None, "no update has seen it yet", "Waiting for the next update."
            )
        newest = runs[0]
        if newest["role"] == "held-out":
            why = newest["why"] or HELD_OUT_WHY
            return FeedbackOutcome("held_out", _version(newest), why, f"Not trained on: {why}.")
        if newest["role"] == "left out":
            return left_out(newest["why"] or "it could not be used")
        for run in runs:
            if run["role"] == "train" and run["state"] == "promoted":
                number = run["version"]
                less = f" ({run['why']})" if run["why"] else ""
                return FeedbackOutcome("used", number, run["why"], f"Used in version {number}{less}.")
        if newest["state"] == "rejected":
            text = "Was trained on, but the new version did not go live; counts again in the next update."
        else:
            text = (
                "Was read, but the last update found too little to learn from; counts again in the next one."
            )
        return FeedbackOutcome("waiting", None, newest["reason"], text)


def _version(run: Row) -> int | None:
    return run["version"] if run["state"] == "promoted" else None


def left_out(why: str) -> FeedbackOutcome:
    """The outcome of feedback that teaches nothing."""
    return FeedbackOutcome("left_out", None, why, f"Left out: {why}.")
