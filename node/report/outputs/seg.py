"""A BINARY Segmentation: one segment a label of the card, on the pixels of the source (PS3.3 §A.51)."""

from __future__ import annotations

from collections.abc import Mapping

from highdicom.seg import SegmentationTypeValues
from pydicom import Dataset

from node.report.evidence import Evidence
from node.report.segments import flat, frames
from node.report.segments.functional_groups import of_segments, planes
from node.report.segments.segmentation import describe, filled, occupied

KIND = "seg"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "SEG"
SCOPE = "model"
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1000


def unfit(evidence: Evidence) -> str:
    """A Segmentation needs a mask."""
    return "the model segments nothing" if evidence.mask is None else ""


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the Segmentation: BINARY, Explicit VR Little Endian, without the empty frames.

    Raises:
        Failed: its frames are more than one object can hold.
    """
    if flat.is_flat(evidence):
        return flat.flat(evidence, KIND, SERIES_NUMBER, SegmentationTypeValues.BINARY)
    described = describe(evidence, KIND, SERIES_NUMBER, SegmentationTypeValues.BINARY)
    written = planes(described, evidence.slices, occupied(evidence))
    chosen = frames.occupied(evidence.counts, [plane.index for plane in written])
    pixels = frames.pack(evidence.labels, chosen)
    # A single segment is named once, in the groups that all frames share.
    groups = of_segments(written, chosen, identified=len(evidence.card.segments) > 1)
    return filled(described, evidence, groups, pixels, len(chosen))
