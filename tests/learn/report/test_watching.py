"""What seismometer reads of an evaluation, and that it does."""

from __future__ import annotations

import ast
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from node.domain.model_card import Task
from node.errors import Failed
from node.learn.evaluate import calibration
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.evaluate.evaluation import Evaluation
from node.learn.prediction import Prediction, SegmentFigures
from node.learn.recipe import Judging
from node.learn.report.watching import (
    CASE,
    CONFIG,
    DICTIONARY,
    EVENTS,
    METADATA,
    PATIENT,
    PREDICTIONS,
    SCORE,
    SCRIPT,
    USAGE,
    write_seismometer,
)

ROOT = Path(__file__).resolve().parents[3]
#: Made by `make interop-install`.
PYTHON = Path(os.environ.get("MATINS_VALIDATE_PYTHON", ROOT / ".venv-validate" / "bin" / "python"))
CLASSES = ("normal", "tumour, any")


def _said(count: int = 80) -> list[Prediction]:
    random = np.random.default_rng(11)
    found = []
    for part in ("validation", "test"):
        for place in range(count):
            truth = place % 2
            logit = float(random.normal(2 * truth - 1, 1.5))
            attributes = {"sex": "FM"[place // 2 % 2], "age": f"{place % 70 + 10}", "scanner": "A", "site": ""}
            key = f"{part}/Doe^John/{place}"
            found.append(
                Prediction(
                    key=key,
                    group=f"{part}/patient {place // 2}",
                    part=part,
                    attributes=attributes,
                    truth=truth,
                    logits=(0.0, logit),
                )
            )
    return found


@pytest.fixture(scope="module")
def judged() -> tuple[Evaluation, list[Prediction]]:
    said = _said()
    terms = Terms(model="spots 1.0", replicates=20)
    return evaluate(said, Judging(), Task.CLASSIFICATION, CLASSES, terms=terms), said


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_predictions_and_events_are_those_that_judged(
    judged: tuple[Evaluation, list[Prediction]], tmp_path: Path
) -> None:
    evaluation, said = judged
    write_seismometer(evaluation, said, tmp_path)
    tested = sorted((each for each in said if each.part == "test"), key=lambda each: each.key)
    predictions, events = _rows(tmp_path / PREDICTIONS), _rows(tmp_path / EVENTS)
    assert len(predictions) == len(events) == len(tested) == evaluation.cases
    assert [int(each["Value"]) for each in events] == [each.truth for each in tested]
    assert [(each[PATIENT], each[CASE]) for each in events] == [(each[PATIENT], each[CASE]) for each in predictions]
    assert len({each[PATIENT] for each in predictions}) == evaluation.groups
    assert {each["Type"] for each in events} == {"tumour_any"}
    assert [each["Sex"] for each in predictions] == [each.attributes["sex"] for each in tested]
    assert {each["Site"] for each in predictions} == {"not known"}
    assert {each["ModelVersion"] for each in predictions} == {"spots 1.0"}
    # What is known must be known after it was predicted.
    assert max(each["PredictTime"] for each in predictions) < min(each["EventTime"] for each in events)


def test_the_score_is_what_the_node_tells(judged: tuple[Evaluation, list[Prediction]], tmp_path: Path) -> None:
    evaluation, said = judged
    write_seismometer(evaluation, said, tmp_path)
    assert evaluation.classification is not None
    fitted = evaluation.classification.classes[1].calibration
    assert fitted is not None
    (scaling,) = fitted.scalings
    assert scaling is not None
    tested = sorted((each for each in said if each.part == "test"), key=lambda each: each.key)
    shares = np.array([1 / (1 + np.exp(-each.logits[1])) for each in tested])
    scores = [float(each[SCORE]) for each in _rows(tmp_path / PREDICTIONS)]
    assert scores == pytest.approx(calibration.probability(shares, scaling), abs=1e-6)
    assert evaluation.classification.operating is not None
    document = json.loads((tmp_path / METADATA).read_text())
    assert document == {"modelname": "spots 1.0", "thresholds": [evaluation.classification.operating.thresholds[0]]}


def test_every_column_and_file_that_the_settings_name_is_there(
    judged: tuple[Evaluation, list[Prediction]], tmp_path: Path
) -> None:
    write_seismometer(*judged, tmp_path)
    config = yaml.safe_load((tmp_path / CONFIG).read_text())["other_info"]
    assert all((tmp_path / name).exists() for name in config.values())
    usage = yaml.safe_load((tmp_path / USAGE).read_text())["data_usage"]
    columns = set(_rows(tmp_path / PREDICTIONS)[0])
    assert {cohort["source"] for cohort in usage["cohorts"]} < columns
    assert {usage[key] for key in ("entity_id", "context_id", "primary_output", "predict_time")} < columns
    assert set(usage["event_table"].values()) | {PATIENT, CASE} == set(_rows(tmp_path / EVENTS)[0])
    assert usage["primary_target"] in {event["display_name"] for event in usage["events"]}
    dictionary = yaml.safe_load((tmp_path / DICTIONARY).read_text())
    assert {each["name"] for each in dictionary["predictions"]} == columns
    assert [each["name"] for each in dictionary["events"]] == [usage["primary_target"]]


def test_nobody_is_named(judged: tuple[Evaluation, list[Prediction]], tmp_path: Path) -> None:
    for file in write_seismometer(*judged, tmp_path):
        text = file.read_text()
        assert "Doe" not in text, file.name
        assert "patient 1" not in text, file.name


def test_what_renders_needs_nothing_of_matins(judged: tuple[Evaluation, list[Prediction]], tmp_path: Path) -> None:
    write_seismometer(*judged, tmp_path)
    tree = ast.parse((tmp_path / SCRIPT).read_text())
    imported = {
        name.partition(".")[0]
        for each in ast.walk(tree)
        for name in (
            [alias.name for alias in each.names]
            if isinstance(each, ast.Import)
            else [each.module or ""]
            if isinstance(each, ast.ImportFrom)
            else []
        )
    }
    assert imported - set(sys.stdlib_module_names) == {"matplotlib", "pandas", "seismometer", "yaml"}


def test_a_segmentation_is_nothing_for_seismometer(tmp_path: Path) -> None:
    figures = SegmentFigures(dice=0.9, hd95_mm=1.0, surface_dice=0.95, volume_ml=2.0, true_volume_ml=2.1)
    said = [Prediction(key=f"{n}", group="", part="test", segments={1: figures}) for n in range(3)]
    evaluation = evaluate(said, Judging(), Task.SEGMENTATION, ("part",), terms=Terms(replicates=5))
    with pytest.raises(Failed, match="segmentation"):
        write_seismometer(evaluation, said, tmp_path)


@pytest.mark.interop
@pytest.mark.timeout(600)
def test_seismometer_renders_its_report(judged: tuple[Evaluation, list[Prediction]], tmp_path: Path) -> None:
    if not PYTHON.exists():
        if os.environ.get("MATINS_INTEROP_REQUIRED"):
            pytest.fail(f"{PYTHON} is not there: make interop-install")
        pytest.skip(f"{PYTHON} is not there: make interop-install, or name another in MATINS_VALIDATE_PYTHON")
    write_seismometer(*judged, tmp_path)
    done = subprocess.run([PYTHON, SCRIPT], cwd=tmp_path, capture_output=True, text=True, timeout=540)
    assert done.returncode == 0, done.stderr[-3000:]
    page = (tmp_path / "seismometer.html").read_text(encoding="utf-8")
    for title in ("Model", "Scores by AgeBand", "Figures by Sex"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") + page.count("data:image") >= 3
