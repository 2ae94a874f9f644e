"""An examination that is scheduled and whose study has not come yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from node.domain.patient import Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduled:
    """What a modality worklist says of one study that is to come; absent text is ""."""

    #: As the modality will use it.
    study_instance_uid: str
    #: Name of the worklist that says so.
    peer: str
    patient: Patient = field(default_factory=Patient)
    accession_number: str = ""
    modalities: tuple[str, ...] = ()
    description: str = ""
    #: When its first step begins; aware, UTC.
    scheduled_at: datetime
    #: Requested Procedure Priority (0040,1003): STAT, HIGH, ROUTINE, MEDIUM, LOW or empty.
    requested_priority: str = ""
    reason: str = ""
