"""The MPPS SCP: what a modality says of its own work is kept before it is answered, and nothing else of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.config import Peer, Settings
from node.domain.procedure_step import StepState
from node.domain.study import StudyState
from node.errors import Refused
from node.receive.intakes import Reply, Request, dimse_services, mpps
from node.receive.keeper import Keeper
from node.store import events, procedure_steps, studies
from node.store.database import Database, open_database
from node.workflow.closing import close_due
from tests.fakes import STUDY, FakeClock, arrive, model, policy, slice_of
from tests.receive.objects import PEER, encoded

STEP = "1.2.7.1"
SERIES = "1.2.3.1.1"


def unchecked(keyword: str, value: str) -> DataElement:
    """An element with whatever value somebody sends."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE)


def reference(uid: str) -> Dataset:
    made = Dataset()
    made.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.add(unchecked("ReferencedSOPInstanceUID", uid))
    return made


def performed(series: Mapping[str, Sequence[str]]) -> list[Dataset]:
    made = []
    for uid, instances in series.items():
        item = Dataset()
        item.PerformingPhysicianName = "Who^Ever"
        item.ProtocolName = "T1"
        item.add(unchecked("SeriesInstanceUID", uid))
        item.ReferencedImageSequence = [reference(each) for each in instances]
        item.ReferencedNonImageCompositeSOPInstanceSequence = []
        made.append(item)
    return made


def creation(studies: Sequence[str] = (STUDY,), **changes: object) -> Dataset:
    """The attributes of an N-CREATE as a modality sends them."""
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.PatientName = "Doe^Jane"
    made.PatientID = "PATIENT-1"
    made.PatientBirthDate = "19700101"
    made.PerformedProcedureStepID = "S1"
    made.PerformedStationAETitle = "SCANNER1"
    made.PerformedProcedureStepStatus = "IN PROGRESS"
    made.PerformedSeriesSequence = []
    made.PerformedProcedureStepDiscontinuationReasonCodeSequence = []
    made.Modality = "MR"
    made.ScheduledStepAttributesSequence = []
    for uid in studies:
        item = Dataset()
        item.add(unchecked("StudyInstanceUID", uid))
        item.AccessionNumber = "ACCESSION-1"
        made.ScheduledStepAttributesSequence.append(item)
    return changed(made, changes)


def ending(status: str = "COMPLETED", series: Mapping[str, Sequence[str]] | None = None, **changes: object) -> Dataset:
    """The attributes of a final N-SET."""
    made = Dataset()
    made.add(unchecked("PerformedProcedureStepStatus", status))
    made.PerformedSeriesSequence = performed({SERIES: [f"{SERIES}.1"]} if series is None else series)
    return changed(made, changes)


def changed(made: Dataset, changes: Mapping[str, object]) -> Dataset:
    for keyword, value in changes.items():
        if value is None:
            delattr(made, keyword)
        else:
            setattr(made, keyword, value)
    return made


def reason(value: str, scheme: str = "DCM") -> list[Dataset]:
    code = Dataset()
    code.CodeValue = value
    code.add(unchecked("CodingSchemeDesignator", scheme))
    code.CodeMeaning = "Jane^Doe was wrong"
    return [code]


class Modality:
    """Sends its requests straight to the intake."""

    def __init__(self, settings: Settings, db: Database, clock: FakeClock) -> None:
        self.settings = settings
        self.keeper = cast("Keeper", SimpleNamespace(db=db, clock=clock))
        self.peer = settings.peers[0]

    def request(
        self, operation: str, dataset: Dataset | bytes, step: str = STEP, syntax: str = ExplicitVRLittleEndian
    ) -> Reply:
        content = dataset if isinstance(dataset, bytes) else encoded(dataset, syntax)
        return mpps.answer(
            self.settings,
            self.keeper,
            Request(
                operation=operation,
                sop_class_uid=mpps.SOP_CLASSES[0],
                sop_instance_uid=step,
                type_id=None,
                content=content,
                transfer_syntax_uid=syntax,
                peer=self.peer,
            ),
        )

    def create(self, dataset: Dataset | None = None, step: str = STEP) -> Reply:
        return self.request("N-CREATE", creation() if dataset is None else dataset, step)

    def set(self, dataset: Dataset | None = None, step: str = STEP) -> Reply:
        return self.request("N-SET", ending() if dataset is None else dataset, step)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def modality(settings: Settings, db: Database, clock: FakeClock) -> Modality:
    return Modality(settings, db, clock)


