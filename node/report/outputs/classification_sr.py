"""A Comprehensive 3D SR with what a model says of the images as a whole, or of boxes on them (PS3.16 TID 1500).

A group a finding: what it is, whether it is there, its probability or score, and the number from which it counts as
there, which stands among the parameters of the algorithm. A box on one image is a planar region (TID 1410), boxes on
several are one volume (TID 1411), the best image first: there viewers go. OHIF stops at a group without coordinates:
numbers of the images as a whole (TID 1501) are inferred from one whole image, which claims no place in it; where there
is no number either, the whole image is the region of the group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from highdicom.sr import (
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.finding import Finding
from node.domain.work import OutcomeState
from node.errors import Failed
from node.report.boxes import around, in_order
from node.report.coding import coded
from node.report.documents.document import algorithm, document, language, observation_context
from node.report.documents.library import add_image_library
from node.report.documents.measurement_report import (
    number_item,
    operating_point,
    presence,
    source_image,
    with_sentence,
)
from node.report.documents.sureness import sureness
from node.report.evidence import Evidence, SourceSlice

KIND = "classification_sr"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SR"
SCOPE = "model"
FALLBACKS = ("basic_text_sr", "secondary_capture")
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1002


Group = (
    MeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | VolumetricROIMeasurementsAndQualitativeEvaluations
)


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
    slices = {_key(each): each for each in reversed(evidence.slices)}
    places = [_places(evidence, finding, slices) for finding in findings]
    groups = [_group(evidence, *each, ordinal) for ordinal, each in enumerate(zip(findings, places, strict=True))]
    for group, finding in zip(groups, findings, strict=True):
        with_sentence(group, finding)
    content = MeasurementReport(
        observation_context=observation_context(evidence),
        procedure_reported=coded(evidence.card.procedure),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=language(),
    )
    add_image_library(content, [each.header for there in places for each in there])
    return document(
        evidence, KIND, content, written_as=Comprehensive3DSR, series_number=SERIES_NUMBER, label="SR finding"
    )


def _findings(evidence: Evidence) -> list[Finding]:
    return [finding for finding in evidence.findings if finding.segment_number is None]


def _key(source: SourceSlice) -> tuple[str, int]:
    return str(source.header.SOPInstanceUID), source.frame_number or 0


def _places(evidence: Evidence, finding: Finding, slices: Mapping[tuple[str, int], SourceSlice]) -> list[SourceSlice]:
    """The images that the boxes of a finding lie on; without boxes the one that speaks for all."""
    if finding.regions:
        headers = {uid: each for (uid, _), each in slices.items()}
        keys = [(region.sop_instance_uid, region.frame_number) for region in in_order(finding)]
        return [slices.get(key) or replace(headers[key[0]], frame_number=key[1] or None) for key in keys]
    return [_place(evidence, finding)]


def _place(evidence: Evidence, finding: Finding) -> SourceSlice:
    """One image that speaks for all: one that the model names, or where it looked most, else the middle one."""
    slices = evidence.slices
    named = [each for each in slices if str(each.header.SOPInstanceUID) in finding.key_images[:1]]
    if named:
        return named[len(named) // 2]
    if evidence.saliency is not None and len(evidence.saliency) == len(slices):
        return slices[int(evidence.saliency.sum(axis=(1, 2)).argmax())]
    return slices[len(slices) // 2]


def _group(evidence: Evidence, finding: Finding, places: Sequence[SourceSlice], ordinal: int) -> Group:
    numbers = [*sureness(finding), *finding.measurements]
    side = None if finding.laterality is None else coded(finding.laterality)
    said: dict[str, Any] = {
        "tracking_identifier": TrackingIdentifier(
            uid=finding.tracking_uid or evidence.uid("tracking", f"finding {ordinal} {finding.code.value}"),
            identifier=finding.tracking_identifier or finding.code.meaning,
        ),
        "finding_type": coded(finding.code),
        "finding_sites": None if finding.site is None else [FindingSite(coded(finding.site), side)],
        "algorithm_id": algorithm(evidence, *operating_point(finding)),
        "qualitative_evaluations": presence(finding),
    }
    if not numbers or finding.regions:
        lines = [around(region) for region in in_order(finding)] or [_whole(places[0].header)]
        drawn = [
            ImageRegion(GraphicTypeValues.POLYLINE, line, source_image(place))
            for line, place in zip(lines, places, strict=True)
        ]
        said["measurements"] = [number_item(each) for each in numbers] or None
        if len(drawn) > 1:
            return VolumetricROIMeasurementsAndQualitativeEvaluations(referenced_regions=drawn, **said)
        return PlanarROIMeasurementsAndQualitativeEvaluations(referenced_region=drawn[0], **said)
    image = CoordinatesForMeasurement(GraphicTypeValues.POLYLINE, _whole(places[0].header), source_image(places[0]))
    return MeasurementsAndQualitativeEvaluations(measurements=[number_item(each, image) for each in numbers], **said)


def _whole(header: Dataset) -> NDArray[np.float32]:
    """The border of an image, closed: (column, row) of its corners, (0, 0) at the top left of the first pixel."""
    columns, rows = int(header.Columns), int(header.Rows)
    return np.array([(0, 0), (columns, 0), (columns, rows), (0, rows), (0, 0)], dtype=np.float32)
