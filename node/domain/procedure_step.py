"""A performed procedure step: what a modality says of its own work (PS3.3 §C.4.14, PS3.4 Annex F)."""

from __future__ import annotations

from enum import StrEnum


class StepState(StrEnum):
    """Performed Procedure Step Status (0040,0252)."""

    IN_PROGRESS = "IN PROGRESS"
    #: The modality has made everything that it was going to make.
    COMPLETED = "COMPLETED"
    #: It was broken off; what it made may be kept, sent or thrown away.
    DISCONTINUED = "DISCONTINUED"


#: (Code Value, Coding Scheme Designator) of a discontinuation after which nobody knows whose images these are:
#: "Incorrect worklist entry selected".
WRONG_ENTRY = ("110514", "DCM")


def shown_code(value: str, scheme: str) -> str:
    """A code as it is written in a sentence."""
    return f"({value}, {scheme})"
