"""The saliency file: how much each voxel weighed in what a model said, on the grid of the source series.

A NumPy archive, written without pickles: half precision, which is finer than any colour map, and deflated; beside it
how the map was made and how far it is to be trusted.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Failed

#: The kind of artifact that such a file is; which of several it is says the artifact's profile, `Account.profile`.
KIND = "saliency"
#: Deflate's fastest level.
_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How a map was made, and how faithful it was found to be."""

    #: Name of a module of `explain/methods`, dashes for underscores.
    method: str
    #: Label of the target or segment whose answer is explained.
    target: str
    #: Dotted name of the layer, where the method looks at one.
    layer: str = ""
    #: What stood for "nothing there".
    baseline: str = ""
    samples: int = 0
    #: Why it is not as it was asked for; empty where it is.
    reduced: str = ""
    seed: int = 0
    model_digest: str = ""
    #: What the map cost.
    forwards: float = 0.0
    seconds: float = 0.0
    #: Measures of faithfulness by name: `randomisation_rank_correlation`, `deletion_auc`, `insertion_auc`,
    #: `infidelity`, `max_sensitivity`, `pointing_game`, `mass_inside`; what was not measured is absent.
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def profile(self) -> str:
        """Which of an outcome's maps it is."""
        return f"{self.method}/{self.target}"

    @property
    def text(self) -> str:
        """As one line of JSON; `account_from` reads it."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True)


def account_from(text: str) -> Account:
    """Read what `Account.text` wrote.

    Raises:
        ValueError: it is none.
    """
    found = json.loads(text)
    try:
        return Account(**found)
    except TypeError as error:
        raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class Saliency:
    """Weights on the grid of the source series."""

    #: (slice, row, column) float32, 0 (none) to 1 (most).
    weights: NDArray[np.float32]
    #: `None` where the images do not say where they lie: the weights lie on their pixels alone.
    grid: Grid | None
    #: SOP Instance UID of each slice, in order.
    sop_instance_uids: tuple[str, ...]
    #: Frame number of each slice where they are frames of a multi-frame image, 1 is the first; else empty.
    frame_numbers: tuple[int, ...] = ()
    #: `None` in files of versions that kept none.
    account: Account | None = None


def to_bytes(saliency: Saliency) -> bytes:
    """Return the file's content; the same saliency gives the same bytes.

    Raises:
        Failed: a weight is outside 0 to 1, or the shapes differ.
    """
    weights, grid = saliency.weights, saliency.grid
    if grid is not None and weights.shape != grid.shape:
        raise Failed(f"saliency {weights.shape} and grid {grid.shape} differ in shape")
    if weights.ndim != 3 or len(weights) != len(saliency.sop_instance_uids):
        raise Failed(f"saliency {weights.shape} of {len(saliency.sop_instance_uids)} slices")
    if not (weights >= 0).all() or not (weights <= 1).all():
        raise Failed("a saliency weight is not between 0 and 1")
    packed = zlib.compress(np.ascontiguousarray(weights, dtype="<f2").data, _LEVEL)
    placed = {} if grid is None else {"affine": grid.matrix}
    stream = BytesIO()
    np.savez(
        stream,
        allow_pickle=False,
        shape=np.array(weights.shape, dtype=np.int64),
        **placed,
        sop_instance_uids=np.array(saliency.sop_instance_uids),
        frame_numbers=np.array(saliency.frame_numbers, dtype=np.int64),
        account=np.array(saliency.account.text if saliency.account else ""),
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
            unpacked = zlib.decompress(archive["weights"].tobytes())
            weights = np.frombuffer(unpacked, "<f2").reshape(shape).astype(np.float32)
            uids = tuple(str(uid) for uid in archive["sop_instance_uids"])
            grid = None
            if "affine" in archive:
                affine = tuple(tuple(float(value) for value in row) for row in archive["affine"])
                grid = Grid(shape, affine)  # type: ignore[arg-type]
            # Files of earlier versions have neither.
            numbers = tuple(int(each) for each in archive["frame_numbers"]) if "frame_numbers" in archive else ()
            text = str(archive["account"]) if "account" in archive else ""
            account = account_from(text) if text else None
    except (OSError, ValueError, KeyError, EOFError, zlib.error, BadZipFile) as error:
        raise Failed(f"the saliency {path} cannot be read ({error})") from error
    return Saliency(weights, grid, uids, numbers, account)
