"""The saliency file: how much each voxel weighed in what a model said, on the grid of the source series.

A NumPy archive, written without pickles: half precision, which is finer than any colour map, and deflated.
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

#: The kind of artifact that such a file is.
KIND = "saliency"
#: Deflate's fastest level.
_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Saliency:
    """Weights on the grid of the source series."""

    #: (slice, row, column) float32, 0 (none) to 1 (most).
    weights: NDArray[np.float32]
    grid: Grid
    #: SOP Instance UID of each slice, in order.
    sop_instance_uids: tuple[str, ...]


def to_bytes(saliency: Saliency) -> bytes:
    """Return the file's content; the same saliency gives the same bytes.

    Raises:
        Failed: a weight is outside 0 to 1, or the shapes differ.
    """
    weights = saliency.weights
    if weights.shape != saliency.grid.shape:
        raise Failed(f"saliency {weights.shape} and grid {saliency.grid.shape} differ in shape")
    if not (weights >= 0).all() or not (weights <= 1).all():
        raise Failed("a saliency weight is not between 0 and 1")
    packed = zlib.compress(np.ascontiguousarray(weights, dtype="<f2").data, _LEVEL)
    stream = BytesIO()
    np.savez(
        stream,
        allow_pickle=False,
        shape=np.array(saliency.grid.shape, dtype=np.int64),
        affine=saliency.grid.matrix,
        sop_instance_uids=np.array(saliency.sop_instance_uids),
        weights=np.frombuffer(packed, np.uint8),
    )
    return stream.getvalue()


def read_saliency(path: Path) -> Saliency:
    """Read a saliency file.

    Raises:
        Failed: it is gone or damaged.
    """
    try:
        # From memory: np.load leaves a file open that is no archive.
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            shape = tuple(int(size) for size in archive["shape"])
            affine = tuple(tuple(float(value) for value in row) for row in archive["affine"])
            unpacked = zlib.decompress(archive["weights"].tobytes())
            weights = np.frombuffer(unpacked, "<f2").reshape(shape).astype(np.float32)
            uids = tuple(str(uid) for uid in archive["sop_instance_uids"])
    except (OSError, ValueError, KeyError, EOFError, zlib.error, BadZipFile) as error:
        raise Failed(f"the saliency {path} cannot be read ({error})") from error
    return Saliency(weights, Grid(shape, affine), uids)  # type: ignore[arg-type]
