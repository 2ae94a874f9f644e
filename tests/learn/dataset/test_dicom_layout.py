"""DICOM studies as a data set: the right mask on the right images, or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.dataset.layouts import fitting
from node.learn.dataset.layouts.dicom import open_at
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.problems import Gravity
from tests.corrections import WHOSE, ball
from tests.foreign_reports import code, masked, written
from tests.report.synthetic import Scan, mr_series


def series(folder: Path, patient: str = "P-1", **header: object) -> list[Dataset]:
    """One series of one study of a patient, its UIDs its own."""
    told = {**WHOSE, "PatientID": patient, "ManufacturerModelName": "Magnet", "InstitutionName": "site-a", **header}
    for path in mr_series(folder, replace(Scan(), header=told)):
        image = dcmread(path)
        image.StudyInstanceUID, image.SeriesInstanceUID = f"1.2.{len(folder.name)}.1", f"1.2.{len(folder.name)}.2"
        image.SOPInstanceUID = f"1.2.{len(folder.name)}.3.{image.InstanceNumber}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PixelData = np.full((image.Rows, image.Columns), image.InstanceNumber, np.uint16).tobytes()
        image.save_as(path, enforce_file_format=True)
    return [dcmread(path) for path in sorted(folder.glob("*.dcm"))]


def draw(folder: Path, images: list[Dataset], change: Callable[[Dataset], None] | None = None, uid: str = "") -> Path:
    made = masked(uid or f"1.2.99.{len(folder.name)}", images, ball(images), np.roll(ball(images), 8, axis=2))
    if change is not None:
        change(made)
    return written(folder, made)


def opened(root: Path, **wanted: object) -> Opened:
    return open_at(root, Wanted(**wanted))  # type: ignore[arg-type]


def faults(found: Opened) -> list[str]:
    return [each.fault for each in found.problems if each.gravity is Gravity.ERROR]


def test_segments_are_labels_by_what_their_codes_mean(tmp_path: Path) -> None:
    images = series(tmp_path / "a")
    draw(tmp_path / "a", images, lambda made: setattr(made.SegmentSequence[0], "SegmentLabel", "Segment_1"))
    series(tmp_path / "bb", "P-1")
    found = opened(tmp_path)
    assert fitting(tmp_path) == "dicom"
    assert (found.task, found.classes, faults(found)) == (Task.SEGMENTATION, ("Nodule", "Pulmonary embolism"), [])
    (case,) = found.cases
    assert case.group == "patient 1"
    assert case.attributes == {"sex": "F", "age": "56", "scanner": "ACME Magnet", "site": "site-a"}
    pixels = found.read(case)
    assert pixels.volume is not None
    assert pixels.labels is not None
    shape = pixels.volume.array.shape
    assert pixels.labels.shape == shape
    assert np.bincount(pixels.labels.ravel()).tolist() == [int(np.prod(shape)) - 72, 36, 36]
    slices = {int(pixels.volume.array[place].max()) for place in np.flatnonzero(pixels.labels.any(axis=(1, 2)))}
    assert slices == {3, 4, 5}
    assert [each.names for each in found.problems if "without a segmentation" in each.fault] == [("1.2.2.1/1.2.2.2",)]


def test_classes_in_the_order_asked_for_and_the_rest_is_background(tmp_path: Path) -> None:
    draw(tmp_path / "a", series(tmp_path / "a"))
    found = opened(tmp_path, classes=("Pulmonary embolism",))
    pixels = found.read(found.cases[0])
    assert pixels.labels is not None
    assert np.bincount(pixels.labels.ravel())[1:].tolist() == [36]
    assert [each.gravity for each in found.problems if each.names == ("Nodule",)] == [Gravity.WARNING]


def test_two_segments_of_one_code_are_told_apart_by_their_labels(tmp_path: Path) -> None:
    def halves(made: Dataset) -> None:
        for item, label in zip(made.SegmentSequence, ("anterior", "posterior"), strict=True):
            item.SegmentedPropertyTypeCodeSequence = [code(("5366008", "SCT", "Hippocampus"))]
            item.SegmentLabel = label

    draw(tmp_path / "a", series(tmp_path / "a"), halves)
    assert opened(tmp_path).classes == ("anterior", "posterior")


def another_image(made: Dataset) -> None:
    made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID = "1.2.9.9"


@pytest.mark.parametrize(
    "change",
    [
        lambda made: setattr(made, "StudyInstanceUID", "1.2.9.9"),
        lambda made: setattr(made, "PatientID", "P-2"),
        lambda made: setattr(made, "IssuerOfPatientID", "B"),
        lambda made: setattr(made, "FrameOfReferenceUID", "1.2.9.9"),
        lambda made: delattr(made, "FrameOfReferenceUID"),
        lambda made: delattr(made, "ReferencedSeriesSequence"),
        another_image,
    ],
)
def test_a_segmentation_of_something_else_is_told_by_name_and_drawn_on_nothing(
    tmp_path: Path, change: Callable[[Dataset], None]
) -> None:
    path = draw(tmp_path / "a", series(tmp_path / "a"), change)
    found = opened(tmp_path)
    assert found.cases == ()
    assert faults(found) == ["segmentations that are not of the images here"]
    assert path.name in next(each for each in found.problems if each.gravity is Gravity.ERROR).names[0]


def test_damage_copies_several_masks_and_many_frames_are_told_at_once(tmp_path: Path) -> None:
    images = series(tmp_path / "a")
    draw(tmp_path / "a", images)
    draw(tmp_path / "a", images, uid="1.2.98")
    series(tmp_path / "bb", NumberOfFrames=4)
    (tmp_path / "broken.dcm").write_bytes(b"nothing")
    (tmp_path / "copy.dcm").write_bytes((tmp_path / "a" / "000.dcm").read_bytes())
    assert set(faults(opened(tmp_path))) == {
        "files that are no DICOM objects",
        "one SOP Instance UID in several files",
        "several segmentations of one series",
        "multi-frame images, which are not read from folders",
    }


def test_a_mask_that_lies_elsewhere_is_told_when_it_is_read(tmp_path: Path) -> None:
    def moved(made: Dataset) -> None:
        for frame in made.PerFrameFunctionalGroupsSequence:
            frame.PlanePositionSequence[0].ImagePositionPatient = [500.0, 0.0, 0.0]

    draw(tmp_path / "a", series(tmp_path / "a"), moved)
    found = opened(tmp_path)
    with pytest.raises(Misconfigured, match="does not lie on the pixels"):
        found.read(found.cases[0])


@pytest.mark.parametrize(
    "rows",
    [
        "series_instance_uid,label\n1.2.1.2,benign\n1.2.2.2,malignant\n",
        "study_instance_uid,label\n1.2.1.1,benign\n1.2.2.1,malignant\n",
        "folder,label\na,benign\nbb/,malignant\n",
    ],
)
def test_classes_from_a_table_patients_kept_together(tmp_path: Path, rows: str) -> None:
    series(tmp_path / "a")
    single = series(tmp_path / "bb")
    for number in range(1, len(single)):
        (tmp_path / "bb" / f"{number:03}.dcm").unlink()
    series(tmp_path / "ccc", "P-2")
    (tmp_path / "labels.csv").write_text(rows)
    found = opened(tmp_path)
    assert (found.task, found.classes, faults(found)) == (Task.CLASSIFICATION, ("benign", "malignant"), [])
    assert [(case.label, case.group) for case in found.cases] == [(0, "patient 1"), (1, "patient 1")]
    first, second = (found.read(case) for case in found.cases)
    assert first.volume is not None
    assert second.image is not None
    assert second.image.shape == (24, 20)


def test_a_table_that_contradicts_itself_or_names_what_is_not_here(tmp_path: Path) -> None:
    series(tmp_path / "a")
    (tmp_path / "labels.csv").write_text("folder,label\na,benign\na/000.dcm,malignant\nnowhere,benign\n")
    assert set(faults(opened(tmp_path))) == {"rows of series that are not here", "series with several labels"}
    (tmp_path / "labels.csv").write_text("name,label\na,benign\n")
    with pytest.raises(Misconfigured, match="has not the columns"):
        opened(tmp_path)


def test_without_any_truth_there_is_no_data_set(tmp_path: Path) -> None:
    series(tmp_path / "a")
    with pytest.raises(Misconfigured, match="no labels"):
        opened(tmp_path, task=Task.CLASSIFICATION)
    with pytest.raises(Misconfigured, match="nothing says what is true"):
        opened(tmp_path)
