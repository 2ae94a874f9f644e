"""Before a study leaves its archive is asked whose it is; nothing leaves under another patient than the archive's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from node.config import Settings
from node.deliver.lifeline import Pulse
from node.deliver.oversight import Leave
from node.deliver.reconciliation import Reconciling
from node.domain.patient import Patient, conflict, same_name
from node.domain.reconciliation import Filed, corrected, reconcile
from node.domain.study import Order
from node.domain.work import ResultState, WorkKind
from node.errors import Transient
from node.store import outbox, reconciliations, studies, work_items
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from node.workflow import identity, reconciliation
from node.workflow.policy import Policy
from node.workflow.reconciliation import Course
from node.workflow.reporting import BuiltResult
from tests.deliver.archive import SR, Archive
from tests.deliver.conftest import queue_results, settings_for
from tests.fakes import PATIENT, STUDY, FakeClock

Start = Callable[..., Archive]


@pytest.fixture
def archive() -> Iterator[Start]:
    """Start archives; all end with the test."""
    started: list[Archive] = []

    def start(**changes: object) -> Archive:
        started.append(Archive(**changes).start())  # type: ignore[arg-type]
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def pulse() -> Iterator[Pulse]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield Pulse(descriptor)
    os.close(descriptor)


def filed(**changes: str) -> Dataset:
    """What an archive answers about the study."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.QueryRetrieveLevel, made.StudyInstanceUID = "STUDY", STUDY
    values = {
        "PatientID": PATIENT.patient_id,
        "IssuerOfPatientID": PATIENT.issuer,
        "PatientName": PATIENT.name,
        "PatientBirthDate": PATIENT.birth_date,
        "PatientSex": PATIENT.sex,
        "AccessionNumber": "",
    }
    for keyword, value in (values | changes).items():
        setattr(made, keyword, value)
    return made


class Asking:
    """The reconciliation of one study with PACS."""

    def __init__(self, db: Database, clock: FakeClock, port: int, pulse: Pulse) -> None:
        self.db, self.clock = db, clock
        self.settings: Settings = settings_for(db, {"PACS": port})
        peer = self.settings.peer_named("PACS")
        assert peer is not None
        self.rows = queue_results(db, clock.now(), (1, 2))
        self.reconciling = Reconciling(db, clock, self.settings, peer, pulse=pulse)

    def permit(self) -> tuple[Leave, str]:
        permit = self.reconciling.permit(STUDY, self.queued())
        return permit.leave, permit.reason

    def queued(self) -> list[OutboxRow]:
        return [row for row in outbox.of_study(self.db, STUDY) if row.state is ResultState.QUEUED]

    def ordered(self) -> list[str]:
        return sorted(work_items.unfinished_subjects(self.db, STUDY, WorkKind.CORRECTION))


@pytest.fixture
def asking(db: Database, clock: FakeClock, pulse: Pulse) -> Callable[..., Asking]:
    return lambda archive: Asking(db, clock, archive if isinstance(archive, int) else archive.port, pulse)


def test_a_study_that_is_filed_as_it_came_may_leave(archive: Start, asking: Callable[..., Asking]) -> None:
    pacs = archive(studies={STUDY: [filed(PatientName="DOE^JANE")]})
    study = asking(pacs)
    assert study.permit() == (Leave.YES, "")
    [query] = pacs.queries
    assert (query.QueryRetrieveLevel, query.StudyInstanceUID) == ("STUDY", STUDY)
    assert all(not query[keyword].value for keyword in ("PatientID", "PatientName", "AccessionNumber"))


def test_an_answer_counts_for_a_minute_and_for_the_patient_that_we_had_then(
    archive: Start, asking: Callable[..., Asking], db: Database
) -> None:
    pacs = archive(studies={STUDY: [filed()]})
    study = asking(pacs)
    study.permit()
    study.clock.forward(reconciliation.FRESH_S)
    study.permit()
    assert len(pacs.queries) == 1
    study.clock.forward(1)
    study.permit()
    assert len(pacs.queries) == 2
    with db.transaction():
        studies.record_identity(db, STUDY, replace(PATIENT, patient_id="P9"), Order(), "MR")
    study.permit()
    assert len(pacs.queries) == 3


