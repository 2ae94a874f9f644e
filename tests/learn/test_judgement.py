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
from node.learn.dataset.duplicates import certain_groups
from node.learn.dataset.survey import survey
from node.learn.evaluate.cohort import Cohort
from node.learn.evaluate.settling import settle
from node.learn.judgement import chosen_cases, judge_model, judge_run
from node.learn.known import Known, known_text, known_to
from node.learn.prediction import Prediction, read_predictions, write_predictions
from node.learn.reading import Model, Unread, given_of, names_of, read, settled_of
from node.learn.recipe import Judging, Recipe, Splitting, Training
from node.learn.recipe_export import Exporting, Members
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
            noise = np.random.default_rng(place).random(SHAPE) / 2
            volume = Volume((labels + noise + place % 2).astype(np.float32), GRID, tuple(map(str, range(3))))
            return Pixels(volume=volume, labels=labels)
        # Its corner tells the class; no two images are alike.
        image = np.random.default_rng(place).integers(0, 255, (8, 8), dtype=np.uint8)
        image[0, 0] = place % 3 + 10 * (place == 7)
        return Pixels(image=image)


class Told:
    """A runner whose logits are of the value that it is shown, and whose mask is the volume."""

    def __init__(self, sharp: float = 2.0) -> None:
        self.sharp = sharp

    def warm_up(self) -> None: ...

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        del pulse
        if given.volumes:
            return Reading(labels=np.where(given.volume.array >= 3, 0, given.volume.array).astype(np.uint8), timings={})
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
    settled = settled_of(names, 0)
    assert settled.threshold == 0.3
    assert settled.scalings[1] is None
    found = judge_model(model, dataset, recipe=Recipe(evaluation=Judging(positive="nodule")))
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
    model, few = Model(card=classifier(), runner=Told()), Few()
    unread = [x for x in read(model, few, few.cases, names_of(model.card, few)) if isinstance(x, Unread)]
    assert [each.key for each in unread] == ["case 07"]


def test_two_classes_with_one_number_between_them():
    card = classifier(exclusive=False)
    card = replace(card, targets=(target(0, NODULE, label="nodule"),))
    dataset = Few(classes=("nothing", "nodule"))

    class One(Told):
        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            return Reading(logits=np.array([[1.75]], np.float32), timings={})

    (first, *_) = read(Model(card=card, runner=One()), dataset, dataset.cases, names_of(card, dataset))
    assert isinstance(first, Prediction)
    assert first.logits == pytest.approx((0.0, 1.75))


def test_names_that_fit_nothing_are_refused():
    with pytest.raises(Misconfigured, match="knows nothing of a, b, which few has; it knows Nodule, Effusion, Neither"):
        names_of(classifier(), Few(classes=("a", "b")))
    with pytest.raises(Misconfigured, match="knows nothing of a, b, c"):
        names_of(classifier(), Few(classes=("a", "b", "c")))
    with pytest.raises(Failed, match="is for classification"):
        names_of(classifier(), Few(task=Task.SEGMENTATION))
    with pytest.raises(Misconfigured, match="knows nothing of mass"):
        names_of(classifier(), Few(classes=("effusion", "mass", "nodule")), ("nodule", "effusion", "neither"))


def test_classes_are_matched_by_name_in_any_order_and_number():
    outputs = ("nodule", "effusion", "neither")
    turned = names_of(classifier(), Few(classes=("Neither", "nodule")), outputs)
    assert (turned.classes, turned.places) == (outputs, {0: 2, 1: 0})
    assert turned.notes == ("few has no cases of effusion: nothing is told of it.",)
    # A card's label may be another word for a class: it goes by both.
    card = replace(classifier(), targets=(target(1, EFFUSION, label="Liquid", operating_point=0.4),))
    assert names_of(card, Few(classes=("effusion", "neither")), outputs).targets[1].label == "Liquid"
    numbered = names_of(card, Few(classes=("0", "1", "2")), outputs)
    assert numbered.classes == outputs
    assert numbered.notes == (
        "The data set only numbers its classes: 0 for nodule, 1 for effusion, 2 for neither was taken.",
    )


def test_a_class_that_is_missing_is_still_one_that_the_model_may_answer():
    @dataclass(frozen=True, kw_only=True)
    class Without(Few):
        @property
        def cases(self) -> tuple[Case, ...]:
            # The third class of the images has no folder.
            return tuple(each for each in Few(count=self.count).cases if each.label != 2)

    class Third(Told):
        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            return Reading(logits=np.array([[0.0, 0.5, 2.0]], np.float32), timings={})

    recipe = Recipe(classes=("nodule", "effusion", "neither"), evaluation=Judging(positive="nodule"))
    model = Model(card=classifier(), runner=Third())
    found = judge_model(model, Without(classes=("nodule", "effusion")), recipe=recipe).evaluation
    assert found.classification is not None
    # What it answers is none of the two: that is wrong, each time.
    assert found.classification.figures["accuracy"].value == 0.0
    assert [each.figures["auc"].value for each in found.classification.classes] == [0.5, 0.5, None]
    only = judge_model(model, Few(classes=("effusion",)), recipe=recipe).evaluation
    assert only.classification is not None
    assert only.classification.classes[1].figures["recall"].value == 0.0


