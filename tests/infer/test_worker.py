from __future__ import annotations

import hashlib
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import Finding
from node.domain.study import Instance
from node.domain.work import OutcomeState, WorkKind
from node.errors import Transient
from node.imaging.mask import read_mask
from node.infer import model_child
from node.infer.ledger import tracked
from node.infer.messages import Reply, ReplyKind
from node.infer.model_child import ModelChild
from node.infer.room import InferRoom
from node.store import artifacts, findings, work_items
from tests.fakes import BRAIN
from tests.imaging.networks import OneNaN, saved
from tests.infer.conftest import Site, begun, fake, run_dry

FIRST, SECOND = "1.2.3.1", "1.2.3.2"


def test_a_study_becomes_findings_a_mask_and_a_report_to_write(site: Site):
    outcome_id = site.waits(FIRST)
    assert site.step(site.room())
    outcome = site.outcome(outcome_id)
    assert (outcome.state, outcome.reason) == (OutcomeState.RESULT, "")
    assert {"read_s", "prepare_s", "model_s", "finish_s", "write_s"} <= set(outcome.timings)
    (artifact,) = artifacts.of_outcome(site.db, outcome_id)
    content = (site.db.folder / artifact.path).read_bytes()
    assert (artifact.kind, artifact.size) == ("mask", len(content))
    assert artifact.digest == hashlib.sha256(content).hexdigest()
    mask = read_mask(site.db.folder / artifact.path)
    (brain,) = findings.of_outcome(site.db, outcome_id)
    voxels = int(np.count_nonzero(mask.labels == 1))
    assert voxels > 1000
    assert brain.measurements[0].value == pytest.approx(voxels * mask.grid.voxel_volume_ml)
    assert mask.sop_instance_uids == tuple(f"{FIRST}.1.{number + 1}" for number in range(12))
    assert site.item_state(outcome_id) == "finished"
    assert site.item_state(outcome_id, WorkKind.REPORT) == "ready"


def test_the_same_work_has_the_same_tracking_uid_mask_file_and_mask(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room()
    site.step(room)
    (first,) = artifacts.of_outcome(site.db, outcome_id)
    (found,) = findings.of_outcome(site.db, outcome_id)
    with site.db.transaction():
        site.db.execute("UPDATE outcome SET state = 'pending' WHERE id = ?", (outcome_id,))
        site.db.execute("UPDATE work_item SET state = 'ready' WHERE kind = 'infer'")
    site.step(room)
    assert artifacts.of_outcome(site.db, outcome_id) == [first]
    assert findings.of_outcome(site.db, outcome_id) == [found]
    assert found.tracking_uid.startswith("2.25.")
    assert found.tracking_identifier == "tiny Brain"
    other = site.waits(SECOND)
    site.step(room)
    assert findings.of_outcome(site.db, other)[0].tracking_uid != found.tracking_uid


def test_each_box_class_and_lesion_is_tracked_by_itself(site: Site):
    outcome = site.outcome(site.waits(FIRST))
    box = Finding(code=BRAIN, score=0.7, tracking_identifier="nodule 1")
    lesion = Finding(code=BRAIN, segment_number=1, lesion_number=1, tracking_uid="2.25.7")
    given = (
        box,
        replace(box, tracking_identifier="nodule 2"),
        Finding(code=BRAIN, score=0.1),
        Finding(code=BRAIN, score=0.2),
        Finding(code=BRAIN, segment_number=1),
        lesion,
        replace(lesion, lesion_number=2, tracking_uid="2.25.8"),
    )
    found = [tracked(each, outcome, place) for place, each in enumerate(given)]
    assert len({each.tracking_uid for each in found}) == len(given)
    assert [each.tracking_uid for each in found[-2:]] == ["2.25.7", "2.25.8"]
    assert [each.tracking_identifier for each in found[:3]] == ["tiny nodule 1", "tiny nodule 2", "tiny Brain"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("segfault", "the model process was killed by SIGSEGV"),
        ("exit", "the model process ended with exit code 3: ValueError: it broke"),
        ("hang", "the model process did not end within 0.5 s and was ended"),
        ("garbage", "the model process answered garbage"),
        ("no-line", "the model process answered garbage"),
        ("stranger", "the model process answered something that was not asked"),
        ("no-load", "the model process ended with exit code 3: ValueError: it broke"),
    ],
)
def test_a_model_that_dies_three_times_over_a_study_fails_it_with_the_reason(site: Site, behaviour: str, reason: str):
    outcome_id = site.waits(FIRST)
    room = site.room(fake(behaviour), time_limit_s=0.5)
    for _ in range(2):
        assert site.step(room)
        assert site.item_state(outcome_id) == "ready"
        assert site.outcome(outcome_id).state is OutcomeState.PENDING
    assert site.step(room)
    assert site.item_state(outcome_id) == "parked"
    outcome = site.outcome(outcome_id)
    assert (outcome.state, outcome.reason) == (OutcomeState.FAILED, f"{reason} (3 attempts)")
    assert not site.step(room)


