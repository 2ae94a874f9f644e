"""Results are built anew with the values under which their destination files the study, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from node.domain.patient import Patient
from node.domain.reconciliation import Filed
from node.domain.study import Order
from node.domain.work import ResultState, WorkKind, WorkState
from node.loop import work_step
from node.report import rebuilding
from node.store import artifacts, instances, outbox, reconciliations, studies, work_items
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from node.workflow import reconciliation, recovery
from node.workflow.policy import Policy
from node.workflow.reconciliation import Course
from tests.fakes import FakeClock, policy
from tests.report.test_worker import AVAILABLE, MODEL, finished_outcome, outcome_of
from tests.report.test_worker import step as report_step


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def waiting(db: Database, clock: FakeClock) -> list[OutboxRow]:
    """Results that wait for PACS, of a study whose patient is that of its images."""
    outcome = outcome_of(db, finished_outcome(db, clock))
    study = outcome.study_instance_uid
    with db.transaction():
        studies.record_identity(db, study, patient_of(db, study), Order(accession_number="A1"), "MR")
    assert report_step(db, clock, used())
    return outbox.of_study(db, study)


def used() -> Policy:
    return policy(MODEL)


def patient_of(db: Database, study: str) -> Patient:
    header = dcmread(db.folder / instances.of_study(db, study)[0].path, stop_before_pixels=True)
    return Patient(
        patient_id=str(header.PatientID),
        name=str(header.PatientName),
        birth_date=str(header.PatientBirthDate),
        sex=str(header.PatientSex),
    )


def file_as(db: Database, clock: FakeClock, rows: list[OutboxRow], **changes: str) -> Course:
    """PACS answers that the patient is another by these changes; what follows is ordered."""
    study = rows[0].study_instance_uid
    filed = Filed(patient=replace(patient_of(db, study), **changes), accession_number="A2")
    reconciliation.record(db, clock.now(), "PACS", study, [filed])
    ruling = reconciliation.rule(db, clock.now(), "PACS", study, rows)
    reconciliation.order_rebuilding(db, clock.now(), ruling.rows)
    return ruling.course


def rebuild_all(db: Database, clock: FakeClock) -> int:
    step = work_step(db, clock, rebuilding.handling(db, clock, used(), AVAILABLE, "report:"))
    number = 0
    while step():
        number += 1
    return number


def stored(db: Database, row: OutboxRow) -> Dataset:
    return dcmread(db.folder / row.path)


def test_every_result_is_built_anew_with_the_archives_values(
    db: Database, clock: FakeClock, waiting: list[OutboxRow]
) -> None:
    study = waiting[0].study_instance_uid
    before = patient_of(db, study)
    assert file_as(db, clock, waiting, patient_id="SURVIVOR") is Course.REBUILD
    assert rebuild_all(db, clock) == len(waiting)
    found = outbox.of_study(db, study)
    old, new = found[: len(waiting)], found[len(waiting) :]
    assert {row.state for row in old} == {ResultState.SUPERSEDED}
    assert [(row.kind, row.state) for row in new] == [(row.kind, ResultState.QUEUED) for row in old]
    for was, row in zip(old, new, strict=True):
        first, second = stored(db, was), stored(db, row)
        assert (second.PatientID, second.AccessionNumber) == ("SURVIVOR", "A2")
        [original] = second.OriginalAttributesSequence
        [values] = original.ModifiedAttributesSequence
        assert (values.PatientID, original.ModifyingSystem) == (before.patient_id, "PACS")
        assert second.SOPInstanceUID == row.sop_instance_uid != first.SOPInstanceUID
        assert second.SOPClassUID == first.SOPClassUID
        assert (second.StudyInstanceUID, second.PatientName) == (first.StudyInstanceUID, first.PatientName)
        expected = replace(before, patient_id="SURVIVOR")
        assert reconciliations.named_patient(db, row.artifact_id, before) == expected
    assert reconciliation.rule(db, clock.now(), "PACS", study, new).course is Course.GO
    [segmentation] = (stored(db, row) for row in new if row.kind == "seg")
    [report] = (stored(db, row) for row in new if row.kind == "measurement_sr")
    assert segmentation.SOPInstanceUID in str(report)


def test_a_second_order_builds_nothing_twice(db: Database, clock: FakeClock, waiting: list[OutboxRow]) -> None:
    file_as(db, clock, waiting, patient_id="SURVIVOR")
    reconciliation.order_rebuilding(db, clock.now(), waiting)
    assert rebuild_all(db, clock) == len(waiting)
    made = len(artifacts.of_outcome(db, waiting[0].outcome_id))
    reconciliation.order_rebuilding(db, clock.now(), waiting)
    rebuild_all(db, clock)
    assert len(artifacts.of_outcome(db, waiting[0].outcome_id)) == made


def test_a_name_in_another_script_is_written_as_the_archive_has_it(
    db: Database, clock: FakeClock, waiting: list[OutboxRow]
) -> None:
    name = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    file_as(db, clock, waiting, name=name)
    rebuild_all(db, clock)
    new = [row for row in outbox.of_study(db, waiting[0].study_instance_uid) if row.state is ResultState.QUEUED]
    assert len(new) == len(waiting)
    assert {str(stored(db, row).PatientName) for row in new} == {name}


def test_what_cannot_be_built_anew_is_held_with_the_remedy(
    db: Database, clock: FakeClock, waiting: list[OutboxRow]
) -> None:
    file_as(db, clock, waiting, patient_id="SURVIVOR")
    (db.folder / "masks" / "1.npz").unlink()
    rebuild_all(db, clock)
    found = outbox.of_study(db, waiting[0].study_instance_uid)
    assert {row.state for row in found} == {ResultState.HELD}
    assert all("`matins retry`" in row.reason for row in found)
    subject = f"{waiting[0].id}:{waiting[0].attempts}"
    assert work_items.state(db, WorkKind.CORRECTION, subject) is WorkState.PARKED


def test_what_agrees_again_meanwhile_is_left_alone(db: Database, clock: FakeClock, waiting: list[OutboxRow]) -> None:
    file_as(db, clock, waiting, patient_id="SURVIVOR")
    study = waiting[0].study_instance_uid
    filed = Filed(patient=patient_of(db, study), accession_number="A1")
    reconciliation.record(db, clock.now(), "PACS", study, [filed])
    rebuild_all(db, clock)
    assert {row.state for row in outbox.of_study(db, study)} == {ResultState.QUEUED}
    assert len(outbox.of_study(db, study)) == len(waiting)


def test_a_result_over_which_the_room_dies_again_and_again_is_held(
    db: Database, clock: FakeClock, waiting: list[OutboxRow]
) -> None:
    assert file_as(db, clock, waiting, patient_id="SURVIVOR") is Course.REBUILD
    for _ in range(21):
        work_items.claim(db, clock.now(), WorkKind.CORRECTION, "report:1", 30, limit=9)
        recovery.take_back(db, clock.now(), "report:", (WorkKind.CORRECTION,))
    assert {row.state for row in outbox.of_study(db, waiting[0].study_instance_uid)} == {ResultState.HELD}


def test_a_rebuilt_result_of_a_study_that_came_again_otherwise_is_held_and_never_lost(
    db: Database, clock: FakeClock, waiting: list[OutboxRow]
) -> None:
    study = waiting[0].study_instance_uid
    file_as(db, clock, waiting, patient_id="SURVIVOR")
    assert rebuild_all(db, clock) == len(waiting)
    new = [row for row in outbox.of_study(db, study) if row.state is ResultState.QUEUED]
    with db.transaction():
        studies.record_identity(db, study, patient_of(db, study), Order(accession_number="A3"), "MR")
    assert file_as(db, clock, new, patient_id="SURVIVOR") is Course.HOLD
    assert rebuild_all(db, clock) == 0
    assert [row for row in outbox.of_study(db, study) if row.state is ResultState.QUEUED] == new
