"""Who is scheduled, as a modality worklist says it; read with suspicion as every answer is."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.sequence import Sequence as DicomSequence

from node.domain.uid import is_usable_uid
from node.retrieve.answers import patient_of, text_of, texts_of
from node.retrieve.found import MALFORMED, FoundStep

#: Accession Number (0008,0050) is an SH: characters (PS3.5 §6.2).
_LONGEST_SH = 16


def steps_of(answer: Dataset) -> tuple[FoundStep, ...]:
    """Read one answer (PS3.4 Table K.6-1): a step each item; none without a sound Study Instance UID."""
    uid = text_of(answer, "StudyInstanceUID")
    if not is_usable_uid(uid):
        return ()
    patient, accession = patient_of(answer), text_of(answer, "AccessionNumber")
    return tuple(
        FoundStep(
            study_instance_uid=uid,
            patient=patient,
            accession_number=accession if len(accession) <= _LONGEST_SH else "",
            modality=text_of(step, "Modality"),
            start_date=text_of(step, "ScheduledProcedureStepStartDate"),
            start_time=text_of(step, "ScheduledProcedureStepStartTime"),
            description=text_of(answer, "RequestedProcedureDescription")
            or text_of(step, "ScheduledProcedureStepDescription"),
            requested_priority=text_of(answer, "RequestedProcedurePriority"),
            reason=" ".join(texts_of(answer, "ReasonForTheRequestedProcedure")),
        )
        for step in _items(answer)
    )


def _items(answer: Dataset) -> list[Dataset]:
    try:
        found = answer.get("ScheduledProcedureStepSequence")
        return list(found) if isinstance(found, DicomSequence) else []
    except MALFORMED:
        return []