def test_a_result_of_the_study_that_is_only_read_ahead_is_never_recorded(site: Site):
    first, second = site.waits(FIRST), site.waits(SECOND)
    room = site.room(fake("neighbour"), time_limit_s=10)
    assert site.step(room)
    reason = "the model process answered something that was not asked"
    assert site.outcome(first).reason == reason
    assert [site.outcome(each).state for each in (first, second)] == [OutcomeState.PENDING] * 2
    assert findings.of_outcome(site.db, second) == []


def test_after_a_crash_the_next_study_is_read_and_the_first_one_later(site: Site, tmp_path: Path):
    first, second = site.waits(FIRST), site.waits(SECOND)
    room = site.room(fake("once", tmp_path / "died"))
    site.step(room)
    assert site.outcome(first).state is OutcomeState.PENDING
    site.clock.boottime_s -= 9.5  # before the first may be tried again
    site.step(room)
    site.step(room)
    assert [site.outcome(each).state for each in (first, second)] == [OutcomeState.RESULT] * 2


@pytest.mark.parametrize(
    ("behaviour", "state", "item"),
    [
        ("unsuitable", OutcomeState.NOT_APPLICABLE, "finished"),
        ("failed", OutcomeState.FAILED, "parked"),
        ("refuses", OutcomeState.FAILED, "parked"),
    ],
)
def test_what_the_model_process_says_of_a_study_becomes_its_outcome(
    site: Site, behaviour: str, state: OutcomeState, item: str
):
    outcome_id = site.waits(FIRST)
    site.step(site.room(fake(behaviour)))
    outcome = site.outcome(outcome_id)
    assert (outcome.state, site.item_state(outcome_id)) == (state, item)
    assert outcome.reason in (f"{behaviour} for tiny", "the model tiny cannot be loaded: no GPU here")


