"""Every bad data set is told of at once, by the names of its cases, before anything is trained."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from node.domain.model_card import Task
from node.domain.preparation import Preparation
from node.errors import Misconfigured
from node.learn.dataset import open_dataset
from node.learn.dataset.examination import Examination, examine
from node.learn.dataset.problems import Gravity
from node.learn.recipe import Splitting
from tests.learn import synthetic

TWO_FOLDS = Splitting(folds=2)


def told(examination: Examination, gravity: Gravity) -> str:
    return "\n".join(problem.text for problem in examination.problems if problem.gravity is gravity)


def refused(path, **asked) -> str:
    examination = examine(path, **{"splitting": TWO_FOLDS, **asked})
    with pytest.raises(Misconfigured) as caught:
        examination.refuse()
    return str(caught.value)


def test_a_sound_data_set_is_not_refused(tmp_path):
    found = examine(synthetic.class_folders(tmp_path / "set"), splitting=TWO_FOLDS)
    assert found.problems == ()
    found.refuse()


def test_a_missing_label_is_told_by_line_and_image(tmp_path):
    file = synthetic.table(tmp_path / "set")
    with file.open(encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    rows[2]["diagnosis"] = ""
    synthetic.table(tmp_path / "set", rows)
    with pytest.raises(Misconfigured, match=r"images without a label \(1\): line 4 \(images/02\.png\)"):
        open_dataset(file)


def test_an_image_in_no_folder_of_a_class_has_no_label(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    synthetic.write_picture(root / "loose.png", synthetic.picture(99))
    assert "images without a label: in no class's folder (1): loose.png" in refused(root)


def test_rows_without_their_image_are_told(tmp_path):
    file = synthetic.table(tmp_path / "set")
    (tmp_path / "set" / "images" / "07.png").unlink()
    assert "images that are not there, or several of that name (1): line 9 (images/07.png)" in refused(file)


def test_an_image_without_its_mask_and_a_mask_without_its_image_are_told(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 4)
    (root / "labels" / "case_01.nii.gz").unlink()
    (root / "images" / "case_02.nii.gz").unlink()
    message = refused(root)
    assert "images without a mask (1): images/case_01.nii.gz" in message
    assert "masks without an image (1): labels/case_02.nii.gz" in message


def test_a_mask_of_another_size_or_place_than_its_image_is_told(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 4)
    labels = synthetic.volume(0)[1]
    synthetic.write_nifti(root / "labels" / "case_00.nii.gz", labels[:-1])
    moved = np.eye(4)
    moved[0, 3] = 3
    synthetic.write_nifti(root / "labels" / "case_03.nii.gz", synthetic.volume(3)[1], moved)
    message = refused(root)
    assert "case_00.nii.gz (the mask is 12 × 20 × 15, but its image is 12 × 20 × 16)" in message
    assert "case_03.nii.gz (the mask has another affine than its image)" in message


@pytest.mark.parametrize("damage", [lambda held: held[: len(held) // 2], lambda held: b"", lambda held: b"no" + held])
def test_a_damaged_picture_is_told(damage, tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    file = root / "benign" / "benign (3).png"
    file.write_bytes(damage(file.read_bytes()))
    assert "cases that cannot be read (1): benign/benign (3).png (cannot be decoded" in refused(root)


@pytest.mark.parametrize("damage", [lambda held: held[: len(held) // 2], lambda held: b"", lambda held: b"no" + held])
def test_a_damaged_volume_is_told(damage, tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 4)
    file = root / "images" / "case_02.nii.gz"
    file.write_bytes(damage(file.read_bytes()))
    assert "cases that cannot be read (1): images/case_02.nii.gz (cannot be decoded" in refused(root)


def test_a_damaged_archive_is_told(tmp_path):
    file = synthetic.medmnist(tmp_path / "toy.npz")
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(Misconfigured, match=r"toy\.npz: cannot be decoded"):
        open_dataset(file)


def test_one_class_only_is_told(tmp_path):
    assert "every case is of one class, benign" in refused(synthetic.class_folders(tmp_path / "set", {"benign": 12}))


def test_a_class_with_fewer_cases_than_folds_is_told(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"benign": 12, "rare": 3})
    message = refused(root, splitting=Splitting(folds=5))
    assert "classes with fewer cases (counted by patient or likeness) than the 5 folds (1): rare (3)" in message


def test_patients_count_once_where_folds_are_asked_for(tmp_path):
    rows = [{"image": f"images/{n:02}.png", "label": "ab"[n % 2], "patient": str(n if n % 2 else n % 4)}
            for n in range(24)]  # fmt: skip
    assert "5 folds (1): a (2)" in refused(synthetic.table(tmp_path / "set", rows), splitting=Splitting(folds=5))


def test_values_beyond_the_labels_are_told_and_labels_that_never_occur(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 4)
    labels = synthetic.volume(1)[1]
    labels[0, 0, 0] = 7
    synthetic.write_nifti(root / "labels" / "case_01.nii.gz", labels)
    message = refused(root, classes=("anterior", "posterior", "head"))
    assert "beyond the 3 labels anterior, posterior, head (1): images/case_01.nii.gz (7)" in message
    assert "labels that no mask has (1): head" in message


def test_numbers_beyond_the_classes_are_told(tmp_path):
    file = synthetic.medmnist(tmp_path / "toy.npz", classes=3)
    assert "labels beyond the 2 classes no, yes" in refused(file, classes=("no", "yes"))


def test_masks_of_broken_numbers_are_told(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 4)
    synthetic.write_nifti(root / "labels" / "case_01.nii.gz", synthetic.volume(1)[1].astype(np.float32) * 0.5)
    assert "case_01.nii.gz (is no mask: labels are whole numbers from 0 to 255)" in refused(root)


def test_empty_masks_are_a_warning(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 6)
    synthetic.write_nifti(root / "labels" / "case_05.nii.gz", np.zeros((16, 20, 12), np.uint8))
    found = examine(root, splitting=TWO_FOLDS)
    assert "empty masks (1): images/case_05.nii.gz" in told(found, Gravity.WARNING)
    found.refuse()


def test_constant_images_and_images_of_no_numbers_are_told(tmp_path):
    root = synthetic.nifti_pairs(tmp_path / "set", 6)
    values = synthetic.volume(1)[0]
    values[3, 3, 3] = np.nan
    synthetic.write_nifti(root / "images" / "case_01.nii.gz", values)
    synthetic.write_nifti(root / "images" / "case_02.nii.gz", np.full((16, 20, 12), 5, np.int16))
    message = refused(root)
    assert "(NaN or infinite) (1): images/case_01.nii.gz" in message
    assert "one value everywhere (1): images/case_02.nii.gz" in message


def test_mixed_sizes_are_refused_where_nothing_resizes_them(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    synthetic.write_picture(root / "benign" / "benign (0).png", synthetic.picture(0, 0, (30, 24)))
    message = refused(root, preparation=Preparation())
    assert "mixed sizes (2): 24 × 24 (23 cases), 30 × 24 (1 cases)" in message
    assert "preparation.size" in message
    for preparation in (None, Preparation(size=(24, 24))):
        found = examine(root, splitting=TWO_FOLDS, preparation=preparation)
        found.refuse()
        assert "mixed sizes" in told(found, Gravity.NOTE)


@pytest.mark.parametrize(("official", "gravity"), [(True, Gravity.WARNING), (False, Gravity.NOTE)])
def test_duplicates_across_official_parts_are_told(official, gravity, tmp_path):
    file = synthetic.medmnist(tmp_path / "toy.npz")
    with np.load(file) as held:
        arrays = dict(held)
    arrays["test_images"][1] = arrays["train_images"][3]
    np.savez(file, **arrays)
    found = examine(file, splitting=Splitting(official=official))
    assert "duplicates across the official parts (1): test/1 = train/3" in told(found, gravity)
    assert found.groups["train/3"] == found.groups["test/1"] == "test/1"
    assert found.sheet.leaks == (("test/1", "train/3"),)


def test_patients_in_two_official_parts_are_told_without_their_names(tmp_path):
    rows = [{"image": f"images/{n:02}.png", "label": "ab"[n % 2], "patient": f"Secret{n // 2}",
             "split": "test" if n in (3, 22, 23) else "train"} for n in range(24)]  # fmt: skip
    found = examine(synthetic.table(tmp_path / "set", rows), splitting=Splitting(official=True))
    assert "patients in several official parts (1): images/02.png = images/03.png" in told(found, Gravity.WARNING)
    assert "Secret" not in str(found.sheet) + str(found.groups)


def test_a_duplicate_with_another_label_is_named_and_stays_in_one_group(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    (root / "malignant" / "copy.png").write_bytes((root / "benign" / "benign (3).png").read_bytes())
    near = synthetic.picture(5)
    near[0, 0] ^= 3
    synthetic.write_picture(root / "malignant" / "near.png", near)
    found = examine(root, splitting=TWO_FOLDS)
    warnings = told(found, Gravity.WARNING)
    assert "equal images with different labels (1): benign/benign (3).png = malignant/copy.png" in warnings
    assert "near-duplicates with different labels (1): benign/benign (5).png = malignant/near.png" in warnings
    assert found.groups["malignant/copy.png"] == "benign/benign (3).png"
    assert found.groups["malignant/near.png"] == "benign/benign (5).png"


def test_everything_is_told_together(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"benign": 12, "malignant": 12, "rare": 1})
    (root / "benign" / "benign (3).png").write_bytes(b"")
    synthetic.write_picture(root / "loose.png", synthetic.picture(99))
    synthetic.write_picture(root / "benign" / "flat.png", np.zeros((24, 24), np.uint8))
    message = refused(root)
    assert "4 problems" in message
    for name in ("benign (3).png", "loose.png", "flat.png", "rare"):
        assert name in message


def test_volumes_among_pictures_are_told(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    synthetic.write_nifti(root / "benign" / "deep.nii.gz", synthetic.volume(1)[0])
    assert "single images among volumes" in refused(root)


def test_volumes_in_folders_by_class_are_a_data_set(tmp_path):
    for place in range(6):
        values = synthetic.volume(place)[0]
        synthetic.write_nifti(tmp_path / "set" / "ab"[place % 2] / f"{place}.nii.gz", values)
    found = examine(tmp_path / "set", splitting=TWO_FOLDS)
    found.refuse()
    assert (found.dataset.task, found.sheet.size[0].median) == (Task.CLASSIFICATION, 12)
