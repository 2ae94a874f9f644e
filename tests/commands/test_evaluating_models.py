"""`matins evaluate MODEL DATASET` with models that were really trained and exported, on images that they never met."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from node.catalogue.cards import read_card
from node.cli import app
from node.commands.finishing import making_of, trained_of
from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.domain.time import SystemClock
from node.learn import training
from node.learn.export import export
from node.learn.place import Place
from node.learn.recipe import Augmentation, Balance, Judging, Recipe, Splitting, Training
from node.learn.recipe_export import Exporting, Members
from node.learn.run import Run
from tests.learn import synthetic

torch.set_num_threads(1)
CONFIG = str(Path(__file__).resolve().parents[2] / "config.toml")
PLACE = Place(device=torch.device("cpu"))
QUIET = Augmentation()


def made(folder: Path, data: Path, recipe: Recipe) -> Path:
    """The folder of a model, trained on a data set as `matins train` does it."""
    wish = training.Wish(recipe=recipe, beside=folder, dataset=data, run=Run(folder=folder / "run"))
    ready = training.prepare(wish, training.Ears())
    evaluation = training.train(ready, PLACE, training.Ears())
    making = making_of(ready, PLACE, "matins train data", SystemClock().now().wall.date())
    return export(trained_of(ready, evaluation, making), ready.run.models / recipe.name)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model of two seeds that have seen every case, calibrated out of fold; and its data set."""
    folder = tmp_path_factory.mktemp("seen")
    data = synthetic.class_folders(folder / "data", {"benign": 16, "malignant": 16})
    network = {"in_shape": [1, 12, 12], "classes": 2, "channels": [4], "strides": [2]}
    recipe = Recipe(
        name="seen",
        classes=("benign", "malignant"),
        split=Splitting(folds=2, shares=(1.0, 0.0, 0.0)),
        preparation=Preparation(size=(12, 12), values=Values.ZSCORE),
        network=Architecture(name="Classifier", arguments=network),
        augmentation=QUIET,
        training=Training(epochs=8, batch=8, learning_rate=0.01, balance=Balance.NONE, seeds=(0, 1)),
        evaluation=Judging(positive="malignant"),
        export=Exporting(members=Members.WHOLE_SEEDS),
    )
    return made(folder, data, recipe), data


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of two blocks."""
    folder = tmp_path_factory.mktemp("outlined")
    data = synthetic.nifti_pairs(folder / "data", 6)
    unet = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]}
    recipe = Recipe(
        name="outlined",
        classes=("anterior", "posterior"),
        split=Splitting(shares=(0.7, 0.3, 0.0), near_duplicate=1.0),
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), values=Values.ZSCORE, patch=(16, 20, 12)),
        network=Architecture(name="UNet", arguments=unet),
        augmentation=QUIET,
        training=Training(epochs=2, batch=2),
    )
    return made(folder, data, recipe)


def evaluated(model: Path, data: Path, *words: str, code: int = 0) -> Any:
    here = ("--config", CONFIG, "--data", str(model.parent / "node"), "--device", "cpu")
    found = CliRunner().invoke(app, ["evaluate", str(model), str(data), "--json", *words, *here])
    assert found.exit_code == code, (found.output, found.exception)
    return json.loads(found.stdout) if code == 0 else " ".join(found.stderr.split())


def others(folder: Path, names: tuple[str, ...] = ("benign", "malignant"), count: int = 10) -> Path:
    """Images that were never seen; the folder named last has the spot of a malignant one."""
    for label, name in enumerate(names):
        for place in range(count):
            values = synthetic.picture(50_000 + 1000 * label + place, ("benign", "malignant").index(name.casefold()))
            synthetic.write_picture(folder / name / f"{name} ({place}).png", values)
    return folder


def test_one_document_has_what_a_reader_of_figures_looks_for(seen: tuple[Path, Path], tmp_path: Path):
    model, _ = seen
    # The names of these images are those of images that it has learnt from: their pixels are others.
    found = evaluated(model, others(tmp_path / "other"))
    assert (found["cases"], found["classes"], found["part"]) == (20, ["benign", "malignant"], "test")
    told = found["classification"]
    operating = told["operating"]
    assert operating["chosen_on"] == "the model's card"
    malignant = told["classes"][1]
    assert malignant["name"] == "malignant"
    figures = [told["figures"]["accuracy"], *(each["figures"]["auc"] for each in told["classes"])]
    figures += [malignant["calibration"]["after"]["ece"], operating["sensitivity"], operating["specificity"]]
    for each in figures:
        assert 0 <= each["low"] <= each["value"] <= each["high"] <= 1, each
    card = read_card(model)
    assert [target.calibration is not None for target in card.targets] == [True, True]
    assert operating["thresholds"] == [card.targets[1].operating_point]
    assert 0.01 < card.targets[1].operating_point < 0.99
    assert malignant["figures"]["auc"]["value"] > 0.8
    assert not any("trained on" in note for note in found["notes"])


def test_copies_under_other_names_and_of_another_kind_are_what_it_has_learnt_from(
    seen: tuple[Path, Path], tmp_path: Path
):
    model, data = seen
    for place, file in enumerate(sorted(data.glob("*/*.png"))):
        target = tmp_path / "copies" / file.parent.name / f"{place}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    assert "made of every case of copies" in evaluated(model, tmp_path / "copies", code=1)
    found = evaluated(model, tmp_path / "copies", "--part", "all")
    assert found["notes"][0].startswith("32 of 32 cases were trained on")
    mixed = evaluated(model, others(tmp_path / "copies"))
    assert mixed["cases"] == 20


def test_classes_are_matched_by_name_and_one_may_be_missing(seen: tuple[Path, Path], tmp_path: Path):
    model, _ = seen
    plain = evaluated(model, others(tmp_path / "plain"))["classification"]["classes"][1]["figures"]["auc"]["value"]
    turned = others(tmp_path / "turned", ("Malignant", "benign"))
    # Sorted, "Malignant" comes first here.
    again = evaluated(model, turned)
    assert again["classes"] == ["benign", "malignant"]
    assert again["classification"]["classes"][1]["figures"]["auc"]["value"] > 0.8
    assert plain > 0.8
    alone = evaluated(model, others(tmp_path / "alone", ("malignant",)))
    assert alone["classification"]["classes"][1]["figures"]["auc"]["value"] is None
    assert alone["classification"]["operating"]["sensitivity"]["value"] is not None
    assert alone["classification"]["operating"]["specificity"]["value"] is None
    assert any("alone has no cases of benign" in note for note in alone["notes"])
    empty = others(tmp_path / "empty", ("malignant",))
    (empty / "benign").mkdir()
    (empty / "benign" / "notes.txt").touch()
    assert evaluated(model, empty)["cases"] == 10
    (turned / "cyst").mkdir()
    synthetic.write_picture(turned / "cyst" / "1.png", synthetic.picture(77_777, 2))
    told = evaluated(model, turned, code=2)
    assert "seen knows nothing of cyst, which turned has; it knows benign, malignant" in told


def test_an_array_that_numbers_its_classes_is_taken_at_its_numbers(seen: tuple[Path, Path], tmp_path: Path):
    model, _ = seen
    images = np.stack([synthetic.picture(60_000 + place, place % 2) for place in range(20)])
    np.savez(tmp_path / "new.npz", test_images=images, test_labels=(np.arange(20) % 2).astype(np.uint8)[:, None])
    found = evaluated(model, tmp_path / "new.npz")
    assert found["classification"]["classes"][1]["figures"]["auc"]["value"] > 0.8
    assert any("0 for benign, 1 for malignant was taken" in note for note in found["notes"])


def test_a_damaged_image_is_told_and_the_others_judge(seen: tuple[Path, Path], tmp_path: Path):
    model, _ = seen
    data = others(tmp_path / "other")
    (data / "benign" / "broken.png").write_bytes(b"no picture")
    found = evaluated(model, data)
    assert found["cases"] == 20
    assert any("cannot be read (1): benign/broken.png" in note for note in found["notes"])


def test_masks_are_judged_by_name_on_the_grid_of_their_volumes(outlined: Path, tmp_path: Path):
    data = tmp_path / "volumes"
    for place in range(3):
        values, labels = synthetic.volume(900 + place)
        # Half as fine as what it has learnt from: what is compared is what lies on this grid.
        affine = np.diag([2.0, 2.0, 2.0, 1.0])
        synthetic.write_nifti(data / "images" / f"case_{place:02}.nii.gz", values, affine)
        synthetic.write_nifti(data / "labels" / f"case_{place:02}.nii.gz", labels, affine)
    found = evaluated(outlined, data)
    segments = found["segmentation"]["segments"]
    assert [each["number"] for each in segments] == [1, 2]
    assert {"dice", "hd95_mm", "surface_dice", "volume_error_ml"} <= segments[0]["figures"].keys()
    truth = synthetic.volume(900)[1]
    assert max(each["x"] for each in segments[0]["volumes_ml"]) >= float((truth == 1).sum()) * 8 / 1000 - 1e-9
    (data / "dataset.json").write_text(
        json.dumps(
            {
                "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
                "training": [
                    {"image": f"images/case_{place:02}.nii.gz", "label": f"labels/case_{place:02}.nii.gz"}
                    for place in range(3)
                ],
            }
        )
    )
    named = evaluated(outlined, data)["segmentation"]["segments"]
    assert [each["name"] for each in named] == ["Anterior", "Posterior"]
    assert [each["figures"] for each in named] == [each["figures"] for each in segments]
    assert Task(found["task"]) is Task.SEGMENTATION