def test_a_study_that_is_not_there_yet_is_waited_for(archive: Start, asking: Callable[..., Asking]) -> None:
    pacs = archive()
    study = asking(pacs)
    assert study.permit() == (Leave.WAIT, "PACS does not have the study yet")
    study.clock.forward(5)
    pacs.studies[STUDY] = [filed()]
    assert study.permit() == (Leave.YES, "")


def test_another_patient_id_has_the_results_built_anew_once(archive: Start, asking: Callable[..., Asking]) -> None:
    study = asking(archive(studies={STUDY: [filed(PatientID="P2")]}))
    leave, reason = study.permit()
    assert leave is Leave.WAIT
    assert "files the study under another Patient ID; it is built anew" in reason
    assert study.ordered() == [f"{row.id}:0" for row in study.rows]
    study.permit()
    assert len(study.ordered()) == 2
    assert not {"P1", "P2", "Doe"} & set(reason.split())


def test_another_person_is_held_for_somebody_to_decide(archive: Start, asking: Callable[..., Asking]) -> None:
    study = asking(archive(studies={STUDY: [filed(PatientName="Roe^John", PatientBirthDate="19800101")]}))
    leave, reason = study.permit()
    assert leave is Leave.HOLD
    assert "are those of another person" in reason
    assert "`matins retry`" in reason
    assert not any(value in reason for value in ("Roe", "John", "1980", "Doe", "1970"))
    assert study.ordered() == []


def test_a_study_that_is_filed_twice_is_held(archive: Start, asking: Callable[..., Asking]) -> None:
    assert asking(archive(studies={STUDY: [filed(), filed(PatientID="P2")]})).permit()[0] is Leave.HOLD


def test_who_answers_with_another_study_or_no_queries_is_not_believed(
    archive: Start, asking: Callable[..., Asking]
) -> None:
    other = filed(PatientID="P2")
    other.StudyInstanceUID = "9.9.9"
    study = asking(archive(studies={STUDY: [other]}))
    with pytest.raises(Transient, match="nothing of it is believed"):
        study.permit()
    assert reconciliations.found(study.db, STUDY, "PACS") is None
    no_queries = archive(services=(SR,))
    study.reconciling._peer = study.reconciling._peer.model_copy(update={"port": no_queries.port})
    with pytest.raises(Transient, match="set the peer's reconcile to false"):
        study.permit()


def rebuilt(db: Database, clock: FakeClock, row: OutboxRow) -> OutboxRow:
    """What the report room does: the result once more, with the archive's values."""
    [item] = work_items.claim(db, clock.now(), WorkKind.CORRECTION, "report:1", 30, subject_prefix=f"{row.id}:")
    ordered = reconciliation.ordered_row(db, item)
    assert ordered is not None
    built = BuiltResult(
        kind=row.kind,
        profile="standard",
        path=f"results/rebuilt{row.id}.dcm",
        size=1,
        digest="x",
        sop_instance_uid=f"2.25.88.{row.id}",
        sop_class_uid=row.sop_class_uid,
    )
    with db.transaction():
        recorded = reconciliation.as_variant(built, ordered[1].values)
        assert reconciliation.rebuilt(db, clock.now(), item, row, ordered[1], recorded)
    return outbox.of_study(db, STUDY)[-1]


