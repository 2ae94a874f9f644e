"""Every closed study that waits for a radiologist has one step, as urgent as the study, and nobody else's patient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from node.domain.dicom_json import Attributes, element, items, text
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.study import Order, StudyState
from node.domain.time import elapsed_s
from node.domain.ups import UpsState
from node.domain.ups_attributes import (
    COMMENTS,
    EXPECTED_COMPLETION,
    INPUT,
    MODIFIED,
    PATIENT_ID,
    PATIENT_NAME,
    PERFORMED,
    PRIORITY,
    READINESS,
    REFERENCED_REQUEST,
    START,
    STEP_LABEL,
    fault_of_creation,
)
from node.store import events, studies, ups, ups_watch
from node.store.database import Database
from node.store.ups import UpsRow
from node.workflow import performing, ranking, reading_steps, reported
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.domain.test_ups_attributes import DONE
from tests.fakes import STUDY, FakeClock, arrive, model, policy, slice_of

PLACE = {"host": "127.0.0.1", "port": 104, "addresses": ["127.0.0.1/32"]}
READER = {"name": "READER", "ae_title": "READER1", "roles": ["reader"], **PLACE}
ARCHIVE = {"name": "ARCHIVE", "ae_title": "ARCHIVE1", "roles": ["archive", "destination", "source"], **PLACE}
LOCK = "1.2.3.77.1"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def terms() -> Policy:
    return policy(more_peers=(READER, ARCHIVE))


@pytest.fixture
def close(db: Database, clock: FakeClock, terms: Policy) -> Callable[..., UpsRow | None]:
    """Let a study arrive and be closed; return its step."""

    def closed(source: str = "SCANNER", **changes: object) -> UpsRow | None:
        order = Order(study_date="20260101", accession_number="A7", study_description="Head")
        for number in (1, 2):
            arrive(db, clock.now(), replace(slice_of(number, order=order), **changes), source=source)  # type: ignore[arg-type]
        clock.forward(4000)
        close_due(db, clock.now(), terms)
        return step_of(db) if ups.reading(db, STUDY) else None

    return closed


Close = Callable[..., "UpsRow | None"]


def step_of(db: Database) -> UpsRow:
    latest = ups.reading(db, STUDY)
    assert latest is not None
    found = ups.step(db, latest.sop_instance_uid)
    assert found is not None
    return found


def move_to(db: Database, clock: FakeClock, terms: Policy, lane: Lane) -> None:
    """Have an order say how urgent a study is, and rank it."""
    with db.transaction():
        study = studies.study(db, STUDY)
        assert study is not None
        asked = {Lane.STAT: "STAT", Lane.URGENT: "HIGH", Lane.ROUTINE: "ROUTINE"}[lane]
        order = replace(study.order, requested_priority=asked)
        studies.record_identity(db, STUDY, study.patient, order, study.modality)
        ranking.rerank(db, clock.now(), terms, STUDY)


def ask(db: Database, clock: FakeClock, terms: Policy, state: str) -> int:
    with db.transaction():
        step = step_of(db).sop_instance_uid
        return performing.change_state(db, clock.now(), lambda: terms, step, state, LOCK, performer="READER")[0]


def test_a_closed_study_gets_a_step_that_anybody_could_have_made(close: Close, db: Database) -> None:
    row = close()
    assert row is not None
    said = row.attributes
    assert fault_of_creation(said) is None
    assert (row.state, row.issuer, row.number) == (UpsState.SCHEDULED, "A", 1)
    assert [text(said, tag) for tag in (PATIENT_NAME, PATIENT_ID, PRIORITY, READINESS)] == [
        *("Doe^Jane", "P1", "LOW", "READY")
    ]
    assert text(said, STEP_LABEL) == "Read MR Head"
    [request] = items(said, REFERENCED_REQUEST)
    assert (text(request, "00080050"), text(request, "0020000D")) == ("A7", STUDY)
    assert said[COMMENTS]["Value"][0].startswith("ROUTINE: ")
    # We know of no archive that has the images.
    assert items(said, INPUT) == []


def test_where_no_peer_may_pull_no_step_is_made(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1))
    clock.forward(4000)
    assert close_due(db, clock.now(), policy()) == 1
    assert ups.reading(db, STUDY) is None


def test_the_step_says_where_the_images_are(close: Close) -> None:
    row = close(source="ARCHIVE")
    assert row is not None
    [series] = items(row.attributes, INPUT)
    assert len(items(series, "00081199")) == 2
    assert text(items(series, "0040E021")[0], "00080054") == "ARCHIVE1"


def test_a_new_revision_names_the_new_images(close: Close, db: Database, clock: FakeClock, terms: Policy) -> None:
    close(source="ARCHIVE")
    arrive(db, clock.now(), slice_of(3), source="ARCHIVE")
    clock.forward(4000)
    close_due(db, clock.now(), replace(terms, models=(model(),)))
    study = studies.study(db, STUDY)
    assert study is not None
    said = step_of(db)
    assert (said.number, said.revision) == (1, study.revision)
    [series] = items(said.attributes, INPUT)
    assert len(items(series, "00081199")) == (3 if study.revision > 1 else 2)
    assert study.revision == 2


def test_an_unknown_patient_has_no_id(close: Close) -> None:
    row = close(patient=Patient(patient_id="UNKNOWN", issuer="A", name="Unknown^Male"))
    assert row is not None
    assert text(row.attributes, PATIENT_ID) == ""


def test_the_lane_is_the_priority_and_a_change_is_told(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    with db.transaction():
        ups_watch.subscribe(db, step_of(db).sop_instance_uid, "READER", locked=False)
    begun = text(step_of(db).attributes, START)
    clock.forward(600)
    move_to(db, clock, terms, Lane.STAT)
    said = step_of(db).attributes
    assert (text(said, PRIORITY), text(said, START)) == ("HIGH", begun)
    assert said[COMMENTS]["Value"][0].startswith("STAT: ")
    assert int(text(said, EXPECTED_COMPLETION)[8:10]) - int(begun[8:10]) in (1, -23)
    assert [each.type for each in ups_watch.next_notices(db, "READER", limit=9)] == [1]
    with db.transaction():
        ranking.rerank(db, clock.now(), terms, STUDY)
    # Nothing has changed: nothing is written, nobody is told.
    assert len(ups_watch.next_notices(db, "READER", limit=9)) == 1


def test_what_a_performer_has_set_stays(close: Close, db: Database, clock: FakeClock, terms: Policy) -> None:
    close()
    changes: Attributes = {"00404025": element("SQ", {"00080100": element("SH", "ST1")})}
    with db.transaction():
        performing.set_attributes(db, clock.now(), step_of(db).sop_instance_uid, changes)
    modified = text(step_of(db).attributes, MODIFIED)
    clock.forward(60)
    with db.transaction():
        performing.set_attributes(db, clock.now(), step_of(db).sop_instance_uid, changes)
    # The same again is no change (PS3.4 §CC.2.6.2).
    assert text(step_of(db).attributes, MODIFIED) == modified
    move_to(db, clock, terms, Lane.URGENT)
    said = step_of(db).attributes
    assert text(said, MODIFIED) > modified
    assert text(said, PRIORITY) == "MEDIUM"
    assert said["00404025"] == changes["00404025"]


def test_who_claims_it_reads_and_who_completes_it_has_read(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    assert ask(db, clock, terms, "IN PROGRESS") == 0x0000
    study = studies.study(db, STUDY)
    assert study is not None
    assert (study.report_state, study.report_told_by) == (ReportState.BEING_READ, "ups READER")
    move_to(db, clock, terms, Lane.URGENT)
    assert (step_of(db).state, text(step_of(db).attributes, PRIORITY)) == (UpsState.IN_PROGRESS, "MEDIUM")
    with db.transaction():
        changes = {PERFORMED: element("SQ", DONE), "00081195": element("UI", LOCK)}
        assert performing.set_attributes(db, clock.now(), step_of(db).sop_instance_uid, changes)[0] == 0x0000
    assert ask(db, clock, terms, "COMPLETED") == 0x0000
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.report_state is ReportState.FINAL
    assert step_of(db).number == 1
    with db.transaction():
        assert reported.take_back(db, clock.now(), terms, STUDY, told_by="maria")
    assert (step_of(db).number, step_of(db).state) == (2, UpsState.SCHEDULED)


def test_who_gives_it_back_leaves_a_new_step(close: Close, db: Database, clock: FakeClock, terms: Policy) -> None:
    close()
    ask(db, clock, terms, "IN PROGRESS")
    with db.transaction():
        reason = {"0074100E": element("SQ", {"00080100": element("SH", "110513")})}
        changes = {"00741002": element("SQ", reason), "00081195": element("UI", LOCK)}
        performing.set_attributes(db, clock.now(), step_of(db).sop_instance_uid, changes)
    first = step_of(db).sop_instance_uid
    assert ask(db, clock, terms, "CANCELED") == 0x0000
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.report_state is ReportState.UNREAD
    again = step_of(db)
    assert (again.state, again.number) == (UpsState.SCHEDULED, 2)
    assert again.sop_instance_uid != first
    assert [row.sop_instance_uid for row in ups.shown(db, states=["SCHEDULED"])] == [again.sop_instance_uid]


def test_a_step_that_nobody_wants_is_replaced_as_long_as_the_study_is_not_read(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    with db.transaction():
        uid = step_of(db).sop_instance_uid
        performing.request_cancel(db, clock.now(), lambda: terms, uid, {}, ae_title="READER1")
    assert (step_of(db).state, step_of(db).number) == (UpsState.SCHEDULED, 2)


def test_a_study_that_another_system_has_reported_leaves_the_worklist(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    with db.transaction():
        reported.record(db, clock.now(), terms, STUDY, ReportState.FINAL, told_by="hl7 RIS")
    assert step_of(db).state is UpsState.CANCELED
    reading_steps.sweep(db, clock.now(), terms)
    assert (step_of(db).state, step_of(db).number) == (UpsState.CANCELED, 1)


def test_nobody_sees_the_step_of_a_study_whose_patient_is_in_doubt(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    uid = step_of(db).sop_instance_uid
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
    assert list(ups.shown(db)) == []
    assert ask(db, clock, terms, "IN PROGRESS") == 0xC307
    with db.transaction():
        assert performing.set_attributes(db, clock.now(), uid, {})[0] == 0xC307
    reading_steps.sweep(db, clock.now(), terms)
    assert step_of(db).state is UpsState.CANCELED
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.DONE, "released")
    reading_steps.sweep(db, clock.now(), terms)
    assert (step_of(db).state, step_of(db).number) == (UpsState.SCHEDULED, 2)


def test_studies_of_before_get_their_steps_once_a_performer_is_configured(
    db: Database, clock: FakeClock, terms: Policy
) -> None:
    arrive(db, clock.now(), slice_of(1))
    clock.forward(4000)
    close_due(db, clock.now(), policy())
    assert ups.reading(db, STUDY) is None
    reading_steps.sweep(db, clock.now(), terms)
    assert step_of(db).state is UpsState.SCHEDULED


def test_a_prior_gets_none(close: Close, db: Database) -> None:
    assert close(order=Order(study_date="20150101")) is None


def test_what_is_final_goes_when_its_time_and_its_locks_are_gone(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    begun = clock.now()
    with db.transaction():
        first = step_of(db).sop_instance_uid
        ups_watch.subscribe(db, first, "READER", locked=True)
        performing.request_cancel(db, clock.now(), lambda: terms, first, {}, ae_title="READER1")
    clock.forward(terms.settings.ups.keep_s - 1)
    reading_steps.sweep(db, clock.now(), terms)
    assert ups_watch.waiting(db) == {"READER"}
    clock.forward(2)
    reading_steps.sweep(db, clock.now(), terms)
    assert elapsed_s(begun, clock.now()) > terms.settings.ups.keep_s
    # Nobody took the reports; the lock still stands.
    assert ups_watch.waiting(db) == set()
    assert ups.step(db, first) is not None
    assert events.latest(db, "ups")[0].after == "forgotten"
    with db.transaction():
        ups_watch.unsubscribe(db, first, "READER")
    reading_steps.sweep(db, clock.now(), terms)
    assert ups.step(db, first) is None
    assert step_of(db).number == 2


def test_peers_that_are_configured_no_longer_lock_nothing(
    close: Close, db: Database, clock: FakeClock, terms: Policy
) -> None:
    close()
    with db.transaction():
        ups_watch.subscribe(db, step_of(db).sop_instance_uid, "GONE", locked=True)
        ups_watch.subscribe_globally(db, "GONE", {}, locked=True)
    reading_steps.sweep(db, clock.now(), terms)
    assert ups_watch.subscriptions(db, step_of(db).sop_instance_uid) == {}
    assert ups_watch.global_subscriptions(db) == []
