"""What archives and worklists told, as values: without the libraries that read it, which cost more than a question."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from node.domain.patient import Patient

#: What reading a value that a stranger wrote can raise.
MALFORMED = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError),
    *(LookupError, EOFError, RecursionError, struct.error),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStudy:
    """One study as an archive describes it; absent text is "", an absent number `None`."""

    study_instance_uid: str
    patient: Patient = field(default_factory=Patient)
    accession_number: str = ""
    #: YYYYMMDD, and HHMMSS as far as it is told.
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    #: Modalities in Study (0008,0061).
    modalities: tuple[str, ...] = ()
    #: Number of Study Related Instances (0020,1208).
    instances: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundInstance:
    """One instance of a study, as an archive lists it."""

    series_instance_uid: str
    sop_instance_uid: str
    #: Empty where the archive does not tell it.
    sop_class_uid: str = ""
    modality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """One series of a study, as an archive lists it; absent text is ""."""

    series_instance_uid: str
    modality: str = ""
    body_part: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStep:
    """One Scheduled Procedure Step; absent text is ""."""

    study_instance_uid: str
    patient: Patient = field(default_factory=Patient)
    accession_number: str = ""
    modality: str = ""
    #: YYYYMMDD, and HHMMSS as far as it is told, by the clock of whoever tells it.
    start_date: str = ""
    start_time: str = ""
    description: str = ""
    #: Requested Procedure Priority (0040,1003).
    requested_priority: str = ""
    #: Reason for the Requested Procedure (0040,1002).
    reason: str = ""
