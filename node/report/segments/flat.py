"""A Segmentation on images that do not say where they lie: their pixels are all the place that they have.

Frame of Reference and the groups that place a frame are asked for only where a frame is not derived from an image
(PS3.3 §A.51.3, §A.51.5): radiographs, ultrasound images or frames of a clip can be marked so. Each frame names the
image that it lies on; of several images the order is told as places in a stack, which claims nothing about space.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
from highdicom.seg import Segmentation, SegmentationTypeValues
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import SecondaryCaptureImageStorage

from node.report.evidence import Evidence, SourceSlice
from node.report.segments import frames
from node.report.segments.segmentation import describe_on, occupied

#: Of the source, but not of the single image that stands in for it: its class says what highdicom asks of it.
_NOT_OF_ONE_IMAGE = (
    *("SOPClassUID", "FrameOfReferenceUID", "PositionReferenceIndicator", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
#: The stack that all frames are in.
_STACK = "1"


def is_flat(evidence: Evidence) -> bool:
    """Whether the mask lies on images that do not say where they lie."""
    return evidence.mask is not None and evidence.slices[0].position is None


def flat(evidence: Evidence, kind: str, number: int, segmentation_type: SegmentationTypeValues) -> Dataset:
    """Return the Segmentation of the images, or frames, that any segment lies on. number: of the series.

    Raises:
        Failed: its frames are more than one object can hold.
    """
    header = Dataset()
    for element in evidence.source:
        if element.keyword not in _NOT_OF_ONE_IMAGE:
            header.add(element)
    header.SOPClassUID = SecondaryCaptureImageStorage
    segments = [int(each) + 1 for each in np.flatnonzero(evidence.counts[:, 1:].any(axis=0))]
    described: Segmentation = describe_on(
        [header], _each_once(segments, evidence.labels.shape), evidence, kind, number, segmentation_type
    )
    # Type 2C of an image that is not placed (PS3.3 §C.7.6.1).
    described.PatientOrientation = evidence.source.get("PatientOrientation") or ""
    shown = np.flatnonzero(occupied(evidence)).tolist()
    groups = list(described.PerFrameFunctionalGroupsSequence)
    if segmentation_type is SegmentationTypeValues.BINARY:
        written = frames.occupied(evidence.counts, shown)
        of_segment = dict(zip(segments, groups, strict=True))
        described.PixelData = frames.pack(evidence.labels, written)
    else:
        written = [(0, index) for index in shown]
        of_segment = {0: groups[0]}
        described.PixelData = frames.concatenate(evidence.labels, shown)
    described.NumberOfFrames = len(written)
    items = [_frame(of_segment[segment], evidence.slices[index]) for segment, index in written]
    described.PerFrameFunctionalGroupsSequence = items
    if len(shown) > 1:
        _stack(described, [shown.index(index) + 1 for _, index in written])
    return described


def _each_once(segments: Sequence[int], shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One image with one pixel of each segment: highdicom then describes each of them."""
    labels = np.zeros((1, *shape[1:]), np.uint8)
    labels.reshape(-1)[: len(segments)] = segments
    return labels


def _frame(described: Dataset, source: SourceSlice) -> Dataset:
    """The functional groups of a frame on one image."""
    item = deepcopy(described)
    reference = item.DerivationImageSequence[0].SourceImageSequence[0]
    reference.ReferencedSOPClassUID = source.header.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.header.SOPInstanceUID
    if source.frame_number is not None:
        reference.ReferencedFrameNumber = source.frame_number
    return item


def _stack(described: Dataset, positions: Sequence[int]) -> None:
    """Let the order of the images be a dimension (PS3.3 §C.7.6.16.2.2, §C.7.6.17), in place."""
    dimension = Dataset()
    dimension.DimensionOrganizationUID = described.DimensionOrganizationSequence[0].DimensionOrganizationUID
    dimension.DimensionIndexPointer = tag_for_keyword("InStackPositionNumber")
    dimension.FunctionalGroupPointer = tag_for_keyword("FrameContentSequence")
    dimension.DimensionDescriptionLabel = "In-Stack Position Number"
    described.DimensionIndexSequence.append(dimension)
    for item, position in zip(described.PerFrameFunctionalGroupsSequence, positions, strict=True):
        content = item.FrameContentSequence[0]
        content.StackID, content.InStackPositionNumber = _STACK, position
        values = content.DimensionIndexValues
        content.DimensionIndexValues = [*([values] if isinstance(values, int) else values), position]
