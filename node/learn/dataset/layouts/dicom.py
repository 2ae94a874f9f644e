"""DICOM studies: with Segmentations, whose segments are the labels, or with a table of classes by UID."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from node.domain.colour import Colour
from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.images import read_images
from node.imaging.read_segmentation import read_segmentation
from node.imaging.volume import read_volume
from node.learn.case import Case, Pixels
from node.learn.dataset.dicom.folder import FoundSeries, Sorted, dicom_files, sort_folder
from node.learn.dataset.layouts import pascal_voc
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.problems import Gravity

DESCRIPTION = (
    "DICOM files (.dcm) with Segmentations beside them, or with labels.csv: series_instance_uid, study_instance_uid or"
    " folder, and label"
)
TABLE = "labels.csv"
_BY = ("series_instance_uid", "study_instance_uid", "folder")
#: A type of segment: coding scheme, code, meaning, label.
_Type = tuple[str, str, str, str]
_REMEDY = "Replace the file, or take its series out of the data set"


@dataclass(frozen=True, slots=True)
class _Series:
    """Key → series, and what the values of its mask become."""

    series: Mapping[str, FoundSeries]
    #: Key → (segment number, label number).
    numbers: Mapping[str, tuple[tuple[int, int], ...]]
    is_segmentation: bool

    def read(self, case: Case) -> Pixels:
        found = self.series[case.key]
        slices = [(each.file, each.instance) for each in found.images]
        place = found.images[0].file
        try:
            if not self.is_segmentation and len(slices) == 1:
                return Pixels(image=_image(found))
            volume = read_volume(slices)
            if found.segmentation is None or not self.is_segmentation:
                return Pixels(volume=volume)
            place = found.segmentation.file
            mask = read_segmentation(place, [instance for _, instance in slices]).mask
        except (Unsuitable, Failed) as error:
            raise Misconfigured(place, "", str(error), _REMEDY) from error
        if mask.sop_instance_uids != volume.sop_instance_uids:
            raise Misconfigured(place, "", "its slices are not those of the images", _REMEDY)
        table = np.zeros(256, np.uint8)
        for segment, label in self.numbers[case.key]:
            table[segment] = label
        return Pixels(volume=volume, labels=table[mask.labels])


def recognises(path: Path) -> str:
    """Why it fits: it has files that are called like DICOM files."""
    first = next(iter(dicom_files(path)), None) if path.is_dir() and not pascal_voc.recognises(path) else None
    return f"DICOM files, such as {first.name}" if first is not None else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the series that have a class or a Segmentation.

    Raises:
        Misconfigured: the task is neither, the table cannot be read, or nothing tells what is true.
    """
    has_table = (path / TABLE).is_file()
    task = wanted.task or (Task.CLASSIFICATION if has_table else Task.SEGMENTATION)
    if task not in (Task.CLASSIFICATION, Task.SEGMENTATION):
        raise Misconfigured(path, "", f"DICOM studies cannot train a {task}", "Ask for classification or segmentation")
    if task is Task.CLASSIFICATION and not has_table:
        raise Misconfigured(path, "", f"there is no {TABLE}", f"Write one: {', '.join(_BY)} (one of them), and label")
    found = sort_folder(path)
    labelled = _classified(path, found, wanted) if task is Task.CLASSIFICATION else _segmented(found, wanted)
    classes, labels, numbers = labelled
    groups = _groups(found.series)
    cases = [
        Case(
            key=each.key,
            label=labels[each.key],
            group=groups[each.images[0].patient, each.study_instance_uid],
            attributes=each.images[0].attributes,
        )
        for each in found.series
        if each.key in labels
    ]
    if not cases and not any(each.gravity is Gravity.ERROR for each in found.problems):
        raise Misconfigured(path, "", "nothing says what is true of any series", f"Add Segmentations, or {TABLE}")
    return Opened(
        name=path.name,
        task=task,
        classes=classes,
        cases=tuple(sorted(cases, key=lambda case: case.key)),
        source=path,
        reader=_Series({each.key: each for each in found.series}, numbers, task is Task.SEGMENTATION),
        layout="dicom",
        problems=tuple(found.problems),
    )


_Labelled = tuple[tuple[str, ...], dict[str, int | None], dict[str, tuple[tuple[int, int], ...]]]


