"""Images and masks: the dataset.json of the Medical Segmentation Decathlon, or folders images/ and labels/."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.boxes.masks import Boxed
from node.learn.case import Case, Pixels
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import (
    is_picture,
    is_volume,
    label_numbers,
    read_label_picture,
    read_nifti,
    read_picture,
    stem,
)
from node.learn.dataset.problems import Problem

DESCRIPTION = "dataset.json with pairs of NIfTI files (Decathlon, nnU-Net), or images/ and labels/ (masks/) of one name"
_LISTING = "dataset.json"
_IMAGES = ("images", "imagesTr")
_LABELS = ("labels", "masks", "labelsTr", "segmentations")
#: nnU-Net's number of the channel, at the end of an image's name.
_CHANNEL = "_0000"
_MASK_ENDINGS = ("", "_mask", "_seg", "_label")
_GRIDS = "Resample the mask to the grid of its image"


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Key → image and mask."""

    files: dict[str, tuple[Path, Path]]

    def read(self, case: Case) -> Pixels:
        image, mask = self.files[case.key]
        if is_picture(image):
            picture, drawn = read_picture(image), read_label_picture(mask)
            if drawn.shape != picture.shape[:2]:
                problem = f"{_size(drawn.shape)}, but its image is {_size(picture.shape[:2])}"
                raise Misconfigured(mask, "", f"the mask is {problem}", _GRIDS)
            return Pixels(image=picture, labels=drawn)
        volume, labels = read_nifti(image), read_nifti(mask)
        if labels.grid.shape != volume.grid.shape:
            problem = f"{_size(labels.grid.shape)}, but its image is {_size(volume.grid.shape)}"
            raise Misconfigured(mask, "", f"the mask is {problem}", _GRIDS)
        if not labels.grid.coincides_with(volume.grid):
            raise Misconfigured(mask, "", "the mask has another affine than its image", _GRIDS)
        return Pixels(volume=volume, labels=label_numbers(labels, mask))


def recognises(path: Path) -> str:
    """Why it fits: the listing, or both folders."""
    if path.is_file():
        return "a listing of pairs" if path.name == _LISTING else ""
    if (path / _LISTING).is_file():
        return f"{_LISTING} is there"
    images, labels = _folder(path, _IMAGES), _folder(path, _LABELS)
    return f"{images.name}/ and {labels.name}/ are there" if images and labels else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the images that have masks; those of a test part without any are no cases.

    Raises:
        Misconfigured: the listing cannot be read, or the task is classification.
    """
    if wanted.task is Task.CLASSIFICATION:
        problem = f"masks cannot train a {wanted.task}"
        raise Misconfigured(path, "", problem, "Ask for segmentation, or for detection")
    root = path.parent if path.is_file() else path
    problems: list[Problem] = []
    listing = _listing(root / _LISTING) if (root / _LISTING).is_file() else {}
    files = _listed(root, listing, problems) if listing.get("training") else _paired(root, problems)
    classes = wanted.classes or _named(listing) or _numbered(files)
    return Opened(
        name=root.name,
        task=wanted.task or Task.SEGMENTATION,
        classes=classes,
        cases=tuple(Case(key=key) for key in sorted(files)),
        source=root,
        reader=Boxed(_Pairs(files)) if wanted.task is Task.DETECTION else _Pairs(files),
        layout="image-pairs",
        problems=tuple(problems),
    )


def _listing(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(file, "", f"is no JSON: {error}", "Write it anew") from error
    if not isinstance(read, dict):
        raise Misconfigured(file, "", "is no object", "Write it as the Decathlon does")
    return read


def _listed(root: Path, listing: dict[str, Any], problems: list[Problem]) -> dict[str, tuple[Path, Path]]:
    files: dict[str, tuple[Path, Path]] = {}
    gone: list[str] = []
    alone: list[str] = []
    for place, entry in enumerate(listing["training"]):
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str) or "label" not in entry:
            alone.append(f"training[{place}]")
            continue
        image, mask = root / entry["image"], root / str(entry["label"])
        missing = [each.relative_to(root).as_posix() for each in (image, mask) if not each.is_file()]
        gone += missing
        if not missing:
            files[image.relative_to(root).as_posix()] = image, mask
    if alone:
        problems.append(Problem(fault="images without a mask", names=tuple(alone), remedy='Give "image" and "label"'))
    if gone:
        problems.append(Problem(fault="files that are not there", names=tuple(gone), remedy="Put them there"))
    return files


def _paired(root: Path, problems: list[Problem]) -> dict[str, tuple[Path, Path]]:
    pictured, drawn = _folder(root, _IMAGES), _folder(root, _LABELS)
    if pictured is None or drawn is None:
        raise Misconfigured(root, "", "lacks a folder of images or of labels", f"Looked for: {DESCRIPTION}")
    images, masks = _by_stem(pictured), _by_stem(drawn)
    files: dict[str, tuple[Path, Path]] = {}
    alone: list[str] = []
    for name, image in images.items():
        mask = next((masks.pop(name + ending) for ending in _MASK_ENDINGS if name + ending in masks), None)
        if mask is None:
            alone.append(image.relative_to(root).as_posix())
        else:
            files[image.relative_to(root).as_posix()] = image, mask
    if alone:
        remedy = "Draw their masks, or take them out"
        problems.append(Problem(fault="images without a mask", names=tuple(sorted(alone)), remedy=remedy))
    if masks:
        names = sorted(mask.relative_to(root).as_posix() for mask in masks.values())
        problems.append(Problem(fault="masks without an image", names=tuple(names), remedy="Add their images"))
    return files


def _by_stem(folder: Path) -> dict[str, Path]:
    files = [file for file in sorted(folder.rglob("*")) if is_picture(file) or is_volume(file)]
    return {(file.parent.relative_to(folder) / stem(file).removesuffix(_CHANNEL)).as_posix(): file for file in files}


def _folder(path: Path, among: tuple[str, ...]) -> Path | None:
    return next((path / name for name in among if (path / name).is_dir()), None)


def _named(listing: dict[str, Any]) -> tuple[str, ...]:
    """Names of the labels 1, 2, …: the Decathlon has number → name, nnU-Net name → number."""
    labels = listing.get("labels")
    if not isinstance(labels, dict):
        return ()
    numbered = {int(key): str(value) for key, value in labels.items() if str(key).isdigit()} or {
        int(value): str(key) for key, value in labels.items() if isinstance(value, int)
    }
    return tuple(numbered.get(number, f"label {number}") for number in range(1, max(numbered, default=0) + 1))


def _numbered(files: dict[str, tuple[Path, Path]]) -> tuple[str, ...]:
    """Where nothing names the labels, the masks are asked for the highest number; damaged ones are told of later."""

    def highest(mask: Path) -> int:
        try:
            return int((read_label_picture(mask) if is_picture(mask) else label_numbers(read_nifti(mask), mask)).max())
        except Misconfigured:
            return 0

    with ThreadPoolExecutor() as threads:
        count = max(threads.map(highest, [mask for _, mask in files.values()]), default=0)
    return tuple(f"label {number}" for number in range(1, max(count, 1) + 1))


def _size(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
