"""Lanes, and the one table that maps priorities between standards."""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """Which queue a study stands in; a higher lane is read first."""

    #: A person or an order says: now.
    STAT = "STAT"
    #: Sooner than routine work.
    URGENT = "URGENT"
    #: Everything else.
    ROUTINE = "ROUTINE"

    @property
    def order(self) -> int:
        """0 for the lane read first."""
        return list(Lane).index(self)


#: Requested Procedure Priority (0040,1003), PS3.3 §C.4.11.
_FROM_REQUESTED = {
    "STAT": Lane.STAT,
    "HIGH": Lane.URGENT,
    "ROUTINE": Lane.ROUTINE,
    "MEDIUM": Lane.ROUTINE,
    "LOW": Lane.ROUTINE,
}
#: Scheduled Procedure Step Priority of a UPS (0074,1200), PS3.3 §C.30.2.
UPS_PRIORITY = {Lane.STAT: "HIGH", Lane.URGENT: "MEDIUM", Lane.ROUTINE: "LOW"}
#: HL7 v2 TQ1-9 (table 0485).
HL7_PRIORITY = {Lane.STAT: "S", Lane.URGENT: "A", Lane.ROUTINE: "R"}
#: HL7 v2 tables 0485 and 0027, as orders write them → Requested Procedure Priority: preoperative and timing critical
#: are sooner than routine; callback (C) and as needed (PRN) say nothing of it.
_REQUESTED_FROM_HL7 = {"S": "STAT", "A": "HIGH", "P": "HIGH", "T": "HIGH", "R": "ROUTINE"}
#: FHIR R4 request-priority, as orders write it → Requested Procedure Priority.
REQUESTED_FROM_FHIR = {"stat": "STAT", "asap": "HIGH", "urgent": "HIGH", "routine": "ROUTINE"}


def is_requested_priority(value: str) -> bool:
    """Whether `value` is one of the defined terms of Requested Procedure Priority."""
    return value.strip().upper() in _FROM_REQUESTED


def requested_priority_of_hl7(code: str) -> str | None:
    """Requested Procedure Priority of an order's priority (TQ1-9, TQ.6), or its own term; `None` where it says none."""
    text = code.strip().upper()
    return text if text in _FROM_REQUESTED else _REQUESTED_FROM_HL7.get(text)


def lane_of_requested_priority(value: str) -> Lane:
    """Lane of a Requested Procedure Priority; an unknown or absent value is routine."""
    return _FROM_REQUESTED.get(value.strip().upper(), Lane.ROUTINE)
