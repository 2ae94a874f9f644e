"""Steps to read a study are for readers: nobody else knows of them, nobody else's word takes a study off the list."""

from __future__ import annotations

import pytest

from node.config import Settings
from node.domain.report_state import ReportState
from node.domain.ups import PUSH, WATCH, UpsState
from node.store import studies, ups, ups_watch
from node.store.database import Database
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import STUDY, FakeClock, arrive, slice_of
from tests.receive.ups.conftest import ASKER, LOCK, RADIOLOGY, READER, SCANNER, SECOND, Calling, creation, done

ALL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"


@pytest.fixture
def reading(settings: Settings, db: Database) -> str:
    """UID of the step to read a study that waits."""
    return closed(settings, db)


def closed(settings: Settings, db: Database) -> str:
    clock = FakeClock()
    arrive(db, clock.now(), slice_of(1), source=SCANNER)
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
