"""`train --dry-run` shows what there is to learn from, and trains nothing."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from node.cli import app
from tests.learn import synthetic

NOWHERE = ["--config", str(Path(__file__).resolve().parents[3] / "config.toml"), "--data"]


def looked(*arguments: Path | str):
    return CliRunner().invoke(app, ["train", *map(str, arguments), "--dry-run", "--device", "cpu"])


def test_the_sheet_the_split_and_plots_are_shown_and_written(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    result = looked(root, "--run", tmp_path / "run", *NOWHERE, tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "set: 24 cases for classification, read as class-folders" in result.output
    assert "by group, stratified by class, seed 0" in result.output
    assert "nothing was trained" in result.output
    assert (tmp_path / "run" / "plots" / "sheet-classes.png").is_file()
    assert not list((tmp_path / "run").glob("seed-*"))


def test_a_bad_data_set_is_refused_by_name(tmp_path):
    root = synthetic.class_folders(tmp_path / "set")
    (root / "benign" / "benign (3).png").write_bytes(b"")
    result = looked(root, "--run", tmp_path / "run", *NOWHERE, tmp_path / "data")
    assert result.exit_code != 0
    assert "benign (3).png" in result.output + str(result.exception)
    assert not (tmp_path / "run").exists()


def test_json_holds_the_sheet(tmp_path):
    file = synthetic.medmnist(tmp_path / "toy.npz")
    result = looked(file, "--run", tmp_path / "run", "--json", *NOWHERE, tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sheet"]["cases"] == 32
