"""Each layout is found by itself, and lists the same cases everywhere."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.dataset import list_dataset, open_dataset
from node.learn.dataset.examination import examine
from node.learn.dataset.problems import Gravity
from node.learn.dataset.survey import survey
from tests.learn import synthetic


def test_folders_by_class_are_cases_of_these_classes(tmp_path):
    found = open_dataset(synthetic.class_folders(tmp_path / "set", {"normal": 2, "benign": 3}))
    assert (found.task, found.classes, len(found.cases)) == (Task.CLASSIFICATION, ("benign", "normal"), 5)
    assert found.cases[0].key == "benign/benign (0).png"
    assert [case.label for case in found.cases] == [0, 0, 0, 1, 1]
    pixels = found.read(found.cases[0])
    assert pixels.image is not None
    np.testing.assert_array_equal(pixels.image, synthetic.picture(1000, 1))


def test_the_recipe_orders_the_classes(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"normal": 2, "benign": 3})
    found = open_dataset(root, classes=("normal", "benign"))
    assert [case.label for case in found.cases] == [1, 1, 1, 0, 0]
    with pytest.raises(Misconfigured, match=r"none of the classes normal \(1\): benign"):
        open_dataset(root, classes=("normal",))


def test_folders_named_after_parts_are_official_parts(tmp_path):
    synthetic.class_folders(tmp_path / "set" / "train", {"a": 3, "b": 3})
    synthetic.class_folders(tmp_path / "set" / "test", {"a": 1, "b": 1})
    found = open_dataset(tmp_path / "set")
    assert found.classes == ("a", "b")
    assert [case.part for case in found.cases] == ["test"] * 2 + ["train"] * 6


def test_a_folder_within_that_of_a_class_is_a_patient(tmp_path):
    for patient in ("p1", "p2"):
        synthetic.write_picture(tmp_path / "set" / "a" / patient / "1.png", synthetic.picture(1))
        synthetic.write_picture(tmp_path / "set" / "b" / patient / "1.png", synthetic.picture(2))
    assert {case.key: case.group for case in open_dataset(tmp_path / "set").cases} == {
        "a/p1/1.png": "p1", "a/p2/1.png": "p2", "b/p1/1.png": "p1", "b/p2/1.png": "p2",
    }  # fmt: skip


def test_masks_beside_pictures_are_not_taken_for_images(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 2, "b": 2})
    shutil.copy(root / "a" / "a (0).png", root / "a" / "a (0)_mask.png")
    found = open_dataset(root)
    assert len(found.cases) == 4
    assert "1 masks lie beside" in found.problems[0].text


def _masked(root, *names, size=(24, 24)):
    """Masks of a few pixels each, one further down than the other."""
    for place, name in enumerate(names):
        mask = np.zeros(size, np.uint8)
        mask[4 * place : 4 * place + 2, 3:6] = 255
        synthetic.write_picture(root / name, mask)


def test_masks_beside_a_picture_are_its_region_all_together(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 3, "b": 2})
    _masked(root / "a", "a (0)_mask.png", "a (0)_mask_1.png")
    _masked(root / "a", "a (1)_MASK.png")
    synthetic.write_picture(root / "b" / "b (0)_mask.png", np.zeros((24, 24), np.uint8))
    found = open_dataset(root)
    first, second, third, empty, _ = found.cases
    assert first.masks == ("a/a (0)_mask.png", "a/a (0)_mask_1.png")
    region = found.region(first)
    assert region is not None
    assert [tuple(place) for place in np.argwhere(region)] == [
        (row, column) for row in (0, 1, 4, 5) for column in (3, 4, 5)
    ]
    assert second.masks == ("a/a (1)_MASK.png",)
    assert (third.masks, found.region(third)) == ((), None)
    # A mask with nothing in it draws nothing.
    assert (empty.masks, found.region(empty)) == (("b/b (0)_mask.png",), None)
    # No network is given it.
    assert found.read(first).labels is None


def test_a_mask_as_jpeg_is_what_is_lighter_than_half(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 1, "b": 1}, size=(64, 64))
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 16:48] = 255
    Image.fromarray(mask).save(root / "a" / "a (0)_mask.jpg", quality=70)
    found = open_dataset(root)
    region = found.region(found.cases[0])
    assert region is not None
    np.testing.assert_array_equal(region, mask > 0)


def test_a_mask_goes_with_a_picture_that_asks_to_be_turned(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 1, "b": 1})
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(synthetic.picture(1, size=(20, 30))).save(root / "a" / "a (0).png", exif=turned)
    _masked(root / "a", "a (0)_mask.png", size=(30, 20))
    found = open_dataset(root)
    region, image = found.region(found.cases[0]), found.read(found.cases[0]).image
    assert region is not None
    assert image is not None
    assert region.shape == image.shape == (30, 20)


def test_masks_change_no_digest(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 2, "b": 2})
    before = survey(open_dataset(root))
    _masked(root / "a", "a (0)_mask.png", "a (1)_mask.png")
    after = survey(open_dataset(root))
    assert after.digest == before.digest
    assert [each.truth_digest for each in after.sights] == [each.truth_digest for each in before.sights]
    assert after.problems == ()


def test_masks_that_do_not_fit_are_named_and_keep_nobody_from_training(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 30, "b": 30})
    _masked(root / "a", "a (0)_mask.png", size=(24, 20))
    (root / "b" / "b (1)_mask.png").write_bytes(b"nothing of a picture")
    examined = examine(root)
    (problem,) = [each for each in examined.problems if each.fault.startswith("masks that explanations")]
    assert problem.gravity is Gravity.WARNING
    assert problem.names[0] == "a (0)_mask.png (the mask is 24 × 20, but its image is 24 × 24)"
    assert problem.names[1].startswith("b (1)_mask.png (cannot be decoded")
    examined.refuse()
    with pytest.raises(Misconfigured, match="24 × 20"):
        examined.dataset.region(examined.dataset.cases[0])


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg"])
def test_pictures_of_every_kind_are_read(suffix, tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 1, "b": 1}, suffix=suffix)
    found = open_dataset(root)
    image = found.read(found.cases[0]).image
    assert image is not None
    assert image.dtype == np.uint8
    assert np.corrcoef(image.ravel(), synthetic.picture(0).ravel())[0, 1] > 0.9


def test_grey_stored_as_colour_is_grey_and_sixteen_bits_stay(tmp_path):
    grey, deep = synthetic.picture(1), synthetic.picture(2).astype(np.uint16) * 100
    coloured = np.stack([grey, grey, 255 - grey], axis=-1)
    synthetic.write_picture(tmp_path / "set" / "a" / "grey.png", np.stack([grey] * 3, axis=-1))
    synthetic.write_picture(tmp_path / "set" / "a" / "rgb.png", coloured)
    synthetic.write_picture(tmp_path / "set" / "b" / "deep.png", deep)
    found = open_dataset(tmp_path / "set")
    shapes = {case.key: found.read(case).image for case in found.cases}
    np.testing.assert_array_equal(shapes["a/grey.png"], grey)
    np.testing.assert_array_equal(shapes["a/rgb.png"], coloured)
    np.testing.assert_array_equal(shapes["b/deep.png"], deep)
    assert shapes["b/deep.png"].dtype == np.int16


def test_a_table_says_class_patient_and_attributes(tmp_path):
    file = synthetic.table(tmp_path / "set")
    found = open_dataset(file)
    assert (found.classes, len(found.cases)) == (("benign", "malignant"), 24)
    case = found.cases[3]
    assert (case.key, case.label, case.group) == ("images/03.png", 1, "P01")
    assert case.attributes == {"sex": "F", "age": "43", "scanner": "A"}
    assert {each.key for each in open_dataset(tmp_path / "set").cases} == {each.key for each in found.cases}


def test_a_table_with_semicolons_and_names_without_endings(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"all": 4})
    lines = ["Image ID;dx;Split", *(f"all ({n});{n % 2};{'test' if n > 2 else 'train'}" for n in range(4))]
    (root / "labels.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    found = open_dataset(root / "labels.csv")
    assert [(case.key, case.label, case.part) for case in found.cases] == [
        (f"all/all ({n}).png", n % 2, "test" if n > 2 else "train") for n in range(4)
    ]


def test_columns_that_could_both_be_meant_are_named(tmp_path):
    file = synthetic.table(tmp_path / "set", [{"image": "1.png", "label": "a", "diagnosis": "b"}])
    with pytest.raises(Misconfigured, match="several columns could be the label: label, diagnosis"):
        open_dataset(file)


def test_a_missing_column_is_named_with_what_it_may_be_called(tmp_path):
    file = synthetic.table(tmp_path / "set", [{"image": "1.png", "weight": "a"}])
    with pytest.raises(Misconfigured, match=r"no column for the label among image, weight.*label, class, diagnosis"):
        open_dataset(file)


def test_the_decathlon_names_its_labels_and_test_images_are_no_cases(tmp_path):
    found = open_dataset(synthetic.decathlon(tmp_path / "Task99_Blocks"))
    assert (found.task, found.classes) == (Task.SEGMENTATION, ("anterior", "posterior"))
    assert [case.key for case in found.cases] == [f"imagesTr/case_{place:03}.nii.gz" for place in range(6)]
    pixels = found.read(found.cases[4])
    values, labels = synthetic.volume(4)
    assert pixels.volume is not None
    assert pixels.labels is not None
    np.testing.assert_array_equal(pixels.volume.array, values.T)
    np.testing.assert_array_equal(pixels.labels, labels.T)


def test_labels_by_name_as_nnunet_writes_them(tmp_path):
    root = synthetic.decathlon(tmp_path / "Dataset999_Blocks", tests=0)
    listing = {"labels": {"background": 0, "anterior": 1, "posterior": 2}, "file_ending": ".nii.gz"}
    (root / "dataset.json").write_text(json.dumps(listing))
    for file in list((root / "imagesTr").iterdir()):
        file.rename(file.with_name(file.name.replace(".nii.gz", "_0000.nii.gz")))
    found = open_dataset(root)
    assert (found.classes, len(found.cases)) == (("anterior", "posterior"), 6)


def test_an_affine_in_lps_goes_with_the_volume(tmp_path):
    affine = np.diag([0.5, 0.75, 2.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    found = open_dataset(synthetic.nifti_pairs(tmp_path / "set", 1, affine=affine))
    volume = found.read(found.cases[0]).volume
    assert volume is not None
    assert volume.grid.spacing_mm == (2.0, 0.75, 0.5)
    # RAS (10, 20, 30) is LPS (-10, -20, 30).
    np.testing.assert_allclose(volume.grid.matrix[:3, 3], [-10, -20, 30])
    assert found.classes == ("label 1", "label 2")


def test_pictures_and_masks_in_white_are_pairs_too(tmp_path):
    found = open_dataset(synthetic.picture_pairs(tmp_path / "set"))
    pixels = found.read(found.cases[0])
    assert (found.task, found.classes) == (Task.SEGMENTATION, ("label 1",))
    assert pixels.labels is not None
    assert (int(pixels.labels.max()), int(pixels.labels.sum())) == (1, 25)


@pytest.mark.parametrize("size", [(14, 14), (10, 12, 14)])
def test_an_archive_of_arrays_keeps_its_official_parts(size, tmp_path):
    file = synthetic.medmnist(tmp_path / "toy.npz", size=size)
    found = open_dataset(file)
    assert (found.name, len(found.cases), found.classes) == ("toy", 32, ("0", "1"))
    assert {case.key.partition("/")[0]: case.part for case in found.cases} == {
        "train": "train", "val": "validation", "test": "test",
    }  # fmt: skip
    case = next(case for case in found.cases if case.key == "val/3")
    pixels = found.read(case)
    array = pixels.image if pixels.volume is None else pixels.volume.array
    assert array is not None
    with np.load(file) as arrays:
        np.testing.assert_array_equal(array, arrays["val_images"][3])


def test_images_of_a_part_without_labels_are_no_cases(tmp_path):
    with np.load(synthetic.medmnist(tmp_path / "toy.npz")) as arrays:
        np.savez(tmp_path / "toy.npz", **{name: arrays[name] for name in arrays.files if name != "test_labels"})
    assert {case.part for case in open_dataset(tmp_path / "toy.npz").cases} == {"train", "validation"}


def test_what_fits_no_layout_is_told_what_was_looked_for(tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(Misconfigured, match=r"no layout of a data set fits.*(?s:.)*dataset\.json.*(?s:.)*\.npz"):
        open_dataset(tmp_path)


def test_what_fits_two_layouts_says_which_and_why(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 2, "b": 2})
    synthetic.table(root, [{"image": "a/a (0).png", "diagnosis": "benign"}])
    with pytest.raises(Misconfigured, match=r"several layouts fit.*folders with images: a, b.*cases\.csv names images"):
        open_dataset(root)
    assert len(open_dataset(root / "cases.csv").cases) == 1


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (synthetic.class_folders, Task.SEGMENTATION),
        (lambda root: synthetic.nifti_pairs(root, 1), Task.CLASSIFICATION),
        (synthetic.table, Task.DETECTION),
        (lambda root: synthetic.medmnist(root / "a.npz"), Task.SEGMENTATION),
    ],
)
def test_a_task_that_the_layout_has_no_truth_for_is_refused(make, task, tmp_path):
    with pytest.raises(Misconfigured, match=f"cannot train a {task}"):
        open_dataset(make(tmp_path / "set"), task)


def test_listing_decodes_nothing(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 2, "b": 2})
    (root / "a" / "a (0).png").write_bytes(b"")
    assert len(list_dataset(root).cases) == 4


def test_a_picture_of_several_pages_is_no_case(tmp_path):
    root = synthetic.class_folders(tmp_path / "set", {"a": 1, "b": 1})
    pages = [Image.fromarray(synthetic.picture(seed)) for seed in (1, 2)]
    pages[0].save(root / "a" / "pages.tif", save_all=True, append_images=pages[1:])
    found = open_dataset(root)
    with pytest.raises(Misconfigured, match="it has 2 pages"):
        found.read(next(case for case in found.cases if "pages" in case.key))
