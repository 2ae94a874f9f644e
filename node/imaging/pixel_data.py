"""Pixel data of one instance as stored values, read as fast as the disk allows.

Native pixel data of one sample a pixel is taken from where a walk over the element headers finds it (see `elements`);
whatever the walk does not understand, and everything compressed or in colour, goes through pydicom's decoders.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.domain.study import Pixels
from node.errors import Failed
from node.imaging.elements import Walked, walk

#: Preamble and file meta group of a kept object.
_LONGEST_META = 4 << 10
#: Widths of a stored value that are taken from the file as they are.
_WIDTHS = (8, 16, 32)

Stored = NDArray[np.integer]

#: What pydicom and its decoders raise over damaged objects.
DECODING_FAULTS: tuple[type[Exception], ...] = (
    *(InvalidDicomError, BytesLengthException, struct.error, zlib.error),
    *(
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NotImplementedError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class PixelFile:
    """A Part 10 file in memory, and what a walk over its elements came by; `None` where pydicom has to look."""

    content: bytes
    walked: Walked | None
    sop_instance_uid: str

    @property
    def has_modality_lut(self) -> bool:
        """Whether a table, not slope and intercept, makes the values (PS3.3 §C.11.1)."""
        return self.walked.has_modality_lut if self.walked else bool(self.header().get("ModalityLUTSequence"))

    def header(self) -> Dataset:
        """The header without the pixels.

        Raises:
            Failed: it cannot be read.
        """
        try:
            return dcmread(BytesIO(self.content), stop_before_pixels=True)
        except DECODING_FAULTS as error:
            raise _undecodable(self.sop_instance_uid, error) from error

    def padding(self, pixels: Pixels) -> tuple[int, int] | None:
        """Least and greatest stored value that stand for no pixel at all (PS3.3 §C.7.5.1.1.2); `None`: all are some."""
        if self.walked is not None:
            given: Sequence[int] = self.walked.padding
        else:
            header = self.header()
            keywords = ("PixelPaddingValue", "PixelPaddingRangeLimit")
            given = [int(header[each].value) for each in keywords if header.get(each) is not None]
        if not given or pixels.bits_stored > 16:
            return None
        kind = np.int16 if pixels.pixel_representation else np.uint16
        stored = np.array(given, np.int64).astype(kind)
        unused = 16 - pixels.bits_stored
        meant = (stored << unused) >> unused
        return int(meant.min()), int(meant.max())

    def frames(self, pixels: Pixels, numbers: Sequence[int]) -> Iterator[Stored]:
        """Yield the stored values of these frames, 1 is the first: (row, column), signed or unsigned; no rescaling.

        `pixels` describes one frame of one sample a pixel. Bits beyond Bits Stored (PS3.5 §8.1.1) are taken off, and
        the sign is extended.

        Raises:
            Failed: the pixel data is truncated, cannot be decoded, or has no such frame; says which.
        """
        walked = self._walked_natively(pixels)
        if walked is not None and walked.native is not None:
            for number in numbers:
                yield _meaningful(self._native(walked, walked.native, pixels, number), pixels, walked.high_bit)
            return
        for values in self._decoded([number - 1 for number in numbers], raw=True):
            yield _meaningful(_checked(values, pixels, self.sop_instance_uid), pixels, None)

    def single(self, pixels: Pixels) -> Stored:
        """The stored values of an image of one frame, as `frames`.

        Raises:
            Failed: as `frames`; or there is more pixel data than one frame.
        """
        walked = self._walked_natively(pixels)
        if walked is None or walked.native is None:
            return _meaningful(self._first(pixels), pixels, None)
        expected = pixels.rows * pixels.columns * (pixels.bits_allocated // 8)
        if walked.native[1] > expected + expected % 2:
            problem = f"{walked.native[1]} bytes where {pixels.rows} × {pixels.columns} pixels need {expected}"
            raise Failed(f"{self.sop_instance_uid}: pixel data has {problem}")
        return _meaningful(self._native(walked, walked.native, pixels, 1), pixels, walked.high_bit)

    def colours(self, numbers: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield these frames as pydicom decodes them: (row, column, 3) RGB of whatever width, or indices of a palette.

        Raises:
            Failed: as `frames`.
        """
        yield from self._decoded([number - 1 for number in numbers], raw=False)

    def _walked_natively(self, pixels: Pixels) -> Walked | None:
        """What the walk found, where the values can be taken from the file as they are."""
        walked = self.walked
        if walked is None or pixels.bits_allocated not in _WIDTHS:
            return None
        return None if walked.order == ">" and pixels.bits_allocated == 8 else walked

    def _native(self, walked: Walked, native: tuple[int, int], pixels: Pixels, number: int) -> Stored:
        kind = "i" if pixels.pixel_representation else "u"
        dtype = np.dtype(f"{walked.order}{kind}{pixels.bits_allocated // 8}")
        count = pixels.rows * pixels.columns
        expected = count * dtype.itemsize
        start, length = native
        offset = start + (number - 1) * expected
        present = min(start + length, len(self.content)) - offset
        if present < expected:
            problem = f"pixel data is truncated, {max(0, present)} of {expected} bytes"
            raise Failed(f"{self.sop_instance_uid}: {problem}")
        values: Stored = np.frombuffer(self.content, dtype, count, offset)
        return values.reshape(pixels.rows, pixels.columns).astype(dtype.newbyteorder("="), copy=False)

    def _first(self, pixels: Pixels) -> Stored:
        """Let pydicom decode what is compressed or oddly written."""
        try:
            values: Stored = pixel_array(self._source(), index=0, raw=True)
        except DECODING_FAULTS as error:
            raise _undecodable(self.sop_instance_uid, error) from error
        return _checked(values, pixels, self.sop_instance_uid)

    def _decoded(self, indices: Sequence[int], *, raw: bool) -> Iterator[NDArray[Any]]:
        try:
            yield from iter_pixels(self._source(), indices=list(indices), raw=raw)
        except DECODING_FAULTS as error:
            raise _undecodable(self.sop_instance_uid, error) from error

    def _source(self) -> Dataset | BytesIO:
        """What pydicom decodes from: where the pixels lie in the file; those of a deflated one lie nowhere yet.

        How large a deflated one becomes was looked at when it came.
        """
        is_deflated = DeflatedExplicitVRLittleEndian.encode() in self.content[:_LONGEST_META]
        return dcmread(BytesIO(self.content)) if is_deflated else BytesIO(self.content)


