"""The mask file: labels in source geometry with the affine and the slices they belong to.

A NumPy archive, written without pickles. Most voxels are background and the rest are few labels, so each
label is kept as packed bits of the box that holds it, deflated at the fastest level: 40 million voxels of one label
take about 50 ms and 100 kB, and each of a hundred labels costs what its own box does.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Failed

#: Deflate's fastest level.
_LEVEL = 1
#: Values of a label.
_VALUES = 256


@dataclass(frozen=True, slots=True)
class Mask:
    """Labels on the grid of the source series."""

    #: (slice, row, column), 0 is background, else the segment number.
    labels: NDArray[np.uint8]
    #: `None` where the images do not say where they lie: the mask lies on their pixels alone.
    grid: Grid | None
    #: SOP Instance UID of each slice, in order.
    sop_instance_uids: tuple[str, ...]
    #: Frame number of each slice where they are frames of a multi-frame image, 1 is the first; else empty.
    frame_numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """How many voxels of each label lie on each slice."""

    labels: NDArray[np.uint8]
    #: (slice, label) int64, one column a value that a label can have.
    counts: NDArray[np.int64]


def tally(labels: NDArray[np.uint8], known: Tally | None = None) -> Tally:
    """Count `labels`, (slice, row, column), in one pass; not again where `known` has just these counted."""
    if known is not None and known.labels is labels:
        return known
    counts = np.zeros((len(labels), _VALUES), np.int64)
    for index, plane in enumerate(labels):
        highest = int(plane.max(initial=0))
        if highest > 1:
            counts[index] = np.bincount(plane.ravel(), minlength=_VALUES)
        else:  # as bits they are counted ten times as fast
            counts[index, 1] = np.count_nonzero(plane.view(np.bool_))
            counts[index, 0] = plane.size - counts[index, 1]
    return Tally(labels, counts)


def segment_numbers(labels: NDArray[np.uint8]) -> list[int]:
    """Return the numbers other than 0 that `labels` holds, in order."""
    return [int(number) + 1 for number in np.flatnonzero(tally(labels).counts[:, 1:].any(axis=0))]


def to_bytes(mask: Mask) -> bytes:
    """Return the file's content; the same mask gives the same bytes."""
    counts = tally(mask.labels).counts
    numbers = [int(number) + 1 for number in np.flatnonzero(counts[:, 1:].any(axis=0))]
    arrays = {
        "shape": np.array(mask.labels.shape, dtype=np.int64),
        **({} if mask.grid is None else {"affine": mask.grid.matrix}),
        "sop_instance_uids": np.array(mask.sop_instance_uids),
        "segment_numbers": np.array(numbers, dtype=np.uint8),
    }
    if mask.frame_numbers:
        arrays["frame_numbers"] = np.array(mask.frame_numbers, dtype=np.int64)
    for number in numbers:
        bounds = _bounds(mask.labels, number, np.flatnonzero(counts[:, number]))
        packed = zlib.compress(np.packbits(mask.labels[_box(bounds)] == number).data, _LEVEL)
        arrays[f"bounds_{number}"] = np.array(bounds, dtype=np.int64)
        arrays[f"segment_{number}"] = np.frombuffer(packed, np.uint8)
    stream = BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def read_mask(path: Path) -> Mask:
    """Read a mask file.

    Raises:
        Failed: it is gone or damaged.
    """
    try:
        # From memory: np.load leaves a file open that is no archive.
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            shape = tuple(int(size) for size in archive["shape"])
            grid = Grid(shape, _affine(archive["affine"])) if "affine" in archive else None  # type: ignore[arg-type]
            labels = np.zeros(shape, dtype=np.uint8)
            for number in archive["segment_numbers"]:
                # Files of earlier versions hold each segment on the whole volume.
                bounds = archive[f"bounds_{number}"].tolist() if f"bounds_{number}" in archive else _whole(shape)
                within = labels[_box(bounds)]
                packed = np.frombuffer(zlib.decompress(archive[f"segment_{number}"].tobytes()), np.uint8)
                within[np.unpackbits(packed, count=within.size).view(bool).reshape(within.shape)] = number
            uids = tuple(str(uid) for uid in archive["sop_instance_uids"])
            frames = tuple(int(number) for number in archive["frame_numbers"]) if "frame_numbers" in archive else ()
    except (OSError, ValueError, KeyError, EOFError, zlib.error, BadZipFile) as error:
        raise Failed(f"the mask {path} cannot be read ({error})") from error
    return Mask(labels, grid, uids, frames)


def _bounds(labels: NDArray[np.uint8], number: int, slices: NDArray[np.intp]) -> list[int]:
    """First index and the one after the last, along each axis, of the voxels of a segment on `slices`."""
    bounds = [int(slices[0]), int(slices[-1]) + 1]
    shadow = (labels[bounds[0] : bounds[1]] == number).any(axis=0)
    for along in (shadow.any(axis=1), shadow.any(axis=0)):
        there = np.flatnonzero(along)
        bounds += [int(there[0]), int(there[-1]) + 1]
    return bounds


def _whole(shape: Sequence[int]) -> list[int]:
    return [edge for size in shape for edge in (0, size)]


def _box(bounds: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(first, stop) for first, stop in zip(bounds[::2], bounds[1::2], strict=True))


def _affine(matrix: NDArray[np.float64]) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in matrix)
