"""People, versions, publications, runs, the lease, settings."""

from __future__ import annotations

import pytest

from data.errors import AttuneError, Conflict, Invalid, NotFound
from data.types import BaseSpec, FeedbackUse, Reply


def record(store, user, number, status="accepted", reason="promoted", sha256="a" * 64):
    return store.record_version(user, number, 0, "embedded", sha256, status, {"kl": 1.5}, reason)


@pytest.fixture
def user(store):
    return store.ensure_user().id


def test_the_newest_publication_alone_says_what_is_live(store, user):
    assert store.live_version(user) == 0 and store.next_version_number(user) == 1
    first = record(store, user, 1)
    record(store, user, 2)
    assert store.live_version(user) == 2 and store.next_version_number(user) == 3
    assert store.version(user, 1) == first and [v.number for v in store.versions(user)] == [1, 2]
    store.publish(user, 1, "rollback")
    assert store.live_version(user) == 1
    store.publish(user, 0, "rollback")
    assert [p.version for p in store.publications(user)] == [1, 2, 1, 0]
    assert [p.reason for p in store.publications(user)] == ["promoted", "promoted", "rollback", "rollback"]


def test_only_an_accepted_version_with_weights_goes_live(store, user):
    record(store, user, 1, "rejected", None, "")
    assert not store.version(user, 1).has_weights
    with pytest.raises(Invalid):
        record(store, user, 2, "rejected", "promoted")
    with pytest.raises(NotFound):
        store.publish(user, 1, "rollback")
    with pytest.raises(NotFound):
        store.publish(user, 7, "rollback")
    record(store, user, 2)
    with pytest.raises(Conflict):
        record(store, user, 2)
    with pytest.raises(Conflict):
        store.drop_weights(user, 2)
    record(store, user, 3)
    store.drop_weights(user, 2)
    with pytest.raises(NotFound, match="no longer kept"):
        store.publish(user, 2, "rollback")
    assert store.live_version(user) == 3


def test_a_live_version_that_does_not_load_gives_way_to_the_base(store, user):
    record(store, user, 1)
    store.mark_unloadable(user, 1)
    assert store.live_version(user) == 0 and store.version(user, 1).status == "unloadable"
    assert store.publications(user)[-1].reason == "auto_rollback"


def test_a_report_with_a_number_that_is_none_is_kept_without_it(store, user):
    store.record_version(user, 1, 0, "b", "", "rejected", {"kl": float("nan"), "steps": [1, 2]}, None)
    assert store.version(user, 1).report == {"kl": None, "steps": [1, 2]}
    assert store.verify() == []


def test_one_run_at_a_time_for_a_person(store, user):
    run = store.queue_run(user, "manual")
    with pytest.raises(Conflict):
        store.queue_run(user, "automatic")
    other = store.queue_run(store.ensure_user("other").id, "automatic")
    assert [r.id for r in store.queued_runs()] == [run.id, other.id]
    started = store.start_run(run.id, "01J00000000000000000000000")
    assert started.state == "running" and started.watermark and started.heartbeat_at
    with pytest.raises(Conflict):
        store.queue_run(user, "manual")
    with pytest.raises(Conflict):
        store.start_run(run.id, None)
    store.report_progress(run.id, "ppo", 0.25)
    assert (store.run(user, run.id).phase, store.run(user, run.id).progress) == ("ppo", 0.25)
    ended = store.finish_run(run.id, "promoted", 1, "better", {"win": 0.6})
    assert (ended.state, ended.version, ended.report, ended.progress) == ("promoted", 1, {"win": 0.6}, 1.0)
    with pytest.raises(Conflict):
        store.finish_run(run.id, "failed")
    assert store.queue_run(user, "manual").state == "queued"
    assert [r.state for r in store.list_runs(user)] == ["queued", "promoted"]


