"""What does not fit is told before the first epoch, by its key; what was derived fits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.errors import Failed, Misconfigured
from node.learn.dataset import list_dataset
from node.learn.recipe import Augmentation, Judging, Recipe
from node.learn.recipe_export import Exporting
from node.learn.trial import tried
from tests.learn import synthetic
from tests.learn.toys import SMALL_UNET, TINY, classifying


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = synthetic.class_folders(tmp_path_factory.mktemp("trial") / "set", {"benign": 2, "malignant": 2})
    return list_dataset(root, None, ())


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return list_dataset(synthetic.nifti_pairs(tmp_path_factory.mktemp("trial") / "set", 2), None, ())


def asked(dataset: Any, recipe: Recipe, *, networks: int = 1, is_derived: bool = False) -> Recipe:
    recipe = dataclasses.replace(recipe, task=dataset.task, classes=dataset.classes)
    return tried(recipe, dataset, copies=networks, is_derived=is_derived)


def test_what_fits_comes_back_as_it_is(folders: Any) -> None:
    found = asked(folders, classifying())
    assert found == dataclasses.replace(classifying(), classes=("benign", "malignant"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"network": Architecture(name="ResNet", arguments=TINY | {"num_classes": 3})},
         r"network.arguments: it makes 1 × 3 of 1 × 1 × 12 × 12, and is to give 1 × 2: one number for each of benign"),
        ({"network": Architecture(name="ResNet", arguments=TINY | {"n_input_channels": 3})},
         r"network: it does not take 1 × 1 × 12 × 12"),
        ({"network": Architecture(name="ResNet", arguments=TINY | {"layerz": 1})}, r"recipe.toml: network.arguments"),
        ({"network": Architecture(name="NoNet")}, r"recipe.toml: network.name: \"NoNet\" is no network"),
        ({"network": Architecture(name="ViT", arguments={"in_channels": 1, "img_size": [12, 12], "patch_size": [6, 6],
          "spatial_dims": 2, "hidden_size": 12, "mlp_dim": 8, "num_layers": 1, "num_heads": 2, "classification": True,
          "num_classes": 2})}, r"network: it gives a tuple, not one array"),
        ({"preparation": Preparation(size=(12, 12, 12))}, r"preparation.size: \[12, 12, 12\] for images. Give 2"),
        ({"preparation": Preparation(size=(12, 12), activation="sigmoid")}, r"preparation.activation: \"sigmoid\""),
        ({"augmentation": Augmentation(flip=(2,))}, r"augmentation.flip: there is no axis 2. Choose of 0 to 1"),
        ({"evaluation": Judging(flips=(0, 3))}, r"evaluation.flips: there is no axis 3"),
        ({"network": Architecture(name="Classifier", arguments={"in_shape": [1, 12, 12], "classes": 2, "channels": [4],
          "strides": [2]}), "evaluation": Judging(views=((1.0, 1.5),))}, r"network: it does not take 1 × 1 × 18 × 18"),
        ({"evaluation": Judging(positive="cyst")}, r"evaluation.positive: there is no class \"cyst\""),
        ({"export": Exporting(largest_mb=0.001)}, r"export.largest_mb: the weights will be 0.0 MB, and 0.001 are"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(folders: Any, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        asked(folders, classifying(**changes))


def test_of_several_networks_the_weights_count_together(folders: Any) -> None:
    size = asked(folders, classifying(export=Exporting(largest_mb=0.02))).export.largest_mb
    with pytest.raises(Misconfigured, match="the weights will be"):
        asked(folders, classifying(export=Exporting(largest_mb=size)), networks=20)


def test_a_network_that_was_derived_has_room_for_its_weights(folders: Any) -> None:
    large = Architecture(name="resnet18", arguments={"spatial_dims": 2, "n_input_channels": 1, "num_classes": 2})
    assert 22 < asked(folders, classifying(network=large), is_derived=True).export.largest_mb < 30
    with pytest.raises(Misconfigured, match=r"the weights will be 22.4 MB, and 10 are allowed"):
        asked(folders, classifying(network=large))


def segmenting(**more: Any) -> Recipe:
    found = classifying(
        task=Task.SEGMENTATION,
        preparation=Preparation(values=Values.ZSCORE, patch=(8, 8, 8)),
        network=Architecture(name="UNet", arguments=SMALL_UNET),
    )
    return dataclasses.replace(found, **more)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"network": Architecture(name="UNet", arguments=SMALL_UNET | {"out_channels": 2})},
         r"it makes 1 × 2 × 8 × 8 × 8 .*: background and label 1, label 2 for each voxel"),
        ({"preparation": Preparation(patch=(8, 8, 7))}, r"preparation.patch: the network makes 1 × 3 × 8 × 8 × 8 of 1"),
        ({"evaluation": Judging(views=((1.0, 1.2),))}, r"evaluation.views: parts of a case are no answer for segment"),
        ({"preparation": Preparation(patch=(8, 8))}, r"preparation.patch: \[8, 8\] for volumes. Give 3"),
    ],
)  # fmt: skip
def test_a_window_goes_through_a_segmentation(pairs: Any, changes: dict[str, Any], said: str) -> None:
    if not said:
        assert asked(pairs, segmenting()).classes == pairs.classes
        return
    with pytest.raises(Misconfigured, match=said):
        asked(pairs, segmenting(**changes))


def test_a_case_that_cannot_be_prepared_is_named(folders: Any, tmp_path: Path) -> None:
    wrong = Preparation(size=(12, 12), mean=(0.5, 0.5), deviation=(0.1, 0.1))
    with pytest.raises(Failed, match=r"benign/benign \(0\).png: cannot be prepared"):
        asked(folders, classifying(preparation=wrong))
