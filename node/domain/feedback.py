"""What readers say of a model's result: the truth that the next training learns from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a reader makes of a result."""

    #: It is right as it is.
    ACCEPT = "accept"
    #: It is wrong; what is right, a class or nothing, may be told with it.
    REJECT = "reject"
    #: It was drawn anew: a Segmentation on the same images says what is right.
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What one reader has said of one result; of a result the last that stands counts."""

    id: int
    study_instance_uid: str
    outcome_id: int
    model: str
    verdict: Verdict
    #: Class that it is, as the card labels its target; empty where none is told.
    label: str
    #: In the reader's words; may tell of the patient, so that it never leaves the node.
    because: str
    #: Login of the reader; of a correction the peer that sent it.
    given_by: str
    #: ISO 8601 UTC.
    given_at: str
    #: Of a correction, its SOP Instance UID.
    sop_instance_uid: str = ""
    #: `False`: the object is believed no more.
    standing: bool = True
