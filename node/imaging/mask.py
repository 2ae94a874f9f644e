"""The mask file: labels in source geometry with the affine and the slices they belong to.

A NumPy archive, written without pickles. Most voxels are background and the rest are few labels, so each
label is kept as packed bits, deflated at the fastest level: 40 million voxels take about 50 ms and 100 kB.
"""

from __future__ import annotations

import zlib
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
    grid: Grid
    #: SOP Instance UID of each slice, in order.
    sop_instance_uids: tuple[str, ...]


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
        counts[index] = np.bincount(plane.ravel(), minlength=_VALUES)
    return Tally(labels, counts)


def segment_numbers(labels: NDArray[np.uint8]) -> list[int]:
    """Return the numbers other than 0 that `labels` holds, in order."""
    return [int(number) + 1 for number in np.flatnonzero(tally(labels).counts[:, 1:].any(axis=0))]


def to_bytes(mask: Mask) -> bytes:
    """Return the file's content; the same mask gives the same bytes."""
    numbers = segment_numbers(mask.labels)
    arrays = {
        "shape": np.array(mask.grid.shape, dtype=np.int64),
        "affine": mask.grid.matrix,
        "sop_instance_uids": np.array(mask.sop_instance_uids),
        "segment_numbers": np.array(numbers, dtype=np.uint8),
    }
    for number in numbers:
        packed = zlib.compress(np.packbits(mask.labels == number).data, _LEVEL)
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
            affine = tuple(tuple(float(value) for value in row) for row in archive["affine"])
            labels = np.zeros(shape, dtype=np.uint8)
            for number in archive["segment_numbers"]:
                packed = np.frombuffer(zlib.decompress(archive[f"segment_{number}"].tobytes()), np.uint8)
                labels[np.unpackbits(packed, count=labels.size).view(bool).reshape(shape)] = number
            uids = tuple(str(uid) for uid in archive["sop_instance_uids"])
    except (OSError, ValueError, KeyError, EOFError, zlib.error, BadZipFile) as error:
        raise Failed(f"the mask {path} cannot be read ({error})") from error
    return Mask(labels, Grid(shape, affine), uids)  # type: ignore[arg-type]
