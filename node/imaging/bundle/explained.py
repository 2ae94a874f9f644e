"""What of a bundle can be explained: its network, and its own pre-processing as the way to the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer, SimpleInferer, SliceInferer, SlidingWindowInferer
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.errors import Unsuitable
from node.imaging.bundle.exact import Exact
from node.imaging.bundle.labels import Naming, channels
from node.imaging.explain import Explainable, Prepared, image_prepared
from node.imaging.pipelines import Given

#: LPS ↔ RAS.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
#: (slice, column, row, 1) of one slice → (slice, row, column, 1): MONAI reads a picture column by column.
_SWAP = np.eye(4)[[0, 2, 1, 3]]

#: (what was given, which image or slice) → what the bundle loads for it.
Sources = Callable[[Given, int], Sequence[MetaTensor]]


def explainable(
    card: ModelCard, exact: Exact, naming: Naming, sources: Sources, *, flat: bool, model_digest: str
) -> Explainable:
    """Return the network with the way to its input.

    Raises:
        Unsuitable: it is a detector, or its inferer leads it through the volume in a way of its own.
    """
    if exact.steps.detector is not None:
        raise Unsuitable("it is a detector: what is explained are numbers and regions, not boxes")
    window = _window(exact.steps.inferer)

    def prepare(given: Given, place: int) -> Prepared:
        inputs = exact.prepare(sources(given, place)).given
        affine = np.asarray(inputs.affine, dtype=np.float64).reshape(-1, 4, 4)[0]
        values = inputs.as_tensor().float()
        if not given.volumes:
            # (column, row) on both sides; the image is (row, column).
            to_image = _flat_affine(affine)[[1, 0, 2]]
            rows, columns = given.images[place].array.shape[:2]
            return _windowed(image_prepared(values, (rows, columns), to_image), window)
        grid = given.volume.grid
        if flat:
            within = np.eye(4)
            within[1:, 1:] = _flat_affine(affine)
            shift = np.eye(4)
            shift[0, 3] = place
            matrix = grid.matrix @ shift @ _SWAP @ within
            return _windowed(Prepared(inputs=values, placed=_grid((1, *values.shape[2:]), matrix), given=grid), window)
        placed = _grid(tuple(values.shape[2:]), _FLIP @ affine)
        return _windowed(Prepared(inputs=values, placed=placed, given=grid), window)

    return Explainable(
        network=exact.steps.network,
        prepare=prepare,
        channels=channels(card, naming),
        multi_label=not naming.background,
        flat=flat,
        model_digest=model_digest,
    )


def _window(inferer: Inferer) -> tuple[int, ...]:
    if isinstance(inferer, SliceInferer):
        raise Unsuitable("its inferer leads a two-dimensional network through the slices of a volume")
    if isinstance(inferer, SlidingWindowInferer):
        size = inferer.roi_size
        return tuple(int(each) for each in size) if isinstance(size, Sequence) else (int(size),)
    if isinstance(inferer, SimpleInferer):
        return ()
    raise Unsuitable(f"its inferer, {type(inferer).__name__}, asks the network in a way of its own")


def _windowed(prepared: Prepared, window: tuple[int, ...]) -> Prepared:
    """The window that the network saw, as far as it is smaller than the input; a length of 0 or less is all of it."""
    if not window:
        return prepared
    spatial = tuple(prepared.inputs.shape[2:])
    sizes = window if len(window) == len(spatial) else window[:1] * len(spatial)
    chosen = tuple(size if size > 0 else whole for size, whole in zip(sizes, spatial, strict=True))
    return Prepared(inputs=prepared.inputs, placed=prepared.placed, given=prepared.given, window=chosen)


def _flat_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two axes of a picture's affine, 3×3."""
    return affine[np.ix_([0, 1, 3], [0, 1, 3])]


def _grid(shape: tuple[int, ...], matrix: NDArray[np.float64]) -> Grid:
    rows = tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in matrix)
    return Grid((shape[0], shape[1], shape[2]), rows)
