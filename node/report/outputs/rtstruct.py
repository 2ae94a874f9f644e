"""An RT Structure Set for sites that ask for one by name: unapproved, never a fallback (PS3.3 §A.19).

Somebody may plan on it. Each segment is a region of interest whose outlines are polygons in millimetres, without
holes: a region with one is cut through it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import RTStructureSetStorage

from node.domain.finding import Segment
from node.domain.geometry import to_patient
from node.report.attributes import stamp
from node.report.coding import coded, fitted
from node.report.contour import polygons
from node.report.evidence import Evidence
from node.report.pictures.bare import bare_instance
from node.report.pictures.references import image_references
from node.report.pictures.summary import notice, shown_segments

KIND = "rtstruct"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "RTSTRUCT"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ("seg",)
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1008

#: Vertices of one contour: three numbers of up to ten characters each in a value of 65534 (PS3.5 §7.1.2).
_MOST_VERTICES = 1900
_CONTOUR_DATA = BaseTag(tag_for_keyword("ContourData") or 0)
#: Longest SH and ST (PS3.5 §6.2).
_SH, _ST = 16, 1024
#: Detached Study Management, retired, still named where a study is referred to (PS3.3 §C.8.8.5).
_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"


def unfit(evidence: Evidence) -> str:
    """Contours are those of segments in space."""
    if evidence.mask is None:
        return "the model segments nothing"
    return "" if evidence.grid is not None else "the images have no place in space"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the structure set: one region of interest a segment that the mask holds."""
    structures = bare_instance(
        evidence,
        KIND,
        sop_class_uid=RTStructureSetStorage,
        modality="RTSTRUCT",
        series_number=SERIES_NUMBER,
        label="RTSTRUCT",
    )
    structures.OperatorsName = ""
    structures.StructureSetLabel = fitted(f"AI {evidence.card.name}", _SH)
    structures.StructureSetDescription = fitted(f"{notice(evidence)}. {evidence.card.purpose}", _ST)
    structures.FrameOfReferenceUID = evidence.source.FrameOfReferenceUID
    structures.PositionReferenceIndicator = evidence.source.get("PositionReferenceIndicator", "")
    structures.ReferencedFrameOfReferenceSequence = [_frame_of_reference(evidence)]
    held = set(shown_segments(evidence))
    segments = [segment for segment in evidence.card.segments if segment.number in held]
    structures.StructureSetROISequence = [_region_of_interest(evidence, segment) for segment in segments]
    structures.ROIContourSequence = [_contours(evidence, segment) for segment in segments]
    structures.RTROIObservationsSequence = [_observation(segment) for segment in segments]
    structures.ApprovalStatus = "UNAPPROVED"
    stamp(structures, evidence, KIND)
    structures.StructureSetDate, structures.StructureSetTime = structures.ContentDate, structures.ContentTime
    return structures


def _frame_of_reference(evidence: Evidence) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = evidence.source_series_instance_uid
    series.ContourImageSequence = image_references(evidence.slices)
    study = Dataset()
    study.ReferencedSOPClassUID = _STUDY_CLASS
    study.ReferencedSOPInstanceUID = evidence.study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame = Dataset()
    frame.FrameOfReferenceUID = evidence.source.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _region_of_interest(evidence: Evidence, segment: Segment) -> Dataset:
    item = Dataset()
    item.ROINumber = segment.number
    item.ReferencedFrameOfReferenceUID = evidence.source.FrameOfReferenceUID
    item.ROIName = fitted(segment.label)
    item.ROIGenerationAlgorithm = "AUTOMATIC"
    item.ROIGenerationDescription = fitted(f"{evidence.card.name} {evidence.card.version}, {notice(evidence)}")
    return item


def _contours(evidence: Evidence, segment: Segment) -> Dataset:
    item = Dataset()
    item.ROIDisplayColor = list(segment.colour)
    item.ReferencedROINumber = segment.number
    contours: list[Dataset] = []
    for index in np.flatnonzero(evidence.counts[:, segment.number]).tolist():
        for polygon in polygons(evidence.labels[index] == segment.number, _MOST_VERTICES):
            contour = Dataset()
            contour.ContourNumber = len(contours) + 1
            contour.ContourImageSequence = image_references([evidence.slices[index]])
            contour.ContourGeometricType = "CLOSED_PLANAR"
            points = in_patient(evidence, index, polygon[:-1])
            contour.NumberOfContourPoints = len(points)
            contour[_CONTOUR_DATA] = _decimal_strings(points)
            contours.append(contour)
    item.ContourSequence = contours
    return item


def _decimal_strings(points: NDArray[np.float64]) -> RawDataElement:
    """The coordinates as they are written (PS3.5 §6.2, DS): as values of pydicom a million of them take a minute."""
    content = "\\".join(f"{value:.2f}" for value in points.ravel().tolist()).encode("ascii")
    content += b" " * (len(content) % 2)
    return RawDataElement(_CONTOUR_DATA, "DS", len(content), content, 0, False, True)


def in_patient(evidence: Evidence, index: int, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Points on a slice, (n, 2) image coordinates (column, row), as (n, 3) LPS mm; pixel centres lie at halves."""
    places = np.column_stack([np.full(len(points), index, np.float64), points[:, 1] - 0.5, points[:, 0] - 0.5])
    return to_patient(evidence.lattice.matrix, places)


def _observation(segment: Segment) -> Dataset:
    item = Dataset()
    item.ObservationNumber = segment.number
    item.ReferencedROINumber = segment.number
    item.RTROIIdentificationCodeSequence = [coded(segment.type)]
    # Type 2, and empty: what a region is for in a plan, nobody has said.
    item.RTROIInterpretedType = ""
    item.ROIInterpreter = ""
    return item
