"""One .npz file as MedMNIST has them: images and labels of the official parts (Yang et al., Sci Data 2023)."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.domain.model_card import Task
from node.errors import Misconfigured
from node.imaging.volume import Volume
from node.learn.case import Case, Pixels
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.problems import Problem

DESCRIPTION = "an .npz file with train_images and train_labels (also val_ and test_), as MedMNIST has them"
_PARTS = {"train": "train", "val": "validation", "test": "test"}
_REMEDY = "Fetch the file anew, or write it with numpy.savez"
#: What numpy raises over a file that is no archive of arrays, or a damaged one.
_DAMAGE = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Part → its images: (case, row, column), (case, row, column, 3) or (case, slice, row, column)."""

    images: dict[str, NDArray[Any]]

    def read(self, case: Case) -> Pixels:
        part, _, number = case.key.partition("/")
        image = self.images[part][int(number)]
        if image.ndim == 2 or image.shape[-1] == 3:
            return Pixels(image=np.array(image))
        array = image.astype(np.int16 if image.dtype in (np.uint8, np.int16) else np.float32)
        unit = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        # Index (slice, row, column) → x, y, z: columns run along x.
        matrix = (unit[2], unit[1], unit[0], unit[3])
        return Pixels(volume=Volume(array, Grid(image.shape, matrix), ()))


def recognises(path: Path) -> str:
    """Why it fits: its name ends in .npz."""
    return "an .npz file" if path.is_file() and path.suffix.lower() == ".npz" else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the images that have labels.

    Raises:
        Misconfigured: the file is damaged, lacks the arrays, or is not for classification by one class.
    """
    if wanted.task not in (None, Task.CLASSIFICATION):
        raise Misconfigured(path, "", f"labels of whole images cannot train a {wanted.task}", "Ask for classification")
    images, labels = _arrays(path)
    highest = max(int(each.max()) for each in labels.values())
    classes = wanted.classes or tuple(str(number) for number in range(highest + 1))
    cases: list[Case] = []
    beyond: list[str] = []
    for part, numbers in labels.items():
        for place, number in enumerate(numbers.tolist()):
            if not 0 <= number < len(classes):
                beyond.append(f"{part}/{place} ({number})")
                continue
            cases.append(Case(key=f"{part}/{place}", label=int(number), part=_PARTS[part]))
    fault = f"labels beyond the {len(classes)} classes {', '.join(classes)}"
    problems = (Problem(fault=fault, names=tuple(beyond), remedy="Name all classes in the recipe"),) if beyond else ()
    return Opened(
        name=path.stem,
        task=Task.CLASSIFICATION,
        classes=classes,
        cases=tuple(sorted(cases, key=lambda case: case.key)),
        source=path,
        reader=_Arrays(images),
        layout="medmnist",
        problems=problems,
    )


def _arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Images and labels by part, of the parts that have both."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            held = {name: file[name] for part in _PARTS for kind in ("images", "labels")
                    if (name := f"{part}_{kind}") in file.files}  # fmt: skip
            all_names = file.files
    except _DAMAGE as error:
        raise Misconfigured(path, "", f"cannot be decoded: {error}", _REMEDY) from error
    images = {part: held[f"{part}_images"] for part in _PARTS if f"{part}_images" in held and f"{part}_labels" in held}
    if not images:
        raise Misconfigured(path, "", f"has no train_images and train_labels, but {', '.join(all_names)}", _REMEDY)
    labels = {}
    for part, image in images.items():
        label = held[f"{part}_labels"]
        if label.ndim == 2 and label.shape[1] > 1:
            remedy = "Choose one column, and write it as the labels"
            raise Misconfigured(path, f"{part}_labels", f"{label.shape[1]} labels an image: one is wanted", remedy)
        if label.shape[0] != image.shape[0] or label.dtype.kind not in "biu" or image.dtype.kind not in "biuf":
            problem = f"{image.shape[0]} images of {image.dtype} and {label.shape[0]} labels of {label.dtype}"
            raise Misconfigured(path, f"{part}_labels", problem, _REMEDY)
        if image.ndim not in (3, 4):
            raise Misconfigured(path, f"{part}_images", f"has the shape {image.shape}", _REMEDY)
        labels[part] = label.reshape(-1)
        images[part] = image if image.dtype in (np.uint8, np.int16) else image.astype(np.float32)
    return images, labels
