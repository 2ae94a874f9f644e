from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from node.domain.patient import Patient
from node.domain.rejection import KEY_OBJECT_SELECTION, Reference, Rejection, RejectionTitle
from node.domain.study import Instance, StudyState
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed
from node.store import events, instances, outbox, outcomes, studies, work_items
from node.store.database import Database
from node.store.events import Event
from node.workflow import operations, reading, rejection
from node.workflow.closing import close_due
from node.workflow.identity import gate
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import PATIENT, SERIES, STUDY, FakeClock, arrive, model, policy, slice_of, volume_finding
from tests.workflow.test_completeness import early_policy
from tests.workflow.test_reading import QUIET_S, begun, mask, read, report

ARCHIVE = {
    "name": "ARCHIVE",
    "ae_title": "ARCHIVE",
    "host": "127.0.0.1",
    "port": 104,
    "addresses": ["127.0.0.1/32"],
    "roles": ["source", "archive"],
}
USED = policy(model(), more_peers=(ARCHIVE,))


def come(
    db: Database,
    clock: FakeClock,
    instance: Instance,
    *,
    source: str = "SCANNER",
    version: str = "",
    used: Policy = USED,
) -> None:
    """Let an instance arrive, be described, and have its effect."""
    assert arrive(db, clock.now(), instance, source=source, version=version, describe=False)
    (item,) = work_items.claim(db, clock.now(), WorkKind.DESCRIBE, "describe:1", 30)
    with db.transaction():
        kept = replace(instance, rejects=instance.rejects and replace(instance.rejects, references=()))
        instances.record_description(db, int(item.subject), kept, ours=False)
        rejection.take_effect(db, clock.now(), used.settings, lambda: used, int(item.subject), instance)
        work_items.finish(db, clock.now(), item)


def note(
    *numbers: int,
    title: RejectionTitle = RejectionTitle.QUALITY,
    named_in: str = STUDY,
    uid: int = 99,
    patient: Patient = PATIENT,
    left_out: int = 0,
) -> Instance:
    """A rejection note over slices of these numbers."""
    references = tuple(
        Reference(study_instance_uid=named_in, sop_instance_uid=f"{SERIES}.{number}") for number in numbers
    )
    rejects = Rejection(title=title, references=references, left_out=left_out)
    return slice_of(
        uid,
        series=f"{STUDY}.8",
        sop_class_uid=KEY_OBJECT_SELECTION,
        modality="KO",
        plane=None,
        pixels=None,
        patient=patient,
        rejects=rejects,
    )


def send(db: Database, clock: FakeClock, numbers: range = range(6), **more: Any) -> None:
    for number in numbers:
        come(db, clock, slice_of(number), **more)


def close(db: Database, clock: FakeClock) -> None:
    assert close_due(db, clock.forward(QUIET_S), USED) == 1


def told(db: Database) -> list[Event]:
    return [event for event in events.of_study(db, STUDY) if event.about == "rejection"]


def state(db: Database) -> tuple[StudyState, str]:
    study = studies.study(db, STUDY)
    assert study is not None
    return study.state, study.reason


def in_use(db: Database) -> list[int]:
    return [int(each.sop_instance_uid.rpartition(".")[2]) for each in instances.of_study(db, STUDY) if each.readable]


@pytest.fixture
def row(db: Database, clock: FakeClock) -> outbox.OutboxRow:
    """The first of two results that are ready to leave, of a study with slices 0 to 5."""
    send(db, clock)
    close(db, clock)
    read(db, clock, USED)
    return report(db, clock, USED)[0]


@pytest.mark.parametrize("title", RejectionTitle)
def test_a_note_takes_its_instances_out_and_what_remains_is_read_anew(
    db: Database, clock: FakeClock, row: outbox.OutboxRow, title: RejectionTitle
) -> None:
    (before,) = outcomes.current(db, STUDY)
    come(db, clock, note(5, title=title))
    assert in_use(db) == [0, 1, 2, 3, 4]
    assert outcomes.current(db, STUDY) == []
    assert {each.state for each in outbox.of_study(db, STUDY)} == {ResultState.WITHDRAWN}
    assert not gate(db, USED, row, PATIENT).is_open
    assert state(db)[0] is StudyState.RECEIVING
    assert title.meaning in state(db)[1]
    assert close_due(db, clock.forward(QUIET_S - 2), USED) == 0  # what takes their place may be on its way
    assert close_due(db, clock.forward(2), USED) == 1
    (after,) = outcomes.current(db, STUDY)
    assert (after.revision, after.state, len(outcomes.inputs(db, after.id))) == (2, OutcomeState.PENDING, 5)
    assert after.content_digest != before.content_digest


