"""Steps to read a study are for readers: nobody else knows of them, nobody else's word takes a study off the list."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from node.config import Settings
from node.domain.patient import Patient
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.ups import PUSH, WATCH, UpsState
from node.store import studies, ups, ups_watch
from node.store.database import Database
from node.workflow import merging
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.steps_seen import as_seen
from tests.fakes import STUDY, FakeClock, arrive, slice_of
from tests.receive.ups.conftest import ASKER, LOCK, RADIOLOGY, READER, SCANNER, SECOND, Calling, creation, done

ALL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"


@pytest.fixture
def reading(settings: Settings, db: Database) -> str:
    """UID of the step to read a study that waits."""
    return closed(settings, db)


def closed(settings: Settings, db: Database, *, source: str = SCANNER) -> str:
    clock = FakeClock()
    arrive(db, clock.now(), slice_of(1), source=source)
    clock.forward(4000)
    close_due(db, clock.now(), Policy(settings, (), ()))
    latest = ups.reading(db, STUDY)
    assert latest is not None
    return latest.sop_instance_uid


def report_state(db: Database) -> ReportState:
    study = studies.study(db, STUDY)
    assert study is not None
    return study.report_state


def test_a_performer_that_is_no_reader_neither_finds_nor_moves_a_step_to_read_a_study(
    calling: Calling, db: Database, reading: str
) -> None:
    performer, asker = calling(READER), calling(ASKER)
    assert performer.find(ProcedureStepState="") == []
    assert performer.find(WATCH, PatientName="") == []
    assert asker.find(WATCH, PatientName="") == []
    assert performer.get(reading)[0] == 0xC307
    assert performer.claim(reading) == 0xC307
    assert performer.set(reading, ProcedureStepLabel="x") == 0xC307
    assert performer.act(2, reading, PUSH) == 0xC307
    assert asker.act(2, reading, PUSH) == 0xC307
    said = {"ReceivingAE": "READER1", "DeletionLock": "FALSE"}
    assert performer.act(3, reading, WATCH, **said) == 0xC307
    assert report_state(db) is ReportState.UNREAD


def test_what_a_reader_has_claimed_nobody_else_completes_whatever_it_knows(
    calling: Calling, db: Database, reading: str
) -> None:
    reader = calling(RADIOLOGY)
    assert [each.SOPInstanceUID for each in reader.find(ProcedureStepState="SCHEDULED")] == [reading]
    assert reader.claim(reading) == 0x0000
    assert report_state(db) is ReportState.BEING_READ
    assert reader.set(reading, TransactionUID=LOCK, UnifiedProcedureStepPerformedProcedureSequence=done()) == 0x0000
    assert calling(SECOND).change(reading, "COMPLETED") == 0xC307
    assert report_state(db) is ReportState.BEING_READ
    assert reader.change(reading, "COMPLETED") == 0x0000
    assert report_state(db) is ReportState.FINAL


def test_a_reader_that_is_no_performer_knows_nothing_of_the_steps_that_peers_make(
    calling: Calling, db: Database
) -> None:
    assert calling(ASKER).create(creation())[0] == 0x0000
    reader = calling(RADIOLOGY)
    assert reader.find(ProcedureStepState="") == []
    assert reader.claim() == 0xC307
    assert calling(READER).claim() == 0x0000


@pytest.mark.parametrize("first", [True, False], ids=["before it is made", "after it is made"])
def test_whoever_watches_all_watches_what_it_may_know_of(
    calling: Calling, settings: Settings, db: Database, *, first: bool
) -> None:
    uid = "" if first else closed(settings, db)
    for name in (READER, RADIOLOGY):
        said = {"ReceivingAE": f"{name}1", "DeletionLock": "TRUE"}
        assert calling(name).act(3, ALL, WATCH, **said) == 0x0000
        assert calling(name).act(3, FILTERED, WATCH, **said, PatientID="P1") == 0x0000
    uid = uid or closed(settings, db)
    assert ups_watch.subscriptions(db, uid) == {RADIOLOGY: True}
    assert ups_watch.next_notices(db, READER, limit=9) == []
    row = ups.step(db, uid)
    assert row is not None
    assert row.state is UpsState.SCHEDULED


def hospital_says(db: Database, settings: Settings, name: str, birth_date: str) -> None:
    """The hospital's system tells whom the Patient ID means."""
    clock = FakeClock()
    clock.forward(5000)
    with db.transaction():
        told = Patient(patient_id="P1", issuer="A", name=name, birth_date=birth_date)
        merging.correct(db, clock.now(), Policy(settings, (), ()), told, (), told_by="hl7 RIS")