def test_all_that_a_model_tells_apart_is_named_and_another_class_is_refused():
    card = replace(classifier(), targets=classifier().targets[:2])
    dataset = Few(classes=("nodule", "effusion", "other"))
    # Three numbers, two names: the third class may be the third number.
    found = judge_model(Model(card=card, runner=Told()), dataset).evaluation
    assert found.classes == ("nodule", "effusion", "other")

    class Two(Told):
        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            return Reading(logits=np.array([[1.0, 0.5]], np.float32), timings={})

    with pytest.raises(Misconfigured, match=r"names all 2 classes of .*, and other is none of them"):
        judge_model(Model(card=card, runner=Two()), dataset)


@pytest.mark.parametrize("exclusive", [True, False])
def test_each_target_is_judged_by_the_number_that_the_node_tells(exclusive: bool):
    card, dataset = classifier(exclusive=exclusive), Few()
    model = Model(card=card, runner=Told())
    names = names_of(card, dataset)
    said = [each for each in read(model, dataset, dataset.cases, names) if isinstance(each, Prediction)]
    settled = settled_of(names, 0)
    for label in (0, 1):
        one = settle(Cohort(seed=0, judged=tuple(said), choosing=tuple(said)), label, 0.9, settled)
        for each, told in zip(said, one.told.tolist(), strict=True):
            given = given_of(card, dataset.read(Case(key=each.key)), each.key)
            number = findings(card, given, model.runner.run(given))[label]
            assert (number.score if number.probability is None else number.probability) == pytest.approx(
                told, abs=1e-12
            )
    assert len(said) == 29


def test_a_mask_is_compared_on_the_grid_of_its_volume():
    dataset = Few(task=Task.SEGMENTATION, classes=("posterior", "anterior"), count=4)
    card = segmenter("Anterior", "Posterior")
    swapped = judge_model(Model(card=card, runner=Told()), dataset).evaluation
    assert swapped.segmentation is not None
    assert [each.name for each in swapped.segmentation.segments] == ["posterior", "anterior"]
    (first, *_) = read(Model(card=card, runner=Told()), dataset, dataset.cases, names_of(card, dataset))
    assert isinstance(first, Prediction)
    # The model's segment 1 is the data set's label 2: every voxel lies in the other one.
    assert first.segments[1].dice == 0.0
    other, numbered = segmenter("x", "y"), replace(dataset, classes=("label 1", "label 2"))
    (same, *_) = read(Model(card=other, runner=Told()), numbered, numbered.cases, names_of(other, numbered))
    assert isinstance(same, Prediction)
    assert (same.segments[1].dice, same.segments[1].true_volume_ml) == (1.0, pytest.approx(27 * 2 / 1000))
    assert names_of(other, numbered).classes == ("x", "y")


def test_segments_that_one_has_and_the_other_has_not_are_told_by_name():
    dataset = Few(task=Task.SEGMENTATION, classes=("left", "anterior"), count=4)
    recipe = Recipe(classes=("posterior", "anterior", "other"))
    found = judge_model(Model(card=segmenter("x", "y", "z"), runner=Told()), dataset, recipe=recipe).evaluation
    assert found.segmentation is not None
    left, anterior = found.segmentation.segments
    assert (left.figures["dice"].value, anterior.figures["dice"].value) == (None, 0.5)
    assert any("does not know left: nothing is told of it." in note for note in found.notes)
    assert any("few does not tell of x, z: nothing is told of it." in note for note in found.notes)


def judged_by(known: Known, part: str, dataset: Few | None = None) -> list[str]:
    seen = survey(dataset or Few())
    return [each.key for each in chosen_cases(seen, certain_groups(seen), known, part)]


def test_what_was_trained_on_does_not_judge():
    known = Known(trained=frozenset({"case 00", "case 01"}), chose=frozenset({"case 02"}))
    assert judged_by(known, "validation") == ["case 02"]
    assert len(judged_by(known, "test")) == 27
    assert len(judged_by(known, "all")) == 30
    model = Model(card=classifier(), runner=Told())
    notes = judge_model(model, Few(), known=known).evaluation.notes
    by_name = "2 of 30 cases were trained on, 1 chose weights or thresholds, known by their names alone"
    assert notes[0] == f"{by_name}: judged by 27 others."
    everything = Known(trained=frozenset(each.key for each in Few().cases))
    with pytest.raises(Failed, match="--part all"):
        judge_model(model, Few(), known=everything)


@pytest.mark.parametrize("by_pixels", [True, False])
def test_that_no_image_was_met_is_told_with_what_nobody_can_know(by_pixels: bool):
    known = Known(trained=frozenset({"an image of others"}), by_pixels=by_pixels)
    model = Model(card=classifier(), runner=Told())
    (first, *_) = judge_model(model, Few(), known=known).evaluation.notes
    assert first.startswith("None of 30 cases is an image that the model was made of")
    assert ("resized or compressed" in first) is by_pixels


