"""Where the regions of a two-stage path come from: drawn by somebody, or by a segmentation that was trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.catalogue.cards import CARD, read_card
from node.catalogue.weights import locate_all
from node.domain.colour import Colour
from node.errors import Misconfigured
from node.imaging import pipelines
from node.imaging.pipelines import Fitting
from node.learn.case import Case, Dataset
from node.learn.dataset.pixels import is_volume, label_numbers, read_label_picture, read_nifti, stem
from node.learn.preparing import shown
from node.learn.radiomics.region import LEAST
from node.learn.radiomics.table import Radiomics
from node.learn.reading import given_of

_MASK = "_mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What is measured of a case."""

    #: (row, column) of pictures, from 0 to 1, or (slice, row, column).
    values: NDArray[Any]
    mask: NDArray[np.bool_]
    #: Along each axis: mm of volumes, 1 of pictures.
    spacing: tuple[float, ...]
    #: Nothing was found: the region is the whole image.
    is_whole: bool = False


def regions(dataset: Dataset, said: Radiomics, beside: Path) -> Callable[[Case], Region]:
    """Return what gives the region of a case.

    The function that comes back raises `Misconfigured` where no mask is drawn, or one that does not fit.

    Raises:
        Misconfigured: the segmentation model cannot be loaded.
    """
    root = dataset.source.parent if dataset.source.is_file() else dataset.source
    find = _drawn_by_model(beside / said.model) if said.model else None

    def region(case: Case) -> Region:
        pixels = dataset.read(case)
        if pixels.volume is not None:
            values: NDArray[Any] = pixels.volume.array
            spacing: tuple[float, ...] = pixels.volume.grid.spacing_mm
        else:
            assert pixels.image is not None
            values, spacing = shown(pixels.image, Colour.GREY), (1.0, 1.0)
        mask = find(case, pixels) if find is not None else _drawn(root, case, said)
        if mask.shape != values.shape:
            problem = f"the mask is {mask.shape}, and the image {values.shape}"
            raise Misconfigured(root / case.key, "", problem, "Resample the mask to the grid of its image")
        if int(mask.sum()) >= LEAST:
            return Region(values=values, mask=mask, spacing=spacing)
        if find is None:
            problem = f"its region has less than {LEAST} pixels: there is nothing to measure"
            raise Misconfigured(root / case.key, "", problem, "Take out what has no region, or draw it")
        return Region(values=values, mask=np.ones(values.shape, np.bool_), spacing=spacing, is_whole=True)

    return region


def _drawn(root: Path, case: Case, said: Radiomics) -> NDArray[np.bool_]:
    """The mask of a case: all of its files together."""
    file = root / case.key
    if said.masks:
        place = root / said.masks / case.key
        files = [each for each in (place, place.with_suffix(".png")) if each.is_file()][:1]
    else:
        files = sorted(each for each in file.parent.glob("*") if _is_mask_of(each, file))
    if not files:
        where = f"{said.masks}/" if said.masks else f"beside it ({stem(file)}{_MASK}.png)"
        problem = f"there is no mask of it {where}"
        raise Misconfigured(file, "", problem, "Draw it, or name a segmentation ([radiomics] model)")
    found = [_read(each) > 0 for each in files]
    return np.asarray(np.logical_or.reduce(found), np.bool_)


def _is_mask_of(each: Path, file: Path) -> bool:
    name, own = stem(each), stem(file)
    return name == own + _MASK or (name.startswith(f"{own}{_MASK}_") and name.removeprefix(f"{own}{_MASK}_").isdigit())


def _read(file: Path) -> NDArray[np.uint8]:
    return label_numbers(read_nifti(file), file) if is_volume(file) else read_label_picture(file)


def _drawn_by_model(folder: Path) -> Callable[[Case, Any], NDArray[np.bool_]]:
    card = read_card(folder)
    fitting = Fitting(card=card, folder=folder, weights=locate_all(card, folder, folder / CARD), device="cpu")
    runner = pipelines.named(card.pipeline).load(fitting)

    def find(case: Case, pixels: Any) -> NDArray[np.bool_]:
        labels = runner.run(given_of(card, pixels, case.key)).labels
        if labels is None:
            raise Misconfigured("recipe.toml", "radiomics.model", f"{card.name} draws nothing", "Name a segmentation")
        return np.asarray((labels[0] if pixels.volume is None and labels.ndim == 3 else labels) > 0)

    return find
