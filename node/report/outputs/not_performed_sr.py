"""A Basic Text SR that says that a model did not read a study, and why: never to be taken for a negative.

It needs no pixels and no place: whose study it is stands in any header of it. Its title is no measurement report's, so
that viewers write it out instead of looking for something to draw; every item has a name and is a line of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.work import OutcomeState
from node.report.documents.document import (
    SUMMARY,
    BasicTextSR,
    algorithm_in_words,
    code,
    container,
    document,
    report_for_people,
    text,
)
from node.report.evidence import Evidence

KIND = "not_performed_sr"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SR"
SCOPE = "model"
#: No other output says that nothing was read.
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1003

#: PS3.16 CID 6042, and what a person reads.
_STATUS = {
    OutcomeState.NOT_APPLICABLE: (codes.DCM.NotAttempted, "NOT READ: no images of the study suit this model."),
    OutcomeState.INCOMPLETE: (codes.DCM.NotAttempted, "NOT READ: the study did not become complete."),
    OutcomeState.FAILED: (codes.DCM.Failed, "NOT READ: the analysis was tried and failed."),
}
_NO_NEGATIVE = "This is not a negative result: nothing is said about whether there is a finding."


def unfit(evidence: Evidence) -> str:
    """Only what did not come to a result is reported so."""
    return "" if evidence.state in _STATUS else "the model did read"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the report: partial, preliminary, unverified; it speaks of no finding."""
    status, said = _STATUS[evidence.state]
    items = [
        code(SUMMARY, status),
        text(codes.DCM.Summary, f"{said} {_NO_NEGATIVE}"),
        text(codes.DCM.Comment, evidence.reason or "no reason was given"),
        container(codes.DCM.FailedAnalyses, algorithm_in_words(evidence)),
    ]
    content = report_for_people(evidence, items)
    return document(
        evidence,
        KIND,
        content,
        written_as=BasicTextSR,
        series_number=SERIES_NUMBER,
        label="NOT READ",
        is_complete=False,
    )
