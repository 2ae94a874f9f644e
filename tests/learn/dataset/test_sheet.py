"""The data sheet says in numbers what lies on disk, for people, machines and the report."""

from __future__ import annotations

import numpy as np
import pytest

from node.learn.dataset.examination import examine
from node.learn.dataset.plots import draw, figures
from node.learn.dataset.sheet import read_sheet, sheet_text
from node.learn.dataset.sheet_lines import sheet_lines
from node.learn.recipe import Splitting
from tests.learn import synthetic

PNG = b"\x89PNG"


def test_a_classification_is_counted_by_class_and_part(tmp_path):
    sheet = examine(synthetic.medmnist(tmp_path / "toy.npz", {"train": 21, "test": 7})).sheet
    assert (sheet.cases, sheet.parts, sheet.groups, sheet.patients) == (28, {"test": 7, "train": 21}, 28, 0)
    assert [(each.name, each.cases, each.parts) for each in sheet.classes] == [
        ("0", 15, {"test": 4, "train": 11}),
        ("1", 13, {"test": 3, "train": 10}),
    ]
    assert (sheet.sizes, [each.median for each in sheet.size], sheet.spacing_mm) == (1, [14, 14], ())


def test_values_are_those_of_the_pixels_channel_by_channel(tmp_path):
    rng = np.random.default_rng(3)
    for place in range(4):
        image = rng.integers(0, 100, (20, 20, 3)).astype(np.uint8) + np.array([0, 50, 100], np.uint8)
        synthetic.write_picture(tmp_path / "set" / "ab"[place % 2] / f"{place}.png", image)
    sheet = examine(tmp_path / "set").sheet
    assert sheet.channels == {3: 4}
    for channel, each in enumerate(sheet.intensities):
        assert each.mean == pytest.approx(49.5 + 50 * channel, abs=3)
        assert each.percentiles["50"] == pytest.approx(49.5 + 50 * channel, abs=4)
        assert each.deviation == pytest.approx(28.9, abs=1.5)


def test_labels_have_volumes_and_boxes_in_millimetres(tmp_path):
    affine = np.diag([0.5, 1.0, 2.0, 1.0])
    labels = np.zeros((16, 20, 12), np.uint8)
    labels[2:6, 3:13, 4:6] = 1
    for place in range(3):
        synthetic.write_nifti(tmp_path / "set" / "images" / f"{place}.nii.gz", synthetic.volume(place)[0], affine)
        synthetic.write_nifti(tmp_path / "set" / "labels" / f"{place}.nii.gz", labels, affine)
    sheet = examine(tmp_path / "set", classes=("block",)).sheet
    (label,) = sheet.labels
    assert (label.name, label.cases) == ("block", 3)
    assert label.volume_ml is not None
    assert label.volume_ml.median == pytest.approx(4 * 10 * 2 / 1000)
    assert label.share.median == pytest.approx(80 / (16 * 20 * 12))
    # Slice, row, column.
    assert [each.median for each in label.extent] == [4.0, 10.0, 2.0]
    assert [each.median for each in sheet.spacing_mm] == [2.0, 1.0, 0.5]


def test_attributes_are_counted_and_ages_told_as_a_range(tmp_path):
    sheet = examine(synthetic.table(tmp_path / "set"), splitting=Splitting(folds=2)).sheet
    assert sheet.attributes == {"age": {"40–63": 24}, "scanner": {"A": 12, "B": 12}, "sex": {"F": 12, "M": 12}}
    assert sheet.patients == 12


@pytest.mark.parametrize(
    "make", [synthetic.class_folders, synthetic.nifti_pairs, lambda root: synthetic.medmnist(root / "a.npz")]
)
def test_a_sheet_is_read_as_it_was_written_told_and_drawn(make, tmp_path):
    sheet = examine(make(tmp_path / "set")).sheet
    assert read_sheet(sheet_text(sheet)) == sheet
    text = "\n".join(sheet_lines(sheet))
    assert f"{sheet.cases} cases for {sheet.task}" in text
    assert sheet.digest in text
    assert set(figures(sheet)) >= {"sizes", "values"}


def test_figures_become_files(tmp_path):
    sheet = examine(synthetic.class_folders(tmp_path / "set $1$", {"a $x": 4, "b": 4})).sheet
    drawn = draw(sheet, tmp_path / "plots")
    assert [file.name for file in drawn] == ["sheet-classes.png", "sheet-sizes.png", "sheet-values.png"]
    assert all(file.read_bytes().startswith(PNG) for file in drawn)
    assert draw(sheet, tmp_path / "plots", ".svg")[0].read_text(encoding="utf-8").startswith("<?xml")


def test_problems_stand_in_the_sheet(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 12, "b": 12})
    (root / "a" / "a (0).png").write_bytes(b"")
    sheet = examine(root).sheet
    assert sheet.cases == 23
    assert any("error: cases that cannot be read (1): a/a (0).png" in line for line in sheet_lines(sheet))
