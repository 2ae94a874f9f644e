"""The models that come with the node: small, locked, and as good as their floors by figures that can be read again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from node.catalogue.lock import read_lock
from node.catalogue.models import load_models_leniently
from node.domain.model_card import Mode, ModelCard
from node.imaging import pipelines
from node.imaging.pipelines import Fitting, Given
from node.learn.dataset import open_dataset
from node.learn.evaluate.evaluation import Evaluation, read_evaluation
from node.learn.evaluate.surface import figures
from node.learn.recipe import read_recipe
from node.learn.split import read_split
from tests.conftest import ROOT

MODELS = ROOT / "models"
#: Least Dice of each segment.
SEGMENTS = {"hippocampus-t1": {"anterior": 0.87, "posterior": 0.85}}
#: Class → least AUC against the rest, and least accuracy over all.
CLASSES = {"breast-us": ("malignant", 0.93, 0.85), "chest-xray-pneumonia": ("pneumonia", 0.96, 0.88)}
SHIPPED = [*SEGMENTS, *CLASSES]
LARGEST_BYTES = 10_000_000


def evidence(name: str) -> Evaluation:
    return read_evaluation(MODELS / name / "evidence" / "evaluation.json")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_model_is_locked_as_it_lies_and_small(name: str) -> None:
    lock = MODELS / "models.lock"
    models, problems = load_models_leniently(MODELS, [lock], {name: Mode.SHADOW})
    (model,) = (each for each in models if each.card.name == name)
    assert (problems, model.problem, model.runs) == ((), "", True)
    assert name in read_lock(lock)
    assert sum(file.stat().st_size for file in model.weights.values()) <= LARGEST_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_it_was_judged_by_three_seeds_on_cases_of_which_no_group_reaches_into_the_training(name: str) -> None:
    split = read_split(MODELS / name / "split.json")
    for fold in split.folds:
        parts = [
            {split.groups.get(key, key) for key in part} for part in (fold.train, fold.validation, fold.test) if part
        ]
        assert sum(map(len, parts)) == len(set().union(*parts))
    assert evidence(name).seeds == (0, 1, 2) == read_recipe(MODELS / name / "recipe.toml").training.seeds


@pytest.mark.parametrize("name", SEGMENTS)
def test_its_segments_reach_their_floors(name: str) -> None:
    found = evidence(name).segmentation
    assert found is not None
    for segment in found.segments:
        dice = segment.figures["dice"].value
        assert dice is not None
        assert dice >= SEGMENTS[name][segment.name]


@pytest.mark.parametrize("name", CLASSES)
def test_its_classes_reach_their_floors_and_its_probabilities_hold_what_they_say(name: str) -> None:
    found = evidence(name).classification
    assert found is not None
    positive, least_auc, least_accuracy = CLASSES[name]
    (judged,) = (each for each in found.classes if each.name == positive)
    auc, accuracy = judged.figures["auc"].value, found.figures["accuracy"].value
    assert auc is not None
    assert accuracy is not None
    assert (auc >= least_auc, accuracy >= least_accuracy) == (True, True)
    for each in found.classes:
        after = each.calibration.after if each.calibration else None
        assert after is not None
        assert after.ece.value is not None
        assert after.ece.value <= 0.05


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_the_node_reads_hippocampi_that_were_not_trained_on_as_well_as_the_card_says(test_data: Path) -> None:
    models, _ = load_models_leniently(MODELS, [MODELS / "models.lock"], {"hippocampus-t1": Mode.SHADOW})
    (model,) = (each for each in models if each.card.name == "hippocampus-t1")
    card: ModelCard = model.card
    runner = pipelines.named(card.pipeline).load(
        Fitting(card=card, folder=model.folder, weights=model.weights, device="cpu")
    )
    dataset = open_dataset(test_data / "hippocampus")
    (fold,) = read_split(MODELS / "hippocampus-t1" / "split.json").folds
    for case in [each for each in dataset.cases if each.key in fold.test][:3]:
        pixels = dataset.read(case)
        assert pixels.volume is not None
        assert pixels.labels is not None
        found = runner.run(Given(volumes={"": pixels.volume})).labels
        assert found is not None
        told = figures(found, pixels.labels, pixels.volume.grid, (1, 2), 1.0)
        assert min(each.dice or 0.0 for each in told.values()) > 0.75
