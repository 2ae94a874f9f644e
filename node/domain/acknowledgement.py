"""Acknowledgement: a named person of the reading list has seen an urgent finding, at a known time."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.finding import Code, Finding
from node.domain.priority import Lane


class AcknowledgementState(StrEnum):
    """How far the acknowledgement of a finding is."""

    #: Nobody has acknowledged it yet.
    DUE = "due"
    #: Nobody has, and the time for it is over.
    OVERDUE = "overdue"
    #: Somebody has.
    ACKNOWLEDGED = "acknowledged"
    #: Nobody has, but a radiologist has reported the study with the finding before their eyes.
    REPORTED = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingKey:
    """What makes a finding of a study the same finding in a later result."""

    model: str
    code_scheme: str
    code_value: str
    #: Tracking UID (PS3.16 TID 1411) of one lesion or detection among several; else the side, as a coded value.
    #: A finding that is of the whole study is the same one however often the model reads it.
    thing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UrgentFinding:
    """A finding that somebody has to acknowledge, and why."""

    key: FindingKey
    code: Code
    lane: Lane
    #: The rule or the route that asks for it.
    asked_by: str


def key_of(model: str, finding: Finding) -> FindingKey:
    """What the finding is known by."""
    side = finding.laterality.value if finding.laterality is not None else ""
    is_one_of_several = finding.lesion_number > 0 or bool(finding.regions)
    return FindingKey(
        model=model,
        code_scheme=finding.code.scheme,
        code_value=finding.code.value,
        thing=(finding.tracking_uid or side) if is_one_of_several else side,
    )