def test_it_is_found_by_listing_the_folder() -> None:
    assert dimse_services()["1.2.840.10008.3.1.2.3.3"] is mpps  # type: ignore[comparison-overlap]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_step_is_kept_from_its_beginning_to_its_end(modality: Modality, db: Database, syntax: str) -> None:
    assert modality.request("N-CREATE", creation(), syntax=syntax).status == 0x0000
    (begun,) = procedure_steps.of_study(db, STUDY)
    assert (begun.state, begun.source, begun.listed) == (StepState.IN_PROGRESS, "SCANNER", 0)
    listed = {SERIES: [f"{SERIES}.{number}" for number in range(3)], "1.2.3.1.2": ["1.2.3.1.2.1"]}
    assert modality.request("N-SET", ending("COMPLETED", listed), syntax=syntax).status == 0x0000
    (ended,) = procedure_steps.of_study(db, STUDY)
    assert (ended.state, ended.listed, ended.here) == (StepState.COMPLETED, 4, 0)
    assert [each.after for each in events.of_study(db, STUDY)] == ["IN PROGRESS", "COMPLETED"]


def test_what_lies_in_the_second_sequence_of_references_is_listed_too(modality: Modality, db: Database) -> None:
    modality.create()
    dataset = ending()
    dataset.PerformedSeriesSequence[0].ReferencedNonImageCompositeSOPInstanceSequence = [reference("1.2.3.9")]
    modality.set(dataset)
    assert procedure_steps.of_study(db, STUDY)[0].listed == 2


def test_a_list_takes_the_place_of_the_one_before_and_its_absence_of_none(modality: Modality, db: Database) -> None:
    modality.create()
    in_between = Dataset()
    in_between.PerformedSeriesSequence = performed({SERIES: ["1.2.3.5", "1.2.3.6"]})
    assert modality.set(in_between).status == 0x0000
    assert procedure_steps.of_study(db, STUDY)[0].state is StepState.IN_PROGRESS
    assert modality.set(ending("IN PROGRESS", {SERIES: ["1.2.3.5"]})).status == 0x0000
    assert modality.set(ending(PerformedSeriesSequence=None)).status == 0x0000
    (step,) = procedure_steps.of_study(db, STUDY)
    assert (step.state, step.listed) == (StepState.COMPLETED, 1)


@pytest.mark.parametrize(
    ("dataset", "status"),
    [
        (creation(PerformedProcedureStepStatus=None), 0x0120),
        (creation(PerformedProcedureStepStatus=""), 0x0121),
        (creation(PerformedProcedureStepStatus="COMPLETED"), 0x0106),
        (creation(PerformedProcedureStepStatus="RUNNING"), 0x0106),
        (creation(ScheduledStepAttributesSequence=None), 0x0120),
        (creation(ScheduledStepAttributesSequence=[]), 0x0121),
        (creation(ScheduledStepAttributesSequence=[Dataset()]), 0x0121),
        (creation([""]), 0x0121),
        (creation([STUDY, ""]), 0x0121),
        (creation(["1.2.x"]), 0x0106),
        (creation(["1." + "2" * 70]), 0x0106),
        (creation(PerformedSeriesSequence=performed({"../x": []})), 0x0106),
    ],
)
def test_a_beginning_that_says_too_little_is_refused(
    modality: Modality, db: Database, dataset: Dataset, status: int
) -> None:
    with pytest.raises(Refused) as caught:
        modality.create(dataset)
    assert caught.value.status == status
    assert procedure_steps.step_state(db, STEP) is None


@pytest.mark.parametrize(
    ("dataset", "status"),
    [
        (ending("DONE"), 0x0106),
        (ending(""), 0x0121),
        (ending(PerformedSeriesSequence=None), 0x0120),
        (ending(PerformedSeriesSequence=[]), 0x0121),
        (ending(series={SERIES: ["1.2", "not a uid"]}), 0x0106),
        (ending(PerformedSeriesSequence=[reference("1.2")]), 0x0120),
    ],
)
def test_an_end_that_says_too_little_is_refused_and_changes_nothing(
    modality: Modality, db: Database, dataset: Dataset, status: int
) -> None:
    modality.create()
    with pytest.raises(Refused) as caught:
        modality.set(dataset)
    assert caught.value.status == status
    assert procedure_steps.step_state(db, STEP) is StepState.IN_PROGRESS