def _segmented(found: Sorted, wanted: Wanted) -> _Labelled:
    drawn = [each for each in found.series if each.segmentation is not None]
    names = _names([[type_ for _, type_ in each.segmentation.segments] for each in drawn if each.segmentation])
    classes = wanted.classes or tuple(sorted(set(names.values())))
    unknown = sorted({name for type_, name in names.items() if _class(type_, names, classes) is None})
    found.tell("segments that are none of the classes", unknown, "They count as background", Gravity.WARNING)
    bare = [each.key for each in found.series if each.segmentation is None]
    found.tell("series without a segmentation", bare, "They are no cases", Gravity.NOTE)
    numbers = {
        each.key: tuple(
            (number, place + 1)
            for number, type_ in each.segmentation.segments
            if (place := _class(type_, names, classes)) is not None
        )
        for each in drawn
        if each.segmentation is not None
    }
    return classes, {each.key: None for each in drawn}, numbers


def _names(drawn: Sequence[Sequence[_Type]]) -> dict[_Type, str]:
    """What each type of segment is called: what its code means, for whoever drew it chose the label.

    Where one object has several segments of a code, the label tells them apart.
    """
    shared = {code for types in drawn for code, times in Counter(each[:2] for each in types).items() if times > 1}
    every = {type_ for types in drawn for type_ in types}
    return {each: each[3] if each[:2] in shared or not each[1] else each[2] or f"{each[0]}:{each[1]}" for each in every}


def _class(type_: _Type, names: Mapping[_Type, str], classes: Sequence[str]) -> int | None:
    """Index of the class: by name, else by code or its meaning."""
    meant = (names[type_], type_[3], f"{type_[0]}:{type_[1]}", type_[2])
    return next((classes.index(each) for each in meant if each in classes), None)


def _classified(path: Path, found: Sorted, wanted: Wanted) -> _Labelled:
    told = _told(path / TABLE)
    classes = wanted.classes or tuple(sorted({label for _, _, label in told}))
    unknown = sorted({label for _, _, label in told} - set(classes))
    found.tell("labels that are none of the classes", unknown, "Name them in the recipe, or take their rows out")
    labels: dict[str, int | None] = {}
    missed, torn = [], []
    for by, name, label in told:
        meant = [each for each in found.series if _is_meant(each, by, name, path)]
        if not meant:
            missed.append(name)
        for each in meant if label in classes else ():
            place = classes.index(label)
            if labels.setdefault(each.key, place) != place:
                torn.append(each.key)
    found.tell("rows of series that are not here", missed, "Add their files, or take the rows out")
    found.tell("series with several labels", torn, "Keep the true one")
    bare = [each.key for each in found.series if each.key not in labels]
    found.tell("series without a label", bare, "They are no cases", Gravity.NOTE)
    return classes, labels, {}


def _told(table: Path) -> list[tuple[str, str, str]]:
    """(column, its value, label) of each row."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, ValueError, csv.Error) as error:
        raise Misconfigured(table, "", f"is no table: {error}", "Save it as UTF-8 text with a line of names") from error
    by = [name for name in _BY if rows and name in rows[0]]
    if len(by) != 1 or "label" not in rows[0]:
        remedy = f"Name them {', '.join(_BY)} (one of them), and label"
        raise Misconfigured(table, "", "has not the columns that are needed", remedy)
    return [
        (by[0], (row[by[0]] or "").strip(), (row["label"] or "").strip())
        for row in rows
        if (row["label"] or "").strip()
    ]


def _is_meant(series: FoundSeries, by: str, name: str, root: Path) -> bool:
    if by == "folder":
        place = series.images[0].file.relative_to(root).as_posix()
        return place == name or place.startswith(f"{name.rstrip('/')}/")
    return name == (series.series_instance_uid if by == "series_instance_uid" else series.study_instance_uid)


def _groups(series: Sequence[FoundSeries]) -> dict[tuple[tuple[str, str], str], str]:
    """((Patient ID, issuer), study) → a name of the patient that tells nobody; the study's where no ID is told."""
    found: dict[tuple[tuple[str, str], str], str] = {}
    numbers: dict[tuple[str, str], int] = {}
    for each in sorted(series, key=lambda one: one.key):
        patient = each.images[0].patient
        whose = patient if patient[0] else ("", each.study_instance_uid)
        number = numbers.setdefault(whose, len(numbers) + 1)
        found[patient, each.study_instance_uid] = f"patient {number}" if patient[0] else f"study {number}"
    return found


def _image(found: FoundSeries) -> np.ndarray:
    (header,) = found.images
    pixels = header.instance.pixels
    is_grey = pixels is not None and pixels.photometric_interpretation.startswith("MONOCHROME")
    colour = Colour.REFUSED if is_grey else Colour.RGB
    (image,) = read_images([(header.file, header.instance)], colour=colour)
    return image.array
