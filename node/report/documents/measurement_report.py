"""The measurements of each segment as a content tree (PS3.16 TID 1500), whatever SOP Class it is then written as.

The tracking UID of a segment owns two groups: a volumetric one (TID 1411) that refers to the segment and carries the
numbers, and one with coordinates. Viewers that join groups by tracking UID then have something to draw; OHIF stops at a
report whose groups have none. With the profile "standard" that is a planar group (TID 1410) with the segment's outline
on its largest slice; with "ohif" a group (TID 1501) whose length is inferred from the long axis there, under a tracking
identifier by which OHIF takes the length into its list.
A lesion is part of a segment: its group has its outline on every slice instead of a segment (TID 1411).
Findings without a segment are not written here: they belong to another document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from highdicom.sr import (
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    ImageRegion,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForRegion,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from highdicom.sr import Measurement as MeasurementItem
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.finding import MILLIMETRE, VOLUME, Code, Finding, Measurement
from node.errors import Failed
from node.report.coding import coded
from node.report.contour import largest_region, outline
from node.report.documents import change
from node.report.documents.axis import long_axis
from node.report.documents.document import SopClass, algorithm, document, language, observation_context
from node.report.documents.library import add_image_library
from node.report.documents.sureness import sureness
from node.report.evidence import Evidence, SourceSlice
from node.report.lesions import Outline, outlines

#: PS3.16 CID 7470; the same term that OHIF's own length bears.
_LENGTH = Code("410668003", "SCT", "Length")
#: By this OHIF knows that it can take a group over as a measurement of its own.
_OHIF_LENGTH = "Cornerstone3DTools@^0.1.0:Length"
#: Numbers are written with this many significant digits: the fifth of a volume is already noise.
_DIGITS = 7

Group = (
    VolumetricROIMeasurementsAndQualitativeEvaluations
    | PlanarROIMeasurementsAndQualitativeEvaluations
    | MeasurementsAndQualitativeEvaluations
)


def unfit(evidence: Evidence) -> str:
    """Measurements are those of segments."""
    if evidence.mask is None:
        return "the model segments nothing"
    return "" if any(each.segment_number is not None for each in evidence.findings) else "no finding has a segment"


def build_as(
    written_as: SopClass, evidence: Evidence, built: Mapping[str, Dataset], *, kind: str, series_number: int
) -> Dataset:
    """Return the report in one of the SOP Classes: preliminary, unverified, complete for the segments it speaks of.

    Raises:
        Failed: no finding has a segment.
    """
    segmentation = built["seg"]
    findings = [finding for finding in evidence.findings if finding.segment_number is not None]
    if not findings:
        raise Failed("no finding has a segment to report on")
    # Nothing is so many mm long on an image that does not say where it lies.
    by_length = evidence.profile == "ohif" and evidence.grid is not None
    groups: list[Group] = []
    outlined: dict[int, SourceSlice] = {}
    drawn = outlines(evidence)
    for finding in findings:
        number = finding.segment_number
        assert number is not None
        located = []
        if number not in outlined and not finding.lesion_number:
            outlined[number] = evidence.slices[evidence.largest_slice(number)]
            located.append((_length if by_length else _planar)(evidence, finding, number))
        if finding.lesion_number:
            measured = _lesion(evidence, finding, drawn[finding.tracking_uid])
        else:
            measured = _volumetric(evidence, finding, number, segmentation)
        # OHIF reads the identifier of the first group that a tracking UID owns.
        with_sentence(measured, finding)
        groups += [*located, measured] if by_length else [measured, *located]
    content = MeasurementReport(
        observation_context=observation_context(evidence),
        procedure_reported=coded(evidence.card.procedure),
        imaging_measurements=groups,
        language_of_content_item_and_descendants=language(),
    )
    places = [*outlined.values(), *(evidence.slices[index] for each in drawn.values() for index, _ in each)]
    add_image_library(content, {str(each.header.SOPInstanceUID): each.header for each in places}.values())
    return document(
        evidence,
        kind,
        content,
        written_as=written_as,
        series_number=series_number,
        label="SR",
        rests_on=[segmentation],
        other_evidence=change.other_evidence(change.referred(evidence)),
    )


def source_image(place: SourceSlice) -> SourceImageForRegion:
    """The image, and frame, that coordinates are in."""
    frames = None if place.frame_number is None else [place.frame_number]
    return SourceImageForRegion(place.header.SOPClassUID, place.header.SOPInstanceUID, frames)


def number_item(measurement: Measurement, inferred_from: CoordinatesForMeasurement | None = None) -> MeasurementItem:
    """One number, and what it was inferred from (PS3.16 TID 300, TID 320, TID 1419).

    Of a distance the finding site is what lies at its other end.
    """
    is_volume = measurement.quantity == VOLUME
    method = None if measurement.method is None else coded(measurement.method)
    return MeasurementItem(
        name=coded(measurement.quantity),
        value=float(f"{measurement.value:.{_DIGITS}g}"),
        unit=coded(measurement.unit),
        # PS3.16 CID 7474: the volume is that of the voxels, in source geometry.
        method=codes.DCM.SumOfSegmentedVoxelMethodForVolume if is_volume else method,
        derivation=None if measurement.derivation is None else coded(measurement.derivation),
        finding_sites=None if measurement.toward is None else [FindingSite(coded(measurement.toward))],
        referenced_coordinates=None if inferred_from is None else [inferred_from],
    )


def presence(finding: Finding) -> list[QualitativeEvaluation]:
    """Present or absent, in DICOM's own codes; nothing where the model does not decide."""
    if finding.present is None:
        return []
    found = codes.DCM.Present if finding.present else codes.DCM.Absent
    return [QualitativeEvaluation(codes.DCM.PresenceOfProperty, found)]


