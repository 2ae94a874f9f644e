"""A Label Map Segmentation: each pixel holds its segment number (PS3.3 §A.51, §C.8.20.2).

The background. Segment Number may be 0 here, and every pixel value is to be described, so highdicom writes an item
with number 0, "Background"; that value is also the Pixel Padding Value, by which readers such as dcmqi and 3D Slicer
know what to leave out. We keep both: it is the standard's reading. Viewers that take segments by their place in the
sequence, and not by their number, then show each with its neighbour's name and colour (OHIF up to 3.13.2 does): for
destinations of the profile "ohif" the item is left out, and the padding value alone says what 0 is.
"""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.seg import SegmentationTypeValues
from pydicom import Dataset

from node.report.evidence import Evidence
from node.report.segments import flat, frames
from node.report.segments.functional_groups import of_slices, planes
from node.report.segments.segmentation import describe, filled, occupied

KIND = "labelmap_seg"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SEG"
SCOPE = "model"
FALLBACKS = ("seg",)
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1010

_BY_PLACE = "ohif"


def unfit(evidence: Evidence) -> str:
    """A Segmentation needs a mask."""
    return "the model segments nothing" if evidence.mask is None else ""


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the Segmentation: LABELMAP of eight bits, Explicit VR Little Endian, without the empty slices.

    Raises:
        Failed: its slices are more than one object can hold.
    """
    make = flat.flat if flat.is_flat(evidence) else describe
    described = make(evidence, KIND, SERIES_NUMBER, SegmentationTypeValues.LABELMAP)
    if evidence.profile == _BY_PLACE:
        described.SegmentSequence = [item for item in described.SegmentSequence if item.SegmentNumber]
    if flat.is_flat(evidence):
        return described
    written = planes(described, evidence.slices, occupied(evidence))
    pixels = frames.concatenate(evidence.labels, [plane.index for plane in written])
    return filled(described, evidence, of_slices(written), pixels, len(written))