def test_a_passing_fault_leaves_the_study_waiting_without_counting_an_attempt(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room(fake("transient"))
    for _ in range(5):
        site.clock.forward(1000)
        assert site.step(room)
    assert site.item_state(outcome_id) == "ready"
    row = site.db.row("SELECT attempts FROM work_item WHERE kind = 'infer'")
    assert row is not None
    assert row["attempts"] == 0


def test_nan_from_the_network_fails_the_study_at_once_and_the_process_stays(site: Site):
    weights = site.settings.catalogue.models_folder / "tiny" / "net.pt"
    saved(OneNaN(), weights)
    _trust_again(site)
    outcome_id = site.waits(FIRST)
    room = site.room()
    site.step(room)
    assert site.outcome(outcome_id).state is OutcomeState.FAILED
    assert "not numbers" in site.outcome(outcome_id).reason


def _trust_again(site: Site) -> None:
    from node.catalogue import trust
    from node.workflow.policy import load_policy

    folder = site.settings.catalogue.models_folder
    trust(folder, "tiny", folder / "models.lock")
    site.policy = load_policy(site.settings)


def test_weights_that_were_changed_after_trust_never_run_and_the_remedy_is_named(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room()
    with (site.settings.catalogue.models_folder / "tiny" / "net.pt").open("ab") as stream:
        stream.write(b"x")
    site.step(room)
    outcome = site.outcome(outcome_id)
    assert outcome.state is OutcomeState.FAILED
    assert "matins models trust tiny" in outcome.reason


def test_a_model_that_nobody_trusted_never_runs(site: Site):
    outcome_id = site.waits(FIRST)
    untrusted = replace(
        site.model, problem="tiny is in no models.lock. Look at it, then run `matins models trust tiny`"
    )
    room = site.room(fake("fine"))
    room._ledger.policy = replace(site.policy, models=(untrusted,))
    site.step(room)
    assert site.outcome(outcome_id).state is OutcomeState.FAILED
    assert "matins models trust tiny" in site.outcome(outcome_id).reason


def test_a_study_given_to_another_version_of_the_model_is_not_read_by_this_one(site: Site):
    outcome_id = site.waits(FIRST)
    site.db.execute("UPDATE outcome SET model_digest = 'other'")
    site.step(site.room(fake("fine")))
    outcome = site.outcome(outcome_id)
    assert outcome.state is OutcomeState.FAILED
    assert "matins force" in outcome.reason


def test_a_volume_that_cannot_be_built_is_not_applicable_with_the_reason(site: Site):
    def colour(instance: Instance) -> Instance:
        assert instance.pixels is not None
        return replace(instance, pixels=replace(instance.pixels, photometric_interpretation="RGB"))

    outcome_id = site.waits(FIRST, change=colour)
    site.step(site.room())
    outcome = site.outcome(outcome_id)
    assert (outcome.state, outcome.reason) == (OutcomeState.NOT_APPLICABLE, "not monochrome: RGB")


def test_a_result_that_nobody_wants_any_more_is_dropped(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room(fake("fine"))
    site.clock.forward(10)
    while site.outcome(outcome_id).state is not OutcomeState.RUNNING:
        room.step()
    with site.db.transaction():
        work_items.cancel(site.db, site.clock.now(), WorkKind.INFER, outcome_id, "superseded")
        site.db.execute("UPDATE outcome SET state = 'superseded'")
    run_dry(room)
    assert site.outcome(outcome_id).state is OutcomeState.SUPERSEDED
    assert artifacts.of_outcome(site.db, outcome_id) == []
    assert site.item_state(outcome_id, WorkKind.REPORT) == "none"


def test_asked_to_stop_the_room_gives_the_study_back_and_leaves_no_process(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room(fake("hang"))
    begun(room)
    (child,) = room._residence.children
    room.drain(lambda: None, grace_s=0.0)
    assert site.item_state(outcome_id) == "ready"
    assert site.outcome(outcome_id).state is OutcomeState.PENDING
    row = site.db.row("SELECT attempts, not_before_boot_s FROM work_item WHERE kind = 'infer'")
    assert row is not None
    assert (row["attempts"], row["not_before_boot_s"]) == (0, site.clock.now().boottime_s)
    assert not child.alive


def test_asked_to_stop_the_room_still_finishes_a_study_that_ends_in_time(site: Site):
    outcome_id = site.waits(FIRST)
    room = site.room()
    begun(room)
    room.drain(lambda: None, grace_s=60.0)
    assert site.outcome(outcome_id).state is OutcomeState.RESULT


def test_a_model_that_hangs_takes_what_it_has_started_with_it(site: Site, tmp_path: Path):
    site.waits(FIRST)
    room = site.room(fake("family", tmp_path / "pid"), time_limit_s=1.5)
    site.step(room)
    grandchild = int((tmp_path / "pid").read_text())
    assert _is_gone(grandchild)


def test_a_model_that_ends_takes_what_it_has_started_with_it(site: Site, tmp_path: Path):
    site.waits(FIRST)
    room = site.room(fake("orphan", tmp_path / "pid"))
    site.step(room)
    orphan = int((tmp_path / "pid").read_text())
    for _ in range(3000):  # it is killed; nobody here waits for its end
        if _is_gone(orphan):
            return
        time.sleep(0.01)
    pytest.fail("it lives on")


def test_what_a_model_says_after_a_reply_that_could_not_be_recorded_is_heard_the_next_time(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    outcome_id = site.waits(FIRST)
    room = site.room(fake("fine"))
    take, refused = room._take, list[ReplyKind]()

    def once_busy(child: ModelChild, reply: Reply) -> None:
        if reply.kind is ReplyKind.COMPUTED:  # "done" came with it
            take(child, reply)
            refused.append(reply.kind)
            raise Transient("the database is locked")
        take(child, reply)

    monkeypatch.setattr(room, "_take", once_busy)
    with pytest.raises(Transient):
        site.step(room)
    site.step(room)
    assert refused == [ReplyKind.COMPUTED]
    assert site.outcome(outcome_id).state is OutcomeState.RESULT


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    # Without an init to reap it, it may stay as a zombie.
    return "State:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_preloading_tells_what_is_loaded_and_what_is_not(site: Site):
    assert preloaded(site.room(fake("fine"))) == "tiny on cpu"
    assert preloaded(site.room(fake("no-load"))) == "tiny does not load"
    assert preloaded(site.room(fake("refuses"))) == "tiny does not load"


def preloaded(room: InferRoom) -> str:
    room.preload()
    while not (line := room.loaded()):
        room.step()
    return line


def test_a_study_is_read_while_another_model_still_loads_and_one_that_cannot_load_costs_no_other(
    site: Site, tmp_path: Path
):
    site.other_model()
    outcome_id = site.waits(FIRST)
    room = site.room(fake("sleeps-as", "other", tmp_path / "wake"))
    room.preload()
    site.clock.forward(10)
    while site.outcome(outcome_id).state is not OutcomeState.RESULT:
        room.step()
    assert room.loaded() == ""
    (tmp_path / "wake").touch()
    assert preloaded(room) == "tiny on cpu, other does not load"


def test_a_model_that_never_gets_ready_is_ended_and_counted(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(model_child, "LOAD_LIMIT_S", 0.5)
    outcome_id = site.waits(FIRST)
    room = site.room(fake("deaf"))
    site.step(room)
    assert site.outcome(outcome_id).reason == "the model process was not ready within 0.5 s and was ended"


def test_a_second_study_on_a_warm_model_waits_for_no_loading(site: Site):
    first, second = site.waits(FIRST), site.waits(SECOND)
    site.step(site.room())
    cold, warm = (site.outcome(each).timings for each in (first, second))
    assert cold["load_s"] > 0
    assert "load_s" not in warm
