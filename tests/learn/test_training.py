"""A whole run: killed between any two of its files it goes on, and nothing else is trained into its folder."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from node.errors import Failed, Misconfigured
from node.learn import checkpoint, members, shelf, soup, training
from node.learn.prediction import read_predictions
from node.learn.recipe import Splitting
from node.learn.recipe_export import Exporting, Members
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import Fold, Split, read_split
from tests.learn import synthetic
from tests.learn.toys import HERE, classifying, stands, trained_for

RECIPE = classifying()
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.class_folders(tmp_path_factory.mktemp("training") / "set")


def said(run: Path) -> dict[str, bytes]:
    """What a run is to be the same in: weights, predictions, figures, what was asked."""
    files = (file for file in run.rglob("*") if file.is_file() and file.name != "history.jsonl" and file.name[0] != ".")
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Two seeds that become one model, trained without a break."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("training") / "run"
    training.train(stands(dataset, run, SEEDS), HERE, training.Ears())
    return said(run)


SEEDS = dataclasses.replace(trained_for(RECIPE, seeds=(0, 1)), export=Exporting(members=Members.SEEDS))


class Killed(BaseException):
    """As if the machine went dark."""


def test_a_run_that_is_killed_at_every_file_it_writes_ends_as_one_that_was_not(
    dataset: Path, whole: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write_whole
    died: list[str] = []

    def once(file: Path, fill: Callable[[Path], object]) -> None:
        place = str(file.relative_to(tmp_path))
        if place not in died:
            died.append(place)
            raise Killed
        write(file, fill)

    monkeypatch.setattr(checkpoint, "write_whole", once)
    for _ in range(40):
        try:
            training.train(stands(dataset, tmp_path / "run", SEEDS), HERE, training.Ears())
        except Killed:
            continue
        break
    assert {Path(each).name for each in died} >= {"recipe.toml", "last.pt", "weights.safetensors", "predictions.jsonl"}
    assert said(tmp_path / "run") == whole


def test_what_is_there_is_not_trained_again(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = training.train(stands(dataset, tmp_path, RECIPE), HERE, training.Ears())
    monkeypatch.setattr(members, "train_member", lambda *_: pytest.fail("trained again"))
    assert training.train(stands(dataset, tmp_path, RECIPE), HERE, training.Ears()) == first
    assert not list(tmp_path.rglob("last.pt"))


def begun(run: Path) -> None:
    """As a training that has gone through its first epoch."""
    (run / "seed-0" / "fold-0").mkdir(parents=True)
    (run / "seed-0" / "fold-0" / "history.jsonl").write_text('{"epoch": 1}\n')


def test_another_recipe_or_split_is_not_trained_into_the_same_folder(dataset: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    ready = stands(dataset, run, RECIPE)
    begun(run)
    assert stands(dataset, run, RECIPE) == ready
    with pytest.raises(Misconfigured, match="was begun with another recipe or data set"):
        stands(dataset, run, trained_for(RECIPE, epochs=3))
    fold = ready.split.folds[0]
    other = dataclasses.replace(ready.split, folds=(Fold(train=fold.train + fold.test, test=fold.validation),))
    (tmp_path / "split.json").write_text(json.dumps(dataclasses.asdict(other)))
    with pytest.raises(Misconfigured, match="was begun with another split"):
        stands(dataset, run, RECIPE, tmp_path / "split.json")


def test_a_dry_run_binds_nobody(dataset: Path, tmp_path: Path) -> None:
    stands(dataset, tmp_path, RECIPE)
    other = dataclasses.replace(trained_for(RECIPE, epochs=3), split=dataclasses.replace(RECIPE.split, seed=9))
    assert stands(dataset, tmp_path, other).split == read_split(tmp_path / "split.json")
    assert "seed 9" in read_split(tmp_path / "split.json").method


def test_the_split_of_another_data_set_is_refused(dataset: Path, tmp_path: Path) -> None:
    foreign = synthetic.class_folders(tmp_path / "foreign", {"benign": 6, "malignant": 6})
    stands(foreign, tmp_path / "other", RECIPE)
    with pytest.raises(Misconfigured, match=r"split.json: does not fit the data set set: .*cases in no part"):
        stands(dataset, tmp_path / "run", RECIPE, tmp_path / "other" / "split.json")


def test_two_processes_do_not_train_in_one_folder(dataset: Path, tmp_path: Path) -> None:
    ready = stands(dataset, tmp_path, RECIPE)
    with Run(folder=tmp_path).held(), pytest.raises(Misconfigured, match="another process trains in it"):
        training.train(ready, HERE, training.Ears())


def test_a_network_for_all_cases_never_meets_an_official_test_part() -> None:
    split = Split(
        method="", dataset_digest="", folds=(Fold(train=("a", "b"), test=("t",)), Fold(train=("b", "c"), test=("t",)))
    )
    assert members.fold_of(split, members.WHOLE).train == ("a", "b", "c", "t")
    assert members.fold_of(split, members.WHOLE, official=True).train == ("a", "b", "c")


def test_cases_that_are_too_many_for_memory_lie_on_disk_and_are_removed(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training.train(stands(dataset, tmp_path / "memory", RECIPE), HERE, training.Ears())
    seen: list[str] = []
    monkeypatch.setattr(shelf, "IN_MEMORY", 0)
    ears = training.Ears(say=lambda text: seen.append(str(text)))
    training.train(stands(dataset, tmp_path / "disk", RECIPE), HERE, ears)
    assert any("they take 0.0 GiB" in text for text in seen)
    assert said(tmp_path / "disk") == said(tmp_path / "memory")


def test_folds_and_networks_of_all_cases_are_trained_and_only_the_folds_judge(dataset: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        trained_for(RECIPE, epochs=1, seeds=(0, 1)),
        split=Splitting(folds=2, shares=(1.0, 0.0, 0.0), near_duplicate=1.0),
        export=Exporting(members=Members.WHOLE_SEEDS),
    )
    ready = stands(dataset, tmp_path, recipe)
    evaluation = training.train(ready, HERE, training.Ears())
    assert evaluation.cases == 24
    assert [str(member.folder.relative_to(tmp_path)) for member in training.chosen(ready)] == [
        "seed-0/whole",
        "seed-1/whole",
    ]
    for member in training.chosen(ready):
        assert member.is_done
        assert read_predictions(member.predictions) == ()


def test_images_of_several_sizes_are_told_by_name(dataset: Path, tmp_path: Path) -> None:
    ready = stands(dataset, tmp_path, RECIPE)
    odd = synthetic.class_folders(tmp_path / "odd")
    synthetic.write_picture(odd / "malignant" / "malignant (5).png", synthetic.picture(3, 1, (24, 30)))
    mixed = dataclasses.replace(ready, dataset=training.examine(odd).dataset)
    assert ready.recipe.preparation is not None
    as_they_are = dataclasses.replace(ready.recipe, preparation=dataclasses.replace(ready.recipe.preparation, size=()))
    with pytest.raises(Failed, match=r"malignant \(5\).png is 1 × 24 × 30 once it is prepared, and benign/"):
        members.prepared(mixed.dataset, as_they_are, ready.split)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), r"not enough memory: a smaller"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), r"training.batch \(now 8\)"),
        (ValueError("Expected more than 1 value per channel when training\nmore"), "broke off: Expected more than 1"),
    ],
)
def test_what_pytorch_stumbles_over_is_said_in_one_line(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(soup, "fit", fails)
    with pytest.raises(Failed, match=said):
        training.train(stands(dataset, tmp_path, RECIPE), HERE, training.Ears())


@pytest.mark.timeout(600)
def test_a_process_that_was_killed_half_way_ends_with_the_same_weights_and_figures(
    dataset: Path, tmp_path: Path
) -> None:
    recipe = trained_for(RECIPE, epochs=40)
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe))
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "node", "train", "recipe.toml", "--dataset", str(dataset), "--run", str(run)]
    more = ["--device", "cpu", "--no-install", "--data", str(tmp_path / "data"), "--config", str(ROOT / "config.toml")]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [*command, *more], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 500
        while len(checkpoint.history(run / "seed-0" / "fold-0")) < 3:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < until
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (run / "evaluation.json").exists()
    goes_on: list[str] = []
    ears = training.Ears(say=lambda text: goes_on.append(str(text)))
    resumed = training.train(stands(dataset, run, recipe), HERE, ears)
    assert any("goes on after epoch" in text for text in goes_on)
    assert training.train(stands(dataset, tmp_path / "whole", recipe), HERE, training.Ears()) == resumed
    weights = [load_file(tmp_path / name / "seed-0/fold-0/weights.safetensors") for name in ("killed", "whole")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
