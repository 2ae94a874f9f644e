"""Tiny data sets on disk, of every layout: what is to be seen can be learnt, and no two images are alike."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Row and column of the bright spot of each class, as shares of the side.
_PLACES = ((0.3, 0.3), (0.7, 0.7), (0.3, 0.7), (0.7, 0.3))


def picture(seed: int, label: int = 0, size: tuple[int, int] = (24, 24)) -> NDArray[np.uint8]:
    """A noisy (row, column) picture with a bright spot whose place tells the class."""
    rng = np.random.default_rng([7, seed])
    rows, columns = np.mgrid[: size[0], : size[1]]
    row, column = (share * side for share, side in zip(_PLACES[label % 4], size, strict=True))
    far = (rows - row) ** 2 + (columns - column) ** 2
    spot = 90 * np.exp(-far / (0.02 * size[0] * size[1]))
    return np.clip(rng.normal(80, 30, size) + spot, 0, 255).astype(np.uint8)


def volume(seed: int, shape: tuple[int, int, int] = (16, 20, 12)) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A noisy (column, row, slice) volume, as NIfTI has it, and its labels: two bright blocks, 1 and 2."""
    rng = np.random.default_rng([11, seed])
    labels = np.zeros(shape, np.uint8)
    for label in (1, 2):
        low = [int(rng.integers(1, max(2, side // 4))) for side in shape]
        low[1] += (label - 1) * shape[1] // 2
        sides = [max(2, side // 3) for side in shape]
        labels[tuple(slice(start, start + side) for start, side in zip(low, sides, strict=True))] = label
    values = rng.normal(100, 40, shape) + 120.0 * (labels == 1) + 200.0 * (labels == 2)
    return values.astype(np.float32), labels


def write_nifti(file: Path, values: NDArray, affine: NDArray | None = None) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine).to_filename(file)
    return file


def write_picture(file: Path, values: NDArray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(file)
    return file


def class_folders(
    root: Path, counts: Mapping[str, int] | None = None, size: tuple[int, int] = (24, 24), suffix: str = ".png"
) -> Path:
    """`root/<class>/<class> (3).png`, by default 12 of each of two classes."""
    for label, (name, count) in enumerate((counts or {"benign": 12, "malignant": 12}).items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for place in range(count):
            write_picture(root / name / f"{name} ({place}){suffix}", picture(1000 * label + place, label, size))
    return root


def table(root: Path, rows: Sequence[Mapping[str, str]] | None = None, name: str = "cases.csv") -> Path:
    """A CSV file beside `images/`: by default 24 images, two a patient, with sex, age and scanner."""
    if rows is None:
        rows = [
            {
                "image": f"images/{place:02}.png",
                "diagnosis": ("benign", "malignant")[place // 2 % 2],
                "patient": f"P{place // 2:02}",
                "sex": "FM"[place // 4 % 2],
                "age": str(40 + place),
                "scanner": ("A", "B")[place // 6 % 2],
            }
            for place in range(24)
        ]
    root.mkdir(parents=True, exist_ok=True)
    for place, row in enumerate(rows):
        image = row.get("image", "")
        if image and not (root / image).exists():
            write_picture(root / image, picture(place, 1 if row.get("diagnosis") == "malignant" else 0))
    file = root / name
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return file


def nifti_pairs(
    root: Path, count: int = 12, shape: tuple[int, int, int] = (16, 20, 12), affine: NDArray | None = None
) -> Path:
    """`root/images/case_03.nii.gz` and `root/labels/case_03.nii.gz`, with the labels 1 and 2."""
    for place in range(count):
        values, labels = volume(place, shape)
        write_nifti(root / "images" / f"case_{place:02}.nii.gz", values, affine)
        write_nifti(root / "labels" / f"case_{place:02}.nii.gz", labels, affine)
    return root


def decathlon(root: Path, count: int = 6, tests: int = 2) -> Path:
    """As the Medical Segmentation Decathlon: dataset.json, imagesTr/, labelsTr/, imagesTs/ without labels."""
    pairs = []
    for place in range(count):
        values, labels = volume(place)
        write_nifti(root / "imagesTr" / f"case_{place:03}.nii.gz", values)
        write_nifti(root / "labelsTr" / f"case_{place:03}.nii.gz", labels)
        pairs.append({"image": f"./imagesTr/case_{place:03}.nii.gz", "label": f"./labelsTr/case_{place:03}.nii.gz"})
    for place in range(count, count + tests):
        write_nifti(root / "imagesTs" / f"case_{place:03}.nii.gz", volume(place)[0])
    listing = {
        "name": "Blocks",
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "numTraining": count,
        "training": pairs,
        "test": [f"./imagesTs/case_{place:03}.nii.gz" for place in range(count, count + tests)],
    }
    (root / "dataset.json").write_text(json.dumps(listing))
    return root


def picture_pairs(root: Path, count: int = 8, size: tuple[int, int] = (24, 24)) -> Path:
    """`root/images/3.png` and `root/masks/3_mask.png`, white where the spot is."""
    for place in range(count):
        values = picture(place, place % 4, size)
        mask = np.zeros(size, np.uint8)
        row, column = (int(share * side) for share, side in zip(_PLACES[place % 4], size, strict=True))
        mask[row - 2 : row + 3, column - 2 : column + 3] = 255
        write_picture(root / "images" / f"{place}.png", values)
        write_picture(root / "masks" / f"{place}_mask.png", mask)
    return root


def medmnist(
    file: Path, counts: Mapping[str, int] | None = None, size: tuple[int, ...] = (14, 14), classes: int = 2
) -> Path:
    """An .npz file with parts of so many images: by default train 20, val 6, test 6; size with 3 sides: volumes."""
    arrays: dict[str, NDArray] = {}
    seed = 0
    for part, count in (counts or {"train": 20, "val": 6, "test": 6}).items():
        images = []
        for place in range(count):
            seed += 1
            if len(size) == 3:
                images.append(np.stack([picture(97 * seed + z, place % classes, size[1:]) for z in range(size[0])]))
            else:
                images.append(picture(seed, place % classes, size))
        arrays[f"{part}_images"] = np.stack(images)
        arrays[f"{part}_labels"] = (np.arange(count) % classes).astype(np.uint8)[:, None]
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)
    return file