def test_a_queued_run_is_cancelled_at_once_and_a_running_one_asked(store, user):
    queued = store.queue_run(user, "manual")
    assert store.request_cancel(user, queued.id).state == "cancelled"
    running = store.queue_run(user, "manual")
    store.start_run(running.id, None)
    assert not store.cancel_requested(running.id)
    assert store.request_cancel(user, running.id).state == "running"
    assert store.cancel_requested(running.id)
    with pytest.raises(Conflict, match="cancelled"):
        record(store, user, 1)
    assert store.versions(user) == [] and store.live_version(user) == 0
    with pytest.raises(NotFound):
        store.request_cancel(store.ensure_user("other").id, running.id)


def test_a_run_whose_learner_died_is_tried_once_more_and_then_has_failed(store, user):
    run = store.queue_run(user, "manual")
    store.start_run(run.id, None)
    assert [r.state for r in store.fail_orphaned_runs("the learner stopped")] == ["queued"]
    store.start_run(run.id, None)
    (failed,) = store.fail_orphaned_runs("the learner stopped")
    assert (failed.state, failed.reason) == ("failed", "the learner stopped")
    assert store.fail_orphaned_runs("again") == []


def test_metrics_come_back_by_step(store, user):
    run = store.queue_run(user, "manual")
    store.add_metrics(run.id, 2, {"objective/kl": 1.5})
    store.add_metrics(run.id, 1, {"objective/kl": 0.5, "val/loss": float("inf"), "policy/clipfrac": 0})
    assert store.metrics(run.id) == [
        (1, "objective/kl", 0.5), (1, "policy/clipfrac", 0.0), (2, "objective/kl", 1.5),
    ]  # fmt: skip


def test_a_run_that_begins_again_is_without_what_was_measured_before(store, user):
    run = store.queue_run(user, "manual")
    for again in (lambda: store.fail_orphaned_runs("the learner stopped"), lambda: store.requeue_run(run.id)):
        store.start_run(run.id, None)
        store.add_metrics(run.id, 7, {"objective/kl": 1.5})
        again()
        assert store.run(user, run.id).state == "queued"
    store.start_run(run.id, None)
    assert store.metrics(run.id) == []


def test_a_run_that_begins_again_has_used_nothing_yet(store, chatted):
    user = chatted.user.id
    said = store.add_feedback(user, "stars", 5, message_id=chatted.reply.id)
    run = store.queue_run(user, "manual")
    store.start_run(run.id, said.id)
    store.record_feedback_use(run.id, [FeedbackUse(said.id, "train")])
    store.fail_orphaned_runs("the learner stopped")
    store.retract_feedback(user, said.id)  # before the second attempt, which therefore never sees it
    store.start_run(run.id, said.id)
    assert store.profile_content(user)["runs"] == []  # it has not ended
    store.finish_run(run.id, "rejected", reason="not better")
    assert store.profile_content(user)["runs"][0]["uses"] == []


def test_the_lease_has_one_holder_until_it_expires(store, monkeypatch):
    assert store.acquire_lease("worker 1", 10) and store.lease_holder() == "worker 1"
    assert not store.acquire_lease("worker 2", 10) and store.acquire_lease("worker 1", 10)
    assert store.renew_lease("worker 1", 10) and not store.renew_lease("worker 2", 10)
    now = __import__("time").time()
    monkeypatch.setattr("data.store.runs.time.time", lambda: now + 11)
    assert store.lease_holder() is None
    assert store.acquire_lease("worker 2", 10)
    assert not store.renew_lease("worker 1", 10)
    store.release_lease("worker 1")
    assert store.lease_holder() == "worker 2"
    store.release_lease("worker 2")
    assert store.lease_holder() is None


def test_settings_have_defaults_and_a_bad_patch_changes_nothing(store, user):
    defaults = store.settings(user)
    assert defaults["temperature"] == 0.7 and defaults["learn_after"] == 20 and defaults["learning"] is True
    after = store.update_settings(user, {"temperature": 0.2, "theme": "dark"})
    assert after == {**defaults, "temperature": 0.2, "theme": "dark"}
    for patch in (
        {"max_tokens": 5, "temperature": 9}, {"colour": "red"}, {"paused": 1}, {"learn_after": 2.5},
        {"temperature": float("nan")}, {"temperature": 10**400}, {"system_prompt": "x\ud800"},
        {"language": ["en"]}, {"system_prompt": None},
        {"muted": "emoji"}, {"muted": ["emoji", "emoji"]}, {"muted": ["No lists"]}, {"muted": [["emoji"]]},
    ):  # fmt: skip
        with pytest.raises(Invalid) as caught:
            store.update_settings(user, patch)
        assert caught.value.param in patch
    assert store.settings(user) == after