def read_file(path: Path, sop_instance_uid: str) -> PixelFile:
    """Read a Part 10 file whole.

    Raises:
        Failed: it is gone, cannot be read, or is another instance than the described one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failed(f"{sop_instance_uid}: the file cannot be read ({error.strerror})") from error
    file = PixelFile(content, walk(content), sop_instance_uid)
    if _named(sop_instance_uid) not in content[:_LONGEST_META]:
        header = file.header()
        try:
            found = str(header.get("SOPInstanceUID", "none"))
        except DECODING_FAULTS as error:
            raise _undecodable(sop_instance_uid, error) from error
        if found != sop_instance_uid:
            raise Failed(f"{sop_instance_uid}: the file holds another instance ({found[:64]!a})")
    return file


def _named(sop_instance_uid: str) -> bytes:
    """How the file meta group says whose file it is: Media Storage SOP Instance UID (0002,0003), little endian."""
    value = sop_instance_uid.encode() + b"\0" * (len(sop_instance_uid) % 2)
    return b"\x02\x00\x03\x00UI" + struct.pack("<H", len(value)) + value


def stored_values(path: Path, pixels: Pixels, sop_instance_uid: str) -> Stored:
    """Return the stored values of a single-frame monochrome instance, as `PixelFile.single`.

    Raises:
        Failed: the file is gone, truncated or cannot be decoded; says which.
    """
    return read_file(path, sop_instance_uid).single(pixels)


def _checked(values: Stored, pixels: Pixels, sop_instance_uid: str) -> Stored:
    if values.shape != (pixels.rows, pixels.columns):
        raise Failed(f"{sop_instance_uid}: decoded pixels are {values.shape}, not {pixels.rows} × {pixels.columns}")
    return values


def _undecodable(sop_instance_uid: str, error: Exception) -> Failed:
    text = " ".join(str(error).split()) or type(error).__name__
    return Failed(f"{sop_instance_uid}: pixel data cannot be decoded ({text[:200]})")


def _meaningful(values: Stored, pixels: Pixels, high_bit: int | None) -> Stored:
    """Keep Bits Stored bits up to the high bit, and extend the sign."""
    top = pixels.bits_stored - 1 if high_bit is None else high_bit
    width = values.dtype.itemsize * 8 if pixels.bits_allocated not in _WIDTHS else pixels.bits_allocated
    unused = width - 1 - top
    below = top + 1 - pixels.bits_stored
    if unused <= 0 and below <= 0:
        return values
    signed = np.dtype(f"{'i' if pixels.pixel_representation else 'u'}{width // 8}")
    shifted: Stored = (values.astype(signed, copy=False) << unused) >> (unused + below)
    return shifted
