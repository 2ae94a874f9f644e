"""Whole evaluations: of seeds and folds, of every task, and as a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured
from node.learn.evaluate import subgroups
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.evaluate.evaluation import Evaluation, evaluation_text, read_evaluation, write_evaluation
from node.learn.evaluate.figures import Figure, Scaling
from node.learn.evaluate.settling import Settled
from node.learn.prediction import Prediction, SeenBox, SegmentFigures
from node.learn.recipe import Judging

CLASSES = ("benign", "malignant", "normal")
QUICK = Terms(model="breast", dataset="busi", replicates=60)


def predictions(
    count: int = 90, *, seeds: int = 2, folds: int = 1, part: str = "test", shift: int = 0
) -> tuple[Prediction, ...]:
    truth = np.random.default_rng(1).integers(0, 3, count)
    noise = [np.random.default_rng([seed, shift]).normal(size=(count, 3)) for seed in range(seeds)]
    return tuple(
        Prediction(
            key=f"{part} {place:03}",
            group=f"{part} group {place // 2}",
            part=part,
            seed=seed,
            fold=place // 2 % folds,
            truth=int(truth[place]),
            logits=tuple((noise[seed][place] + 2 * np.eye(3)[truth[place]]).tolist()),
            attributes={"sex": "FM"[place % 2], "age": f"{place % 90:03}Y", "site": "Most" if place > 3 else "Rare"},
        )
        for seed in range(seeds)
        for place in range(count)
    )


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return evaluate(predictions(folds=5), Judging(positive="malignant"), Task.CLASSIFICATION, CLASSES, terms=QUICK)


def every_figure(value: object) -> list[Figure]:
    if isinstance(value, Figure):
        return [value]
    if isinstance(value, dict):
        return [each for inner in value.values() for each in every_figure(inner)]
    if isinstance(value, tuple):
        return [each for inner in value for each in every_figure(inner)]
    names = getattr(value, "__dataclass_fields__", {})
    return [each for name in names for each in every_figure(getattr(value, name))]


def test_folds_are_one_evaluation_of_every_case(found: Evaluation):
    assert (found.method, found.cases, found.groups, found.seeds, found.folds) == (
        "out of fold", 90, 45, (0, 1), (0, 1, 2, 3, 4),
    )  # fmt: skip
    assert found.classification is not None
    assert found.classification.positive == 1
    assert sum(map(sum, found.classification.confusion)) == pytest.approx(90)
    operating = found.classification.operating
    assert operating is not None
    assert operating.chosen_on == "out of fold"
    assert operating.held_out_sensitivity is not None
    assert operating.sensitivity.value is not None
    assert operating.sensitivity.value >= 0.9
    assert operating.sensitivity_share.of == found.classification.classes[1].cases


def test_every_interval_holds_its_figure_and_the_mean_is_of_the_seeds(found: Evaluation):
    figures = every_figure(found)
    assert len(figures) > 60
    for each in figures:
        known = [one for one in each.seeds if one is not None]
        assert each.value == pytest.approx(np.mean(known)) if known else each.value is None
        if each.low is not None and each.high is not None and each.value is not None:
            assert each.low <= each.value <= each.high


def test_it_is_the_same_again_and_goes_through_a_file(found: Evaluation, tmp_path: Path):
    again = evaluate(predictions(folds=5), Judging(positive="malignant"), Task.CLASSIFICATION, CLASSES, terms=QUICK)
    assert again == found
    file = tmp_path / "evaluation.json"
    write_evaluation(file, found)
    assert read_evaluation(file) == found
    assert json.loads(file.read_text())["classification"]["figures"]["accuracy"]["seeds"] == list(
        found.classification.figures["accuracy"].seeds  # type: ignore[union-attr]
    )


def test_a_number_that_is_none_is_not_written(found: Evaluation):
    broken = replace(
        found,
        classification=None,
        subgroups=(replace(found.subgroups[0], figures={"auc": Figure(value=float("nan"))}),),
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        evaluation_text(broken)


def test_a_damaged_file_says_which(tmp_path: Path):
    (tmp_path / "evaluation.json").write_text("{}")
    with pytest.raises(Misconfigured, match=r"evaluation\.json"):
        read_evaluation(tmp_path / "evaluation.json")


def test_the_order_of_predictions_does_not_matter():
    said = predictions(30)
    plain, turned = (
        evaluate(each, Judging(), Task.CLASSIFICATION, CLASSES, terms=QUICK) for each in (said, said[::-1])
    )
    assert plain == turned


def test_validation_chooses_and_test_judges():
    both = predictions(60) + predictions(90, part="validation", shift=9)
    found = evaluate(both, Judging(), Task.CLASSIFICATION, CLASSES, terms=QUICK)
    assert found.classification is not None
    assert found.classification.operating is not None
    assert (found.method, found.cases) == ("held out", 60)
    assert found.classification.operating.chosen_on == "validation"
    assert found.classification.operating.held_out_sensitivity is None
    scalings = found.classification.classes[0].calibration.scalings  # type: ignore[union-attr]
    assert [each.cases for each in scalings if each is not None] == [90, 90]
    everyone = evaluate(both, Judging(), Task.CLASSIFICATION, CLASSES, terms=replace(QUICK, part="all"))
    assert everyone.cases == 150
    assert "Cases that chose between weights judge here" in everyone.notes[0]


def test_what_a_card_says_already_is_taken_as_it_is():
    settled = Settled(scalings=(None, None, Scaling(temperature=2.0, bias=0.5, cases=7, positives=0)), threshold=0.25)
    found = evaluate(
        predictions(30), Judging(), Task.CLASSIFICATION, CLASSES, terms=replace(QUICK, settled=settled)
    ).classification
    assert found is not None
    assert found.operating is not None
    assert (found.operating.thresholds, found.operating.chosen_on) == ((0.25, 0.25), "the model's card")
    assert found.classes[0].calibration is not None
    assert found.classes[0].calibration.after is None
    assert found.classes[2].calibration is not None
    assert found.classes[2].calibration.after is not None


def test_networks_that_answer_together_are_judged_beside_the_mean_of_the_seeds():
    together = tuple(each for each in predictions(30, shift=4) if each.seed == 0)
    found = evaluate(predictions(30), Judging(), Task.CLASSIFICATION, CLASSES, together=together, terms=QUICK)
    assert found.together is not None
    assert found.together.seeds == (0,)
    assert read_back(found) == found


def read_back(found: Evaluation) -> Evaluation:
    from pydantic import TypeAdapter

    return TypeAdapter(Evaluation).validate_json(evaluation_text(found))


def test_a_model_without_a_fault_is_not_certain_for_that():
    sure = tuple(
        replace(each, logits=tuple((50 * np.eye(3)[each.truth or 0]).tolist()))
        for each in predictions(90, seeds=1, folds=3)
    )
    found = evaluate(sure, Judging(positive="malignant"), Task.CLASSIFICATION, CLASSES, terms=QUICK).classification
    assert found is not None
    groups = {each.group for each in sure if each.truth == 1}
    auc, accuracy = found.classes[1].figures["auc"], found.figures["accuracy"]
    assert (auc.value, auc.high, accuracy.value, accuracy.high) == (1.0, 1.0, 1.0, 1.0)
    others = {each.group for each in sure if each.truth != 1}
    few = min(len(groups), len(others))
    assert auc.low == pytest.approx(few / (few + 1.96**2), abs=1e-3)
    assert accuracy.low == pytest.approx(45 / (45 + 1.96**2), abs=1e-3)
    assert found.operating is not None
    assert found.operating.sensitivity.low is not None
    assert found.operating.sensitivity.low < 1


def test_subgroups_are_counted_and_few_cases_said(found: Evaluation):
    names = {(each.attribute, each.value): each for each in found.subgroups}
    women = names["sex", "F"]
    assert women.cases == 45
    assert women.positives + women.negatives == 45
    assert set(women.figures) == {"accuracy", "auc", "sensitivity", "specificity"}
    assert women.note == ""
    assert "these figures say little" in names["site", "Rare"].note
    assert {value for attribute, value in names if attribute == "age"} == {
        "under 18", "18-39", "40-59", "60-79", "80 and over",
    }  # fmt: skip
    assert not any(attribute == "scanner" for attribute, _ in names)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("063Y", "60-79"),
        ("018M", "under 18"),
        ("17.9", "under 18"),
        ("18", "18-39"),
        ("old", "not known"),
        ("", "not known"),
    ],
)
def test_ages_are_put_into_bands(age: str, expected: str):
    said = Prediction(key="a", group="a", part="test", attributes={"age": age})
    assert subgroups.value_of(said, "age") == expected


def test_the_worst_case_comes_first(found: Evaluation):
    assert len(found.worst) == 24
    assert found.worst[0].truth != found.worst[0].answer
    assert found.worst[0].truth in CLASSES


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(Misconfigured, match="there is no class"):
        evaluate(predictions(10), Judging(positive="cyst"), Task.CLASSIFICATION, CLASSES, terms=QUICK)
    with pytest.raises(Failed, match="3 numbers"):
        evaluate(predictions(10), Judging(), Task.CLASSIFICATION, CLASSES[:2], terms=QUICK)
    with pytest.raises(Failed, match="no predictions of the part test"):
        evaluate((), Judging(), Task.CLASSIFICATION, CLASSES, terms=QUICK)


def test_one_class_alone_is_judged_as_far_as_it_can_be():
    said = tuple(replace(each, truth=0) for each in predictions(12, seeds=1))
    found = evaluate(said, Judging(), Task.CLASSIFICATION, CLASSES, terms=QUICK)
    assert found.classification is not None
    assert found.classification.operating is None
    assert found.classification.classes[0].figures["auc"].value is None
    assert any("is not calibrated" in note for note in found.notes)
    evaluation_text(found)


def segment(dice: float | None, volume: float, true: float) -> SegmentFigures:
    distance = None if dice is None or not (volume and true) else 2 - dice
    return SegmentFigures(dice=dice, hd95_mm=distance, surface_dice=dice, volume_ml=volume, true_volume_ml=true)


def test_a_segmentation_is_the_mean_of_cases_in_which_a_segment_is():
    said = tuple(
        Prediction(
            key=f"case {place}",
            group=f"case {place}",
            part="test",
            segments={1: segment(*first), 2: segment(*second)},
        )
        for place, (first, second) in enumerate(
            [
                ((0.9, 1.1, 1.0), (0.8, 2.0, 2.0)),
                ((0.7, 0.9, 1.2), (None, 0.0, 0.0)),
                ((0.0, 0.0, 0.5), (0.0, 0.3, 0.0)),
            ]
        )
    )
    found = evaluate(said, Judging(), Task.SEGMENTATION, ("anterior", "posterior"), terms=QUICK).segmentation
    assert found is not None
    anterior, posterior = found.segments
    assert anterior.figures["dice"].value == pytest.approx(1.6 / 3)
    assert anterior.figures["hd95_mm"].value == pytest.approx((1.1 + 1.3) / 2)
    assert anterior.figures["volume_error_ml"].value == pytest.approx((0.1 - 0.3 - 0.5) / 3)
    assert anterior.figures["volume_error_percent"].value == pytest.approx((10 + 25 + 100) / 3)
    assert (anterior.present, anterior.missed, anterior.falsely_seen) == (3, 1, 0)
    assert (posterior.present, posterior.missed, posterior.falsely_seen) == (1, 0, 1)
    assert posterior.figures["dice"].value == pytest.approx(0.4)
    assert found.figures["dice"].value == pytest.approx((1.6 / 3 + 0.4) / 2)
    assert anterior.agreement is not None
    spread = np.std([0.1, -0.3, -0.5], ddof=1)
    assert anterior.agreement.high_ml - anterior.agreement.mean_ml == pytest.approx(1.96 * spread)


def test_a_detector_is_judged_and_its_worst_image_named():
    def box(score: float, low: float) -> SeenBox:
        return SeenBox(label=0, score=score, edges=((low, low + 10), (0.0, 10.0)))

    said = tuple(
        Prediction(key=key, group=key, part="test", boxes=boxes, true_boxes=(box(1, 0),))
        for key, boxes in (("a", (box(0.9, 0),)), ("b", (box(0.8, 40),)), ("c", (box(0.7, 0), box(0.2, 60))))
    )
    found = evaluate(said, Judging(), Task.DETECTION, ("lesion",), terms=QUICK)
    assert found.detection is not None
    assert found.detection.figures["map_0.5"].value == pytest.approx(1 / 3 + 1 / 3 * 2 / 3)
    assert found.detection.figures["sensitivity_at_0.5"].value == pytest.approx(2 / 3)
    assert [each.key for each in found.worst] == ["b"]
    assert read_back(found) == found