def test_what_was_built_anew_takes_the_place_of_what_had_not_left(
    archive: Start, asking: Callable[..., Asking], db: Database, clock: FakeClock
) -> None:
    pacs = archive(studies={STUDY: [filed(PatientID="P2", PatientName="Doe^Jane^Mary")]})
    study = asking(pacs)
    study.permit()
    for row in study.rows:
        rebuilt(db, clock, row)
    found = outbox.of_study(db, STUDY)
    assert [row.state.value for row in found] == ["superseded", "superseded", "queued", "queued"]
    assert found[0].reason == "rebuilt with the values of PACS"
    assert study.permit() == (Leave.YES, "")
    policy = Policy(study.settings, (), ())
    named = replace(PATIENT, patient_id="P2")
    assert identity.gate(db, policy, found[2], named).is_open
    assert identity.gate(db, policy, found[2], PATIENT).state is ResultState.HELD
    # The archive has it as it came again: neither may go.
    pacs.studies[STUDY] = [filed()]
    clock.forward(100)
    assert study.permit()[0] is Leave.HOLD


def test_what_cannot_be_built_anew_is_held(
    archive: Start, asking: Callable[..., Asking], db: Database, clock: FakeClock
) -> None:
    study = asking(archive(studies={STUDY: [filed(PatientID="P2")]}))
    study.permit()
    [item] = work_items.claim(db, clock.now(), WorkKind.CORRECTION, "report:1", 30, limit=1)
    with db.transaction():
        work_items.park(db, clock.now(), item, "no mask")
        reconciliation.given_up(db, clock.now(), item, "no mask")
    assert [row.state.value for row in outbox.of_study(db, STUDY)] == ["held", "queued"]


identities = st.builds(
    Patient,
    patient_id=st.sampled_from(["", "P1", "P2", "UNKNOWN"]),
    issuer=st.sampled_from(["", "A", "B"]),
    name=st.sampled_from(["", "Doe^Jane", "DOE^JANE", "Roe^John", "UNKNOWN"]),
    birth_date=st.sampled_from(["", "19700101", "19800101"]),
    sex=st.sampled_from(["", "F", "M"]),
)


@pytest.fixture(scope="module")
def a_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, FakeClock, OutboxRow, Policy]]:
    """One result that waits for PACS; every example starts from it."""
    folder: Path = tmp_path_factory.mktemp("property") / "var"
    db, clock = open_database(folder, "test"), FakeClock()
    [row] = queue_results(db, clock.now(), (1,))
    yield db, clock, row, Policy(settings_for(db, {"PACS": 104}), (), ())
    db.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ours=identities, theirs=st.lists(identities, max_size=2), object_names=identities, bears=st.booleans())
def test_nothing_leaves_that_names_another_patient_than_study_and_archive(
    a_study: tuple[Database, FakeClock, OutboxRow, Policy],
    ours: Patient,
    theirs: list[Patient],
    object_names: Patient,
    bears: bool,
) -> None:
    """Shuffled, merged, corrected and mixed: what passes both gates is the study's patient as the archive has it."""
    db, clock, row, policy = a_study
    answers = tuple(Filed(patient=each) for each in theirs)
    db.execute("BEGIN")
    try:
        studies.record_identity(db, STUDY, ours, Order(), "MR")
        study = studies.study(db, STUDY)
        assert study is not None
        as_filed = reconciliation.as_filed(study)
        reconciliations.record(db, clock.now(), STUDY, "PACS", revision=study.revision, ours=as_filed, filed=answers)
        decision = reconcile(as_filed, answers) if answers else None
        if bears and decision is not None and decision.corrections:
            correction = reconciliations.Correction(ours=as_filed, values=decision.corrections, corrected_by="PACS")
            reconciliations.record_corrected(db, clock.now(), row.artifact_id, correction, study=STUDY)
            object_names = corrected(ours, decision.corrections)
        ruling = reconciliation.rule(db, clock.now(), "PACS", STUDY, [row])
        gate = identity.gate(db, policy, row, object_names)
    finally:
        db.execute("ROLLBACK")
    if ruling.course is not Course.GO or not gate.is_open:
        return
    [archive] = theirs
    assert conflict(object_names, replace(archive, patient_id=archive.patient_id or object_names.patient_id)) is None
    assert same_name(ours.name, archive.name) is not False or bears
    renamed = same_name(ours.name, archive.name) is False
    reborn = bool(ours.birth_date and archive.birth_date and ours.birth_date != archive.birth_date)
    assert not (renamed and reborn)
