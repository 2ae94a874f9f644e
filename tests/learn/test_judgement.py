"""Runs and models, judged: what was trained on does not judge, and a card's numbers are taken as they are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.colour import Colour
from node.domain.finding import Segment
from node.domain.geometry import Grid
from node.domain.model_card import Intensity, ModelCard, Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.pipelines import STILL, Given, Pulse, Reading
from node.imaging.tasks.classification import findings
from node.imaging.volume import Volume
from node.learn.case import Case, Pixels
from node.learn.judgement import Known, chosen_cases, judge_model, judge_run, known_to
from node.learn.prediction import Prediction, write_predictions
from node.learn.reading import Model, Unread, given_of, names_of, read, settled_of
from node.learn.recipe import Exporting, Judging, Members, Recipe, Training
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import Fold, Split, split_text
from tests.imaging.tasks.cards import EFFUSION, LUNG, NODULE, asking, fitted, target

SHAPE = (3, 6, 6)
GRID = Grid(SHAPE, ((0, 0, 1, 0), (0, 1, 0, 0), (2, 0, 0, 0), (0, 0, 0, 1)))


@dataclass(frozen=True, kw_only=True)
class Few:
    """A data set in memory: the mean of an image, or its first slice, tells the class."""

    task: Task = Task.CLASSIFICATION
    classes: tuple[str, ...] = ("nodule", "effusion", "neither")
    count: int = 30
    name: str = "few"
    source: Path = Path("few")

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(
            Case(key=f"case {place:02}", label=place % len(self.classes), attributes={"sex": "FM"[place % 2]})
            for place in range(self.count)
        )

    def read(self, case: Case) -> Pixels:
        place = int(case.key[-2:])
        if self.task is Task.SEGMENTATION:
            labels = np.zeros(SHAPE, np.uint8)
            labels[:, :3, :3], labels[:, 3:, 3:] = 1, 2
            volume = Volume(labels.astype(np.float32) + place % 2, GRID, tuple(map(str, range(3))))
            return Pixels(volume=volume, labels=labels)
        return Pixels(image=np.full((4, 4), place % 3 + 10 * (place == 7), np.uint8))


class Told:
    """A runner whose logits are of the value that it is shown, and whose mask is the volume."""

    def __init__(self, sharp: float = 2.0) -> None:
        self.sharp = sharp

    def warm_up(self) -> None: ...

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        del pulse
        if given.volumes:
            return Reading(labels=np.where(given.volume.array > 2, 0, given.volume.array).astype(np.uint8), timings={})
        value = int(given.images[0].array[0, 0])
        if value > 9:
            raise Unsuitable("nothing to be seen")
        row = self.sharp * (np.arange(3) == value) + np.array([0.1, 0.0, -0.2])
        return Reading(logits=row[None].astype(np.float32), timings={})


def classifier(**changes: object) -> ModelCard:
    targets = (
        target(0, NODULE, label="Nodule", operating_point=0.3, calibration=fitted(temperature=2.0, bias=0.25)),
        target(1, EFFUSION, label="Effusion", operating_point=0.4),
        target(2, LUNG, label="Neither"),
    )
    more = {"exclusive": True, "needs_volume": False, "colour": Colour.GREY, "intensity": Intensity.RESCALED}
    return asking(Task.CLASSIFICATION, *targets, **(more | changes))


def segmenter(*labels: str) -> ModelCard:
    segments = tuple(
        Segment(number=number, label=label, category=NODULE, type=NODULE) for number, label in enumerate(labels, 1)
    )
    return replace(asking(Task.SEGMENTATION, needs_volume=True), segments=segments, targets=())


def test_a_case_is_read_as_the_node_reads_it_and_judged_by_what_the_node_tells():
    card, dataset = classifier(), Few()
    model = Model(card=card, runner=Told())
    names = names_of(card, dataset)
    settled = settled_of(names, 3, 0)
    assert settled.threshold == 0.3
    assert settled.scalings[1] is None
    found = judge_model(model, dataset, judging=Judging(positive="nodule"))
    assert found.evaluation.classification is not None
    operating = found.evaluation.classification.operating
    assert operating is not None
    present = []
    for case in dataset.cases:
        pixels = dataset.read(case)
        assert pixels.image is not None
        if pixels.image[0, 0] > 9:
            continue
        given = given_of(card, pixels, case.key)
        first = findings(card, given, model.runner.run(given))[0]
        present.append((case.label == 0, first.present))
    sensitivity = np.mean([said for true, said in present if true])
    specificity = np.mean([not said for true, said in present if not true])
    assert operating.sensitivity.value == pytest.approx(sensitivity)
    assert operating.specificity.value == pytest.approx(specificity)


def test_a_case_that_cannot_be_read_is_told_and_does_not_end_it():
    found = judge_model(Model(card=classifier(), runner=Told()), Few())
    assert found.evaluation.cases == 29
    assert any("1 case(s) were not read, the first is case 07: nothing to be seen" in x for x in found.evaluation.notes)
    unread = [x for x in read(Model(card=classifier(), runner=Told()), Few(), Few().cases) if isinstance(x, Unread)]
    assert [each.key for each in unread] == ["case 07"]


def test_two_classes_with_one_number_between_them():
    card = classifier(exclusive=False)
    card = replace(card, targets=(target(0, NODULE, label="nodule"),))
    dataset = Few(classes=("nothing", "nodule"))

    class One(Told):
        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            return Reading(logits=np.array([[1.75]], np.float32), timings={})

    (first, *_) = read(Model(card=card, runner=One()), dataset, dataset.cases)
    assert isinstance(first, Prediction)
    assert first.logits == pytest.approx((0.0, 1.75))


def test_names_that_fit_nothing_are_refused():
    with pytest.raises(Misconfigured, match="under other names"):
        names_of(classifier(), Few(classes=("a", "b")))
    with pytest.raises(Failed, match="is for classification"):
        names_of(classifier(), Few(task=Task.SEGMENTATION))
    # As many of them, under other names: their order tells.
    assert [names_of(classifier(), Few(classes=("a", "b", "c"))).targets[2].label] == ["Neither"]


def test_a_mask_is_compared_on_the_grid_of_its_volume():
    dataset = Few(task=Task.SEGMENTATION, classes=("posterior", "anterior"), count=4)
    swapped = judge_model(Model(card=segmenter("Anterior", "Posterior"), runner=Told()), dataset).evaluation
    assert swapped.segmentation is not None
    assert [each.name for each in swapped.segmentation.segments] == ["posterior", "anterior"]
    (first, *_) = read(Model(card=segmenter("Anterior", "Posterior"), runner=Told()), dataset, dataset.cases)
    assert isinstance(first, Prediction)
    # The model's segment 1 is the data set's label 2: every voxel lies in the other one.
    assert first.segments[1].dice == 0.0
    (same, *_) = read(Model(card=segmenter("x", "y"), runner=Told()), dataset, dataset.cases)
    assert isinstance(same, Prediction)
    assert (same.segments[1].dice, same.segments[1].true_volume_ml) == (1.0, pytest.approx(27 * 2 / 1000))


def test_what_was_trained_on_does_not_judge():
    known = Known(trained=frozenset({"case 00", "case 01"}), chose=frozenset({"case 02"}))
    dataset = Few()
    assert [each.key for each in chosen_cases(dataset, known, "validation")] == ["case 02"]
    assert len(chosen_cases(dataset, known, "test")) == 27
    assert len(chosen_cases(dataset, known, "all")) == 30
    model = Model(card=classifier(), runner=Told())
    notes = judge_model(model, dataset, known=known).evaluation.notes
    assert notes[0] == "2 of 30 cases were trained on, 1 chose between networks: judged by 27 others."
    everything = Known(trained=frozenset(each.key for each in dataset.cases))
    with pytest.raises(Failed, match="--part all"):
        judge_model(model, dataset, known=everything)


@pytest.mark.parametrize(
    ("members", "trained", "chose"),
    [(Members.FIRST, {"a"}, {"b"}), (Members.FOLDS, {"a", "b", "c"}, set()), (Members.WHOLE, {"a", "b", "c"}, set())],
)
def test_the_evidence_tells_what_a_model_was_made_of(tmp_path: Path, members: Members, trained: set, chose: set):
    (tmp_path / "evidence").mkdir()
    folds = (Fold(train=("a",), validation=("b",), test=("c",)), Fold(train=("c",), validation=("a",), test=("b",)))
    split = Split(method="by hand", dataset_digest="d", folds=folds)
    (tmp_path / "evidence" / "split.json").write_text(split_text(split))
    (tmp_path / "evidence" / "recipe.toml").write_text(recipe_text(Recipe(export=Exporting(members=members))))
    known = known_to(tmp_path)
    assert (known.trained, known.chose) == (trained, chose)
    assert known_to(tmp_path / "evidence") == Known()


def test_hidden_names_of_cases_are_recognised():
    hidden = hashlib.sha256(b"d\0case 00").hexdigest()[:16]
    known = Known(trained=frozenset({hidden}), dataset_digest="d")
    assert len(chosen_cases(Few(), known, "test")) == 29


def run_folder(folder: Path, *, seeds: tuple[int, ...] = (0, 1), done: tuple[int, ...] = (0, 1)) -> Run:
    """A run whose networks have spoken already."""
    recipe = Recipe(
        name="toy", task=Task.CLASSIFICATION, classes=("no", "yes"), training=Training(seeds=seeds),
        evaluation=Judging(positive="yes"),
    )  # fmt: skip
    run = Run(folder=folder)
    folder.mkdir(parents=True, exist_ok=True)
    run.recipe.write_text(recipe_text(recipe))
    run.split.write_text(split_text(Split(method="by hand", dataset_digest="", folds=(Fold(train=()),))))
    for seed in done:
        member = run.member(seed, 0)
        member.folder.mkdir(parents=True)
        logits = np.random.default_rng(seed).normal(size=(40, 2)) + 2 * np.eye(2)[np.arange(40) % 2]
        said = [
            Prediction(
                key=f"{place:02}", group=f"{place:02}", part="test" if place < 20 else "validation", seed=seed,
                truth=place % 2, logits=tuple(row.tolist()),
            )
            for place, row in enumerate(logits)
        ]  # fmt: skip
        write_predictions(member.predictions, said)
    return run


def test_a_run_is_judged_by_what_its_networks_said(tmp_path: Path):
    run = run_folder(tmp_path / "toy")
    found = judge_run(run).evaluation
    assert (found.model, found.seeds, found.cases, found.method) == ("toy", (0, 1), 20, "held out")
    assert judge_run(run, seeds=(1,)).evaluation.seeds == (1,)
    assert judge_run(run, part="all").evaluation.cases == 40


def test_a_run_that_is_half_done_says_so(tmp_path: Path):
    found = judge_run(run_folder(tmp_path / "toy", done=(1,))).evaluation
    assert found.notes[0] == "1 of the trainings are not done: the figures are of the others alone."
    with pytest.raises(Failed, match="no training that is done"):
        judge_run(run_folder(tmp_path / "new", done=()))
