"""Cases looked at again with an exported model, as the node runs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from node.learn.dataset import open_dataset
from node.learn.evaluate.evaluation import Failure
from node.learn.export import export
from node.learn.judgement import judge_model, load_model
from node.learn.reading import names_of
from node.learn.report import HTML, Told, write_report
from node.learn.report.asking import ModelLooker
from tests.learn.export import runs
from tests.learn.synthetic import class_folders, decathlon


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def test_a_classifier_is_shown_with_what_spoke_for_its_answer(source: Path, tmp_path: Path) -> None:
    model = load_model(export(runs.classified(source), tmp_path / "seen"), device="cpu")
    dataset = open_dataset(class_folders(tmp_path / "pictures", dict.fromkeys(runs.CLASSES, 3)))
    names = names_of(model.card, dataset, runs.CLASSES)
    judged = judge_model(model, dataset).evaluation
    looker = ModelLooker(model, dataset, names, judged.classes)
    seen = looker.look(judged.worst[0])
    assert seen is not None
    assert seen.notes == ()
    assert set(seen.maps) == {"grad-cam", "lime"}
    for weights in seen.maps.values():
        assert weights.shape == seen.image.shape[:2]
        assert 0 <= weights.min() <= weights.max() <= 1
    assert looker.look(replace(judged.worst[0], key="elsewhere")) is None
    told = Told(evaluation=replace(judged, worst=judged.worst[:1]))
    html, _ = write_report(told, tmp_path / "to", looker)
    assert html == tmp_path / "to" / HTML
    assert "what spoke for" in html.read_text()


def test_a_mask_is_shown_with_the_truth(source: Path, tmp_path: Path) -> None:
    model = load_model(export(runs.outlined(source), tmp_path / "outlined"), device="cpu")
    dataset = open_dataset(decathlon(tmp_path / "volumes", 2))
    looker = ModelLooker(model, dataset, names_of(model.card, dataset, runs.PARTS), dataset.classes)
    key = dataset.cases[0].key
    seen = looker.look(Failure(key=key, seed=0, fold=0, why="anterior: Dice 0.1", badness=0.9))
    assert seen is not None
    assert seen.where.startswith("slice ")
    assert seen.truth is not None
    assert seen.answer is not None
    assert seen.image.shape == seen.truth.shape == seen.answer.shape
