"""Functional groups of multi-frame images: where each frame lies, read frame by frame (PS3.3 §C.7.6.16).

Runs in the describing child alone. The header of a long object is hundreds of megabytes once it is parsed; one frame's
groups are some kilobytes, and no more than those are held at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial, read_sequence_item
from pydicom.tag import BaseTag

from node.domain.study import Frames, Stack, is_image
from node.receive.fields import integer, items, number, numbers, text, texts

_PER_FRAME = 0x52009230
_PIXEL_DATA = frozenset((0x7FE00008, 0x7FE00009, 0x7FE00010))
_UNDEFINED = 0xFFFFFFFF
#: Longer objects are not placed: no organ has as many slices, and every frame costs time and a place in the database.
MOST_FRAMES = 10_000
#: Functional groups of which the attributes are read (PS3.3 §C.7.6.16.2, §C.8.13, §C.8.15); the last two are those of
#: legacy converted images, which keep there what has no group of its own.
_GROUPS = (
    *("FrameContentSequence", "PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"),
    *("PixelValueTransformationSequence", "MRImageFrameTypeSequence", "CTImageFrameTypeSequence"),
    *("PETFrameTypeSequence", "XRay3DFrameTypeSequence", "MREchoSequence", "MRDiffusionSequence"),
    *("MRTimingAndRelatedParametersSequence", "MRModifierSequence"),
    *("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence"),
)
#: Grouping frames: directions to this many digits, echo times to tenths of a millisecond are the same.
_COSINE_DIGITS = 3
_ECHO_DIGITS = 1


def read_header(stream: BinaryIO) -> tuple[Dataset, Frames | None]:
    """Read a Part 10 file up to its pixel data; `None` in place of the frames where no image has functional groups.

    What the shared groups say is put into the header as if it were written there; the groups themselves are left out.

    Raises:
        What pydicom raises on what cannot be read.
    """
    header: Dataset = read_partial(stream, stop_when=_at_frames_or_pixels)
    is_implicit, is_little_endian = header.original_encoding
    if is_implicit is None or is_little_endian is None or not _is_at_frames(stream, is_little_endian):
        return header, None
    shared = _flattened(next(iter(items(header, "SharedFunctionalGroupsSequence")), Dataset()))
    count = integer(header, "NumberOfFrames") or 1
    groups = _each_item(stream, header, is_implicit=is_implicit, is_little_endian=is_little_endian)
    frames = None
    if not is_image(text(header, "SOPClassUID")):
        _pass_over(groups)
    elif count > MOST_FRAMES:
        _pass_over(groups)
        frames = Frames(problem=f"{count} frames, more than the {MOST_FRAMES} that are read")
    else:
        frames = frames_of(shared, groups, count)
    header.update(read_dataset(stream, is_implicit, is_little_endian, stop_when=_at_pixels))
    return (header, None) if frames is None else (_with_shared(header, shared), frames)


def whole(header: Dataset) -> tuple[Dataset, Frames | None]:
    """The same of a header that is read already."""
    if "PerFrameFunctionalGroupsSequence" not in header:
        return header, None
    shared = _flattened(next(iter(items(header, "SharedFunctionalGroupsSequence")), Dataset()))
    groups, count = items(header, "PerFrameFunctionalGroupsSequence"), integer(header, "NumberOfFrames") or 1
    return _with_shared(header, shared), frames_of(shared, groups, count)


def frames_of(shared: Dataset, groups: Iterable[Dataset], count: int) -> Frames:
    """Sort the frames into stacks that differ in position alone; `shared` holds what is said for all, flattened."""
    stacks: dict[tuple[object, ...], _Growing] = {}
    unplaced = seen = 0
    for seen, group in enumerate(groups, start=1):
        frame = _Said(_flattened(group), shared)
        position, orientation, spacing = (
            frame.numbers(keyword) for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
        )
        if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
            unplaced += 1
            continue
        if unplaced:
            continue
        apart = _apart(frame)
        key = (*apart, tuple(round(each, _COSINE_DIGITS) for each in orientation), spacing)
        stack = stacks.setdefault(key, _Growing(frame=frame, orientation=orientation, spacing=spacing))
        stack.add(seen, position, _rescale(frame))
    if seen != count:
        return Frames(problem=f"functional groups of {seen} frames where {count} are told")
    if unplaced:
        return Frames(problem=f"{unplaced} of {count} frames do not say where they lie in the patient")
    return Frames(stacks=tuple(each.done() for each in stacks.values()))


@dataclass(frozen=True, slots=True)
class _Said:
    """What one frame says for itself, or else all frames say together."""

    own: Dataset
    shared: Dataset

    def of(self, keyword: str) -> Dataset:
        return self.own if keyword in self.own else self.shared

    def numbers(self, keyword: str) -> tuple[float, ...]:
        return numbers(self.of(keyword), keyword)

    def number(self, keyword: str) -> float | None:
        return number(self.of(keyword), keyword)

    def integer(self, keyword: str) -> int | None:
        return integer(self.of(keyword), keyword)


@dataclass(slots=True, kw_only=True)
class _Growing:
    """A stack while its frames are read; its first frame speaks for it."""

    frame: _Said
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    numbers: list[int] = field(default_factory=list)
    positions: list[tuple[float, float, float]] = field(default_factory=list)
    rescales: list[tuple[float, float]] = field(default_factory=list)

    def add(self, frame_number: int, position: tuple[float, ...], rescale: tuple[float, float]) -> None:
        self.numbers.append(frame_number)
        self.positions.append((position[0], position[1], position[2]))
        self.rescales.append(rescale)

    def done(self) -> Stack:
        a, b, c, d, e, f = self.orientation
        stack_id, temporal_position, echo_time_ms, b_value, image_type = _apart(self.frame, rounded=False)
        return Stack(
            numbers=tuple(self.numbers),
            positions=tuple(self.positions),
            orientation=(a, b, c, d, e, f),
            spacing=(self.spacing[0], self.spacing[1]),
            rescales=tuple(self.rescales[:1] if len(set(self.rescales)) == 1 else self.rescales),
            slice_thickness_mm=self.frame.number("SliceThickness"),
            stack_id=stack_id,
            temporal_position=temporal_position,
            echo_time_ms=echo_time_ms,
            diffusion_b_value=b_value,
            image_type=image_type,
        )


def _apart(
    frame: _Said, *, rounded: bool = True
) -> tuple[str, int | None, float | None, float | None, tuple[str, ...]]:
    """What tells frames apart beside their place."""
    temporal_position = frame.integer("TemporalPositionIndex")
    if temporal_position is None:
        temporal_position = frame.integer("TemporalPositionIdentifier")
    echo_time_ms = frame.number("EffectiveEchoTime")
    if echo_time_ms is None:
        echo_time_ms = frame.number("EchoTime")
    if rounded and echo_time_ms is not None:
        echo_time_ms = round(echo_time_ms, _ECHO_DIGITS)
    frame_type = texts(frame.of("FrameType"), "FrameType")
    return text(frame.own, "StackID"), temporal_position, echo_time_ms, frame.number("DiffusionBValue"), frame_type


def _rescale(frame: _Said) -> tuple[float, float]:
    slope, intercept = frame.number("RescaleSlope"), frame.number("RescaleIntercept")
    return 1.0 if slope is None else slope, 0.0 if intercept is None else intercept


def _with_shared(header: Dataset, shared: Dataset) -> Dataset:
    """The header, and what all frames share as single images would say it."""
    for keyword, of_enhanced in (("EchoTime", "EffectiveEchoTime"), ("InversionTime", "InversionTimes")):
        given = number(shared, of_enhanced)
        if given is not None and keyword not in header:
            setattr(header, keyword, given)
    for tag in shared.keys():  # noqa: SIM118 - a Dataset iterates over elements, and would read them
        if tag not in header:
            header[tag] = shared.get_item(tag)
    return header


def _flattened(group: Dataset) -> Dataset:
    """The attributes of the groups that are read, in one data set."""
    flat = Dataset()
    for keyword in _GROUPS:
        for item in items(group, keyword)[:1]:
            for tag in item.keys():  # noqa: SIM118 - as above
                flat[tag] = item.get_item(tag)
    return flat


def _pass_over(groups: Iterable[Dataset]) -> None:
    """Read to the end of the sequence: behind it lie the pixels."""
    for _ in groups:
        pass


def _each_item(stream: BinaryIO, header: Dataset, *, is_implicit: bool, is_little_endian: bool) -> Iterator[Dataset]:
    """Yield the items of the sequence that starts here, each forgotten once the next is read (PS3.5 §7.5)."""
    order = "<" if is_little_endian else ">"
    opening = stream.read(8 if is_implicit else 12)
    length = int(struct.unpack_from(f"{order}I", opening, len(opening) - 4)[0])
    if not is_implicit and opening[4:6] == b"UN":
        is_implicit, is_little_endian = True, True  # PS3.5 §6.2.2, note 2
    encoding = header.original_character_set
    end = stream.tell() + length
    while length == _UNDEFINED or stream.tell() < end:
        item = read_sequence_item(stream, is_implicit, is_little_endian, encoding)
        if item is None:
            return
        yield item


def _is_at_frames(stream: BinaryIO, is_little_endian: bool) -> bool:
    here = stream.tell()
    tag = stream.read(4)
    stream.seek(here)
    return tag == struct.pack("<HH" if is_little_endian else ">HH", _PER_FRAME >> 16, _PER_FRAME & 0xFFFF)


def _at_frames_or_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag == _PER_FRAME or tag in _PIXEL_DATA


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXEL_DATA
