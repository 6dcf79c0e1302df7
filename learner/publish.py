"""Publication of a version: its files first, whole and on disk, then one row that makes them true.

A folder without a row is garbage of a learner that died in between; `data.profile.sweep` removes it later. Weights of
rejected versions are not kept, and of the accepted ones only the newest few, and whatever is live with its parent.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import uuid

from data.adapter_files import CARD, adapter_sha256, fsync_folder
from data.errors import AttuneError
from data.home import Home
from data.store import Store
from data.types import AdapterVersion, BaseSpec, LearningRun, RunEnd
from learner.modeling import lora
from learner.update import Candidate

log = logging.getLogger("attune.learner")

KEPT_VERSIONS = 5


def publish(
    home: Home,
    store: Store,
    run: LearningRun,
    candidate: Candidate,
    spec: BaseSpec,
    targets: list[str],
    parent: int,
) -> AdapterVersion:
    """Record a candidate and end its run; a promoted one is written to disk first.

    The version's row, its publication and the end of the run are one transaction. Raises Conflict where the person went
    back to another version meanwhile, or cancelled, TakenBack where they took a rating back that it was trained on:
    nothing goes live behind their back.
    """
    user_id = run.user_id
    ends = RunEnd(run.id, candidate.verdict, candidate.reason)
    if candidate.verdict != "promoted":
        return store.record_version(user_id, None, parent, spec.id, "", "rejected", candidate.report, None, ends)
    assert candidate.weights is not None and candidate.reward_model is not None
    scratch = home.adapters_dir(user_id) / f".new-{uuid.uuid4().hex}"
    scratch_reward = home.reward_dir(user_id, 1).with_name(f".new-{uuid.uuid4().hex}")
    card = {
        "parent": parent,
        "reason": candidate.reason,
        "base": {"id": spec.id, "weights_sha256": spec.weights_sha256, "template_sha256": spec.template_sha256},
    }

    def put_files(number: int) -> None:
        (scratch / CARD).write_text(json.dumps({"version": number, **card}, indent=2) + "\n")
        for made, place in (
            (scratch, home.adapter_dir(user_id, number)),
            (scratch_reward, home.reward_dir(user_id, number)),
        ):
            fsync_folder(made)
            shutil.rmtree(place, ignore_errors=True)  # left by a learner that died before its row was written
            os.replace(made, place)
            fsync_folder(place.parent)

    try:
        scratch.mkdir(parents=True, mode=0o700)
        scratch_reward.mkdir(parents=True, mode=0o700)
        lora.save_adapter(scratch, candidate.weights, candidate.lora_settings, spec.id, targets)
        candidate.reward_model.save(scratch_reward)
        for made in (scratch, scratch_reward):
            fsync_folder(made)  # before the transaction, which others wait for
        version = store.record_version(
            *(user_id, None, parent, spec.id, adapter_sha256(scratch), "accepted", candidate.report),
            publish_reason="promoted",
            ends=ends,
            put_files=put_files,
        )
    except BaseException:
        for path in (scratch, scratch_reward):
            shutil.rmtree(path, ignore_errors=True)
        raise
    try:
        drop_old_weights(home, store, user_id)
    except (AttuneError, OSError) as error:  # the new version is live all the same
        log.warning("old weights could not be dropped: %s", error)
    return version


def drop_old_weights(home: Home, store: Store, user_id: str) -> None:
    """Keep the weights of the newest accepted versions, of the live one, and of its parent: while the live one is
    watched, comparisons hold replies of both, and the parent comes back where it is preferred."""
    live = store.live_version(user_id)
    versions = store.versions(user_id)
    needed = {live, *(v.parent for v in versions if v.number == live)}
    held = [v.number for v in versions if v.status == "accepted" and v.has_weights]
    for number in held[:-KEPT_VERSIONS]:
        if number not in needed:
            store.drop_weights(user_id, number)
            _remove(home, user_id, number)


def _remove(home: Home, user_id: str, number: int) -> None:
    shutil.rmtree(home.adapter_dir(user_id, number), ignore_errors=True)
    shutil.rmtree(home.reward_dir(user_id, number), ignore_errors=True)
