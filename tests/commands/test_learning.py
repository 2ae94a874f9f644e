"""`matins train`: options become a recipe, wrong ones are named, and what it prints is one document where asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from node.cli import app
from node.commands.training import listening
from node.learn import training
from node.learn.fitting import Epoch
from node.learn.recipe import Recipe
from node.learn.recipe_text import recipe_text
from tests.learn import synthetic
from tests.learn.toys import classifying, trained_for

CONFIG = str(Path(__file__).resolve().parents[2] / "config.toml")


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[training.Wish]:
    """What each command asks for; nothing is done."""
    seen: list[training.Wish] = []

    def prepare(wish: training.Wish, *_: Any) -> None:
        seen.append(wish)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "prepare", prepare)
    return seen


def invoke(tmp_path: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["train", *words, "--config", CONFIG, "--data", str(tmp_path / "data")])


def recipe_of(tmp_path: Path, asked: list[training.Wish], *words: str) -> Recipe:
    (tmp_path / "recipe.toml").write_text(recipe_text(classifying()))
    invoke(tmp_path, str(tmp_path / "recipe.toml"), "--dataset", str(tmp_path), *words)
    return asked[-1].recipe


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("training.batch=4", lambda recipe: recipe.training.batch == 4),
        ("training.learning_rate=1e-4", lambda recipe: recipe.training.learning_rate == 1e-4),
        ("training.optimiser=sgd", lambda recipe: recipe.training.optimiser == "sgd"),
        ('training.balance="sampler"', lambda recipe: recipe.training.balance == "sampler"),
        ("training.seeds=[3, 4]", lambda recipe: recipe.training.seeds == (3, 4)),
        ("split.official = true", lambda recipe: recipe.split.official),
        ("preparation.size=[16,16]", lambda recipe: recipe.preparation.size == (16, 16)),
        ("network.arguments.layers=[1,2,1,1]", lambda recipe: recipe.network.arguments["layers"] == [1, 2, 1, 1]),
        ("start.weights=file:a b.pth", lambda recipe: recipe.start.weights == "file:a b.pth"),
        ("colour=rgb", lambda recipe: recipe.colour == "rgb"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_every_kind_of_value_can_be_set(tmp_path: Path, asked: list[training.Wish], change: str, found: Any) -> None:
    assert found(recipe_of(tmp_path, asked, "--set", change))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "training.batch"], "training.batch: is no TABLE.KEY=VALUE"),
        (["--set", "training.bacth=4"], "training.bacth: unknown key"),
        (["--set", "training.batch=[4"], "training.batch: [4 is no value of TOML"),
        (["--set", "training.batch=four"], "training.batch: "),
        (["--set", "name.first=x"], "name is no table"),
        (["--seed", "1", "--seed", "1"], "a seed is named twice"),
        (["--model", "My Model"], 'name: "My Model" is no name of a model'),
        (["--device", "gpu"], "--device: gpu: is no device"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_is_wrong_is_named_before_anything_is_done(
    tmp_path: Path, asked: list[training.Wish], words: list[str], said: str
) -> None:
    (tmp_path / "recipe.toml").write_text(recipe_text(classifying()))
    result = invoke(tmp_path, str(tmp_path / "recipe.toml"), "--dataset", str(tmp_path), *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not asked


def test_seeds_epochs_and_name_come_from_their_options(tmp_path: Path, asked: list[training.Wish]) -> None:
    found = recipe_of(tmp_path, asked, "--seed", "5", "--seed", "6", "--epochs", "7", "--model", "mine")
    assert (found.training.seeds, found.training.epochs, found.name) == ((5, 6), 7, "mine")
    assert asked[-1].run.folder == tmp_path / "data" / "learning" / "mine"


def test_a_data_set_gives_the_model_a_name_that_a_model_may_have(tmp_path: Path, asked: list[training.Wish]) -> None:
    folder = tmp_path / "Dataset_BUSI with (GT)"
    folder.mkdir()
    invoke(tmp_path, str(folder))
    assert asked[-1].recipe.name == "dataset-busi-with-gt"


def test_after_ctrl_c_it_is_said_how_to_go_on(tmp_path: Path, asked: list[training.Wish]) -> None:
    result = invoke(tmp_path, str(tmp_path), "--model", "mine", "--run", str(tmp_path / "run"))
    assert result.exit_code == 1
    assert f"stopped; the same command goes on where {tmp_path / 'run'} is" in result.stderr


def test_a_dataset_is_asked_for_where_a_recipe_names_none(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("")
    result = invoke(tmp_path, str(tmp_path / "recipe.toml"))
    assert result.exit_code == 2
    assert "--dataset: is missing" in result.stderr


def test_json_is_one_document(tmp_path: Path) -> None:
    dataset = synthetic.class_folders(tmp_path / "set")
    (tmp_path / "recipe.toml").write_text(recipe_text(trained_for(classifying(), epochs=1)))
    words = [str(tmp_path / "recipe.toml"), "--dataset", str(dataset), "--device", "cpu", "--no-install"]
    result = invoke(tmp_path, *words, "--run", str(tmp_path / "run"), "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["run"] == str(tmp_path / "run")
    assert Path(told["model"]).is_dir()
    assert told["evaluation"]["cases"] > 0


def test_elsewhere_than_on_a_terminal_there_is_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    with listening() as listener:
        hear = listener("training 1 of 1: seed 0, fold 1")
        hear((1, 20))
        hear(Epoch(number=1, of=3, loss=0.51234, figures={"accuracy": 0.9}, seconds=2.4))
    assert capsys.readouterr().out == (
        "training 1 of 1: seed 0, fold 1: epoch 1 of 3, loss 0.5123, accuracy 0.9000, 2 s\n"
    )


def evaluated(tmp_path: Path, *words: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", *words, "--config", CONFIG, "--data", str(tmp_path / "data")])


def test_explanations_are_measured_at_the_end_of_a_training_and_of_an_evaluation(tmp_path: Path) -> None:
    dataset = synthetic.class_folders(tmp_path / "set")
    (tmp_path / "recipe.toml").write_text(recipe_text(trained_for(classifying(), epochs=1)))
    words = [str(tmp_path / "recipe.toml"), "--dataset", str(dataset), "--device", "cpu", "--no-install"]
    result = invoke(tmp_path, *words, "--run", str(tmp_path / "run"), "--set", "explanations.cases=2")
    assert result.exit_code == 0, result.output
    assert "measuring the explanations of 2 cases by 6 methods: 4 minute(s) at most" in result.stdout
    assert len(json.loads((tmp_path / "run" / "explanations.json").read_text())["cases"]) == 2
    title = "How far its explanations are to be trusted"
    assert title in (tmp_path / "run" / "report.html").read_text()
    other = synthetic.class_folders(tmp_path / "other", {"benign": 3, "malignant": 3}, size=(30, 24))
    about = [str(tmp_path / "run"), str(other), "--device", "cpu"]
    result = evaluated(tmp_path, *about, "--to", str(tmp_path / "to"), "--explain", "1")
    assert result.exit_code == 0, result.output
    assert "--explain 0 leaves it out" in result.stdout
    assert len(json.loads((tmp_path / "to" / "explanations.json").read_text())["cases"]) == 1
    assert title in (tmp_path / "to" / "report.html").read_text()
    result = evaluated(tmp_path, *about, "--to", str(tmp_path / "none"), "--explain", "0")
    assert result.exit_code == 0, result.output
    assert title not in (tmp_path / "none" / "report.html").read_text()
    assert not (tmp_path / "none" / "explanations.json").exists()


def test_explanations_go_into_a_report_that_has_to_be_asked_for(tmp_path: Path) -> None:
    result = evaluated(tmp_path, "mine", str(tmp_path), "--explain", "3")
    assert result.exit_code == 2
    assert "--explain: measures explanations for the report on a data set" in result.stderr
