"""Boxes in XML files as Pascal VOC has them, one an image: beside pictures, or beside DICOM files by SOP Instance UID.

Corners are pixels counted from 1, and belong to the box (Everingham et al., IJCV 88 (2010) 303, development kit).
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.domain.colour import Colour
from node.domain.model_card import Intensity, Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.images import read_images
from node.learn.case import Box, Case, Pixels
from node.learn.dataset.dicom.folder import Sorted, dicom_files, sort_folder
from node.learn.dataset.dicom.header import Header
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import is_picture, read_picture, stem
from node.learn.dataset.problems import Gravity, Problem

DESCRIPTION = (
    "XML files with boxes (Pascal VOC), named as their pictures are, or after the SOP Instance UID of an image"
)
#: A file that is larger holds no boxes of one image.
_MOST_BYTES = 1 << 20
_REMEDY = "Write it anew, or take it out with its image"


@dataclass(frozen=True, slots=True)
class _Image:
    """Where the pixels and the boxes of a case lie."""

    file: Path
    boxes: tuple[Box, ...]
    #: Of a DICOM file.
    header: Header | None = None


@dataclass(frozen=True, slots=True)
class _Annotated:
    """Key → image."""

    images: Mapping[str, _Image]

    def read(self, case: Case) -> Pixels:
        found = self.images[case.key]
        if found.header is None:
            image = read_picture(found.file)
        else:
            slices = [(found.file, found.header.instance)]
            try:
                image = read_images(slices, intensity=Intensity.SHOWN, colour=Colour.REFUSED)[0].array
            except (Unsuitable, Failed) as error:
                raise Misconfigured(found.file, "", str(error), "Replace the file, or take it out") from error
        rows, columns = image.shape[:2]
        for box in found.boxes:
            (top, bottom), (left, right) = box.edges
            if top < -1 or left < -1 or bottom > rows + 1 or right > columns + 1:
                raise Misconfigured(found.file, "", f"a box reaches out of it ({rows} × {columns})", _REMEDY)
        return Pixels(image=image, boxes=found.boxes)


def recognises(path: Path) -> str:
    """Why it fits: it has XML files of that kind."""
    first = next(iter(annotation_files(path)), None)
    return f"boxes in XML, such as {first.name}" if first is not None and _is_annotation(first) else ""


def annotation_files(path: Path) -> list[Path]:
    """XML files, wherever they lie below a folder."""
    return sorted(each for each in path.rglob("*.xml") if not each.name.startswith(".")) if path.is_dir() else []


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the images that have a file of boxes, if only an empty one; DICOM images of one patient stay together.

    Raises:
        Misconfigured: the task is not detection, or a file cannot be read.
    """
    if wanted.task not in (None, Task.DETECTION):
        raise Misconfigured(path, "", f"boxes cannot train a {wanted.task}", "Ask for detection")
    told = {stem(file): _objects(file) for file in annotation_files(path)}
    classes = wanted.classes or tuple(sorted({name for objects in told.values() for name, _ in objects}))
    problems: list[Problem] = []
    unknown = sorted({name for objects in told.values() for name, _ in objects} - set(classes))
    if unknown:
        fault = f"labels that are none of the classes {', '.join(classes)}"
        problems.append(Problem(fault=fault, names=tuple(unknown), remedy="Name them in the recipe"))
    boxes = {
        name: tuple(Box(label=classes.index(label), edges=edges) for label, edges in objects if label in classes)
        for name, objects in told.items()
    }
    images, cases = _dicom(path, boxes, problems) if next(iter(dicom_files(path)), None) else _pictures(path, boxes)
    missed = sorted(boxes.keys() - {stem(Path(each.key)) for each in cases})
    if missed:
        remedy = "Add the images, or take the files out"
        problems.append(Problem(fault="boxes without an image", names=tuple(missed), remedy=remedy))
    return Opened(
        name=path.name,
        task=Task.DETECTION,
        classes=classes,
        cases=tuple(sorted(cases, key=lambda case: case.key)),
        source=path,
        reader=_Annotated(images),
        layout="pascal-voc",
        problems=tuple(problems),
    )


_Found = tuple[dict[str, _Image], list[Case]]


def _pictures(root: Path, boxes: Mapping[str, tuple[Box, ...]]) -> _Found:
    files = [each for each in sorted(root.rglob("*")) if is_picture(each) and stem(each) in boxes]
    images = {each.relative_to(root).as_posix(): _Image(each, boxes[stem(each)]) for each in files}
    return images, [Case(key=key) for key in images]


def _dicom(root: Path, boxes: Mapping[str, tuple[Box, ...]], problems: list[Problem]) -> _Found:
    """Images by their SOP Instance UID; a patient is told by a number alone."""
    found: Sorted = sort_folder(root)
    problems += found.problems
    patients: dict[object, str] = {}
    images: dict[str, _Image] = {}
    cases = []
    bare = 0
    for each in (header for series in found.series for header in series.images):
        uid = each.instance.sop_instance_uid
        if uid not in boxes:
            bare += 1
            continue
        whose = each.patient if each.patient[0] else each.instance.study_instance_uid
        key = f"{each.instance.series_instance_uid}/{uid}.dcm"
        images[key] = _Image(each.file, boxes[uid], each)
        group = patients.setdefault(whose, f"patient {len(patients) + 1}")
        cases.append(Case(key=key, group=group, attributes=each.attributes))
    if bare:
        fault = f"{bare} images without a file of boxes: no cases"
        problems.append(Problem(fault=fault, names=(), remedy="", gravity=Gravity.NOTE))
    return images, cases


def _is_annotation(file: Path) -> bool:
    with file.open("rb") as stream:
        return b"<annotation" in stream.read(2048)


def _objects(file: Path) -> list[tuple[str, tuple[tuple[float, float], tuple[float, float]]]]:
    """Name and (row, column) edges of each box.

    Raises:
        Misconfigured: it is no such file, or a box of it is none.
    """
    try:
        content = file.read_bytes()
        if len(content) > _MOST_BYTES or b"<!DOCTYPE" in content:
            raise Misconfigured(file, "", "is more than a list of boxes", _REMEDY)
        found = []
        # Without a document type there are no entities that could grow or fetch.
        for each in ET.fromstring(content).iter("object"):  # noqa: S314
            place = each.find("bndbox")
            name = (each.findtext("name") or "").strip()
            if place is None or not name:
                raise ValueError("an object has no name or no bndbox")
            ends = [float(place.findtext(end) or "") for end in ("ymin", "ymax", "xmin", "xmax")]
            top, bottom, left, right = ends
            if not (top <= bottom and left <= right):
                raise ValueError(f"{name} has a corner beyond the other")
            found.append((name, ((top - 1, bottom), (left - 1, right))))
    except (OSError, ValueError, ET.ParseError) as error:
        raise Misconfigured(file, "", f"holds no boxes that can be read: {error}", _REMEDY) from error
    return found
