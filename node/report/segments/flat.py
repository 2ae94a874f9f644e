"""A Segmentation on one image that does not say where it lies: its pixels are all the place that it has.

Frame of Reference and the groups that place a frame are asked for only where a frame is not derived from an image
(PS3.3 §A.51.3, §A.51.5): a radiograph, an ultrasound image or one frame of a clip can be marked so. What several such
images have to do with each other nobody knows; each would need an object of its own.
"""

from __future__ import annotations

from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from node.report.evidence import Evidence
from node.report.segments import frames
from node.report.segments.segmentation import describe_on

#: Of the source, but not of the single image that stands in for it: its class says what highdicom asks of it.
_NOT_OF_ONE_IMAGE = (
    *("SOPClassUID", "FrameOfReferenceUID", "PositionReferenceIndicator", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)


def is_flat(evidence: Evidence) -> bool:
    """Whether the mask lies on images that do not say where they lie."""
    return evidence.mask is not None and evidence.slices[0].position is None


def unfit(evidence: Evidence) -> str:
    """Why a flat mask cannot be a Segmentation."""
    several = is_flat(evidence) and len(evidence.labels) > 1
    return f"a mask on {len(evidence.labels)} images that do not say where they lie" if several else ""


def flat(evidence: Evidence, kind: str, number: int, segmentation_type: SegmentationTypeValues) -> Dataset:
    """Return the Segmentation of one image, or of one frame. number: of the series."""
    header = Dataset()
    for element in evidence.source:
        if element.keyword not in _NOT_OF_ONE_IMAGE:
            header.add(element)
    header.SOPClassUID = SecondaryCaptureImageStorage
    described: Segmentation = describe_on([header], evidence.labels, evidence, kind, number, segmentation_type)
    # Type 2C of an image that is not placed (PS3.3 §C.7.6.1).
    described.PatientOrientation = evidence.source.get("PatientOrientation") or ""
    source = evidence.slices[0]
    for item in described.PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        reference.ReferencedSOPClassUID = source.header.SOPClassUID
        if source.frame_number is not None:
            reference.ReferencedFrameNumber = source.frame_number
    if segmentation_type is SegmentationTypeValues.BINARY:
        described.PixelData = frames.pack(evidence.labels, frames.occupied(evidence.counts, [0]))
    return described
