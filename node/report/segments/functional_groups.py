"""Functional groups of many frames, put together from bytes (PS3.3 §C.7.6.16).

A Segmentation of a whole body has tens of thousands of frames, whose items differ in a reference, a position and two
numbers. What all share is taken from the one item that highdicom described.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from highdicom.spatial import get_volume_positions
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.valuerep import format_number_as_ds

from node.report.evidence import SourceSlice
from node.report.segments.explicit_vr import element, encoded, item, sequence, text
from node.report.segments.instance_references import reference
from node.report.segments.stand_ins import index_of

#: DS holds so many characters (PS3.5 §6.2).
_DS = 16


@dataclass(frozen=True, slots=True)
class Plane:
    """A slice that is written, with what its frames say of it, encoded."""

    #: Index of the slice in the mask.
    index: int
    #: Dimension Index Value of its position; 1 is the first.
    ordinal: int
    #: Derivation Image Sequence (0008,9124) and Plane Position Sequence (0020,9113).
    derivation: bytes
    position: bytes


def planes(described: Dataset, slices: Sequence[SourceSlice], occupied: NDArray[np.bool_]) -> list[Plane]:
    """The `occupied` slices, in the direction in which highdicom sorted the first and the last."""
    template = described.PerFrameFunctionalGroupsSequence
    derivation = template[0].DerivationImageSequence[0]
    source = derivation.SourceImageSequence[0]
    # Tags above those of the reference: they follow it.
    purpose = encoded(source[0x00081200:])
    code = encoded(derivation[0x00082113:])
    indices = np.flatnonzero(occupied).tolist()
    if index_of(source.ReferencedSOPInstanceUID):
        indices.reverse()
    found = []
    for ordinal, index in enumerate(indices, 1):
        each = slices[index]
        numbered = b"" if each.frame_number is None else text("ReferencedFrameNumber", "IS", each.frame_number)
        sources = sequence("SourceImageSequence", [item(reference(each.header), numbered, purpose)])
        found.append(
            Plane(
                index=index,
                ordinal=ordinal,
                derivation=sequence("DerivationImageSequence", [item(sources, code)]),
                position=_position(each),
            )
        )
    return found


def of_slices(found: Iterable[Plane]) -> bytes:
    """The items of a Segmentation whose frames are slices."""
    return b"".join(item(each.derivation, _content(each.ordinal), each.position) for each in found)


def of_segments(found: Iterable[Plane], frames: Iterable[tuple[int, int]], *, identified: bool) -> bytes:
    """The items of `frames`, each a segment number and a slice; `identified` where each item names its segment."""
    by_index = {each.index: each for each in found}
    names: dict[int, bytes] = {}
    items = []
    for number, index in frames:
        each = by_index[index]
        if number not in names:
            names[number] = _identification(number) if identified else b""
        items.append(item(each.derivation, _content(number, each.ordinal), each.position, names[number]))
    return b"".join(items)


def arrange(described: Dataset, slices: Sequence[SourceSlice], occupied: NDArray[np.bool_], *, by_place: bool) -> None:
    """Say how far all slices are apart, and whether those written are a volume: highdicom saw two of them.

    by_place: frames differ by nothing but their place.
    """
    shared = described.SharedFunctionalGroupsSequence[0]
    orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
    positions = np.array([each.position for each in slices])
    measures = shared.PixelMeasuresSequence[0]
    measures.pop("SpacingBetweenSlices", None)
    distance, _ = get_volume_positions(positions.tolist(), orientation)
    if distance is not None:
        measures.SpacingBetweenSlices = format_number_as_ds(distance)
    described.pop("DimensionOrganizationType", None)
    if by_place and occupied.sum() > 1:
        step, _ = get_volume_positions(positions[occupied].tolist(), orientation, sort=False)
        if step is not None and step > 0:
            described.DimensionOrganizationType = "3D"


def _position(each: SourceSlice) -> bytes:
    assert each.position is not None
    values = (str(value) if len(str(value)) <= _DS else format_number_as_ds(value) for value in each.position)
    return sequence("PlanePositionSequence", [item(text("ImagePositionPatient", "DS", *values))])


def _content(*values: int) -> bytes:
    indices = element("DimensionIndexValues", "UL", struct.pack(f"<{len(values)}I", *values))
    return sequence("FrameContentSequence", [item(indices)])


def _identification(number: int) -> bytes:
    named = element("ReferencedSegmentNumber", "US", struct.pack("<H", number))
    return sequence("SegmentIdentificationSequence", [item(named)])
