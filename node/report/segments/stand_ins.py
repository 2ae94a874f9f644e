"""Headers that stand in for the source where highdicom describes a Segmentation.

Each is as of an image with one frame of one pixel, whatever the source is, and there are no more than two, the first
and the last slice: so describing costs nothing that grows with pixels or slices, and slices of several multi-frame
images, or of one stack of several, are described like any other.
"""

from __future__ import annotations

from pydicom import Dataset
from pydicom.uid import CTImageStorage

from node.report.evidence import Evidence, SourceSlice

#: The UID of a stand-in is this and its index in the mask.
_ROOT = "2.25."
_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
#: What a stand-in says for itself, or leaves to be measured.
_OWN = frozenset(
    {
        *("SOPClassUID", "SOPInstanceUID", "Rows", "Columns", "NumberOfFrames", "SpacingBetweenSlices", *_PLACE),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    }
)


def stand_ins(evidence: Evidence) -> list[Dataset]:
    """The first slice of the mask and, if there are more, the last."""
    described = [element for element in evidence.source if element.keyword not in _OWN]
    slices = evidence.slices
    headers = []
    for index in sorted({0, len(slices) - 1}):
        header = Dataset()
        for element in described:
            header.add(element)
        _place(header, slices[index])
        header.SOPInstanceUID = f"{_ROOT}{index}"
        header.Rows = header.Columns = 1
        headers.append(header)
    return headers


def index_of(sop_instance_uid: str) -> int:
    """The slice that a stand-in stands for."""
    return int(sop_instance_uid.removeprefix(_ROOT))


def _place(header: Dataset, each: SourceSlice) -> None:
    """Give a stand-in the class, position, orientation and spacing of its slice."""
    if each.frame_number is None:
        header.SOPClassUID = each.header.SOPClassUID
        for keyword in _PLACE:
            if keyword in each.header:
                header.add(each.header[keyword])
        return
    header.SOPClassUID = CTImageStorage  # highdicom tells by the class which images have one frame
    measures = _group(each, "PixelMeasuresSequence")
    header.PixelSpacing, header.SliceThickness = measures.PixelSpacing, measures.SliceThickness
    header.ImagePositionPatient = _group(each, "PlanePositionSequence").ImagePositionPatient
    header.ImageOrientationPatient = _group(each, "PlaneOrientationSequence").ImageOrientationPatient


def _group(each: SourceSlice, keyword: str) -> Dataset:
    """The item of a functional group of one frame: its own, else the one that all share (PS3.3 §C.7.6.16)."""
    assert each.frame_number is not None
    own = each.header.PerFrameFunctionalGroupsSequence[each.frame_number - 1]
    group = own if keyword in own else each.header.SharedFunctionalGroupsSequence[0]
    item: Dataset = group[keyword].value[0]
    return item
