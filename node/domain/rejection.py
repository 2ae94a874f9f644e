"""Rejection notes (IHE Imaging Object Change Management): Key Object Selections that take instances out of use."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: SOP Class of the documents that rejection notes are written as (PS3.4 Table B.5-1).
KEY_OBJECT_SELECTION = "1.2.840.10008.5.1.4.1.1.88.59"
#: What our own notes are recorded as, beside the kinds of outputs.
REJECTION_NOTE = "rejection_note"
#: References that are read of one note; a study of thousands of images has one each.
MOST_REFERENCES = 50_000


class RejectionTitle(StrEnum):
    """Document titles (PS3.16 CID 7010, coding scheme DCM) that reject what the document refers to."""

    QUALITY = "113001"
    PATIENT_SAFETY = "113037"
    #: The images were made under another worklist entry than was meant: perhaps another patient's.
    WRONG_WORKLIST_ENTRY = "113038"
    RETENTION_EXPIRED = "113039"

    @property
    def meaning(self) -> str:
        """Code Meaning (0008,0104)."""
        return _MEANINGS[self]


_MEANINGS = {
    RejectionTitle.QUALITY: "Rejected for Quality Reasons",
    RejectionTitle.PATIENT_SAFETY: "Rejected for Patient Safety Reasons",
    RejectionTitle.WRONG_WORKLIST_ENTRY: "Incorrect Modality Worklist Entry",
    RejectionTitle.RETENTION_EXPIRED: "Data Retention Policy Expired",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One instance that a note names."""

    study_instance_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What one note says."""

    title: RejectionTitle
    #: Each instance of Current Requested Procedure Evidence Sequence (0040,A375) once.
    references: tuple[Reference, ...]
    #: References beyond `MOST_REFERENCES`, or without sound UIDs.
    left_out: int = 0
