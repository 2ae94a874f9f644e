"""The real data sets: what is known of them is found."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from node.learn.dataset.duplicates import members
from node.learn.dataset.examination import examine
from node.learn.recipe import Splitting
from node.learn.splitting import check, make_split, strata_of


def place_of(test_data: Path, name: str) -> Path:
    place = test_data / name
    if not place.exists():
        pytest.skip(f"no real images: {place} is not there (MATINS_TEST_DATA)")
    return place


def test_breast_ultrasound_has_near_duplicates_across_classes_and_five_folds_keep_them_together(test_data):
    found = examine(place_of(test_data, "busi256"), splitting=Splitting(folds=5))
    found.refuse()
    assert (len(found.survey.cases), found.sheet.groups, len(found.sheet.near_duplicates)) == (584, 458, 95)
    label = {case.key: case.label for case in found.survey.cases}
    across = [keys for keys in members(found.groups).values() if len({label[key] for key in keys}) > 1]
    assert len(across) == 5
    assert ("benign/benign (269).png", "normal/normal (1).png") in across
    split = make_split(found.survey, found.groups, Splitting(folds=5))
    check(split, found.dataset, found.groups, found.survey.digest)
    strata = strata_of(found.survey)
    for fold in split.folds:
        held = Counter(strata[key] for key in fold.test)
        assert abs(held["benign"] - 65.6) < 2
        assert abs(held["malignant"] - 31.4) < 2
        assert abs(held["normal"] - 19.8) < 2


def test_hippocampi_are_alike_but_not_the_same(test_data, tmp_path):
    source = place_of(test_data, "hippocampus")
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for file in sorted((source / folder).glob("*.nii.gz"))[:40]:
            shutil.copy(file, tmp_path / folder)
    found = examine(tmp_path, classes=("anterior", "posterior"))
    found.refuse()
    assert (found.sheet.cases, found.sheet.groups) == (40, 40)
    assert [round(each.volume_ml.median, 1) for each in found.sheet.labels if each.volume_ml] == [1.8, 1.6]


def test_small_chest_films_have_equal_images_across_their_parts(test_data):
    place = place_of(test_data, "pneumoniamnist") / "pneumoniamnist_dev.npz"
    splitting = Splitting(official=True, near_duplicate=1.0, thumbnail=8)
    found = examine(place, classes=("normal", "pneumonia"), splitting=splitting)
    found.refuse()
    assert [each.parts for each in found.sheet.classes] == [
        {"train": 1214, "validation": 135},
        {"train": 3494, "validation": 389},
    ]
    assert ("train/1100", "train/269", "val/253") in found.sheet.duplicates
    split = make_split(found.survey, found.groups, splitting)
    check(split, found.dataset, found.groups, found.survey.digest)
    assert {"train/1100", "train/269"} <= set(split.left_out)
