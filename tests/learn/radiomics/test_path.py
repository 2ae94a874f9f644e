"""Textures are told apart by what is measured of them, and no case has a say in its own judgement."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation
from node.errors import Misconfigured
from node.learn import training
from node.learn.case import Case, Pixels
from node.learn.comparison import FILE_NAME, read_comparisons
from node.learn.dataset import open_dataset
from node.learn.evaluate.evaluation import FILE_NAME as EVALUATION
from node.learn.place import Place
from node.learn.radiomics.classifying import fitted, logistic
from node.learn.radiomics.path import FEATURES, FOLDER, PREDICTIONS, SELECTED, two_stage
from node.learn.radiomics.regions import regions
from node.learn.radiomics.selecting import select
from node.learn.radiomics.table import Radiomics
from node.learn.recipe import Precision, Recipe, Splitting, Training
from node.learn.run import Run
from node.learn.split import Fold, Split
from tests.learn.synthetic import write_picture

torch.set_num_threads(1)
SHARED = Path(os.environ.get("MATINS_TEST_DATA", Path(__file__).parents[4] / "shared/data"))


def textured(root: Path, count: int = 24) -> Path:
    """`root/{coarse,fine}`: discs of one brightness whose noise is coarse or fine, each with its mask."""
    rows, columns = np.mgrid[:32, :32]
    for place in range(count):
        random = np.random.default_rng([23, place])
        noise = random.normal(0, 30, (32, 32))
        name = ("fine", "coarse")[place % 2]
        if name == "coarse":
            noise = np.kron(random.normal(0, 30, (8, 8)), np.ones((4, 4)))
        mask = (rows - 16) ** 2 + (columns - 16) ** 2 < random.integers(60, 140)
        image = np.clip(120 + np.where(mask, noise, 0), 0, 255).astype(np.uint8)
        write_picture(root / name / f"{place}.png", image)
        write_picture(root / name / f"{place}_mask.png", (mask * 255).astype(np.uint8))
    return root


def parted(keys: tuple[str, ...], folds: int = 3) -> Split:
    parts = [keys[number::folds] for number in range(folds)]
    found = tuple(Fold(train=tuple(key for key in keys if key not in part), test=tuple(sorted(part))) for part in parts)
    return Split(method="by hand", dataset_digest="d", folds=found)


def test_textures_are_told_apart_beside_a_network(tmp_path: Path):
    small = {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [4, 8, 8, 8], "spatial_dims": 2}
    recipe = Recipe(
        name="textures",
        task=Task.CLASSIFICATION,
        split=Splitting(folds=2, near_duplicate=1.0),
        preparation=Preparation(size=(32, 32)),
        network=Architecture(name="ResNet", arguments={**small, "n_input_channels": 1, "num_classes": 2}),
        training=Training(epochs=1, batch=8, precision=Precision.SINGLE),
        radiomics=Radiomics(bins=8),
    )
    run = Run(folder=tmp_path / "run")
    wish = training.Wish(recipe=recipe, beside=tmp_path, dataset=textured(tmp_path / "set"), run=run)
    said: list[str] = []
    ears = training.Ears(say=said.append)
    training.train(training.prepare(wish, ears), Place(device=torch.device("cpu")), ears)
    folder = run.folder / FOLDER
    assert {each.name for each in folder.iterdir()} == {FEATURES, PREDICTIONS, SELECTED, EVALUATION}
    told = json.loads((folder / SELECTED).read_text())
    assert set(told["dropped"][0]) == {"constant", "unstable", "correlated", "less telling"}
    assert len((folder / FEATURES).read_text().splitlines()[0].split(",")) > 80
    (compared,) = read_comparisons(run.folder / FILE_NAME)
    network, features = compared.rows
    assert (network.name, features.name) == ("network", "measured features")
    assert features.figures["auc_macro"].value == pytest.approx(1.0)
    assert network.figures["auc_macro"].value is not None
    assert "24 cases" in compared.text
    assert "drawn by hand" in compared.text
    assert any(each.startswith("two-stage path") for each in said)


def test_noise_says_nothing_of_cases_that_were_not_trained_on():
    # 40 cases, 300 features of noise: chosen over all cases they would tell the classes apart.
    random = np.random.default_rng(5)
    values = random.normal(size=(40, 300))
    labels = np.arange(40) % 2
    said = Radiomics(stability=0.0)
    right = 0
    for fold in range(4):
        test = np.arange(40) % 4 == fold
        selection = select(values[~test], None, labels[~test], said)
        classify = fitted(selection.applied(values[~test]), labels[~test], 2, said, 0)
        right += int((classify(selection.applied(values[test])).argmax(axis=1) == labels[test]).sum())
    leaky = select(values, None, labels, said)
    classify = fitted(leaky.applied(values), labels, 2, said, 0)
    assert (classify(leaky.applied(values)).argmax(axis=1) == labels).mean() > 0.8
    assert right / 40 < 0.7


def test_what_is_constant_unstable_or_said_twice_is_dropped():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    telling = labels + random.normal(0, 0.4, 60)
    twin = telling * 3 + random.normal(0, 0.01, 60)
    shaky = labels + random.normal(0, 0.3, 60)
    noise = random.normal(size=60)
    values = np.stack([np.full(60, 7.0), telling, twin, shaky, noise], axis=1)
    disturbed = values.copy()
    disturbed[:, 3] = random.normal(size=60)
    found = select(values, disturbed, labels, Radiomics(most=2))
    assert found.dropped == {"constant": 1, "unstable": 1, "correlated": 1, "less telling": 0}
    assert found.columns[0] in (1, 2)
    assert found.columns[1] == 4
    scaled = found.applied(values)
    assert np.abs(np.median(scaled, axis=0)).max() < 1e-9
    assert np.abs(found.applied(values * 1e6)).max() <= 5


def test_the_regression_is_where_its_gradient_is_nothing():
    random = np.random.default_rng(1)
    values, labels = random.normal(size=(50, 3)), (np.arange(50) % 3).astype(np.intp)
    labels[:20] = 0
    weights, bias = logistic(values, labels, 3, 0.1)
    logits = values @ weights.T + bias
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    counts = np.bincount(labels)
    weighed = (len(labels) / (3 * counts))[labels]
    apart = (shares - np.eye(3)[labels]) * weighed[:, None] / weighed.sum()
    assert np.abs(apart.T @ values + 0.1 * weights).max() < 1e-5
    assert np.abs(apart.sum(axis=0)).max() < 1e-4


def test_what_has_no_region_is_told_by_name(tmp_path: Path):
    root = textured(tmp_path / "set", 4)
    (root / "fine" / "0_mask.png").unlink()
    dataset = open_dataset(root, Task.CLASSIFICATION)
    find = regions(dataset, Radiomics(), tmp_path)
    with pytest.raises(Misconfigured, match="there is no mask of it beside it"):
        find(next(case for case in dataset.cases if case.key == "fine/0.png"))
    write_picture(root / "fine" / "0_mask.png", np.zeros((32, 32), np.uint8))
    with pytest.raises(Misconfigured, match="nothing to measure"):
        find(next(case for case in dataset.cases if case.key == "fine/0.png"))
    write_picture(root / "fine" / "0_mask.png", np.zeros((30, 32), np.uint8))
    with pytest.raises(Misconfigured, match="the mask is"):
        find(next(case for case in dataset.cases if case.key == "fine/0.png"))


def test_trees_without_their_extra_say_what_to_install():
    values: NDArray[np.float64] = np.zeros((4, 1))
    labels = np.array([0, 1, 0, 1], np.intp)
    try:
        import sklearn  # noqa: F401
    except ModuleNotFoundError:
        with pytest.raises(Misconfigured, match="scikit-learn") as error:
            fitted(values, labels, 2, Radiomics(classifier="forest"), 0)
        assert ".[train]" in str(error.value)
    else:
        values = np.array([[0.0], [1.0], [0.1], [0.9]] * 5)
        for name in ("forest", "boosting"):
            said = Radiomics(classifier=name)
            logits = fitted(values, np.tile(labels, 5), 2, said, 0)(values)
            assert logits.shape == (20, 2)


def test_a_case_is_read_with_the_masks_of_its_folder(tmp_path: Path):
    class One:
        name, task, classes, source = "one", Task.CLASSIFICATION, ("a", "b"), tmp_path
        cases = (Case(key="x.png", label=0),)

        def read(self, case: Case) -> Pixels:
            return Pixels(image=np.arange(100, dtype=np.uint8).reshape(10, 10))

    mask = np.zeros((10, 10), np.uint8)
    mask[2:6, 3:8] = 255
    write_picture(tmp_path / "masks" / "x.png", mask)
    found = regions(One(), Radiomics(masks="masks"), tmp_path)(One.cases[0])
    assert int(found.mask.sum()) == 20
    assert found.spacing == (1.0, 1.0)


@pytest.mark.soak
def test_breast_lesions_with_their_masks_go_through():
    folder = SHARED / "busi_fullres_masks"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: set MATINS_TEST_DATA to the folder with test data")
    dataset = open_dataset(folder, Task.CLASSIFICATION)
    split = parted(tuple(case.key for case in dataset.cases), 4)
    done = two_stage(dataset, Recipe(radiomics=Radiomics()), split, folder)
    assert done.evaluation.cases == 24
