"""Reports and segmentations beside images: whose they have to be, what becomes history, what does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydicom.uid import BasicTextSRStorage, EncapsulatedPDFStorage, SegmentationStorage

from node.domain.finding import Code, Finding
from node.domain.patient import Patient
from node.domain.prior_document import Coded, DocumentState, Passage, PriorDocument, PriorFinding
from node.domain.study import Instance, Order
from node.domain.work import WorkKind, WorkState
from node.store import history, instances, prior_documents, prior_findings, reading_list, studies, work_items
from node.store.database import Database
from node.workflow import operations, prior_reading, recovery
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, policy, slice_of

POLICY: Policy = policy()
PRIOR = "1.2.3.2"
EMBOLISM = Code("59282003", "SCT", "Pulmonary embolism")
NODULE = Code("27925004", "SCT", "Nodule")
READ = PriorDocument(
    title="CT report",
    completion="COMPLETE",
    verification="VERIFIED",
    document_date="20250102",
    passages=(Passage(heading="impression", text="Embolism resolved."),),
    coded=(Coded(code=EMBOLISM, present=False), Coded(code=NODULE, present=True)),
    findings=(PriorFinding(finding=Finding(code=NODULE, tracking_uid="2.25.7")),),
)


def document(
    number: int = 9, *, study: str = PRIOR, sop_class_uid: str = BasicTextSRStorage, **more: object
) -> Instance:
    values = {"modality": "SR", "plane": None, "pixels": None, "order": Order(study_date="20250101"), **more}
    return slice_of(number, study=study, series=f"{study}.9", sop_class_uid=sop_class_uid, **values)


def close(db: Database, clock: FakeClock, *uids: str) -> None:
    for uid in uids:
        with db.transaction():
            studies.request_closing(db, uid)
    close_due(db, clock.forward(1), POLICY)


def read(db: Database, clock: FakeClock, found: PriorDocument | None = READ) -> int:
    """Do what the report room does; return how many were to be read."""
    items = work_items.claim(db, clock.now(), WorkKind.READ_PRIOR, "report:1", 60, limit=100)
    for item in items:
        reading = prior_reading.begin(db, item)
        with db.transaction():
            if reading is None:
                work_items.finish(db, clock.now(), item)
                continue
            given = None if reading.doubt else found
            prior_reading.complete(db, clock.now(), POLICY, item, reading, given, reading.doubt)
    return len(items)


def arrived(db: Database, clock: FakeClock, *documents: Instance, today: Patient = PATIENT) -> None:
    """A study of today that waits, and one of old with these documents."""
    arrive(db, clock.now(), slice_of(1, patient=today))
    arrive(db, clock.now(), slice_of(1, study=PRIOR, series=f"{PRIOR}.1", order=Order(study_date="20250101")))
    for each in documents:
        arrive(db, clock.now(), each)
    close(db, clock, STUDY, PRIOR)


def facts(db: Database, patient: Patient = PATIENT) -> set[tuple[str, str, str, str]]:
    found = history.facts(db, patient, study=STUDY)
    return {(each.code, each.value, each.coded, each.standing.value) for each in found}


ALL = {
    ("report", "impression: Embolism resolved.", "", "yes"),
    ("problem", "Pulmonary embolism", "SCT:59282003", "no"),
    ("problem", "Nodule", "SCT:27925004", "yes"),
}


def test_a_report_that_comes_with_a_prior_is_history_of_the_study_that_waits(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document())
    assert read(db, clock) == 1
    assert facts(db) == ALL
    (fact, *_) = history.facts(db, PATIENT, study=STUDY)
    assert (fact.source, fact.observed_at) == ("SCANNER", "2025-01-01")
    (row,) = prior_documents.of_studies(db, [PRIOR])
    assert (row.state, row.facts, row.document.standing) == (DocumentState.READ, 3, "COMPLETE, VERIFIED")
    (finding,) = prior_findings.of_studies(db, [PRIOR])
    assert (finding.found.finding.code, finding.ours, finding.verification) == (NODULE, False, "VERIFIED")


def test_a_report_of_the_same_study_is_read_too_and_each_is_read_once(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document(), document(8, study=STUDY))
    assert read(db, clock) == 2
    arrive(db, clock.now(), slice_of(2, study=PRIOR, series=f"{PRIOR}.1", order=Order(study_date="20250101")))
    close(db, clock, PRIOR)
    assert read(db, clock) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"completion": "PARTIAL", "verification": "UNVERIFIED"},
        {"verification": "UNVERIFIED", "by_device": True},
        {"verification": "UNVERIFIED", "preliminary": "PRELIMINARY"},
    ],
)
def test_what_nobody_stands_for_is_no_history_and_its_findings_are_shown_with_that_word(
    db: Database, clock: FakeClock, changes: dict[str, object]
) -> None:
    arrived(db, clock, document())
    found = replace(READ, **changes)  # type: ignore[arg-type]
    read(db, clock, found)
    assert facts(db) == set()
    story = study_story(db, STUDY)
    assert story is not None
    (told,) = story["prior_documents"]
    assert (told["standing"], told["facts"]) == (found.standing, 0)
    assert [each["code"]["code_meaning"] for each in told["findings"]] == ["Nodule"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patient_id": "P2"}, "Patient ID differs"),
        ({"patient_id": ""}, "Patient ID differs"),
        ({"birth_date": "19551224"}, "birth date differs"),
        ({"sex": "M"}, "sex differs"),
        ({"issuer": "B"}, "Issuer of Patient ID differs"),
        ({"name": "Roe^Mary"}, "name differs"),
    ],
)
def test_nothing_is_believed_of_an_object_that_names_another_patient_than_its_study(
    db: Database, clock: FakeClock, changes: dict[str, str], words: str
) -> None:
    arrived(db, clock, document())
    named = document(patient=replace(PATIENT, **changes))
    (held,) = [each for each in instances.of_study(db, PRIOR) if each.sop_class_uid == BasicTextSRStorage]
    with db.transaction():
        instances.record_description(db, held.id, named, ours=True)
    read(db, clock)
    assert facts(db) == set()
    (row,) = prior_documents.of_studies(db, [PRIOR])
    assert row.state is DocumentState.NOT_BELIEVED
    assert words in row.reason
    assert prior_findings.of_studies(db, [PRIOR]) == []


def test_a_report_of_a_patient_who_is_not_identified_tells_nobody(db: Database, clock: FakeClock) -> None:
    nobody = replace(PATIENT, patient_id="")
    arrive(db, clock.now(), slice_of(1, patient=nobody))
    arrive(db, clock.now(), slice_of(1, study=PRIOR, series=f"{PRIOR}.1", patient=nobody))
    arrive(db, clock.now(), document(patient=nobody))
    close(db, clock, STUDY, PRIOR)
    read(db, clock)
    assert facts(db, nobody) == set()


def test_what_a_report_of_somebody_else_under_the_same_id_says_is_unconfirmed(db: Database, clock: FakeClock) -> None:
    other = replace(PATIENT, birth_date="19551224")
    arrive(db, clock.now(), slice_of(1, study=PRIOR, series=f"{PRIOR}.1", patient=other))
    arrive(db, clock.now(), document(patient=other))
    arrive(db, clock.now(), slice_of(1))
    close(db, clock, STUDY, PRIOR)
    read(db, clock)
    assert facts(db) == set()
    doubts = {doubt for _, doubt in history.candidates(db, PATIENT, study=STUDY)}
    assert doubts == {"birth date differs"}


def test_what_a_report_said_is_forgotten_when_a_rejection_note_takes_it_out_of_use(
    db: Database, clock: FakeClock
) -> None:
    arrived(db, clock, document())
    read(db, clock)
    (held,) = [each for each in instances.of_study(db, PRIOR) if each.sop_class_uid == BasicTextSRStorage]
    with db.transaction():
        db.execute("UPDATE instance SET rejected = '113001' WHERE id = ?", (held.id,))
        prior_reading.ask_again(db, clock.now(), [held.id])
    assert read(db, clock) == 1
    assert facts(db) == set()
    (row,) = prior_documents.of_studies(db, [PRIOR])
    assert (row.state, row.reason) == (DocumentState.NOT_BELIEVED, "a rejection note has taken it out of use")


def test_when_a_study_is_held_nothing_of_its_reports_is_used_until_it_is_released(
    db: Database, clock: FakeClock
) -> None:
    arrived(db, clock, document())
    read(db, clock)
    assert facts(db) == ALL
    stranger = replace(PATIENT, patient_id="P2")
    arrive(db, clock.now(), slice_of(2, study=PRIOR, series=f"{PRIOR}.1", patient=stranger))
    close(db, clock, PRIOR)
    assert read(db, clock) == 1
    assert facts(db) == set()


def test_a_report_that_comes_after_the_closing_is_read_without_another_and_what_we_made_is_not(
    db: Database, clock: FakeClock
) -> None:
    arrived(db, clock)
    late = document()
    arrive(db, clock.now(), late)
    (held,) = [each for each in instances.of_study(db, PRIOR) if each.sop_class_uid == BasicTextSRStorage]
    with db.transaction():
        prior_reading.arrived(db, clock.now(), held.id, late)
        prior_reading.arrived(db, clock.now(), held.id, replace(late, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59"))
    assert read(db, clock) == 1
    assert facts(db) == ALL


def test_a_corrected_report_takes_the_place_of_what_it_said_before(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document())
    read(db, clock)
    arrive(db, clock.now(), document(), version="2")
    close(db, clock, PRIOR)
    assert read(db, clock, replace(READ, passages=(), coded=())) == 1
    assert facts(db) == set()


def test_a_report_that_comes_late_ranks_the_study_that_waits_anew(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived(db, clock)
    assert reading_list.unread_of_patient(db, PATIENT) != []
    ranked: list[str] = []
    monkeypatch.setattr("node.workflow.ranking.rerank", lambda _db, _now, _policy, uid: ranked.append(uid))
    arrive(db, clock.now(), document())
    close(db, clock, PRIOR)
    ranked.clear()
    read(db, clock)
    assert STUDY in ranked


def test_our_own_report_from_elsewhere_is_findings_and_never_history(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document())
    (held,) = [each for each in instances.of_study(db, PRIOR) if each.sop_class_uid == BasicTextSRStorage]
    with db.transaction():
        instances.record_description(db, held.id, document(), ours=True)
    read(db, clock)
    assert facts(db) == set()
    (finding,) = prior_findings.of_studies(db, [PRIOR])
    assert finding.ours


def test_one_that_cannot_be_read_is_parked_with_the_reason_and_shown(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document())
    (item,) = work_items.claim(db, clock.now(), WorkKind.READ_PRIOR, "report:1", 60)
    with db.transaction():
        prior_reading.reject(db, clock.now(), POLICY, item, "its content is nested deeper than 48")
    assert work_items.state(db, WorkKind.READ_PRIOR, item.subject) is WorkState.PARKED
    (row,) = prior_documents.of_studies(db, [PRIOR])
    assert (row.state, row.reason) == (DocumentState.UNREADABLE, "its content is nested deeper than 48")
    assert operations.retry(db, clock.now(), POLICY, PRIOR) == [f"the report {row.sop_instance_uid} is read again"]
    assert read(db, clock) == 1
    assert facts(db) == ALL


def test_one_over_which_the_room_dies_three_times_is_parked(db: Database, clock: FakeClock) -> None:
    arrived(db, clock, document())
    for _ in range(work_items.MAXIMUM_ATTEMPTS):
        (item,) = work_items.claim(db, clock.forward(10), WorkKind.READ_PRIOR, "report:1", 1)
        recovery.recover_expired(db, clock.forward(10), POLICY)
    assert work_items.state(db, WorkKind.READ_PRIOR, item.subject) is WorkState.PARKED
    (row,) = prior_documents.of_studies(db, [PRIOR])
    assert row.state is DocumentState.UNREADABLE


def test_documents_are_noted_and_images_and_other_objects_left_alone(db: Database, clock: FakeClock) -> None:
    noted = document(7, sop_class_uid=EncapsulatedPDFStorage, modality="DOC")
    shown = document(6, sop_class_uid=SegmentationStorage, modality="SEG")
    arrived(db, clock, noted, shown, document(5, sop_class_uid="1.2.840.10008.5.1.4.1.1.88.59", modality="KO"))
    assert read(db, clock, PriorDocument(title="Letter")) == 2
    kinds = {each.kind.value: each.state for each in prior_documents.of_studies(db, [PRIOR])}
    assert kinds == {"encapsulated document": DocumentState.NOTED, "segmentation": DocumentState.READ}


def test_what_was_never_read_is_not_read_because_a_note_names_it(db: Database, clock: FakeClock) -> None:
    arrived(db, clock)
    with db.transaction():
        prior_reading.ask_again(db, clock.now(), [each.id for each in instances.of_study(db, PRIOR)])
    assert read(db, clock) == 0
