"""Prepared cases on disk, where they are too many for memory: each is mapped when it is looked at."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from node.errors import Failed
from node.learn import checkpoint
from node.learn.case import Box
from node.learn.dataset.sheet import Sheet
from node.learn.preparing import Prepared
from node.learn.recipe import Recipe
from node.learn.recipe_text import recipe_text

#: Bytes of prepared cases that are held in memory.
IN_MEMORY = 4 << 30
_GIB = 2**30
_PREFIX = "prepared-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelved:
    """One prepared case on disk, with what `Prepared` has."""

    folder: Path
    has_labels: bool
    boxes: tuple[Box, ...] = ()
    spacing_mm: tuple[float, ...] = ()

    @property
    def image(self) -> torch.Tensor:
        """(channel, …) float32; what is changed in it is not written."""
        return _mapped(self.folder / "image.npy")

    @property
    def labels(self) -> torch.Tensor | None:
        """(…) uint8, of a segmentation."""
        return _mapped(self.folder / "labels.npy") if self.has_labels else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """A folder of prepared cases, one of its own for each."""

    folder: Path

    def put(self, number: int, prepared: Prepared) -> Shelved:
        """Write a case, and return it as it lies there.

        Raises:
            Failed: the disk is full.
        """
        folder = self._place(number)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "image.npy", prepared.image)
        if prepared.labels is not None:
            _write(folder / "labels.npy", prepared.labels)
        boxes = [{"label": box.label, "edges": box.edges} for box in prepared.boxes]
        told = {"labels": prepared.labels is not None, "boxes": boxes, "spacing_mm": prepared.spacing_mm}
        # Written last: a case that has it is there.
        checkpoint.write_whole(folder / "case.json", lambda path: path.write_text(json.dumps(told), encoding="utf-8"))
        found = self.get(number)
        assert found is not None
        return found

    def get(self, number: int) -> Shelved | None:
        """Return a case; `None` where it was not put there yet."""
        folder = self._place(number)
        try:
            told = json.loads((folder / "case.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        boxes = (
            Box(label=each["label"], edges=tuple((low, high) for low, high in each["edges"])) for each in told["boxes"]
        )
        return Shelved(
            folder=folder, has_labels=told["labels"], boxes=tuple(boxes), spacing_mm=tuple(told["spacing_mm"])
        )

    def _place(self, number: int) -> Path:
        # Not all in one folder: there may be a hundred thousand.
        return self.folder / f"{number // 1000:03}" / f"{number % 1000:03}"


def shelf_in(folder: Path, recipe: Recipe, sheet: Sheet, in_memory: int | None = None) -> Shelf | None:
    """Return where the prepared cases of a run are put; `None` where they are held in memory.

    What was prepared there otherwise, or of other cases, is removed.

    Raises:
        Failed: they fit neither into memory nor on the disk.
    """
    prepared = recipe_text(Recipe(preparation=recipe.preparation, colour=recipe.colour, task=recipe.task))
    name = _PREFIX + hashlib.sha256(f"{prepared}\0{sheet.digest}".encode()).hexdigest()[:12]
    for other in folder.glob(f"{_PREFIX}*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True)
    size = needed(recipe, sheet)
    if size <= (IN_MEMORY if in_memory is None else in_memory):
        return None
    shelf = Shelf(folder=folder / name)
    free = shutil.disk_usage(folder).free
    if size > free and not shelf.folder.exists():
        raise Failed(
            f"the prepared cases take {size / _GIB:.1f} GiB, and {folder} has {free / _GIB:.1f} GiB left: "
            "free some, name another folder with --run, or prepare them smaller"
        )
    return shelf


def clear(folder: Path) -> None:
    """Remove what was prepared for a run that has ended."""
    for shelf in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(shelf, ignore_errors=True)


def needed(recipe: Recipe, sheet: Sheet) -> int:
    """Return how many bytes the prepared cases take, by and large."""
    said = recipe.preparation
    assert said is not None
    pixels = math.prod(each.median for each in sheet.size)
    if said.size:
        pixels = math.prod(said.size)
    elif said.spacing_mm and sheet.spacing_mm:
        pixels *= math.prod(each.median for each in sheet.spacing_mm) / math.prod(said.spacing_mm)
    channels = max(said.channels, max(sheet.channels, default=1))
    return int(sheet.cases * pixels * (4 * channels + bool(sheet.labels)))


def _mapped(file: Path) -> torch.Tensor:
    return torch.from_numpy(np.load(file, mmap_mode="c"))


def _write(file: Path, tensor: torch.Tensor) -> None:
    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, tensor.numpy())

    checkpoint.write_whole(file, write)
