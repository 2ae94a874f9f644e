from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError
from pydicom import Dataset
from pynetdicom.sop_class import ModalityWorklistInformationFind

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.modality_worklist import scheduled_steps
from node.retrieve.question import NotOffered, WorklistQuery
from tests.retrieve.scripted import HANG, HANG_UP, Say, Script, Scripted

Start = Callable[..., Scripted]
DAY = "20260116"
MWL = (str(ModalityWorklistInformationFind),)


def query(port: int, **changes: object) -> WorklistQuery:
    values = {
        "peer": "RIS",
        "host": "127.0.0.1",
        "port": port,
        "their_ae_title": "ARCHIVE",
        "our_ae_title": "MATINS",
        "connect_s": 5.0,
        "answer_s": 20.0,
        "day": DAY,
        "most": 50,
    }
    return WorklistQuery.model_validate(values | changes)


def entry(uid: str = "1.2.3.1", *steps: dict[str, str], **changes: object) -> Dataset:
    answer = Dataset()
    answer.StudyInstanceUID = uid
    answer.AccessionNumber = "A1"
    answer.PatientID, answer.IssuerOfPatientID, answer.PatientName = "P1", "A", "Doe^Jane"
    answer.PatientBirthDate, answer.PatientSex = "19700101", "F"
    answer.RequestedProcedureDescription = "MR Brain"
    answer.RequestedProcedurePriority = "HIGH"
    answer.ReasonForTheRequestedProcedure = "headache"
    items = []
    for each in steps or ({},):
        step = Dataset()
        step.Modality = "MR"
        step.ScheduledProcedureStepStartDate, step.ScheduledProcedureStepStartTime = DAY, "0830"
        for keyword, value in each.items():
            setattr(step, keyword, value)
        items.append(step)
    answer.ScheduledProcedureStepSequence = items
    for keyword, value in changes.items():
        setattr(answer, keyword, value)
    return answer


def answering(scripted: Start, *answers: Dataset, status: int = 0x0000) -> Scripted:
    script: Script = [*(Say(status=0xFF00, identifier=each) for each in answers), Say(status=status)]
    return scripted(script, services=MWL)


def test_a_day_is_the_only_thing_that_is_asked_for(scripted: Start) -> None:
    asked = answering(scripted)
    assert scheduled_steps(query(asked.port)).scheduled == ()
    (identifier,) = asked.asked
    (step,) = identifier.ScheduledProcedureStepSequence
    assert step.ScheduledProcedureStepStartDate == DAY
    matching = [element for element in identifier if element.value and element.VR != "SQ"]
    matching += [element for element in step if element.value and element.keyword != "ScheduledProcedureStepStartDate"]
    assert matching == []
    assert {"PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyInstanceUID"} <= {e.keyword for e in identifier}


def test_each_step_is_told_with_its_patient_order_and_time(scripted: Start) -> None:
    asked = answering(scripted, entry("1.2.3.1", {}, {"Modality": "CT", "ScheduledProcedureStepStartTime": "0900"}))
    one, two = scheduled_steps(query(asked.port)).scheduled
    assert (one.study_instance_uid, one.accession_number) == ("1.2.3.1", "A1")
    assert (one.modality, one.start_time) == ("MR", "0830")
    assert (one.patient.patient_id, one.patient.issuer, one.patient.birth_date) == ("P1", "A", "19700101")
    assert (one.requested_priority, one.reason, one.description) == ("HIGH", "headache", "MR Brain")
    assert (two.modality, two.start_time) == ("CT", "0900")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (entry("1.2.3.1", {"ScheduledProcedureStepStartDate": "20260117"}), "another day"),
        (entry("1.2.3.1", {"ScheduledProcedureStepStartDate": ""}), "another day"),
        (entry(""), "no sound Study Instance UID, or no step"),
        (entry("1.2.3.1", StudyInstanceUID=None), "no sound Study Instance UID, or no step"),
        (entry("1.2.3.1", ScheduledProcedureStepSequence=[]), "no sound Study Instance UID, or no step"),
    ],
)
def test_what_is_no_answer_to_the_question_is_not_believed(scripted: Start, answer: Dataset, reason: str) -> None:
    asked = answering(scripted, answer, entry("1.2.3.2"))
    reply = scheduled_steps(query(asked.port))
    assert [each.study_instance_uid for each in reply.scheduled] == ["1.2.3.2"]
    assert reply.disbelieved == {reason: 1}


@pytest.mark.parametrize(
    "script", [[Say(status=0xA700)], [HANG_UP], [Say(status=0xFF00, identifier=entry(), off_by=1)]]
)
def test_a_worklist_that_breaks_off_is_asked_again(scripted: Start, script: Script) -> None:
    asked = scripted(script, services=MWL)
    with pytest.raises(Transient):
        scheduled_steps(query(asked.port))


def test_more_than_any_hospital_has_is_an_error(scripted: Start) -> None:
    asked = answering(scripted, *(entry(f"1.2.3.{number}") for number in range(1, 9)))
    with pytest.raises(Failed, match="more than 5"):
        scheduled_steps(query(asked.port, most=5))


def test_who_offers_no_worklist_is_told_apart(scripted: Start) -> None:
    with pytest.raises(NotOffered, match="answers no modality worklist queries"):
        scheduled_steps(query(scripted([Say(status=0)]).port))


@pytest.mark.parametrize("day", ["", "2026-01-16", "*", "20260116-20270101"])
def test_nothing_but_one_day_can_be_asked_for(day: str) -> None:
    with pytest.raises(ValidationError):
        query(1, day=day)


def test_a_worklist_that_hangs_costs_its_own_process_alone(scripted: Start) -> None:
    asked = scripted([HANG], services=MWL)
    hanging = query(asked.port, connect_s=0.1, answer_s=0.2)
    with pytest.raises(Transient, match=r"no answer"):
        ask(CHILD, hanging, Stop(), lambda: None)


def test_the_process_that_asks_tells_the_room(scripted: Start) -> None:
    asked = answering(scripted, entry())
    reply = ask(CHILD, query(asked.port), Stop(), lambda: None)
    assert [(each.patient.patient_id, each.start_date) for each in reply.scheduled] == [("P1", DAY)]
