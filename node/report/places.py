"""Where an image, or each frame of one, lies in the patient: said whole, or not at all."""

from __future__ import annotations

import math

from pydicom import Dataset
from pydicom.multival import MultiValue

from node.domain.study import Frames, Stack

#: Direction cosines of one stack may differ by rounding (see `domain.geometry`); ten digits place 512 pixels to 1 nm.
COSINE_DIGITS = 10
MILLIMETRE_DIGITS = 6
#: Slice Thickness (0018,0050) of frames that neither say it nor lie beside each other.
_NO_THICKNESS_MM = 1.0


#: What says where a single image lies, and how many values each has.
_PLACE = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_DISTANCES = ("PixelSpacing", "SliceThickness")


def is_placed(header: Dataset) -> bool:
    """Whether a header says all that places a single image: position, directions, pixel spacing and thickness."""
    if not all(len(_numbers(header, keyword)) == count for keyword, count in _PLACE.items()):
        return False
    return all(_is_distance(header, keyword) for keyword in _DISTANCES)


def thickness_mm(header: Dataset) -> float | None:
    """Slice Thickness (0018,0050) where it is one."""
    return _numbers(header, "SliceThickness")[0] if _is_distance(header, "SliceThickness") else None


def remove_place(header: Dataset) -> None:
    """Take away what says where an image lies, where that is not all; in place. A sound pixel spacing stays."""
    for keyword in ("FrameOfReferenceUID", "PositionReferenceIndicator", *_PLACE, "SliceThickness"):
        if keyword not in _DISTANCES or not _is_distance(header, keyword):
            header.pop(keyword, None)


def _is_distance(header: Dataset, keyword: str) -> bool:
    """Whether its numbers are distances: as many as there must be, and more than nothing."""
    found = _numbers(header, keyword)
    return len(found) == _PLACE.get(keyword, 1) and all(each > 0 for each in found)


def _numbers(header: Dataset, keyword: str) -> list[float]:
    """All values as finite numbers; none of them where one is not."""
    value = header.get(keyword)
    values = value if isinstance(value, MultiValue | list) else [value]
    try:
        found = [float(each) for each in values]
    except (TypeError, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def write_groups(header: Dataset, frames: Frames, *, slice_mm: float | None) -> None:
    """Write the functional groups that place every frame (PS3.3 §C.7.6.16.2), shared where all frames are alike.

    `slice_mm` is the distance of slices, which stands for a thickness that is not said.
    """
    items = {number: Dataset() for stack in frames.stacks for number in stack.numbers}
    for stack in frames.stacks:
        for number, position in zip(stack.numbers, stack.positions, strict=True):
            place = Dataset()
            place.ImagePositionPatient = [round(each, MILLIMETRE_DIGITS) for each in position]
            items[number].PlanePositionSequence = [place]
    shared = Dataset()
    if len(frames.stacks) == 1:
        _write_plane(shared, frames.stacks[0], slice_mm)
    else:
        for stack in frames.stacks:
            for number in stack.numbers:
                _write_plane(items[number], stack, slice_mm)
    header.NumberOfFrames = len(items)
    header.SharedFunctionalGroupsSequence = [shared]
    header.PerFrameFunctionalGroupsSequence = [items[number] for number in sorted(items)]


def _write_plane(group: Dataset, stack: Stack, slice_mm: float | None) -> None:
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = [round(each, COSINE_DIGITS) for each in stack.orientation]
    measures.PixelSpacing = [round(each, MILLIMETRE_DIGITS) for each in stack.spacing]
    thickness_mm = stack.slice_thickness_mm or slice_mm or _NO_THICKNESS_MM
    measures.SliceThickness = round(thickness_mm, MILLIMETRE_DIGITS)
    group.PlaneOrientationSequence, group.PixelMeasuresSequence = [orientation], [measures]
