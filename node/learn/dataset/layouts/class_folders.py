"""Pictures or volumes in folders, one folder a class; perhaps below folders named after the parts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Case, Pixels
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import is_picture, is_volume, read_nifti, read_picture, read_region, size_of, stem
from node.learn.dataset.problems import Gravity, Problem

DESCRIPTION = "a folder of pictures (PNG, JPEG, BMP, TIFF) or NIfTI volumes for each class, or train/ and test/ of such"
#: Names of folders → part.
PARTS = {
    "train": "train", "training": "train",
    "val": "validation", "valid": "validation", "validation": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
#: Folders of a segmentation, or of boxes: no classes.
_NO_CLASSES = {"images", "labels", "masks", "imagestr", "labelstr", "imagests", "labelsts", "segmentations"}
_NO_CLASSES |= {"annotations", "jpegimages"}
#: A mask beside its picture: "benign (1)_mask.png", "benign (1)_mask_1.png".
_MASK = re.compile(r"(?P<picture>.+)_mask(_\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Files:
    root: Path

    def read(self, case: Case) -> Pixels:
        file = self.root / case.key
        return Pixels(volume=read_nifti(file)) if is_volume(file) else Pixels(image=read_picture(file))

    def region(self, case: Case) -> NDArray[np.bool_] | None:
        # By its size alone: the picture itself is not wanted here.
        size = size_of(self.root / case.key)
        drawn = [read_region(self.root / name, size) for name in case.masks]
        found: NDArray[np.bool_] = np.logical_or.reduce(drawn)
        return found if found.any() else None


def recognises(path: Path) -> str:
    """Why it fits: it has folders with pictures, and is no segmentation's."""
    folders = [] if path.is_file() else _folders(path)
    if {folder.name.lower() for folder in folders} & _NO_CLASSES:
        return ""
    classes = [folder.name for folder in folders if next(_images(folder), None) is not None]
    return f"folders with images: {', '.join(classes[:5])}" if classes else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the images of all classes.

    Raises:
        Misconfigured: the task is none of whole images.
    """
    if wanted.task not in (None, Task.CLASSIFICATION):
        remedy = "Ask for classification, or put pictures into images/ and their masks into labels/"
        raise Misconfigured(path, "", f"folders by class cannot train a {wanted.task}", remedy)
    problems: list[Problem] = []
    top = _folders(path)
    if top and all(folder.name.lower() in PARTS for folder in top):
        folders = [(PARTS[part.name.lower()], folder) for part in top for folder in _folders(part)]
    else:
        folders = [("", folder) for folder in top]
    classes = wanted.classes or tuple(sorted({folder.name for _, folder in folders}))
    unknown = sorted({folder.name for _, folder in folders} - set(classes))
    if unknown:
        fault = f"folders that are none of the classes {', '.join(classes)}"
        problems.append(Problem(fault=fault, names=tuple(unknown), remedy="Name them in the recipe, or move them away"))
    cases, empty = _cases(path, folders, classes)
    missing = [name for name in classes if name not in {folder.name for _, folder in folders}]
    if empty or missing:
        names = (*empty, *missing)
        problems.append(Problem(fault="classes without images", names=names, remedy="Add images, or drop the class"))
    problems += _unlabelled(path, top)
    return Opened(
        name=path.name,
        task=Task.CLASSIFICATION,
        classes=classes,
        cases=tuple(sorted(cases, key=lambda case: case.key)),
        source=path,
        reader=_Files(path),
        layout="class-folders",
        problems=tuple(problems),
    )


def _cases(root: Path, folders: list[tuple[str, Path]], classes: tuple[str, ...]) -> tuple[list[Case], list[str]]:
    """The cases, and the folders that have none. A folder within that of a class is a group: a patient's."""
    cases: list[Case] = []
    empty: list[str] = []
    for part, folder in folders:
        files, masks = list(_images(folder)), _masks(folder)
        if not files:
            empty.append(folder.relative_to(root).as_posix())
        for file in files if folder.name in classes else ():
            within = file.parent.relative_to(folder).as_posix()
            key = file.relative_to(root).as_posix()
            group = "" if within == "." else within
            drawn = tuple(mask.relative_to(root).as_posix() for mask in masks.get((file.parent, stem(file)), ()))
            label = classes.index(folder.name)
            cases.append(Case(key=key, label=label, group=group, part=part, masks=drawn))
    return cases, empty


def _unlabelled(root: Path, top: list[Path]) -> Iterator[Problem]:
    loose = [*root.iterdir(), *(file for part in top if part.name.lower() in PARTS for file in part.iterdir())]
    names = sorted(file.relative_to(root).as_posix() for file in loose if is_picture(file) or is_volume(file))
    if names:
        yield Problem(fault="images without a label: in no class's folder", names=tuple(names), remedy="Sort them in")
    masks = sum(1 for folder in top for file in folder.rglob("*") if is_picture(file) and _is_mask(file))
    if masks:
        fault = f"{masks} masks lie beside their pictures (…_mask): not taken for images, and no training sees them"
        remedy = "Explanations are held against them in the report"
        yield Problem(fault=fault, names=(), remedy=remedy, gravity=Gravity.NOTE)


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir() and not each.name.startswith((".", "__")))


def _images(folder: Path) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        if (is_picture(file) and not _is_mask(file)) or is_volume(file):
            yield file


def _masks(folder: Path) -> Mapping[tuple[Path, str], list[Path]]:
    """Folder and name of a picture, without its ending → its masks."""
    masks: dict[tuple[Path, str], list[Path]] = {}
    for file in sorted(folder.rglob("*")):
        found = _MASK.fullmatch(stem(file)) if is_picture(file) and _is_mask(file) else None
        if found is not None:
            masks.setdefault((file.parent, found["picture"]), []).append(file)
    return masks


def _is_mask(file: Path) -> bool:
    """Whether it is the mask of a picture that lies beside it."""
    found = _MASK.fullmatch(stem(file))
    return found is not None and any(
        file.with_name(found["picture"] + ending).exists() for ending in (file.suffix, ".png", ".jpg")
    )
