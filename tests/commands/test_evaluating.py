"""`matins evaluate`, of a run whose networks have spoken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from node.cli import app
from node.domain.model_card import Task
from node.learn.evaluate.evaluation import read_evaluation
from node.learn.prediction import Prediction, read_predictions, write_predictions
from node.learn.recipe import Judging, Recipe
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import Fold, Split, split_text

CONFIG = str(Path(__file__).resolve().parents[2] / "config.toml")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(folder=tmp_path / "data" / "learning" / "toy")
    member = made.member(0, 0)
    member.folder.mkdir(parents=True)
    recipe = Recipe(name="toy", task=Task.CLASSIFICATION, classes=("no", "yes"), evaluation=Judging(positive="yes"))
    made.recipe.write_text(recipe_text(recipe))
    made.split.write_text(split_text(Split(method="by hand", dataset_digest="", folds=(Fold(train=()),))))
    logits = np.random.default_rng(3).normal(size=(60, 2)) + 2 * np.eye(2)[np.arange(60) % 2]
    said = (
        Prediction(key=f"{place:02}", group=f"{place:02}", part="test", truth=place % 2, logits=tuple(row.tolist()))
        for place, row in enumerate(logits)
    )
    write_predictions(member.predictions, said)
    return made


def invoke(*words: str, data: Path):
    return CliRunner().invoke(app, ["evaluate", *words, "--config", CONFIG, "--data", str(data)])


def test_a_run_is_named_judged_and_its_figures_written(run: Run, tmp_path: Path):
    shown = invoke("toy", data=tmp_path / "data")
    assert shown.exit_code == 0, shown.output
    assert "toy: 60 cases in 60 groups" in shown.stdout
    assert "yes\tauc\t0." in shown.stdout
    assert "sensitivity held out" in shown.stdout
    found = read_evaluation(run.evaluation)
    folders = ("--to", str(tmp_path / "to"), "--seismometer", str(tmp_path / "watched"))
    as_json = invoke(str(run.folder), "--json", *folders, data=tmp_path / "data")
    assert json.loads(as_json.stdout)["classification"]["positive"] == 1
    assert read_evaluation(tmp_path / "to" / "evaluation.json") == found
    assert len(read_predictions(tmp_path / "to" / "predictions.jsonl")) == 60
    assert {"report.html", "report.pdf"} <= {file.name for file in (tmp_path / "to").iterdir()}
    assert len((tmp_path / "watched" / "predictions.csv").read_text().splitlines()) == 61


def test_what_is_not_there_is_said(tmp_path: Path):
    found = invoke("nothing", data=tmp_path / "data")
    assert found.exit_code == 1
    assert "there is no run and no model nothing" in found.stderr


def test_a_run_without_a_model_reads_no_data_set(run: Run, tmp_path: Path):
    (tmp_path / "images").mkdir()
    found = invoke(str(run.folder), str(tmp_path / "images"), data=tmp_path / "data")
    assert found.exit_code == 1
    assert "has made no model yet" in found.stderr
