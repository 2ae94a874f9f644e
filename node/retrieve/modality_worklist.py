"""Who is scheduled on one day: Modality Worklist C-FIND (PS3.4 Annex K), asked in a process that lives for this alone.

The day is the only matching key: nobody is asked for by name or ID, and only answers of that day are believed.
"""

from __future__ import annotations

import threading
from collections import Counter

from pydicom import Dataset
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import ModalityWorklistInformationFind  # type: ignore[attr-defined]

from node.errors import Failed, Transient
from node.retrieve.conversation import PENDING, conversation
from node.retrieve.found import FoundStep
from node.retrieve.question import Reply, WorklistQuery
from node.retrieve.scheduled import steps_of

FIND = str(ModalityWorklistInformationFind)
#: PS3.4 Table K.4-1.
_SUCCESS = 0x0000
#: Return keys of the request and of the patient (PS3.4 Table K.6-1).
_REQUEST_KEYWORDS = (
    *("StudyInstanceUID", "AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"),
    *("RequestedProcedurePriority", "ReasonForTheRequestedProcedure"),
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex"),
)
#: ... and of the step.
_STEP_KEYWORDS = (
    *("Modality", "ScheduledStationAETitle", "ScheduledProcedureStepStartTime"),
    *("ScheduledProcedureStepDescription", "ScheduledProcedureStepID"),
)


def scheduled_steps(query: WorklistQuery, stop: threading.Event | None = None) -> Reply:
    """Return the steps that are scheduled on the day, and how many answers were to something else.

    Raises:
        Failed: more are scheduled than `most`, or the peer will never answer us as it is set up.
        Transient: it does not answer now.
    """
    found: list[FoundStep] = []
    disbelieved: Counter[str] = Counter()
    with conversation(query, [FIND], stop or threading.Event()) as asked:
        for response in asked.ask(C_FIND(), FIND, worklist_identifier(query.day), limit_s=query.answer_s):
            if response.status not in PENDING:
                if response.status != _SUCCESS:
                    raise Transient(f"{query.peer} answered the query with 0x{response.status:04X}")
                continue
            steps = steps_of(response.identifier) if response.identifier is not None else ()
            if not steps:
                disbelieved["no sound Study Instance UID, or no step"] += 1
            for step in steps:
                if step.start_date == query.day:
                    found.append(step)
                else:
                    disbelieved["another day"] += 1
            if len(found) + disbelieved.total() > query.most:
                asked.cancel()
                raise Failed(f"{query.peer} tells of more than {query.most} examinations on one day")
    return Reply(scheduled=tuple(found), disbelieved=dict(disbelieved))


def worklist_identifier(day: str) -> Dataset:
    """Return the identifier that asks for every step that starts on a day, YYYYMMDD."""
    step = Dataset()
    for keyword in _STEP_KEYWORDS:
        setattr(step, keyword, None)
    step.ScheduledProcedureStepStartDate = day
    identifier = Dataset()
    for keyword in _REQUEST_KEYWORDS:
        setattr(identifier, keyword, None)
    identifier.ScheduledProcedureStepSequence = [step]
    return identifier
