"""A detector learns where squares are, and the node finds them with what was exported."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser

from node.catalogue.cards import read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import ModelCard, Task
from node.domain.preparation import Architecture, Preparation, Values
from node.errors import Misconfigured
from node.imaging import pipelines
from node.imaging.formats import built
from node.imaging.images import Image
from node.imaging.pipelines import Fitting, Given, Runner
from node.imaging.tasks.boxes import overlap
from node.imaging.tasks.detection import detected
from node.learn import training
from node.learn.boxes.table import Detecting
from node.learn.case import Box, Case
from node.learn.evaluate.evaluation import Evaluation
from node.learn.export import Trained, export
from node.learn.learners import Example, Material, teacher
from node.learn.place import Place
from node.learn.preparing import Prepared, shown
from node.learn.recipe import Augmentation, Judging, Precision, Recipe, Splitting, Training
from node.learn.run import Run
from tests.learn.boxes.squares import box_table, squares
from tests.learn.export.runs import MAKING
from tests.learn.synthetic import write_picture

torch.set_num_threads(1)
#: Small enough for a test.
SMALL = {"width": 8, "channels": 16}
NETWORK = "node.imaging.networks.retinanet.Retina"


@dataclasses.dataclass(frozen=True)
class Done:
    ready: training.Ready
    evaluation: Evaluation
    model: Path


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("detector")
    data = box_table(folder / "data", 24, empty=1)
    recipe = Recipe(
        name="squares",
        split=Splitting(shares=(0.6, 0.2, 0.2), near_duplicate=1.0),
        augmentation=Augmentation(flip=(0, 1)),
        training=Training(epochs=6, batch=4, learning_rate=3e-3, validate_every=6, precision=Precision.SINGLE),
    )
    wish = training.Wish(recipe=recipe, beside=folder, dataset=data, run=Run(folder=folder / "run"))
    ready = training.prepare(wish, training.Ears())
    network = ready.recipe.network
    assert network is not None
    made = Architecture(name=network.name, arguments={**network.arguments, **SMALL})
    ready = dataclasses.replace(ready, recipe=dataclasses.replace(ready.recipe, network=made))
    evaluation = training.train(ready, Place(device=torch.device("cpu")), training.Ears())
    cases = tuple(ready.dataset.read(case) for case in ready.dataset.cases[:2])
    trained = Trained(
        recipe=ready.recipe,
        beside=folder,
        dataset="squares",
        members=training.chosen(ready),
        split=ready.split,
        making=MAKING,
        evaluation=evaluation,
        cases=cases,
    )
    (folder / "model").mkdir()
    return Done(ready, evaluation, export(trained, folder / "model" / "squares"))


def opened(done: Done) -> tuple[ModelCard, Runner]:
    card = read_card(done.model)
    weights = locate_all(card, done.model, done.model / "model.toml")
    fitting = Fitting(card=card, folder=done.model, weights=weights, device="cpu")
    return card, pipelines.named(card.pipeline).load(fitting)


def test_anchors_come_from_the_boxes_of_the_data_set(done: Done):
    network = done.ready.recipe.network
    assert network is not None
    assert network.name == NETWORK
    assert network.arguments["num_classes"] == 1
    ((rows, columns),) = network.arguments["anchors"]
    assert rows == columns
    assert 11 <= rows <= 15
    assert network.arguments["scales"] == [1, 2]


def test_a_few_epochs_find_squares(done: Done):
    assert done.evaluation.detection is not None
    figure = done.evaluation.detection.figures["map_0.5"].value
    assert figure is not None
    assert figure > 0.5


def test_the_exported_detector_runs_in_the_node_and_its_boxes_become_findings(done: Done):
    card, runner = opened(done)
    assert (card.task, card.pipeline, card.needs_volume) == (Task.DETECTION, "bundle", False)
    assert card.targets[0].operating_point is not None
    hit = false = 0
    for seed in range(500, 506):
        array, true = squares(seed, count=1)
        given = Given(images=(Image(array=shown(array, card.colour), sop_instance_uid="1.2.3"),))
        findings = detected(card, given, runner.run(given)).findings
        (left, top, right, bottom) = true[0]
        edges = ((float(top), float(bottom)), (float(left), float(right)))
        for finding in findings:
            if not finding.present:
                continue
            (region,) = finding.regions
            assert region.sop_instance_uid == "1.2.3"
            first, start, last, end = region.edges
            shared = overlap(((first, last), (start, end)), edges)
            hit += shared > 0.5
            false += shared <= 0.1
    assert hit >= 4
    assert false <= 9


def test_the_exported_folder_says_what_it_is_and_how_good(done: Done):
    assert json.loads((done.model / "bundle/configs/metadata.json").read_text())["name"]
    assert "map 0.5" in (done.model / "CARD.md").read_text()
    told = json.loads((done.model / "evidence/run.json").read_text())
    assert "shares within" in told["compared"]


def test_monai_alone_finds_the_same_with_the_bundle(done: Done, tmp_path: Path):
    card, runner = opened(done)
    array, _ = squares(600, count=2)
    write_picture(tmp_path / "one.png", array)
    parser = ConfigParser()
    parser.read_config(done.model / "bundle/configs/inference.json")
    parser.config |= {"bundle_root": str(done.model / "bundle"), "dataset_dir": str(tmp_path)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser.get_parsed_content("initialize")
        (found,) = parser.get_parsed_content("found")
    given = Given(images=(Image(array=shown(array, card.colour), sop_instance_uid="1"),))
    ours = runner.run(given).boxes
    assert len(ours) == len(found["box"])
    best = max(ours, key=lambda box: box.score)
    place = int(np.argmax(found["label_scores"]))
    assert found["label_scores"][place] == pytest.approx(best.score, abs=1e-4)
    assert found["box"][place] == pytest.approx(
        [low - 0.5 for low, _ in best.edges] + [h - 0.5 for _, h in best.edges], abs=1e-3
    )


def example(seed: int, size: tuple[int, ...], boxes: tuple[Box, ...]) -> Example:
    image = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, *size)).astype(np.float32))
    prepared = Prepared(image=image, boxes=boxes)
    return Example(case=Case(key=str(seed)), group=str(seed), prepared=prepared)


@pytest.mark.parametrize("box_loss", ["smooth-l1", "giou"])
def test_volumes_are_learnt_in_windows_and_read_through_them(box_loss: str):
    arguments = {"spatial_dims": 3, "n_input_channels": 1, "num_classes": 2, "anchors": [[6, 6, 6]], "scales": [1, 2]}
    box = Box(label=1, edges=((3.0, 9.0), (4.0, 10.0), (5.0, 11.0)))
    examples = (example(1, (20, 24, 16), (box,)), example(2, (12, 24, 24), ()))
    recipe = Recipe(
        task=Task.DETECTION,
        preparation=Preparation(values=Values.ZSCORE, patch=(16, 16, 16)),
        network=Architecture(name=NETWORK, arguments={**arguments, **SMALL, "stride": 2}),
        augmentation=Augmentation(),
        detection=Detecting(box_loss=box_loss, score=0.0, most=3),
        training=Training(batch=2),
    )
    material = Material(recipe=recipe, classes=("a", "b"), train=examples, validation=examples)
    learner = teacher(Task.DETECTION).learner(material, 0)
    batch = learner.batch(0, 0, np.random.default_rng(0))
    assert [tuple(image.shape) for image, _, _ in batch] == [(1, 16, 16, 16)] * 2
    loss = learner.loss(learner.network, batch, torch.device("cpu"))
    assert loss.isfinite()
    loss.backward()
    said = list(teacher(Task.DETECTION).predict([learner.network.eval()], recipe, examples, torch.device("cpu")))
    assert [len(each.true_boxes) for each in said] == [1, 0]
    for each, size in zip(said, ((20, 24, 16), (12, 24, 24)), strict=True):
        assert len(each.boxes) == 3
        assert all(low < high <= side + 1 for b in each.boxes for (low, high), side in zip(b.edges, size, strict=True))


def test_what_a_detector_cannot_do_is_said(tmp_path: Path):
    network = Architecture(
        name=NETWORK,
        arguments={"spatial_dims": 2, "n_input_channels": 1, "num_classes": 1, "anchors": [[8, 8]], **SMALL},
    )
    recipe = Recipe(preparation=Preparation(), network=network)
    with pytest.raises(Misconfigured, match="cannot be made"):
        built(Architecture(name=NETWORK, arguments={**network.arguments, "scales": [1]}))
    material = Material(
        recipe=dataclasses.replace(recipe, augmentation=Augmentation(), network=Architecture(name="resnet10")),
        classes=("a",),
        train=(example(1, (8, 8), ()),),
        validation=(),
    )
    with pytest.raises(Misconfigured, match="finds no boxes"):
        teacher(Task.DETECTION).learner(material, 0)
    material = dataclasses.replace(material, recipe=dataclasses.replace(recipe, augmentation=Augmentation()))
    with pytest.raises(Misconfigured, match="no case that is trained on has a box"):
        teacher(Task.DETECTION).learner(material, 0)
    ready = training.prepare(
        training.Wish(
            recipe=Recipe(name="a", split=Splitting(near_duplicate=1.0, shares=(0.5, 0.25, 0.25))),
            beside=tmp_path,
            dataset=box_table(tmp_path / "data", 12),
            run=Run(folder=tmp_path / "run"),
        ),
        training.Ears(),
    )
    for asked in (Judging(flips=(0,)), Judging(views=((1.0, 1.2),))):
        with pytest.raises(Misconfigured, match="boxes of several views are not put together"):
            teacher(Task.DETECTION).derived(Recipe(evaluation=asked), ready.dataset, ready.sheet)
