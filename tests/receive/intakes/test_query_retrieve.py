"""What we made can be asked for and moved, by those who may have it and nobody else; what others sent never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dsutils import decode

from node.config import Settings
from node.domain.study import Order, StudyState
from node.domain.time import SystemClock
from node.domain.work import OutcomeState, ResultState
from node.errors import Refused
from node.receive import held_results
from node.receive.intakes import Part, Request, cstore, query_retrieve
from node.receive.keeper import Keeper
from node.store import events, outbox, outcomes, studies
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.spool import Spool
from tests.associations import associated
from tests.deliver.conftest import SR, queue_results
from tests.fakes import PATIENT, STUDY, FakeClock
from tests.receive.intakes.test_mpps import unchecked
from tests.receive.objects import encoded, free_port

FIND, MOVE = query_retrieve.SOP_CLASSES
ADDRESS = ["127.0.0.1/32"]


def settings_of(folder: Path) -> Settings:
    place = {"host": "127.0.0.1", "port": 104, "addresses": ADDRESS, "roles": ["destination"]}
    scanner = {"name": "SCANNER", "ae_title": "SCANNER", "addresses": ADDRESS, "roles": ["source"]}
    peers = [
        {**scanner, "results_to": ["PACS", "VIEWER"]},
        *({"name": name, "ae_title": f"{name}1", **place} for name in ("PACS", "VIEWER", "STRANGER")),
    ]
    return Settings.model_validate(
        {
            "node": {"port": free_port()},
            "data": {"folder": folder, "minimum_free_percent": 0.0},
            "receive": {"artim_s": 5.0, "idle_s": 20.0},
            "peers": peers,
            "models": {"brain": {"mode": "live"}},
        }
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "var").mkdir()
    return settings_of(tmp_path / "var")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rows(db: Database, clock: FakeClock) -> list[OutboxRow]:
    """Two results of one study, queued for the PACS."""
    made = queue_results(db, clock.now(), (1, 2))
    with db.transaction():
        order = Order(study_date="20260101", accession_number="A-1", study_description="Head")
        studies.record_identity(db, STUDY, PATIENT, order, "MR")
        db.execute("UPDATE artifact SET profile = 'standard'")
    for row in made:
        path = db.folder / row.path
        dataset = dcmread(path)
        dataset.SeriesInstanceUID, dataset.Modality = f"2.25.88.{row.id}", "SR"
        dataset.SeriesDescription = "AI résumé"
        dataset.save_as(path, enforce_file_format=True)
    return made


class Caller:
    """Asks as one of the peers, straight at the intake."""

    def __init__(self, settings: Settings, db: Database, clock: FakeClock) -> None:
        self.settings = settings
        self.keeper = cast("Keeper", SimpleNamespace(db=db, clock=clock))

    def begin(
        self, asked: Dataset, *, by: str = "PACS", move_to: str = "", syntax: str = ImplicitVRLittleEndian
    ) -> Iterator[Part]:
        peer = self.settings.peer_named(by)
        assert peer is not None
        request = Request(
            operation="C-MOVE" if move_to else "C-FIND",
            sop_class_uid=MOVE if move_to else FIND,
            sop_instance_uid="",
            type_id=None,
            content=encoded(asked, syntax),
            transfer_syntax_uid=syntax,
            peer=peer,
            move_destination=move_to,
        )
        return query_retrieve.parts(self.settings, self.keeper, request)

    def find(self, *, by: str = "PACS", **keys: Any) -> list[Dataset]:
        *matches, last = self.begin(query(**keys), by=by)
        assert (last.status, last.identifier) == (0x0000, b"")
        return [read(match.identifier) for match in matches]

    def refusal(self, **keys: Any) -> int:
        with pytest.raises(Refused) as caught:
            list(self.begin(query(**keys)))
        return caught.value.status


def read(content: bytes) -> Dataset:
    return decode(BytesIO(content), True, True)


def query(level: str = "STUDY", **keys: Any) -> Dataset:
    made = Dataset()
    made.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(made, keyword, value)
    return made


@pytest.fixture
def caller(settings: Settings, db: Database, clock: FakeClock) -> Caller:
    return Caller(settings, db, clock)


def test_a_study_is_told_by_uid_accession_or_patient(caller: Caller, rows: list[OutboxRow]) -> None:
    for keys in ({"StudyInstanceUID": STUDY}, {"AccessionNumber": "A-1"}, {"PatientID": "P1"}):
        [answer] = caller.find(**keys, PatientName="", NumberOfStudyRelatedInstances="", ReferringPhysicianName="")
        assert (answer.StudyInstanceUID, answer.RetrieveAETitle) == (STUDY, "MATINS")
        assert (answer.PatientName, answer.NumberOfStudyRelatedInstances) == ("Doe^Jane", 2)
        assert answer.ReferringPhysicianName == ""


def test_series_and_instances_are_told_with_what_their_files_say(caller: Caller, rows: list[OutboxRow]) -> None:
    found = caller.find(level="SERIES", StudyInstanceUID=STUDY, SeriesDescription="", Modality="SR")
    assert [each.SeriesDescription for each in found] == ["AI résumé"] * 2
    series = found[0].SeriesInstanceUID
    [image] = caller.find(level="IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID=series, SOPClassUID="")
    assert (image.SOPInstanceUID, image.SOPClassUID) == (rows[0].sop_instance_uid, SR)
    assert caller.find(level="SERIES", StudyInstanceUID=STUDY, Modality="SEG") == []


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"PatientID": ""},
        {"PatientID": "*"},
        {"PatientID": "P?"},
        {"PatientID": "UNKNOWN"},
        {"PatientName": "DOE*"},
        {"StudyDate": "20260101-20260102"},
        {"AccessionNumber": "*"},
        {"AccessionNumber": "", "StudyInstanceUID": ""},
    ],
    ids=str,
)
def test_who_names_nobody_is_told_of_nobody(caller: Caller, rows: list[OutboxRow], keys: dict[str, str]) -> None:
    assert caller.refusal(**keys) == 0xC001


@pytest.mark.parametrize(
    "keys",
    [
        {"level": "PATIENT", "PatientID": "P1"},
        {"level": "", "PatientID": "P1"},
        {"level": "SERIES", "PatientID": "P1"},
        {"level": "IMAGE", "StudyInstanceUID": STUDY},
        {"level": "SERIES", "StudyInstanceUID": [STUDY, "1.2"]},
    ],
    ids=str,
)
def test_what_is_no_identifier_of_the_model_does_not_match(caller: Caller, keys: dict[str, Any]) -> None:
    assert caller.refusal(**keys) == 0xA900


@pytest.mark.parametrize(
    "keys",
    [
        {"PatientID": "P2"},
        {"PatientID": "P1", "PatientName": "Roe*"},
        {"PatientID": "P1", "PatientBirthDate": "19700102"},
        {"PatientID": "P1", "IssuerOfPatientID": "B"},
        {"PatientID": "P1", "StudyDate": "20260102-"},
        {"StudyInstanceUID": "1.2.3.9"},
    ],
    ids=str,
)
def test_another_patient_or_study_is_never_told(caller: Caller, rows: list[OutboxRow], keys: dict[str, str]) -> None:
    assert caller.find(**keys) == []


def test_nobody_is_told_of_what_is_not_for_him(caller: Caller, rows: list[OutboxRow]) -> None:
    assert len(caller.find(by="VIEWER", StudyInstanceUID=STUDY)) == 1  # listed in results_to, though not sent it
    assert caller.find(by="STRANGER", StudyInstanceUID=STUDY) == []
    with pytest.raises(Refused) as caught:
        list(caller.begin(query(StudyInstanceUID=STUDY), by="SCANNER"))
    assert caught.value.status == 0x0124


def test_what_was_withdrawn_superseded_held_or_freed_is_not_told(
    caller: Caller, db: Database, clock: FakeClock, rows: list[OutboxRow]
) -> None:
    with db.transaction():
        outbox.move(db, clock.now(), rows[0], ResultState.WITHDRAWN, "")
    [answer] = caller.find(StudyInstanceUID=STUDY, NumberOfStudyRelatedInstances="")
    assert answer.NumberOfStudyRelatedInstances == 1
    assert [
        each.NumberOfStudyRelatedInstances
        for each in caller.find(by="VIEWER", StudyInstanceUID=STUDY, NumberOfStudyRelatedInstances="")
    ] == [1]
    with db.transaction():
        db.execute("UPDATE artifact SET freed_at = 'x' WHERE id = ?", (rows[1].artifact_id,))
    assert caller.find(StudyInstanceUID=STUDY) == []
    with db.transaction():
        db.execute("UPDATE artifact SET freed_at = ''")
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
    assert caller.find(StudyInstanceUID=STUDY) == []
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.DONE, "")
        outcomes.move(db, clock.now(), rows[1].outcome_id, OutcomeState.SUPERSEDED, "")
    assert caller.find(StudyInstanceUID=STUDY) == []


def test_an_object_that_names_another_patient_than_the_study_does_now_is_not_told(
    caller: Caller, db: Database, rows: list[OutboxRow]
) -> None:
    with db.transaction():
        studies.record_identity(db, STUDY, replace(PATIENT, patient_id="P7"), Order(), "MR")
    assert caller.find(StudyInstanceUID=STUDY) == []


def test_a_list_of_everybody_is_too_long(
    caller: Caller, db: Database, rows: list[OutboxRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_results, "MOST_STUDIES", 0)
    assert caller.refusal(PatientID="P1") == 0xA700


def move(db: Database, clock: FakeClock, row: OutboxRow, *states: ResultState) -> None:
    [now] = outbox.with_ids(db, [row.id])
    with db.transaction():
        for state in states:
            assert outbox.move(db, clock.now(), now, state, "test")
            [now] = outbox.with_ids(db, [row.id])


def test_a_move_has_the_results_sent_and_counts_what_has_arrived(
    caller: Caller, db: Database, clock: FakeClock, rows: list[OutboxRow]
) -> None:
    for row in rows:
        move(db, clock, row, ResultState.SENT, ResultState.COMMITTED)
    parts = caller.begin(query(StudyInstanceUID=STUDY), move_to="PACS1")
    assert next(parts) == Part(status=0xFF00, counts=(2, 0, 0, 0))
    assert [row.state for row in outbox.of_study(db, STUDY)] == [ResultState.QUEUED] * 2
    move(db, clock, rows[0], ResultState.SENT)
    assert next(parts).counts == (1, 1, 0, 0)
    move(db, clock, rows[1], ResultState.DEAD)
    last = next(parts)
    assert (last.status, last.counts) == (0xB000, (0, 1, 1, 0))
    assert read(last.identifier).FailedSOPInstanceUIDList == rows[1].sop_instance_uid
    assert next(parts, None) is None


def test_a_move_to_another_destination_queues_there_alone(
    caller: Caller, db: Database, clock: FakeClock, rows: list[OutboxRow]
) -> None:
    parts = caller.begin(
        query(
            "IMAGE",
            StudyInstanceUID=STUDY,
            SeriesInstanceUID=f"2.25.88.{rows[0].id}",
            SOPInstanceUID=rows[0].sop_instance_uid,
        ),
        move_to="VIEWER1",
    )
    assert next(parts).counts == (1, 0, 0, 0)
    [mine] = [row for row in outbox.of_study(db, STUDY) if row.destination == "VIEWER"]
    assert mine.artifact_id == rows[0].artifact_id
    move(db, clock, mine, ResultState.SENT)
    assert next(parts) == Part(status=0x0000, counts=(0, 1, 0, 0))


def test_what_the_destination_may_not_have_is_told_as_failed_and_never_queued(
    caller: Caller, db: Database, rows: list[OutboxRow]
) -> None:
    [last] = caller.begin(query(StudyInstanceUID=STUDY), move_to="STRANGER1")
    assert (last.status, last.counts) == (0xB000, (0, 0, 2, 0))
    assert len(read(last.identifier).FailedSOPInstanceUIDList) == 2
    assert {row.destination for row in outbox.of_study(db, STUDY)} == {"PACS"}


def test_what_does_not_arrive_in_time_is_told_as_failed_and_still_sent(
    caller: Caller, db: Database, rows: list[OutboxRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_retrieve, "_PATIENCE_S", 0.0)
    [last] = caller.begin(query(StudyInstanceUID=STUDY), move_to="PACS1")
    assert (last.status, last.counts, last.reason) == (0xB000, (0, 0, 2, 0), "2 still wait for the destination")
    assert [row.state for row in outbox.of_study(db, STUDY)] == [ResultState.QUEUED] * 2


@pytest.mark.parametrize(("to", "status"), [("NOBODY", 0xA801), ("SCANNER", 0xA801), ("", 0xA801)])
def test_a_move_to_nobody_is_refused(caller: Caller, rows: list[OutboxRow], to: str, status: int) -> None:
    with pytest.raises(Refused) as caught:
        list(caller.begin(query(StudyInstanceUID=STUDY), move_to=to or " "))
    assert caught.value.status == status


def test_a_move_names_what_it_moves(caller: Caller, rows: list[OutboxRow]) -> None:
    with pytest.raises(Refused) as caught:
        list(caller.begin(query(PatientID="P1"), move_to="PACS1"))
    assert caught.value.status == 0xA900


def test_hostile_identifiers_are_refused(caller: Caller) -> None:
    nested = query(StudyInstanceUID=STUDY)
    for _ in range(20):
        outer = Dataset()
        outer.ReferencedStudySequence = [nested]
        nested = outer
    with pytest.raises(Refused):
        list(caller.begin(nested))
    asked = query()
    asked.add(unchecked("StudyInstanceUID", "../x"))
    with pytest.raises(Refused) as caught:
        list(caller.begin(asked))
    assert caught.value.status == 0xA900


@pytest.fixture
def port(settings: Settings, db: Database) -> Iterator[int]:
    keeper = Keeper(db, Spool(db.folder), SystemClock())
    running = cstore.start(settings, keeper)
    yield running.port
    running.stop(0.0)
    keeper.close()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
@pytest.mark.parametrize("maximum", [128, 16382])
def test_a_peer_asks_over_the_network(port: int, rows: list[OutboxRow], syntax: str, maximum: int) -> None:
    entity = AE("PACS1")
    entity.maximum_pdu_size = maximum
    for uid in (FIND, MOVE):
        entity.add_requested_context(uid, syntax)
    with associated(entity, port, ae_title="MATINS") as association:
        asked = query("SERIES", StudyInstanceUID=STUDY, SeriesDescription="", SeriesInstanceUID="")
        *found, (status, _) = association.send_c_find(asked, FIND)
        assert [each[0].Status for each in found] == [0xFF00] * 2
        assert {each[1].SeriesDescription for each in found} == {"AI résumé"}
        assert status.Status == 0x0000
        [(status, failed)] = association.send_c_move(query(StudyInstanceUID=STUDY), "STRANGER1", MOVE)
        assert (status.Status, status.NumberOfFailedSuboperations) == (0xB000, 2)
        assert len(failed.FailedSOPInstanceUIDList) == 2
        [(status, _)] = association.send_c_find(query(), FIND)
        assert status.Status == 0xC001
        [(status, _)] = association.send_c_move(query(StudyInstanceUID=STUDY), "NOBODY", MOVE)
        assert status.Status == 0xA801


def test_a_refusal_leaves_an_event_without_a_patient(port: int, db: Database, rows: list[OutboxRow]) -> None:
    entity = AE("PACS1")
    entity.add_requested_context(FIND)
    with associated(entity, port, ae_title="MATINS") as association:
        list(association.send_c_find(query(PatientID="*", PatientName="Doe^Jane"), FIND))
    reason = events.latest(db, "association")[0].reason
    assert reason.startswith("C-FIND: 0xC001")
    assert "Doe" not in reason