def test_a_second_beginning_an_unknown_step_and_a_foreign_operation_are_refused(modality: Modality) -> None:
    modality.create()
    for attempt, status in (
        (modality.create, 0x0111),
        (lambda: modality.set(step="1.2.7.2"), 0x0112),
        (lambda: modality.create(step=""), 0x0117),
        (lambda: modality.create(step="1..2"), 0x0117),
        (lambda: modality.request("N-GET", b""), 0x0211),
        (lambda: modality.request("N-SET", b"\x08\x00\x60\x00CS\x09\x00MR"), 0x0110),
    ):
        with pytest.raises(Refused) as caught:
            attempt()
        assert caught.value.status == status


@pytest.mark.parametrize("final", ["COMPLETED", "DISCONTINUED"])
def test_a_final_step_is_never_changed(modality: Modality, db: Database, final: str) -> None:
    modality.create()
    modality.set(ending(final))
    for again in ("IN PROGRESS", "COMPLETED", "DISCONTINUED"):
        reply = modality.set(ending(again, {SERIES: ["1.2.3.9"]}))
        assert (reply.status, reply.error_id) == (0x0110, 0xA710)
        assert reply.reason == "Performed Procedure Step Object may no longer be updated"
    (step,) = procedure_steps.of_study(db, STUDY)
    assert (step.state, step.listed) == (StepState(final), 1)


def test_only_a_source_may_tell_of_its_work(modality: Modality) -> None:
    modality.peer = Peer.model_validate({**PEER, "roles": ["archive"], "host": "127.0.0.1", "port": 1})
    with pytest.raises(Refused) as caught:
        modality.create()
    assert caught.value.status == 0x0124


def test_more_instances_than_any_study_has_are_refused(modality: Modality, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.receive.procedure_step._MOST_INSTANCES", 3)
    modality.create()
    with pytest.raises(Refused) as caught:
        modality.set(ending(series={SERIES: [f"1.2.{number}" for number in range(4)]}))
    assert caught.value.status == 0x0213


def test_a_step_may_belong_to_several_studies(modality: Modality, db: Database) -> None:
    modality.create(creation(["1.2.3.1", "1.2.3.2", "1.2.3.1"]))
    modality.set()
    for uid in ("1.2.3.1", "1.2.3.2"):
        assert [step.state for step in procedure_steps.of_study(db, uid)] == [StepState.COMPLETED]


def test_nothing_of_the_patient_is_kept(modality: Modality, settings: Settings) -> None:
    modality.create()
    modality.set(ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110513")))
    kept = b"".join(path.read_bytes() for path in Path(settings.data.folder).iterdir() if path.is_file())
    for text in (b"Doe^", b"PATIENT-1", b"19700101", b"ACCESSION-1", b"Who^Ever"):
        assert text not in kept
    assert b"(110513, DCM)" in kept


@pytest.mark.parametrize("scheme", ["DCM\r\nX", "99 X", ""])
def test_a_code_that_is_none_is_not_repeated(modality: Modality, db: Database, scheme: str) -> None:
    modality.create()
    modality.set(
        ending("DISCONTINUED", PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110514", scheme))
    )
    assert procedure_steps.of_study(db, STUDY)[0].reason_code == ""


def test_it_is_durable_before_the_answer(modality: Modality, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is synced: the connection that makes it is not the listener's own, whose commits are not."""
    synced = []

    def opened(folder: Path, room: str, *, sync_commits: bool = True) -> Database:
        synced.append(sync_commits)
        return open_database(folder, room, sync_commits=sync_commits)

    monkeypatch.setattr(mpps, "open_database", opened)
    modality.create()
    modality.set()
    assert synced == [True, True]


def test_the_wrong_worklist_entry_holds_the_study_before_or_after_it_came(
    modality: Modality, db: Database, clock: FakeClock
) -> None:
    wrong = ending("DISCONTINUED", {}, PerformedProcedureStepDiscontinuationReasonCodeSequence=reason("110514"))
    modality.create()
    arrive(db, clock.now(), slice_of(1))
    modality.set(wrong)
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.state is StudyState.HELD
    assert "incorrect worklist entry selected" in study.reason
    assert f"matins release {STUDY}" in study.reason
    modality.create(creation(["1.2.3.9"]), step="1.2.7.9")
    modality.set(wrong, step="1.2.7.9")
    assert studies.study(db, "1.2.3.9") is None
    arrive(db, clock.now(), slice_of(1, study="1.2.3.9", series="1.2.3.9.1"))
    close_due(db, clock.now(), policy(model()))
    later = studies.study(db, "1.2.3.9")
    assert later is not None
    assert later.state is StudyState.HELD
