"""All that a model found as a Basic Text SR: words that a person reads, for who stores no other report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from highdicom.sr import ContentItem
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as Term

from node.domain.finding import Code, Finding, Measurement
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
from node.report.documents.sureness import sureness
from node.report.evidence import Evidence

KIND = "basic_text_sr"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS = ("secondary_capture",)
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1013

#: Numbers for people have this many significant digits.
_DIGITS = 4


def unfit(evidence: Evidence) -> str:
    """Words need a finding."""
    if evidence.state is not OutcomeState.RESULT:
        return "the model did not read"
    return "" if evidence.findings else "the model found nothing that could be said"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the report: preliminary, unverified, complete for the findings of the model."""
    sections = [container(codes.DCM.Findings, _words(evidence, finding)) for finding in evidence.findings]
    made_by = container(codes.DCM.SuccessfulAnalyses, algorithm_in_words(evidence))
    content = report_for_people(evidence, [code(SUMMARY, codes.DCM.Succeeded), *sections, made_by])
    return document(evidence, KIND, content, written_as=BasicTextSR, series_number=SERIES_NUMBER, label="SR text")


def _words(evidence: Evidence, finding: Finding) -> Iterator[ContentItem]:
    """The finding, where it is, whether it is there, its numbers."""
    yield code(codes.DCM.Finding, _term(finding.code))
    if finding.segment_number is not None and not finding.lesion_number:
        yield text(codes.DCM.TrackingIdentifier, evidence.tracking_identifier(finding.segment_number))
    elif finding.tracking_identifier:
        yield text(codes.DCM.TrackingIdentifier, finding.tracking_identifier)
    if finding.present is not None:
        yield code(codes.DCM.PresenceOfProperty, codes.DCM.Present if finding.present else codes.DCM.Absent)
    if finding.sentence:
        yield text(codes.DCM.Comment, finding.sentence)
    for each in finding.measurements:
        yield text(_term(each.quantity), _quantity(each))
    for each in sureness(finding):
        point = finding.operating_point
        counted = "" if point is None else f"; counts as present from {point:g}"
        yield text(_term(each.quantity), f"{each.value:.{_DIGITS}g} (0 to 1){counted}")
    if finding.regions:
        images = len({region.sop_instance_uid for region in finding.regions})
        yield text(codes.DCM.Comment, f"Marked on {len(finding.regions)} place(s) of {images} image(s).")
    qualification = evidence.card.content_qualification
    yield text(codes.DCM.Comment, f"{qualification}: found by an algorithm, not verified by a person.")


def _quantity(measurement: Measurement) -> str:
    number = float(f"{measurement.value:.{_DIGITS}g}")
    written = f"{number:.0f}" if abs(number) >= 10 ** (_DIGITS - 1) else f"{number:g}"
    unit = "" if measurement.unit.value == "1" else f" {measurement.unit.value}"
    also = [each for each in (measurement.derivation, measurement.toward, measurement.method) if each is not None]
    return f"{written}{unit} ({measurement.name})" if also else f"{written}{unit}"


def _term(code_of: Code) -> Term:
    return Term(code_of.value, code_of.scheme, code_of.meaning)