def test_what_was_sent_is_marked_and_the_worklist_says_why(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    with db.transaction():
        outbox.move(db, clock.now(), row, ResultState.SENT, "success")
    come(db, clock, note(2, title=RejectionTitle.PATIENT_SAFETY))
    story = study_story(db, STUDY)
    assert story is not None
    assert {each["state"] for each in story["results"]} == {"withdrawn"}
    assert {each["reason"] for each in story["results"]} == {
        "withdrawn: Rejected for Patient Safety Reasons (113037, DCM), a rejection note of SCANNER"
    }
    assert story["findings"] == []
    assert "Rejected for Patient Safety Reasons" in story["reason"]


def test_results_of_earlier_revisions_that_were_sent_are_marked_too(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    with db.transaction():
        outbox.move(db, clock.now(), row, ResultState.SENT, "success")
    send(db, clock, range(6, 7))
    close(db, clock)
    come(db, clock, note(0))
    assert {each.id: each.state for each in outbox.of_study(db, STUDY)}[row.id] is ResultState.WITHDRAWN


def test_a_study_whose_images_are_all_rejected_ends_without_a_standing_result(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    come(db, clock, note(*range(6), title=RejectionTitle.WRONG_WORKLIST_ENTRY))
    close(db, clock)
    (outcome,) = outcomes.current(db, STUDY)
    assert outcome.state is OutcomeState.NOT_APPLICABLE
    assert "6 instance(s) taken out of use: Incorrect Modality Worklist Entry" in outcome.reason
    assert state(db)[0] is StudyState.DONE
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.patient == PATIENT


def test_a_note_that_comes_first_rejects_what_comes_later(db: Database, clock: FakeClock) -> None:
    come(db, clock, note(*range(3, 6)))
    send(db, clock)
    assert in_use(db) == [0, 1, 2]
    close(db, clock)
    (outcome,) = outcomes.current(db, STUDY)
    assert len(outcomes.inputs(db, outcome.id)) == 3
    assert len(told(db)) == 1


def test_a_rejected_instance_that_is_sent_again_stays_out(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    come(db, clock, note(5))
    come(db, clock, slice_of(5, content="sharper"), version="2")
    assert in_use(db) == [0, 1, 2, 3, 4]


def test_a_model_at_work_on_what_is_rejected_hands_nothing_on(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close(db, clock)
    item = begun(db, clock)
    come(db, clock, note(1))
    with db.transaction():
        assert not reading.complete(db, clock.now(), USED, item, [volume_finding()], [mask(item)], {})
    assert outbox.of_study(db, STUDY) == []
    assert work_items.state(db, WorkKind.INFER, item.subject) is WorkState.CANCELLED


def test_what_was_no_input_is_taken_out_and_withdraws_nothing(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    scout = slice_of(1, series=f"{STUDY}.2", modality="CT")
    come(db, clock, scout)
    close(db, clock)
    rejects = Rejection(
        title=RejectionTitle.QUALITY,
        references=(Reference(study_instance_uid=STUDY, sop_instance_uid=scout.sop_instance_uid),),
    )
    come(db, clock, replace(note(), rejects=rejects))
    assert gate(db, USED, row, PATIENT).is_open
    close(db, clock)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.revision, outcome.state) == (1, OutcomeState.RESULT)
    assert any("taken out of use" in str(each["reason"]) for each in outcome.series)


def test_a_note_of_another_peer_is_ignored_and_told_once(db: Database, clock: FakeClock, row: outbox.OutboxRow) -> None:
    come(db, clock, note(0, 1), source="OTHER")
    assert in_use(db) == [0, 1, 2, 3, 4, 5]
    assert gate(db, USED, row, PATIENT).is_open
    (event,) = told(db)
    assert (event.after, "OTHER is no archive" in event.reason) == ("ignored", True)
    come(db, clock, slice_of(0), version="again")
    assert len(told(db)) == 1


def test_an_archive_may_reject_what_others_sent(db: Database, clock: FakeClock, row: outbox.OutboxRow) -> None:
    come(db, clock, note(5), source="ARCHIVE")
    assert in_use(db) == [0, 1, 2, 3, 4]


def test_a_note_about_another_patient_or_another_study_waits_for_a_person(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    come(db, clock, note(5, patient=replace(PATIENT, patient_id="P7"), uid=91))
    come(db, clock, note(5, named_in="1.2.3.7", uid=92))
    assert in_use(db) == [0, 1, 2, 3, 4, 5]
    assert gate(db, USED, row, PATIENT).is_open
    assert [event.after for event in told(db)] == ["held", "held"]
    assert "Patient ID differs" in told(db)[0].reason
    assert not any("P7" in event.reason for event in told(db))
    assert all(f"`matins withdraw {STUDY}`" in event.reason for event in told(db))


def test_references_that_were_left_out_are_told(db: Database, clock: FakeClock, row: outbox.OutboxRow) -> None:
    come(db, clock, note(5, left_out=3))
    assert [event.after for event in told(db)] == ["left out", "in effect"]


def test_a_story_tells_what_is_rejected(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    come(db, clock, note(4, 5))
    story = study_story(db, STUDY)
    assert story is not None
    assert [(each["instances"], each["readable"], each["rejected"]) for each in story["series"]][0] == (6, 4, 2)


def test_the_wrong_patients_images_out_of_use_let_a_held_study_go_on(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    come(db, clock, slice_of(6, patient=replace(PATIENT, patient_id="P7")))
    close(db, clock)
    assert state(db)[0] is StudyState.HELD
    come(db, clock, note(6, title=RejectionTitle.WRONG_WORKLIST_ENTRY, patient=replace(PATIENT, patient_id="P7")))
    assert state(db)[0] is StudyState.HELD
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), USED)
    (outcome,) = outcomes.current(db, STUDY)
    assert len(outcomes.inputs(db, outcome.id)) == 6


def test_a_rejection_before_the_first_closing_is_no_revision_of_its_own(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    come(db, clock, note(5))
    close(db, clock)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.revision, outcome.run_number) == (1, 1)


def test_withdrawn_by_a_person_stays_withdrawn_until_it_is_forced(
    db: Database, clock: FakeClock, row: outbox.OutboxRow
) -> None:
    with db.transaction():
        outbox.move(db, clock.now(), row, ResultState.SENT, "success")
    done = operations.withdraw(db, clock.now(), USED, STUDY, "motion\r\n\x1b[31m artefact")
    assert done == [
        "seg is withdrawn; it had been sent to PACS",
        "measurement_sr is withdrawn from PACS",
        "what brain found is withdrawn",
    ]
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.state, outcome.reason) == (OutcomeState.FAILED, "withdrawn by a person: motion [31m artefact")
    assert {each.state for each in outbox.of_study(db, STUDY)} == {ResultState.WITHDRAWN}
    assert state(db) == (StudyState.DONE, outcome.reason)
    assert operations.retry(db, clock.now(), USED, STUDY) == []
    send(db, clock, version="copy")
    close(db, clock)
    assert [each.id for each in outcomes.current(db, STUDY)] == [outcome.id]
    assert operations.force(db, clock.now(), USED, STUDY) == ["brain runs again"]
    (again,) = outcomes.current(db, STUDY)
    assert (again.state, again.run_number) == (OutcomeState.PENDING, 2)


def test_what_a_model_is_at_is_withdrawn_too_and_another_content_is_read(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close(db, clock)
    item = begun(db, clock)
    assert operations.withdraw(db, clock.now(), USED, STUDY, "") == ["what brain does is withdrawn"]
    with db.transaction():
        assert not reading.complete(db, clock.now(), USED, item, [volume_finding()], [mask(item)], {})
    send(db, clock, range(6, 7))
    close(db, clock)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.revision, outcome.state) == (2, OutcomeState.PENDING)


def test_nothing_to_withdraw_is_said(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    with pytest.raises(Failed, match="nothing to take back"):
        operations.withdraw(db, clock.now(), USED, STUDY, "")
    with pytest.raises(Failed, match="no study"):
        operations.withdraw(db, clock.now(), USED, "1.2.9.9", "")


def test_what_was_read_early_may_be_rejected_before_the_closing(db: Database, clock: FakeClock) -> None:
    used = early_policy()
    send(db, clock, range(10), used=used)
    close_due(db, clock.forward(15), used)
    (before,) = outcomes.current(db, STUDY)
    come(db, clock, note(9), used=used)
    assert outcomes.current(db, STUDY) == []
    close_due(db, clock.forward(QUIET_S), used)
    found = outcomes.of_study(db, STUDY)
    assert [each.state for each in found] == [OutcomeState.SUPERSEDED, OutcomeState.PENDING]
    assert (found[0].id, len(outcomes.inputs(db, found[1].id))) == (before.id, 9)
