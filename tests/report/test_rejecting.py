"""Our own rejection notes: exactly what one destination has of a study, in a document that archives follow."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread, dcmwrite

from node.domain.patient import Patient
from node.domain.rejection import KEY_OBJECT_SELECTION, RejectionTitle
from node.domain.study import Order
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.loop import work_step
from node.receive.describer import describe
from node.receive.protocol import Job
from node.report import rejecting
from node.report.rejection_note import NoteContent, build
from node.store import artifacts, commitments, outbox, outcomes, studies, withdrawal_notes, work_items
from node.store.database import Database, open_database
from node.store.withdrawal_notes import SentResult
from tests.deliver.conftest import Pacs, serving, settings_for
from tests.fakes import FakeClock, policy
from tests.report import test_worker
from tests.report.test_worker import MODEL, finished_outcome

DCIODVFY = Path(sys.executable).with_name("dciodvfy")
DSRDUMP = shutil.which("dsrdump")
SEG, SR, PDF = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.104.1"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "report")
    yield database
    database.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def sent(sop_class: str, number: int, series: str = "2.25.3") -> SentResult:
    return SentResult(
        outbox_id=number,
        outcome_id=1,
        model="brain",
        model_digest="m",
        study_instance_uid="1.2.3.1",
        series_instance_uid=series,
        sop_class_uid=sop_class,
        sop_instance_uid=f"{series}.{number}",
        kind="seg",
        destination="PACS",
        sent_at="",
        path="",
    )


def content(**changes: object) -> NoteContent:
    header = Dataset()
    header.PatientName, header.PatientID, header.StudyInstanceUID = "Grün^Jürgen", "P1", "1.2.3.1"
    header.StudyDate, header.StudyTime, header.StudyID = "20260101", "101010", "S1"
    values: dict[str, object] = {
        "title": RejectionTitle.PATIENT_SAFETY,
        "reason": "withdrawn by a person: Bewegung, überlagert",
        "named": [sent(SEG, 1), sent(SR, 2, "2.25.4"), sent(PDF, 3, "2.25.4")],
        "header": header,
        "decided_at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return NoteContent(**(values | changes))  # type: ignore[arg-type]


def test_a_note_names_each_result_once_by_its_series() -> None:
    made = build(content())
    [study] = made.CurrentRequestedProcedureEvidenceSequence
    listed = {
        series.SeriesInstanceUID: [sop.ReferencedSOPInstanceUID for sop in series.ReferencedSOPSequence]
        for series in study.ReferencedSeriesSequence
    }
    assert (study.StudyInstanceUID, listed) == ("1.2.3.1", {"2.25.3": ["2.25.3.1"], "2.25.4": ["2.25.4.2", "2.25.4.3"]})
    [title] = made.ConceptNameCodeSequence
    assert (title.CodeValue, title.CodingSchemeDesignator) == ("113037", "DCM")
    _, *items = made.ContentSequence
    assert [item.ValueType for item in items] == ["IMAGE", "COMPOSITE", "COMPOSITE"]
    assert not any("ConceptNameCodeSequence" in item for item in items)


def test_the_same_note_is_the_same_object_and_another_is_another(tmp_path: Path) -> None:
    def written(made: Dataset) -> bytes:
        dcmwrite(tmp_path / "note.dcm", made, enforce_file_format=True)
        return (tmp_path / "note.dcm").read_bytes()

    assert written(build(content())) == written(build(content()))
    assert build(content()).SOPInstanceUID != build(content(named=[sent(SEG, 1)])).SOPInstanceUID


@pytest.mark.parametrize("title", [RejectionTitle.QUALITY, RejectionTitle.PATIENT_SAFETY])
def test_validators_find_no_error(tmp_path: Path, title: RejectionTitle) -> None:
    path = tmp_path / "note.dcm"
    dcmwrite(path, build(content(title=title)), enforce_file_format=True)
    told = subprocess.run([DCIODVFY, "-new", str(path)], capture_output=True, text=True)
    assert [line for line in told.stderr.splitlines() if line.startswith(("Error", "Warning"))] == []
    assert told.returncode == 0
    if DSRDUMP:
        assert subprocess.run([DSRDUMP, str(path)], capture_output=True).returncode == 0


def test_our_own_note_is_read_as_ours_and_as_a_rejection(tmp_path: Path) -> None:
    path = tmp_path / "note.dcm"
    dcmwrite(path, build(content()), enforce_file_format=True)
    answer = describe(Job(id=1, path=str(path), issuer=""), 10)
    assert answer.ours
    assert answer.instance is not None
    assert answer.instance.rejects is not None
    assert len(answer.instance.rejects.references) == 3
    assert answer.instance.patient.name == "Grün^Jürgen"


def withdrawn(db: Database, clock: FakeClock) -> int:
    """A study whose two results an archive has and that are withdrawn; the id of the note that is to be written."""
    finished_outcome(db, clock)
    assert test_worker.step(db, clock, policy(MODEL))
    rows = _rows(db)
    with db.transaction():
        for row in rows:
            outbox.move(db, clock.now(), row, ResultState.SENT, "")
        note = withdrawal_notes.add(
            db, clock.now(), rows=rows, title=RejectionTitle.QUALITY, reason="a newer result took its place"
        )
        assert note is not None
        work_items.add(db, clock.now(), WorkKind.REJECT, note.id, note.study_instance_uid)
    return note.id


def _rows(db: Database) -> list[outbox.OutboxRow]:
    study = db.row("SELECT study_instance_uid FROM study")
    assert study is not None
    return outbox.of_study(db, study["study_instance_uid"])


def write(db: Database, clock: FakeClock) -> bool:
    return work_step(db, clock, rejecting.handling(db, clock, "report:"))()


def test_a_note_is_written_as_what_it_names_was_sent_and_queued_there_alone(db: Database, clock: FakeClock) -> None:
    note_id = withdrawn(db, clock)
    assert write(db, clock)
    seg, sr, note = _rows(db)
    assert (note.kind, note.destination, note.state) == ("rejection_note", "PACS", ResultState.QUEUED)
    written = dcmread(db.folder / note.path)
    named = dcmread(db.folder / seg.path, stop_before_pixels=True)
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "AccessionNumber"):
        assert written[keyword] == named[keyword]
    [study] = written.CurrentRequestedProcedureEvidenceSequence
    uids = {
        sop.ReferencedSOPInstanceUID for each in study.ReferencedSeriesSequence for sop in each.ReferencedSOPSequence
    }
    assert uids == {seg.sop_instance_uid, sr.sop_instance_uid}
    assert work_items.state(db, WorkKind.REJECT, note_id) is WorkState.FINISHED
    assert db.row("SELECT 1 FROM outbox WHERE id = ? AND confirmation = 'ended'", (note.id,))


def test_a_note_needs_no_file_of_what_it_names(db: Database, clock: FakeClock) -> None:
    withdrawn(db, clock)
    patient = Patient(patient_id="P1", issuer="A", name="Doe^Jane", birth_date="19700101", sex="F")
    for row in _rows(db):
        (db.folder / row.path).unlink()
        with db.transaction():
            studies.record_identity(db, row.study_instance_uid, patient, Order(study_date="20260101"), "MR")
    assert write(db, clock)
    written = dcmread(db.folder / _rows(db)[-1].path)
    assert (written.PatientID, written.IssuerOfPatientID, written.StudyDate) == ("P1", "A", "20260101")


def test_a_killed_room_writes_the_same_note_once_more(db: Database, clock: FakeClock) -> None:
    note_id = withdrawn(db, clock)
    [item] = work_items.claim(db, clock.now(), WorkKind.REJECT, "report:1", 60)
    rejecting.write_note(db, clock, item)
    rejecting.write_note(db, clock, item)
    assert len(_rows(db)) == 3
    note = withdrawal_notes.note(db, note_id)
    assert note is not None
    assert note.artifact_id is not None
    made = artifacts.artifact(db, note.artifact_id)
    assert made is not None
    assert made.kind == "rejection_note"


def test_a_note_is_sent_though_its_outcome_is_withdrawn(db: Database, clock: FakeClock) -> None:
    withdrawn(db, clock)
    assert write(db, clock)
    with db.transaction():
        for outcome in outcomes.of_study(db, _rows(db)[0].study_instance_uid):
            outcomes.move(db, clock.now(), outcome.id, OutcomeState.FAILED, "withdrawn by a person")
    pacs = Pacs(classes=[KEY_OBJECT_SELECTION]).start()
    try:
        settings = settings_for(db, {"PACS": pacs.port})
        peers = [each.model_copy(update={"rejection": "113001"}) for each in settings.peers]
        assert serving(db, clock, settings.model_copy(update={"peers": tuple(peers)})).step()
    finally:
        pacs.stop()
    note = _rows(db)[-1]
    assert [uid for uid, _ in pacs.received] == [note.sop_instance_uid]
    assert note.state is ResultState.SENT
    assert not commitments.is_due(db, clock.forward(1e6), "PACS", quiet_s=0) or note.id not in {
        each.row.id for each in commitments.due(db, clock.now(), "PACS", quiet_s=0, limit=9)
    }
