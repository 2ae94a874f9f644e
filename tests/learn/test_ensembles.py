"""Several architectures are trained on one split, judged each and together, and become one model that the node runs."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch

from node.catalogue.cards import CARD, read_card
from node.commands.finishing import trained_of
from node.domain.model_card import Task
from node.errors import Misconfigured
from node.imaging.pipelines import Given
from node.learn import ensembles, members, teams, training
from node.learn.architectures import network_name, of_network
from node.learn.comparison import FILE_NAME, read_comparisons
from node.learn.export import Making, export
from node.learn.prediction import read_predictions
from node.learn.recipe import Further, Recipe, Start, recipe_of
from node.learn.recipe_export import Exporting, Members
from node.learn.recipe_text import recipe_text
from node.learn.report.told import told_of
from node.learn.run import Run
from node.learn.split import Fold, Split
from node.learn.synthetic.counting import FOLDER, Counts, noted, write_counts
from tests.learn import synthetic
from tests.learn.export import runs
from tests.learn.export.test_bundle import asked
from tests.learn.export.test_export import picture, read
from tests.learn.test_bearing import trained_again
from tests.learn.toys import HERE, TINY, classifying, stands, trained_for

PLAIN = dataclasses.replace(trained_for(classifying(), epochs=1), name="toy")
OTHER = Further(name="ResNet", arguments=TINY | {"block_inplanes": [3, 4, 4, 4]})
LINEAR = Further(name="Classifier", arguments={"in_shape": [1, 12, 12], "classes": 2, "channels": [3], "strides": [2]})
MIXED = dataclasses.replace(PLAIN, networks=(OTHER, LINEAR))
MAKING = Making(command="matins train recipe.toml", made_on=date(2026, 1, 1), device="CPU", seconds=1.0)


pytestmark = [
    pytest.mark.filterwarnings("ignore:NvImgCodec"),
    pytest.mark.filterwarnings("ignore::FutureWarning:monai"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.class_folders(tmp_path_factory.mktemp("ensembles") / "set")


def softmax(rows: np.ndarray) -> np.ndarray:
    powers = np.exp(rows - rows.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_architectures_are_added_to_what_is_trained_judged_beside_it_and_become_one_model(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    run = Run(folder=tmp_path / "run")
    training.train(stands(dataset, run.folder, PLAIN), HERE, training.Ears())
    again = trained_again(monkeypatch)
    ready = stands(dataset, run.folder, MIXED)
    evaluation = training.train(ready, HERE, training.Ears())
    assert again == [0, 0]
    kinds = [run.member(0, 0, kind) for kind in range(3)]
    said = [{each.key: each for each in read_predictions(one.predictions)} for one in kinds]
    together = {each.key: each for each in read_predictions(run.together)}
    for key, one in together.items():
        mean = softmax(np.array([each[key].logits for each in said])).mean(axis=0)
        assert softmax(np.array(one.logits)) == pytest.approx(mean, abs=1e-9)
    assert evaluation.together is not None
    assert evaluation.together.classification is not None
    ensembles.compare(ready, HERE)
    (table,) = read_comparisons(run.folder / FILE_NAME)
    assert [row.name for row in table.rows] == ["ResNet 1", "ResNet 2", "Classifier", "all together"]
    assert [row.is_chosen for row in table.rows] == [False, False, False, True]
    figure = table.rows[-1].figures["accuracy"].value
    assert figure == pytest.approx(evaluation.together.classification.figures["accuracy"].value)
    assert "auc_change" in table.rows[1].figures
    assert "What each network reaches by itself is told of ResNet 1, the first of 3 architectures." in evaluation.notes
    courses = told_of(run, evaluation).histories
    assert list(courses) == ["seed 0, fold 1", "network 2, seed 0, fold 1", "network 3, seed 0, fold 1"]
    for kind in kinds[:2]:
        (kind.folder / FOLDER).mkdir()
        write_counts(kind.folder / FOLDER, [Counts(name="benign", wanted=4, drawn=5, copies=2, kept=3)])
    assert "6 in 3 training(s)" in noted(evaluation, run).notes[-1]
    trained = trained_of(ready, evaluation, MAKING)

    def exported() -> dict[str, bytes]:
        folder = export(trained, tmp_path / "out" / "toy")
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    first = exported()
    assert first == exported()
    card = read_card(tmp_path / "out" / "toy")
    assert [card.architecture_of(each.role) for each in card.weights] == [
        of_network(ready.recipe, kind).network for kind in range(3)
    ]
    assert card.weights[0].architecture is None
    assert card.is_mixed
    read_by, reading = read(tmp_path / "out" / "toy", picture(trained))
    assert read_by.uncertainty is not None
    assert reading.logits is not None
    key = next(case.key for case in ready.dataset.cases if case.key in ready.split.folds[0].test)
    # Half precision lies between what was trained and what is shipped.
    assert softmax(reading.logits[0]) == pytest.approx(softmax(np.array(together[key].logits)), abs=5e-3)
    assert reading.uncertainty[1] > 0
    (tmp_path / "files").mkdir()
    source = next(file for file in dataset.rglob("*.png") if key.endswith(file.name))
    (tmp_path / "files" / "case.png").write_bytes(source.read_bytes())
    as_monai = asked(tmp_path / "out" / "toy" / "bundle", tmp_path / "files" / "case.png").numpy()
    assert as_monai == pytest.approx(softmax(reading.logits[0]), abs=1e-5)
    told = json.loads(first["evidence/run.json"])["networks"]
    assert [each["architecture"] for each in told] == ["ResNet 1", "ResNet 2", "Classifier"]
    assert b"Classifier, seed 0, fold 1" in first["CARD.md"]
    made = json.loads(first["bundle/configs/inference.json"])
    assert [made[name]["_target_"].rpartition(".")[2] for name in ("network_def", "network_def_3")] == [
        "ResNet",
        "Classifier",
    ]


def test_a_card_that_is_changed_to_what_is_no_network_is_refused_when_it_is_read(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    made = export(runs.classified(folder, members=2), tmp_path / "out" / "seen") / CARD
    text = made.read_text()
    own = 'source = "file:bundle/models/model-2.safetensors"\narchitecture = { name = "os.system", arguments = {} }'
    made.write_text(text.replace('source = "file:bundle/models/model-2.safetensors"', own))
    with pytest.raises(Misconfigured, match=r"weights\[1\]\.architecture\.name"):
        read_card(made.parent)


def test_an_architecture_that_does_not_fit_is_named_before_anything_is_trained(dataset: Path, tmp_path: Path) -> None:
    wrong = dataclasses.replace(PLAIN, networks=(OTHER, Further(name="ResNet", arguments=TINY | {"num_classes": 5})))
    with pytest.raises(Misconfigured, match=r"networks\[1\]\.arguments.* 1 × 5 of 1 × 1 × 12 × 12"):
        stands(dataset, tmp_path, wrong)


def test_an_architecture_that_is_taken_away_or_changed_is_another_run(dataset: Path, tmp_path: Path) -> None:
    stands(dataset, tmp_path, MIXED)
    (tmp_path / "seed-0" / "fold-0").mkdir(parents=True)
    for networks in ((), (OTHER,), (LINEAR, OTHER)):
        with pytest.raises(Misconfigured, match="another recipe or data set: networks was"):
            stands(dataset, tmp_path, dataclasses.replace(MIXED, networks=networks))


def test_a_recipe_with_networks_is_written_and_read_alike() -> None:
    recipe = dataclasses.replace(MIXED, networks=(OTHER, dataclasses.replace(LINEAR, start=Start(weights="file:a"))))
    assert recipe_of(tomllib.loads(recipe_text(recipe)), Path("recipe.toml")) == recipe
    assert of_network(recipe, 2).start == Start(weights="file:a")
    assert of_network(recipe, 1).start is None
    assert network_name(PLAIN, 0) == "ResNet"


FOLDS = (Fold(train=("b",), test=("a",)), Fold(train=("a",), test=("b",)))


@pytest.mark.parametrize(
    ("which", "teams_and_networks"),
    [
        (Members.FIRST, [(0, [0, 1, 2])]),
        (Members.WHOLE, [(0, [0, 1, 2]), (1, [0, 1, 2])]),
        # No case is new to every network.
        (Members.FOLDS, []),
    ],
)
def test_out_of_fold_the_architectures_of_each_fold_answer_as_one(
    which: Members, teams_and_networks: list[tuple[int, list[int]]]
) -> None:
    split = Split(method="", dataset_digest="", folds=FOLDS)
    recipe = Recipe(
        task=Task.CLASSIFICATION, network=PLAIN.network, networks=MIXED.networks, export=Exporting(members=which)
    )
    found = teams.teams_of(Run(folder=Path()), recipe, split)
    assert [(team[0].fold, [each.network for each in team]) for team in found] == teams_and_networks
    assert all(len({each.fold for each in team}) == 1 for team in found)
    assert members.WHOLE not in {each.fold for team in found for each in team}


def test_masks_of_several_architectures_are_made_of_their_mean_shares(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    deeper = dataclasses.replace(
        runs.VOLUMES, arguments=runs.VOLUMES.arguments | {"channels": [4, 8, 16], "strides": [2, 2]}
    )
    trained = runs.outlined(tmp_path)
    (second,) = runs._members(tmp_path / "other", deeper, 1)
    further = Further(name=deeper.name, arguments=deeper.arguments)
    both = dataclasses.replace(
        trained,
        recipe=dataclasses.replace(trained.recipe, networks=(further,)),
        members=(*trained.members, dataclasses.replace(second, network=1)),
    )
    card, reading = read(export(both, tmp_path / "out" / "outlined"), Given(volumes={"": runs.volume()}))
    assert card.weights[1].architecture == deeper
    alone, one = read(export(trained, tmp_path / "one" / "outlined"), Given(volumes={"": runs.volume()}))
    assert not alone.is_mixed
    assert reading.labels is not None
    assert not np.array_equal(one.labels, reading.labels)