def hold(db: Database, settings: Settings) -> None:
    with db.transaction():
        studies.move(db, FakeClock().now(), STUDY, StudyState.HELD, "two patients")


def dispute(db: Database, settings: Settings) -> None:
    hospital_says(db, settings, "Roe^Richard", "19330303")


@pytest.mark.parametrize("doubt", [hold, dispute])
def test_the_step_of_a_study_whose_patient_is_in_doubt_is_offered_to_nobody(
    calling: Calling, settings: Settings, db: Database, reading: str, doubt: Callable[[Database, Settings], None]
) -> None:
    reader = calling(RADIOLOGY)
    assert len(reader.find(PatientID="P1")) == 1
    doubt(db, settings)
    assert reader.find(ProcedureStepState="") == []
    assert reader.get(reading)[0] == 0xC307
    assert reader.claim(reading) == 0xC307


@pytest.mark.parametrize("doubt", [hold, dispute])
def test_a_claimed_step_names_nobody_while_the_patient_is_in_doubt(
    calling: Calling, settings: Settings, db: Database, reading: str, doubt: Callable[[Database, Settings], None]
) -> None:
    reader = calling(RADIOLOGY)
    assert reader.claim(reading) == 0x0000
    doubt(db, settings)
    assert reader.find(PatientID="P1") == []
    [found] = reader.find(**dict.fromkeys(("PatientName", "PatientBirthDate", "InputReadinessState"), ""))
    said = [str(found[keyword].value or "") for keyword in ("PatientName", "PatientBirthDate", "InputReadinessState")]
    assert said == ["", "", "UNAVAILABLE"]
    _, seen = reader.get(reading)
    assert seen is not None
    assert "Doe" not in str(seen)
    assert (seen.PatientID or "", list(seen.ReferencedRequestSequence)) == ("", [])


def test_a_step_is_offered_again_once_the_hospital_agrees(
    calling: Calling, settings: Settings, db: Database, reading: str
) -> None:
    reader = calling(RADIOLOGY)
    reader.act(3, reading, WATCH, ReceivingAE="RADIOLOGY1", DeletionLock="FALSE")
    dispute(db, settings)
    hospital_says(db, settings, "Doe^Jane", "19800101")
    readiness = [each.content["00404041"]["Value"][0] for each in ups_watch.next_notices(db, RADIOLOGY, limit=9)]
    assert readiness == ["READY", "UNAVAILABLE", "READY"]
    assert reader.claim(reading) == 0x0000


def test_a_reader_sees_studies_of_the_sources_that_name_it(calling: Calling, settings: Settings, db: Database) -> None:
    uid = closed(settings, db, source="ELSEWHERE")
    reader = calling(RADIOLOGY)
    assert reader.find(ProcedureStepState="") == []
    assert reader.claim(uid) == 0xC307


def test_a_reader_of_one_hospital_sees_no_study_of_no_hospital(settings: Settings, db: Database, reading: str) -> None:
    row, reader = ups.step(db, reading), settings.peer_named(RADIOLOGY)
    assert row is not None
    assert reader is not None
    seen = {
        issuer: as_seen(db, settings, reader.model_copy(update={"issuer": issuer}), row) is not None
        for issuer in ("", "A", "B")
    }
    assert seen == {"": True, "A": True, "B": False}
    db.execute("UPDATE study SET patient = json_set(patient, '$.issuer', '')")
    assert as_seen(db, settings, reader.model_copy(update={"issuer": "A"}), row) is None
