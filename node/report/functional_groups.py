"""Functional groups of many frames, encoded once a slice and put together frame by frame (PS3.3 §C.7.6.16).

A Segmentation of a whole body has tens of thousands of frames, whose items differ in two numbers. Explicit VR Little
Endian throughout, items and sequences with their lengths, as pydicom writes them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from pydicom import DataElement, Dataset, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

from node.report.evidence import SourceSlice
from node.report.stand_ins import index_of


def _tag(keyword: str) -> BaseTag:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return BaseTag(tag)


_PER_FRAME = _tag("PerFrameFunctionalGroupsSequence")
_PIXEL_DATA = _tag("PixelData")
_FRAME_CONTENT = _tag("FrameContentSequence")
_AFTER_FRAME_CONTENT = BaseTag(_FRAME_CONTENT + 1)
_SEGMENT_IDENTIFICATION = _tag("SegmentIdentificationSequence")
_ITEM = b"\xfe\xff\x00\xe0"  # PS3.5 §7.5


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice as highdicom placed it, with its functional groups."""

    #: Index of the slice in the mask.
    index: int
    #: Dimension Index Value of its position; 1 is the first.
    position: int
    #: The elements before, of, and after the Frame Content Sequence (0020,9111).
    before: bytes
    content: bytes
    after: bytes


def planes(described: Dataset, slices: Sequence[SourceSlice]) -> list[Plane]:
    """The slices that are written, in highdicom's order, referring to their sources in place of the stand-ins."""
    found = []
    for item in described.PerFrameFunctionalGroupsSequence:
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        index = index_of(reference.ReferencedSOPInstanceUID)
        _refer(reference, slices[index])
        item.pop(_SEGMENT_IDENTIFICATION, None)
        found.append(
            Plane(
                index=index,
                position=int(np.atleast_1d(item.FrameContentSequence[0].DimensionIndexValues)[-1]),
                before=_encoded(item[:_FRAME_CONTENT]),
                content=_encoded(item[_FRAME_CONTENT:_AFTER_FRAME_CONTENT]),
                after=_encoded(item[_AFTER_FRAME_CONTENT:]),
            )
        )
    return found


def of_slices(found: Iterable[Plane]) -> bytes:
    """The items of a Segmentation whose frames are slices."""
    return b"".join(_item(plane.before + plane.content + plane.after) for plane in found)


def of_segments(found: Iterable[Plane], frames: Iterable[tuple[int, int]], *, identified: bool) -> bytes:
    """The items of `frames`, each a segment number and a slice; `identified` where each item names its segment."""
    by_index = {plane.index: plane for plane in found}
    names: dict[int, bytes] = {}
    items = []
    for number, index in frames:
        plane = by_index[index]
        if number not in names:
            names[number] = _identification(number) if identified else b""
        # The last value of the Frame Content item is that of Dimension Index Values, two UL.
        content = plane.content[:-8] + struct.pack("<II", number, plane.position)
        items.append(_item(plane.before + content + plane.after + names[number]))
    return b"".join(items)


def filled(described: Dataset, groups: bytes, pixels: bytes, frames: int) -> Dataset:
    """The described object with its frames, like one that was just read: what is not looked at is not parsed."""
    described.NumberOfFrames = frames
    del described.PerFrameFunctionalGroupsSequence
    del described.PixelData
    stream = BytesIO()
    dcmwrite(stream, described, enforce_file_format=True)
    # Nothing of a Segmentation but its pixels comes after these groups.
    stream.write(struct.pack("<HH2sHI", _PER_FRAME.group, _PER_FRAME.element, b"SQ", 0, len(groups)))
    stream.write(groups)
    stream.seek(0)
    dataset = dcmread(stream)
    dataset[_PIXEL_DATA] = DataElement(_PIXEL_DATA, "OB", pixels)
    return dataset


def _refer(reference: Dataset, each: SourceSlice) -> None:
    reference.ReferencedSOPClassUID = each.header.SOPClassUID
    reference.ReferencedSOPInstanceUID = each.header.SOPInstanceUID
    if each.frame_number is not None:
        reference.ReferencedFrameNumber = each.frame_number


def _identification(number: int) -> bytes:
    identification, group = Dataset(), Dataset()
    identification.ReferencedSegmentNumber = number
    group.SegmentIdentificationSequence = [identification]
    return _encoded(group)


def _encoded(dataset: Dataset) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, dataset)
    return stream.getvalue()


def _item(content: bytes) -> bytes:
    return _ITEM + struct.pack("<I", len(content)) + content