def with_sentence(group: Group, finding: Finding) -> None:
    """Add the sentence on its finding to a group as a comment, where there is one; in place."""
    if finding.sentence:
        name, contains = codes.DCM.Comment, RelationshipTypeValues.CONTAINS
        group[0].ContentSequence.append(TextContentItem(name, finding.sentence, contains))


def operating_point(finding: Finding) -> list[str]:
    """From which probability or score a finding counts as present, as a parameter of the algorithm."""
    return [] if finding.operating_point is None else [f"operating_point={finding.operating_point:g}"]


def _volumetric(
    evidence: Evidence, finding: Finding, number: int, segmentation: Dataset
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(evidence, number),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(evidence.source_series_instance_uid),
        ),
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, number, finding),
        algorithm_id=algorithm(evidence, *operating_point(finding)),
        measurements=[*_numbers(finding), *change.differences(evidence, finding)],
        qualitative_evaluations=[*presence(finding), *change.evaluations(evidence, finding)],
    )


def _lesion(
    evidence: Evidence, finding: Finding, drawn: Sequence[Outline]
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    """A lesion is part of a segment, which cannot be referred to: its region is drawn, slice by slice."""
    assert finding.segment_number is not None
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=finding.tracking_uid, identifier=finding.tracking_identifier),
        referenced_regions=[
            ImageRegion(GraphicTypeValues.POLYLINE, line, source_image(evidence.slices[index])) for index, line in drawn
        ],
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, finding.segment_number, finding),
        algorithm_id=algorithm(evidence, *operating_point(finding)),
        measurements=[*_numbers(finding), *change.differences(evidence, finding)],
        qualitative_evaluations=[*presence(finding), *change.evaluations(evidence, finding)],
    )


def _numbers(finding: Finding) -> list[MeasurementItem]:
    return [number_item(measurement) for measurement in (*finding.measurements, *sureness(finding))]


def _planar(evidence: Evidence, finding: Finding, number: int) -> PlanarROIMeasurementsAndQualitativeEvaluations:
    place, polyline = _largest_outline(evidence, number)
    return PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(evidence, number),
        referenced_region=ImageRegion(
            graphic_type=GraphicTypeValues.POLYLINE, graphic_data=polyline, source_image=source_image(place)
        ),
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, number, finding),
        algorithm_id=algorithm(evidence),
    )


def _length(evidence: Evidence, finding: Finding, number: int) -> MeasurementsAndQualitativeEvaluations:
    place, polyline = _largest_outline(evidence, number)
    _, row_mm, column_mm = evidence.lattice.spacing_mm
    ends, length_mm = long_axis(polyline, (row_mm, column_mm))
    axis = CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE, graphic_data=ends, source_image=source_image(place)
    )
    length = number_item(Measurement(quantity=_LENGTH, value=length_mm, unit=MILLIMETRE), axis)
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=evidence.tracking_uid(number), identifier=_OHIF_LENGTH),
        finding_type=coded(finding.code),
        finding_sites=_sites(evidence, number, finding),
        algorithm_id=algorithm(evidence),
        measurements=[length],
    )


def _largest_outline(evidence: Evidence, number: int) -> tuple[SourceSlice, NDArray[np.float32]]:
    """Where a segment is largest, and the outline of its largest region there."""
    index = evidence.largest_slice(number)
    return evidence.slices[index], outline(largest_region(evidence.labels[index] == number))


def _tracking(evidence: Evidence, number: int) -> TrackingIdentifier:
    return TrackingIdentifier(uid=evidence.tracking_uid(number), identifier=evidence.tracking_identifier(number))


def _sites(evidence: Evidence, number: int, finding: Finding) -> list[FindingSite]:
    segment = next(segment for segment in evidence.card.segments if segment.number == number)
    side = None if finding.laterality is None else coded(finding.laterality)
    return [FindingSite(coded(segment.site or segment.type), side)]
