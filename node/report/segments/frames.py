"""Frames of a Segmentation, packed straight from the mask: only the slices that a segment lies on (PS3.3 §A.51).

Masks are (slice, row, column) uint8, 0 is background. A frame is the pair (segment number, slice index).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from node.errors import Failed

Mask = NDArray[np.uint8]

#: A value of native pixel data is shorter than 2³² bytes, and even (PS3.5 §7.1.1, §8.1.1).
LONGEST_PIXEL_DATA = 2**32 - 2
#: So many frames of any size together fill whole bytes.
_FRAMES_OF_WHOLE_BYTES = 8


def occupied(counts: NDArray[np.int64], slices: Sequence[int]) -> list[tuple[int, int]]:
    """The frames of a BINARY Segmentation: by segment number, then in the order of `slices`.

    counts: voxels by (slice, label), as `imaging.mask.tally` counts them.
    """
    numbers = np.flatnonzero(counts[:, 1:].any(axis=0)) + 1
    return [(int(number), index) for number in numbers for index in slices if counts[index, number]]


def packed_length(frames: int, rows: int, columns: int) -> int:
    """Bytes of so many frames of one bit a pixel, without padding."""
    return (frames * rows * columns + 7) // 8


def pack(mask: Mask, frames: Sequence[tuple[int, int]]) -> bytes:
    """Native pixel data of one bit a pixel: the first pixel in the lowest bit, frame after frame without a gap.

    PS3.5 §8.1.1: a frame may begin within a byte; an odd number of bytes is followed by a zero byte.

    Raises:
        Failed: they are more than one object can hold.
    """
    length = packed_length(len(frames), mask.shape[1], mask.shape[2])
    pixels = _even_zeros(length)
    step = 1 if mask[0].size % 8 == 0 else _FRAMES_OF_WHOLE_BYTES
    stored = np.empty((step, *mask.shape[1:]), np.bool_)
    with pixels.getbuffer() as view:
        into = np.frombuffer(view, np.uint8)
        start = 0
        for first in range(0, len(frames), step):
            group = frames[first : first + step]
            for place, (number, index) in enumerate(group):
                np.equal(mask[index], number, out=stored[place])
            bits = np.packbits(stored[: len(group)], bitorder="little")
            into[start : start + bits.size] = bits
            start += bits.size
        del into
    return pixels.getvalue()


def concatenate(mask: Mask, slices: Iterable[int]) -> bytes:
    """Native pixel data of eight bits a pixel: the labels of `slices`, in that order.

    Raises:
        Failed: they are more than one object can hold.
    """
    chosen = list(slices)
    size = mask[0].size
    pixels = _even_zeros(len(chosen) * size)
    with pixels.getbuffer() as view:
        into = np.frombuffer(view, np.uint8)
        for place, index in enumerate(chosen):
            into[place * size : (place + 1) * size] = mask[index].ravel()
        del into
    return pixels.getvalue()


def _even_zeros(length: int) -> BytesIO:
    """Zeros to write into: `getvalue` then gives the bytes without a copy of them."""
    if length > LONGEST_PIXEL_DATA:
        raise Failed(f"{length / 2**30:.1f} GiB of pixels: one object holds less than 4 GiB")
    pixels = BytesIO()
    even = length + length % 2
    pixels.seek(even - 1)
    pixels.write(b"\0")
    return pixels
