"""A DICOM Segmentation, ours or another's, as labels on the images that it was made on (PS3.3 §A.51, §C.8.20).

Binary ones and label maps are read. Frames lie where their plane position says, or, where they have none, on the image
that they name. Nothing is resampled: one that does not lie on the pixels of the images is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import iter_pixels

from node.domain.finding import Code
from node.domain.geometry import Grid, stack
from node.domain.study import Instance, Plane
from node.errors import Failed, Unsuitable
from node.imaging.mask import Mask

#: Segmentation Storage and Label Map Segmentation Storage (PS3.4 Table B.5-1).
_CLASSES = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
#: A frame may lie this far from a slice, in slices: positions are written with few digits.
_OFF_SLICE = 0.1
#: ... and its first pixel this far from the slice's, in pixels.
_OFF_PIXEL = 0.1
#: Direction cosines within this of each other are the same.
_SAME_DIRECTION = 1e-3
#: Its slices may lie so much further apart than those of the images, or less: of one that is not here none would tell.
_SAME_STEP = 0.1
#: Larger ones are not opened: frames times pixels.
_MOST_VOXELS = 1 << 31
_MOST_SEGMENTS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSegment:
    """One segment as the object describes it (PS3.3 §C.8.20.2); what it does not say is empty."""

    #: Its value in the mask and Segment Number (0062,0004).
    number: int
    label: str
    type: Code | None
    category: Code | None
    #: Segment Algorithm Type (0062,0008) and Name (0062,0009).
    algorithm_type: str
    algorithm_name: str
    #: Algorithm Parameters (0066,0032): of ours, "model=…" and "card=…" with their digests.
    algorithm_parameters: tuple[str, ...]
    #: Tracking Unique Identifier (0062,0021).
    tracking_uid: str


@dataclass(frozen=True, slots=True, eq=False)
class ReadSegmentation:
    """The mask on the images, and what each of its values is."""

    mask: Mask
    segments: tuple[ReadSegment, ...]


def read_segmentation(path: Path, sources: Sequence[Instance]) -> ReadSegmentation:
    """Read a Segmentation as labels on the slices of one series, given as single images with a place in space.

    Raises:
        Unsuitable: it is of another kind, lies on other pixels, or its segments overlap; the reason says which.
        Failed: the file is gone, damaged or cannot be decoded.
    """
    planes = [each.plane for each in sources if each.plane is not None]
    pixels = [each.pixels for each in sources if each.pixels is not None]
    if not sources or len(planes) < len(sources) or len(pixels) < len(sources):
        raise Unsuitable("the images do not say where they lie")
    order, grid = stack(planes, pixels[0].rows, pixels[0].columns)
    uids = tuple(sources[index].sop_instance_uid for index in order)
    found = _opened(path)
    _check(found, sources, grid)
    frames = _frames(found, path)
    try:
        segments = tuple(_segment(item) for item in found.SegmentSequence)
        labels = _labels(found, frames, grid, uids, {each.number for each in segments})
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise Unsuitable(f"a segmentation that lacks what it must have ({type(error).__name__})") from error
    return ReadSegmentation(Mask(labels, grid, uids), segments)


def _labels(
    found: Dataset, frames: Iterable[NDArray[np.uint8]], grid: Grid, uids: Sequence[str], known: set[int]
) -> NDArray[np.uint8]:
    labels = np.zeros(grid.shape, np.uint8)
    is_map = found.SegmentationType == "LABELMAP"
    for number, frame in enumerate(frames):
        groups = found.PerFrameFunctionalGroupsSequence[number]
        place = _slice_of(found, groups, grid, uids)
        if is_map:
            _put_map(labels[place], frame, known)
        else:
            _put(labels[place], frame, _segment_number(found, groups), known)
    return labels


def _opened(path: Path) -> Dataset:
    try:
        return dcmread(path)
    except (OSError, InvalidDicomError, EOFError, ValueError) as error:
        raise Failed(f"the segmentation cannot be read ({type(error).__name__})") from error


def _check(found: Dataset, sources: Sequence[Instance], grid: Grid) -> None:
    kind = str(found.get("SegmentationType", ""))
    if found.get("SOPClassUID") not in _CLASSES or kind not in {"BINARY", "LABELMAP"}:
        raise Unsuitable(f"no binary or label map segmentation{f' but {kind.lower()}' if kind else ''}")
    needed = ("Rows", "Columns", "SegmentSequence", "PerFrameFunctionalGroupsSequence", "PixelData")
    lacking = [keyword for keyword in needed if not found.get(keyword)]
    if lacking:
        raise Unsuitable(f"a segmentation without {', '.join(lacking)}")
    if found.get("StudyInstanceUID") != sources[0].study_instance_uid:
        raise Unsuitable("a segmentation of another study")
    frame_of_reference = found.get("FrameOfReferenceUID", "")
    if frame_of_reference and frame_of_reference != sources[0].frame_of_reference_uid:
        raise Unsuitable("a segmentation in another frame of reference")
    if (int(found.Rows), int(found.Columns)) != grid.shape[1:]:
        raise Unsuitable(f"its frames are {found.Rows} × {found.Columns}, the images {grid.shape[1]} × {grid.shape[2]}")
    count = int(found.get("NumberOfFrames", 1))
    if count != len(found.PerFrameFunctionalGroupsSequence) or count * grid.shape[1] * grid.shape[2] > _MOST_VOXELS:
        raise Unsuitable(
            f"{count} frames, but {len(found.PerFrameFunctionalGroupsSequence)} are described, or too many"
        )
    if len(found.SegmentSequence) > _MOST_SEGMENTS:
        raise Unsuitable(f"{len(found.SegmentSequence)} segments: a mask holds one byte a voxel")


def _frames(found: Dataset, path: Path) -> Iterator[NDArray[np.uint8]]:
    """Frame after frame, (row, column): 0 and 1, or segment numbers."""
    decoded = _decoded(found)
    while True:
        try:
            frame = next(decoded, None)
        except (ValueError, RuntimeError, NotImplementedError, AttributeError, EOFError) as error:
            raise Failed(f"the pixels of {path.name} cannot be decoded ({type(error).__name__})") from error
        if frame is None:
            return
        if int(frame.max(initial=0)) > _MOST_SEGMENTS:
            raise Unsuitable("a label map with values beyond 255")
        yield frame.astype(np.uint8, copy=False)


def _decoded(found: Dataset) -> Iterator[NDArray[np.uint8]]:
    # Bits of two frames in one byte are taken apart wrongly one by one (pydicom 3.0).
    if found.BitsAllocated == 1 and int(found.Rows) * int(found.Columns) % 8:
        array = found.pixel_array
        yield from array if array.ndim == 3 else array[None]
    else:
        yield from iter_pixels(found)


def _put_map(plane: NDArray[np.uint8], frame: NDArray[np.uint8], known: set[int]) -> None:
    # A background segment may be described too, and is background all the same.
    values = set(np.unique(frame).tolist()) - {0}
    if values - known:
        raise Unsuitable(f"a label map with value {min(values - known)}, which is no segment of it")
    if plane.any():
        raise Unsuitable("two frames of a label map lie on one slice")
    plane[...] = frame


def _put(plane: NDArray[np.uint8], frame: NDArray[np.uint8], number: int, known: set[int]) -> None:
    if number not in known:
        raise Unsuitable(f"a frame of segment {number}, which is not described")
    inside = frame > 0
    others = plane[inside]
    if (others[others != 0] != number).any():
        raise Unsuitable("its segments overlap")
    plane[inside] = number


def _segment_number(found: Dataset, groups: Dataset) -> int:
    for each in (groups, *found.get("SharedFunctionalGroupsSequence", [])):
        identified = each.get("SegmentIdentificationSequence")
        if identified:
            return int(identified[0].ReferencedSegmentNumber)
    raise Unsuitable("a frame that does not say which segment it shows")


def _slice_of(found: Dataset, groups: Dataset, grid: Grid, uids: Sequence[str]) -> int:
    """Which slice of the images a frame lies on."""
    plane = _plane(found, groups)
    if plane is None:
        return _named(groups, uids)
    matrix = grid.matrix
    directions = np.array(plane.orientation).reshape(2, 3)
    steps = np.array(plane.spacing)
    expected = np.column_stack([directions[1] * steps[0], directions[0] * steps[1]])
    lengths = np.linalg.norm(matrix[:3, 1:3], axis=0)
    if np.abs(expected - matrix[:3, 1:3]).max() > _SAME_DIRECTION * max(1.0, float(lengths.max())):
        raise Unsuitable("it does not lie on the pixels of the images")
    _check_step(found, groups, grid)
    index = np.linalg.solve(matrix, np.array([*plane.position, 1.0]))[:3]
    place = round(float(index[0]))
    off_pixel = float(np.abs(index[1:]).max())
    if abs(float(index[0]) - place) > _OFF_SLICE or off_pixel > _OFF_PIXEL or not 0 <= place < grid.shape[0]:
        raise Unsuitable("it does not lie on the pixels of the images")
    return place


def _plane(found: Dataset, groups: Dataset) -> Plane | None:
    """Where a frame lies, if it says so."""
    position, orientation, measures = (
        _group(found, groups, keyword)
        for keyword in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
    )
    if position is None or orientation is None or measures is None:
        return None
    x, y, z = (float(each) for each in position.ImagePositionPatient)
    a, b, c, d, e, f = (float(each) for each in orientation.ImageOrientationPatient)
    row, column = (float(each) for each in measures.PixelSpacing)
    return Plane(position=(x, y, z), orientation=(a, b, c, d, e, f), spacing=(row, column))


def _group(found: Dataset, groups: Dataset, keyword: str) -> Dataset | None:
    """What a frame says in one functional group, itself or with all others."""
    every = (groups, *found.get("SharedFunctionalGroupsSequence", []))
    return next((each[keyword].value[0] for each in every if each.get(keyword)), None)


def _check_step(found: Dataset, groups: Dataset, grid: Grid) -> None:
    measures = _group(found, groups, "PixelMeasuresSequence")
    told = measures.get("SpacingBetweenSlices") if measures is not None else None
    step_mm = grid.spacing_mm[0]
    if told and abs(abs(float(told)) - step_mm) > _SAME_STEP * step_mm:
        raise Unsuitable(f"its slices lie {float(told):g} mm apart, those of the images {step_mm:g} mm")


def _named(groups: Dataset, uids: Sequence[str]) -> int:
    for derivation in groups.get("DerivationImageSequence", []):
        for source in derivation.get("SourceImageSequence", []):
            if source.ReferencedSOPInstanceUID in uids:
                return uids.index(source.ReferencedSOPInstanceUID)
    raise Unsuitable("a frame that says neither where it lies nor which image it is of")


def _segment(item: Dataset) -> ReadSegment:
    number = int(item.SegmentNumber)
    if not 0 <= number <= _MOST_SEGMENTS:
        raise Unsuitable(f"a segment has the number {number}: a mask holds one byte a voxel")
    return ReadSegment(
        number=number,
        label=str(item.get("SegmentLabel", "")),
        type=_code(item, "SegmentedPropertyTypeCodeSequence"),
        category=_code(item, "SegmentedPropertyCategoryCodeSequence"),
        algorithm_type=str(item.get("SegmentAlgorithmType", "")),
        algorithm_name=str(item.get("SegmentAlgorithmName", "")),
        algorithm_parameters=_parameters(item),
        tracking_uid=str(item.get("TrackingUID", "")),
    )


def _parameters(item: Dataset) -> tuple[str, ...]:
    identified = item.get("SegmentationAlgorithmIdentificationSequence")
    given = identified[0].get("AlgorithmParameters", "") if identified else ""
    # Without quotation marks: some write each value in a pair.
    return tuple(each.strip() for each in str(given).replace('"', "").replace("\\", ",").split(",") if each.strip())


def _code(item: Dataset, keyword: str) -> Code | None:
    found = item.get(keyword)
    if not found:
        return None
    value = next(
        (found[0].get(name) for name in ("CodeValue", "LongCodeValue", "URNCodeValue") if found[0].get(name)), ""
    )
    return Code(str(value), str(found[0].get("CodingSchemeDesignator", "")), str(found[0].get("CodeMeaning", "")))
