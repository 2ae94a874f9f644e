"""What BINARY and LABELMAP Segmentations share: highdicom describes them, and the frames are put in afterwards.

highdicom is given two slices of one pixel and headers that say so (`stand_ins`); it decides dimensions, shared groups
and the direction of sorting as ever, and its functions say what the positions of all slices make. The result is what
it writes from the whole mask but for two things: Spacing Between Slices is always that of the positions, since what
scanners say is at times the gap between slices; and multi-frame sources may be several, or one of several stacks,
since each slice names its own image and frame.
"""

from __future__ import annotations

from typing import TypedDict

import numpy as np
from highdicom import AlgorithmIdentificationSequence, ContributingEquipment
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom import DataElement, Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.finding import Segment
from node.report.attributes import equipment, model_equipment, series_description, stamp, vendor
from node.report.coding import coded, fitted
from node.report.evidence import Evidence
from node.report.segments.explicit_vr import put, reread, tag_of
from node.report.segments.functional_groups import arrange
from node.report.segments.instance_references import by_series, instances
from node.report.segments.stand_ins import stand_ins


class Description(TypedDict):
    """Keywords of highdicom's constructor that say what a Segmentation is, its images and pixels left out."""

    segmentation_type: SegmentationTypeValues
    segment_descriptions: list[SegmentDescription]
    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    content_label: str
    content_description: str
    transfer_syntax_uid: str
    omit_empty_frames: bool
    series_description: str
    contributing_equipment: list[ContributingEquipment]


def description(evidence: Evidence, kind: str, number: int, segmentation_type: SegmentationTypeValues) -> Description:
    """What a Segmentation of this evidence is. number: of the series."""
    return Description(
        segmentation_type=segmentation_type,
        segment_descriptions=[_segment(evidence, segment) for segment in evidence.card.segments],
        series_instance_uid=evidence.uid(kind, "series"),
        series_number=number,
        sop_instance_uid=evidence.uid(kind, "instance"),
        instance_number=1,
        **equipment(evidence),
        content_label="AI_SEGMENTATION",
        content_description=fitted(evidence.card.purpose),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        series_description=series_description(evidence, "SEG"),
        contributing_equipment=[model_equipment(evidence)],
    )


def describe(evidence: Evidence, kind: str, number: int, segmentation_type: SegmentationTypeValues) -> Segmentation:
    """Everything but frames and references to sources, as highdicom writes it. number: of the series.

    Raises:
        Failed: there is no mask.
    """
    images = stand_ins(evidence)
    # Both slices are written, in the first segment: what follows from the whole mask is put in afterwards.
    pixels = np.zeros((len(images), 1, 1, len(evidence.card.segments)), np.uint8)
    pixels[..., 0] = 1
    described = _described(images, pixels, evidence, kind, number, segmentation_type)
    by_place = segmentation_type is SegmentationTypeValues.LABELMAP or len(evidence.card.segments) == 1
    arrange(described, evidence.slices, occupied(evidence), by_place=by_place)
    return described


def describe_on(
    images: list[Dataset],
    pixels: NDArray[np.uint8],
    evidence: Evidence,
    kind: str,
    number: int,
    segmentation_type: SegmentationTypeValues,
) -> Segmentation:
    """What highdicom writes of `pixels` on `images`, referring to the sources of the evidence."""
    described = _described(images, pixels, evidence, kind, number, segmentation_type)
    _refer_to_sources(described, evidence)
    return described


def occupied(evidence: Evidence) -> NDArray[np.bool_]:
    """Which slices any segment lies on."""
    return np.asarray(evidence.counts[:, 1:].any(axis=1))


def filled(described: Dataset, evidence: Evidence, groups: bytes, pixels: bytes, frames: int) -> Dataset:
    """The described object with its frames, like one that was just read: what nobody asks for is not parsed.

    groups: items of the Per-Frame Functional Groups Sequence.
    """
    described.NumberOfFrames = frames
    for keyword in ("PerFrameFunctionalGroupsSequence", "PixelData", "SourceImageSequence", "ReferencedSeriesSequence"):
        del described[keyword]
    dataset = reread(described)
    put(dataset, "ReferencedSeriesSequence", by_series(evidence.sources, "ReferencedInstanceSequence"))
    put(dataset, "SourceImageSequence", instances(evidence.sources))
    put(dataset, "PerFrameFunctionalGroupsSequence", groups)
    dataset["PixelData"] = DataElement(tag_of("PixelData"), "OB", pixels)
    return dataset


def _described(
    images: list[Dataset],
    pixels: NDArray[np.uint8],
    evidence: Evidence,
    kind: str,
    number: int,
    segmentation_type: SegmentationTypeValues,
) -> Segmentation:
    described = Segmentation(
        source_images=images, pixel_array=pixels, **description(evidence, kind, number, segmentation_type)
    )
    described.ContentCreatorName = ""  # type 2 (PS3.3 Table 10-12): no person made it
    described.Rows, described.Columns = evidence.labels.shape[1:]
    stamp(described, evidence, kind)
    return described


def _refer_to_sources(described: Dataset, evidence: Evidence) -> None:
    """Put the sources in the place of their stand-ins: each once (PS3.3 §C.7.6.1, §C.12.2)."""
    references = []
    series: dict[str, list[Dataset]] = {}
    for header in evidence.sources:
        reference = Dataset()
        reference.ReferencedSOPClassUID = header.SOPClassUID
        reference.ReferencedSOPInstanceUID = header.SOPInstanceUID
        references.append(reference)
        series.setdefault(str(header.SeriesInstanceUID), []).append(reference)
    described.SourceImageSequence = references
    described.ReferencedSeriesSequence = []
    for series_instance_uid, members in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_instance_uid
        item.ReferencedInstanceSequence = members
        described.ReferencedSeriesSequence.append(item)


def _segment(evidence: Evidence, segment: Segment) -> SegmentDescription:
    card = evidence.card
    return SegmentDescription(
        segment_number=segment.number,
        segment_label=fitted(segment.label),
        segmented_property_category=coded(segment.category),
        segmented_property_type=coded(segment.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=fitted(card.name),
            family=codes.DCM.ArtificialIntelligence,
            version=fitted(card.version),
            source=vendor(evidence),
            parameters={"model": evidence.model_digest, "card": evidence.card_digest},
        ),
        tracking_uid=evidence.tracking_uid(segment.number),
        tracking_id=evidence.tracking_identifier(segment.number),
        anatomic_regions=None if segment.site is None else [coded(segment.site)],
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