def test_what_was_learnt_is_switched_off_one_by_one(store, user):
    store.mute(user, "emoji", True)
    store.mute(user, "log_length", True)
    assert store.mute(user, "emoji", True)["muted"] == ["log_length", "emoji"]
    assert store.mute(user, "log_length", False)["muted"] == ["emoji"] == store.settings(user)["muted"]
    other = store.add_user("Ann", None).id
    assert store.settings(other)["muted"] == []
    with pytest.raises(Invalid):
        store.mute(user, "No lists", True)
    assert store.settings(user)["muted"] == ["emoji"]


def test_notes_are_replaced_as_a_whole(store, user):
    first = store.put_notes(user, [{"text": "Short answers", "source": "comment"}, {"text": "No lists"}])
    assert [n["text"] for n in store.notes(user)] == ["Short answers", "No lists"]
    changed = [{**first[1], "enabled": False}, {"text": "Formal"}]
    second = store.put_notes(user, changed)
    assert second[0] == {**first[1], "enabled": False} and second[1]["text"] == "Formal"
    with pytest.raises(Invalid):
        store.put_notes(user, [{"text": "ok"}, {"text": ""}])
    assert store.notes(user) == second


def test_people_keys_and_sign_ins(store, user):
    assert store.ensure_user("me").id == user and not store.has_accounts()
    ann = store.add_user("Ann", "hash", is_admin=True)
    assert store.has_accounts() and store.user_named("ann") == ann
    with pytest.raises(Conflict):
        store.add_user("ANN", None)
    for name in (" ", "", "two\nlines", "x" * 200):
        with pytest.raises(Invalid):
            store.add_user(name, None)
        with pytest.raises(Invalid):
            store.rename_user(ann.id, name, "hash")
    assert store.user(ann.id).name == "Ann"
    assert not store.set_admin(ann.id, False).is_admin and store.set_admin(ann.id, True) == ann
    key = store.add_api_key(ann.id, "laptop", "keyhash")
    assert store.api_key_owner("keyhash") == ann and store.api_key_owner("other") is None
    assert store.list_api_keys(ann.id)[0]["last_used_at"]
    store.add_api_key(ann.id, "old", "expired", expires_at="2020-01-01T00:00:00.000Z")
    assert store.api_key_owner("expired") is None
    with pytest.raises(NotFound):
        store.revoke_api_key(user, key)
    store.revoke_api_key(ann.id, key)
    assert store.api_key_owner("keyhash") is None
    store.add_sign_in(ann.id, "token", "2999-01-01T00:00:00.000Z")
    assert store.sign_in_owner("token") == ann
    store.set_password(ann.id, "new")
    assert store.sign_in_owner("token") is None
    store.remove_user(ann.id)
    with pytest.raises(NotFound):
        store.user(ann.id)


def test_the_base_and_its_replies_come_back(store):
    assert store.base() is None
    spec = BaseSpec("embedded", "", "w" * 64, "t" * 64, {"model.layers.0.self_attn.q_proj": (576, 576)})
    store.record_base(spec)
    assert store.base() == spec
    store.add_base_replies("base", "prompt", 0, [Reply("a"), Reply("b", finished=False)])
    store.add_base_replies("base", "prompt", 1, [Reply("x"), Reply("c")])
    assert store.base_replies("base", "prompt") == [Reply("a"), Reply("b", finished=False), Reply("c")]
    assert store.base_replies("base", "other") == []


def test_a_closed_store_says_so(store):
    store.close()
    with pytest.raises(AttuneError, match="closed"):
        store.list_users()
