"""A Comprehensive 3D SR with what a model says of the images as a whole, without a place (PS3.16 TID 1500, TID 1501).

A group a finding: what it is, whether it is there, how probable that is, and from which probability it counts as there,
which stands among the parameters of the algorithm. OHIF stops at a group without coordinates: the numbers are inferred
from one whole image, which claims no place in it; where there is no number, the whole image is the region of the group.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from highdicom.sr import (
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    TrackingIdentifier,
)
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.finding import Finding, Measurement
from node.domain.work import OutcomeState
from node.errors import Failed
from node.report.coding import coded
from node.report.documents.document import algorithm, document, language, observation_context
from node.report.documents.library import add_image_library
from node.report.documents.measurement_report import (
    NO_UNITS,
    PROBABILITY,
    number_item,
    operating_point,
    presence,
    source_image,
)
from node.report.evidence import Evidence, SourceSlice

KIND = "classification_sr"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS = ("basic_text_sr", "secondary_capture")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1002


def unfit(evidence: Evidence) -> str:
    """Findings of the images as a whole have no segment."""
    if evidence.state is not OutcomeState.RESULT:
        return "the model did not read"
    return "" if _findings(evidence) else "no finding is of the images as a whole"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the report: preliminary, unverified, and complete for the findings without a segment.

    Raises:
        Failed: every finding has a segment.
    """
    findings = _findings(evidence)
    if not findings:
        raise Failed("no finding is of the images as a whole")
    place = _place(evidence)
    content = MeasurementReport(
        observation_context=observation_context(evidence),
        procedure_reported=coded(evidence.card.procedure),
        imaging_measurements=[_group(evidence, finding, place, ordinal) for ordinal, finding in enumerate(findings)],
        language_of_content_item_and_descendants=language(),
    )
    add_image_library(content, [place.header])
    return document(
        evidence, KIND, content, written_as=Comprehensive3DSR, series_number=SERIES_NUMBER, label="SR finding"
    )


def _findings(evidence: Evidence) -> list[Finding]:
    return [finding for finding in evidence.findings if finding.segment_number is None]


def _place(evidence: Evidence) -> SourceSlice:
    """One image that speaks for all: where the model looked most, if it says so, else the middle one."""
    slices = evidence.slices
    if evidence.saliency is not None and len(evidence.saliency) == len(slices):
        return slices[int(evidence.saliency.sum(axis=(1, 2)).argmax())]
    return slices[len(slices) // 2]


def _group(
    evidence: Evidence, finding: Finding, place: SourceSlice, ordinal: int
) -> MeasurementsAndQualitativeEvaluations | PlanarROIMeasurementsAndQualitativeEvaluations:
    numbers = list(finding.measurements)
    if finding.probability is not None:
        numbers.insert(0, Measurement(quantity=PROBABILITY, value=finding.probability, unit=NO_UNITS))
    tracking = TrackingIdentifier(
        uid=finding.tracking_uid or evidence.uid("tracking", f"finding {ordinal} {finding.code.value}"),
        identifier=finding.tracking_identifier or finding.code.meaning,
    )
    identification = algorithm(evidence, *operating_point(finding))
    if not numbers:
        return PlanarROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=tracking,
            referenced_region=ImageRegion(GraphicTypeValues.POLYLINE, _whole(place.header), source_image(place)),
            finding_type=coded(finding.code),
            algorithm_id=identification,
            qualitative_evaluations=presence(finding),
        )
    image = CoordinatesForMeasurement(GraphicTypeValues.POLYLINE, _whole(place.header), source_image(place))
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking,
        finding_type=coded(finding.code),
        algorithm_id=identification,
        measurements=[number_item(each, image) for each in numbers],
        qualitative_evaluations=presence(finding),
    )


def _whole(header: Dataset) -> NDArray[np.float32]:
    """The border of an image, closed: (column, row) of its corners, (0, 0) at the top left of the first pixel."""
    columns, rows = int(header.Columns), int(header.Rows)
    return np.array([(0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0)], dtype=np.float32)
