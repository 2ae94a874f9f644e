"""Where the frames of a multi-frame image lie, written as its functional groups (PS3.3 §C.7.6.16.2)."""

from __future__ import annotations

from pydicom import Dataset

from node.domain.study import Frames, Stack

#: Direction cosines of one stack may differ by rounding (see `domain.geometry`); ten digits place 512 pixels to 1 nm.
COSINE_DIGITS = 10
MILLIMETRE_DIGITS = 6
#: Slice Thickness (0018,0050) of frames that neither say it nor lie beside each other.
_NO_THICKNESS_MM = 1.0


def write_groups(header: Dataset, frames: Frames, *, slice_mm: float | None) -> None:
    """Write place, orientation and pixel measures of every frame into a header, shared where all frames are alike.

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