@dataclass(frozen=True, kw_only=True)
class Renamed(Few):
    """The same images, each under the name of the one after it but for the first."""

    def read(self, case: Case) -> Pixels:
        place = (int(case.key[-2:]) + 1) % 30
        return Few.read(self, Case(key=f"case {place:02}"))


def test_a_copy_is_known_by_its_pixels_under_another_name_and_another_image_of_its_name_is_not(tmp_path: Path):
    pixels = {each.key: each.digest for each in survey(Few()).sights}
    split = Split(method="by hand", dataset_digest="d", folds=(Fold(train=("case 00", "case 01"), test=("case 02",)),))
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "split.json").write_text(split_text(split))
    text = known_text(split, Recipe(task=Task.CLASSIFICATION), pixels)
    (tmp_path / "evidence" / "known.txt").write_text(text)
    assert not any(key in text for key in pixels)
    known = known_to(tmp_path)
    assert set(pixels) - set(judged_by(known, "test")) == {"case 00", "case 01", "case 02"}
    # Nothing validated: what was tested chose the threshold.
    assert judged_by(known, "validation") == ["case 02"]
    renamed = judged_by(known, "test", Renamed())
    assert set(pixels) - set(renamed) == {"case 29", "case 00", "case 01"}
    (tmp_path / "evidence" / "known.txt").write_text("seen 0123")
    with pytest.raises(Misconfigured, match=r"known\.txt"):
        known_to(tmp_path)


def test_what_is_nearly_a_training_image_does_not_judge_and_nearly_equal_images_count_once():
    @dataclass(frozen=True, kw_only=True)
    class Near(Few):
        def read(self, case: Case) -> Pixels:
            image = Few.read(self, Case(key=f"case {int(case.key[-2:]) // 2 * 2:02}")).image
            assert image is not None
            return Pixels(image=np.where(image > 9, image // (1 + int(case.key[-2:]) % 2), image).astype(np.uint8))

    known = Known(trained=frozenset({"case 00"}))
    found = judge_model(Model(card=classifier(), runner=Told()), Near(), known=known)
    assert (found.evaluation.cases, found.evaluation.groups) == (28, 14)
    assert "case 01" not in {each.key for each in found.predictions}


OUT_OF_FOLD = (Fold(train=("a",), validation=("b",), test=("c",)), Fold(train=("c",), validation=("a",), test=("b",)))
OFFICIAL = (Fold(train=("a",), validation=("b",), test=("t",)), Fold(train=("b",), validation=("a",), test=("t",)))


@pytest.mark.parametrize(
    ("members", "folds", "trained", "chose"),
    [
        (Members.FIRST, OUT_OF_FOLD, {"a"}, {"b", "c"}),
        (Members.FOLDS, OUT_OF_FOLD, {"a", "b", "c"}, set()),
        (Members.WHOLE, OUT_OF_FOLD, {"a", "b", "c"}, set()),
        (Members.FIRST, OFFICIAL, {"a"}, {"b"}),
        (Members.FOLDS, OFFICIAL, {"a", "b"}, set()),
        (Members.WHOLE_SEEDS, OFFICIAL, {"a", "b"}, set()),
        (Members.FIRST, OFFICIAL[:1], {"a"}, {"b"}),
        (Members.FIRST, (Fold(train=("a",), test=("t",)),), {"a"}, {"t"}),
    ],
)
def test_the_evidence_tells_what_a_model_was_made_of(
    tmp_path: Path, members: Members, folds: tuple[Fold, ...], trained: set, chose: set
):
    (tmp_path / "evidence").mkdir()
    split = Split(method="by hand", dataset_digest="d", folds=folds)
    (tmp_path / "evidence" / "split.json").write_text(split_text(split))
    official = Splitting(official=folds is OFFICIAL)
    recipe = Recipe(task=Task.CLASSIFICATION, split=official, export=Exporting(members=members))
    (tmp_path / "evidence" / "recipe.toml").write_text(recipe_text(recipe))
    known = known_to(tmp_path)
    assert (known.trained, known.chose) == (trained, chose)
    assert known_to(tmp_path / "evidence") == Known()


def test_hidden_names_of_cases_are_recognised():
    hidden = hashlib.sha256(b"d\0case 00").hexdigest()[:16]
    known = Known(trained=frozenset({hidden}), dataset_digest="d")
    assert len(judged_by(known, "test")) == 29


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
    for seed in (0, 1):
        file = run.member(seed, 0).predictions
        write_predictions(file, (each for each in read_predictions(file) if each.part == "validation"))
    found = judge_run(run).evaluation
    assert (found.part, found.cases) == ("validation", 20)


def test_a_run_that_is_half_done_says_so(tmp_path: Path):
    found = judge_run(run_folder(tmp_path / "toy", done=(1,))).evaluation
    assert found.notes[0] == "1 of the trainings are not done: the figures are of the others alone."
    with pytest.raises(Failed, match="no training that is done"):
        judge_run(run_folder(tmp_path / "new", done=()))
