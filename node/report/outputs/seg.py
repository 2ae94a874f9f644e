"""A BINARY Segmentation: one segment a label of the card, on the pixels of the source (PS3.3 §A.51)."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentationTypeValues, SegmentDescription
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.finding import Segment
from node.report.attributes import equipment, model_equipment, series_description, stamp, vendor
from node.report.coding import coded, fitted
from node.report.evidence import Evidence

KIND = "seg"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SEG"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1000


def unfit(evidence: Evidence) -> str:
    """A Segmentation needs a mask."""
    return "" if evidence.mask is not None else "the model segments nothing"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the Segmentation: BINARY, Explicit VR Little Endian, without the empty frames."""
    segmentation = Segmentation(
        source_images=evidence.sources,
        pixel_array=evidence.labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_description(evidence, segment) for segment in evidence.card.segments],
        series_instance_uid=evidence.uid(KIND, "series"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=evidence.uid(KIND, "instance"),
        instance_number=1,
        **equipment(evidence),
        content_label="AI_SEGMENTATION",
        content_description=fitted(evidence.card.purpose),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=True,
        series_description=series_description(evidence, "SEG"),
        contributing_equipment=[model_equipment(evidence)],
    )
    segmentation.ContentCreatorName = ""  # type 2 (PS3.3 Table 10-12): no person made it
    stamp(segmentation, evidence, KIND)
    _pad_with_zero(segmentation)
    return segmentation


def _description(evidence: Evidence, segment: Segment) -> SegmentDescription:
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


def _pad_with_zero(segmentation: Dataset) -> None:
    """Make the padding byte of odd pixel data zero (PS3.5 §8.1.1); highdicom writes the digit 0."""
    bits = int(segmentation.Rows) * int(segmentation.Columns) * int(segmentation.NumberOfFrames)
    pixels: bytes = segmentation.PixelData
    if len(pixels) > (bits + 7) // 8:
        segmentation.PixelData = pixels[:-1] + b"\0"
