"""Data sets of boxes: tables, Pascal VOC beside pictures and DICOM files, and masks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.dataset import open_dataset
from tests.learn import synthetic
from tests.learn.boxes.squares import box_table, squares

SHARED = Path(os.environ.get("MATINS_TEST_DATA", Path(__file__).parents[4] / "shared/data"))
VOC = (
    "<annotation><filename>x</filename><object><name>{name}</name><bndbox><xmin>{0}</xmin><ymin>{1}</ymin>"
    "<xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object></annotation>"
)


def voc(root: Path, count: int = 3, name: str = "square") -> Path:
    for place in range(count):
        image, found = squares(place, count=1)
        synthetic.write_picture(root / "JPEGImages" / f"{place}.png", image)
        (root / "Annotations").mkdir(exist_ok=True)
        left, top, right, bottom = found[0]
        text = VOC.format(left + 1, top + 1, right, bottom, name=name)
        (root / "Annotations" / f"{place}.xml").write_text(text)
    return root


@pytest.mark.parametrize("as_folder", [False, True])
def test_a_table_of_boxes_is_read_with_images_that_have_none(as_folder: bool, tmp_path: Path):
    file = box_table(tmp_path / "set", 6)
    found = open_dataset(file.parent if as_folder else file)
    assert (found.task, found.layout, found.classes) == (Task.DETECTION, "box-table", ("square",))
    assert len(found.cases) == 6
    read = found.read(found.cases[1])
    assert read.image is not None
    true = [((float(top), float(bottom)), (float(left), float(right))) for left, top, right, bottom in squares(1)[1]]
    assert [box.edges for box in read.boxes] == true
    assert found.read(found.cases[-1]).boxes == ()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images/00.png,9,9,5,20,square", "boxes that are none"),
        ("images/00.png,1,2,,4,square", "boxes that are none"),
        ("images/99.png,1,2,3,4,square", "images that are not there"),
        ("../boxes.png,1,2,3,4,square", "images that are not there"),
    ],
)
def test_what_a_row_lacks_is_told_by_its_line(line: str, said: str, tmp_path: Path):
    file = box_table(tmp_path / "set", 3)
    rows = len(file.read_text().splitlines())
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(Misconfigured, match=said) as error:
        open_dataset(file)
    assert f"line {rows + 1}" in str(error.value)


def test_a_box_beyond_its_image_is_told_when_it_is_read(tmp_path: Path):
    file = box_table(tmp_path / "set", 3)
    file.write_text(file.read_text() + "images/00.png,10,10,80,20,square\n")
    found = open_dataset(file)
    with pytest.raises(Misconfigured, match="reaches out of it"):
        found.read(found.cases[0])


def test_pascal_voc_counts_from_one_and_ends_with_a_pixel(tmp_path: Path):
    found = open_dataset(voc(tmp_path / "set"))
    assert (found.layout, found.classes, len(found.cases)) == ("pascal-voc", ("square",), 3)
    left, top, right, bottom = squares(2, count=1)[1][0]
    assert [box.edges for box in found.read(found.cases[2]).boxes] == [((top, bottom), (left, right))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<annotation><object></annotation>", "cannot be|can be read"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotation>&a;</annotation>', "more than a list of boxes"),
        ("<annotation><object><name>a</name></object></annotation>", "no name or no bndbox"),
        (VOC.format(9, 1, 3, 4, name="square"), "beyond the other"),
    ],
)
def test_a_file_that_is_no_list_of_boxes_is_told_by_name(text: str, said: str, tmp_path: Path):
    root = voc(tmp_path / "set")
    (root / "Annotations" / "1.xml").write_text(text)
    with pytest.raises(Misconfigured, match=said) as error:
        open_dataset(root)
    assert "1.xml" in str(error.value)


def test_boxes_without_an_image_are_told(tmp_path: Path):
    root = voc(tmp_path / "set")
    (root / "JPEGImages" / "1.png").unlink()
    with pytest.raises(Misconfigured, match="boxes without an image"):
        open_dataset(root)


def test_masks_train_a_detector_where_that_is_asked_for(tmp_path: Path):
    found = open_dataset(synthetic.nifti_pairs(tmp_path / "set", 2), Task.DETECTION)
    assert found.task is Task.DETECTION
    read = found.read(found.cases[0])
    assert read.labels is None
    assert [box.label for box in read.boxes] == [0, 1]
    labels = synthetic.volume(0)[1].T
    (low, high), *_ = read.boxes[0].edges
    assert not (labels[: int(low)] == 1).any()
    assert (labels[int(low)] == 1).any()
    assert (labels[int(high) - 1] == 1).any()


def test_a_chest_ct_with_voc_files_by_sop_instance_uid_is_read():
    folder = SHARED / "dicom" / "Lung_Dx-A0002"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set MATINS_TEST_DATA to the folder with test data")
    found = open_dataset(folder)
    assert (found.layout, found.classes) == ("pascal-voc", ("A",))
    assert {case.group for case in found.cases} == {"patient 1"}
    read = found.read(found.cases[0])
    assert read.image is not None
    assert read.image.shape == (512, 512)
    assert len(read.boxes) == 1
    (top, bottom), (left, right) = read.boxes[0].edges
    inside = read.image[int(top) : int(bottom), int(left) : int(right)]
    # Soft tissue, as the scanner's window shows it: no air.
    assert float(inside.mean()) > float(read.image.mean())
