"""Images that are drawn for a training: of its own cases alone, the same again, no copies, and never out of its run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from node.cli import app
from node.domain.model_card import Task
from node.domain.preparation import Architecture
from node.errors import Misconfigured
from node.learn import checkpoint
from node.learn.comparison import read_comparisons
from node.learn.evaluate.evaluation import read_evaluation
from node.learn.learners import Example, Material
from node.learn.learners.classification import Classifier
from node.learn.place import Place
from node.learn.recipe import Balance, Recipe, recipe_of
from node.learn.recipe_text import recipe_text
from node.learn.recipe_ways import Ablation, Way
from node.learn.run import Member
from node.learn.synthetic import drawing, flow
from node.learn.synthetic.counting import read_counts
from node.learn.synthetic.table import Synthetic
from node.learn.ways import changed
from tests.conftest import ROOT
from tests.learn import synthetic
from tests.learn.toys import HERE, TINY, classifying, material, pictures, trained_for

ASKED = Synthetic(share=0.5, updates=4, batch=4, steps=2, near_copy=0.999)
CLASSES = ("dark", "bright")


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _small() -> Iterator[None]:
    """A network that is quick, and whose state is kept after every other batch."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("STEPS", 2), ("_CHANNELS", (8, 8)), ("_GROUPS", 4)):
            patched.setattr(flow, name, value)
        yield


def recipe(asked: Synthetic | None = ASKED, **more: Any) -> Recipe:
    return dataclasses.replace(classifying(**more), classes=CLASSES, synthetic=asked)


def member(folder: Path, seed: int = 0) -> Member:
    return Member(folder=folder, seed=seed, fold=0)


def drawn_for(folder: Path, asked: Recipe, cases: tuple[Example, ...], seed: int = 0) -> Material:
    given = material(asked, cases, validation=(_Unseen(),))  # type: ignore[arg-type]
    return drawing.widened(given, member(folder, seed), HERE, lambda: lambda _: None)


class _Unseen:
    """A case that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"what validates was asked for its {name}")


def files(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_without_the_table_nothing_is_drawn(tmp_path: Path) -> None:
    assert Recipe().synthetic is None
    for asked in (None, Synthetic(share=0.0)):
        given = material(recipe(asked), pictures(4))
        assert drawing.widened(given, member(tmp_path), _nowhere(), lambda: pytest.fail("trained")) is given
    assert list(tmp_path.iterdir()) == []


def _nowhere() -> Place:
    return Place(device=torch.device("meta"))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Material]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("drawn")
    return folder, drawn_for(folder, recipe(), pictures(12))


def test_images_of_each_class_are_drawn_of_the_training_part_alone(once: tuple[Path, Material]) -> None:
    folder, made = once
    assert [each.case.label for each in made.drawn] == [0, 0, 0, 1, 1, 1]
    images = torch.stack([each.prepared.image for each in made.drawn])
    assert images.shape == (6, 1, 12, 12)
    real = torch.stack([each.prepared.image for each in made.train])
    assert real.min() <= images.min()
    assert images.max() <= real.max()
    assert not {each.case.key for each in made.drawn} & {each.case.key for each in made.train}
    assert [(each.name, each.wanted, each.kept) for each in read_counts(folder)] == [("dark", 3, 3), ("bright", 3, 3)]
    # What drew them could draw the patients: it is not kept.
    assert sorted(files(folder)) == ["synthetic/drawn.json", "synthetic/drawn.safetensors", "synthetic/history.jsonl"]


def test_one_seed_draws_the_same_and_another_others(tmp_path: Path, once: tuple[Path, Material]) -> None:
    first = once[1].drawn
    for seed, is_same in ((0, True), (1, False)):
        again = drawn_for(tmp_path / str(seed), recipe(), pictures(12), seed).drawn
        pairs = zip(first, again, strict=True)
        assert all(torch.equal(one.prepared.image, other.prepared.image) for one, other in pairs) is is_same


def test_a_training_that_goes_on_is_shown_the_same_images(
    tmp_path: Path, once: tuple[Path, Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint.write_whole
    left = iter(range(6))

    def dying(file: Path, fill: Any) -> None:
        # In the second epoch, and before the images are whole.
        if next(left, None) in (2, 5):
            raise KeyboardInterrupt
        write(file, fill)

    monkeypatch.setattr(checkpoint, "write_whole", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            drawn_for(tmp_path, recipe(), pictures(12))
    assert checkpoint.history(tmp_path / "synthetic")
    monkeypatch.setattr(checkpoint, "write_whole", write)
    again = drawn_for(tmp_path, recipe(), pictures(12))
    theirs = files(once[0])
    assert {name: each for name, each in files(tmp_path).items() if "history" not in name} == {
        name: each for name, each in theirs.items() if "history" not in name
    }
    # What was drawn is not drawn again.
    monkeypatch.setattr(drawing, "Flow", lambda *_: pytest.fail("drawn again"))
    last = drawn_for(tmp_path, recipe(), pictures(12))
    pairs = zip(again.drawn, last.drawn, strict=True)
    assert all(torch.equal(one.prepared.image, other.prepared.image) for one, other in pairs)


class _Copyist:
    """Draws what it was shown, and now and then something else."""

    def __init__(self, examples: Any, *_: Any) -> None:
        self.network, self.steps, self.size = torch.nn.Linear(1, 1), 1, (12, 12)
        self._images = [each.prepared.image for each in examples]

    def seen(self, example: Example) -> torch.Tensor:
        return example.prepared.image

    def drawn(self, label: int, count: int, place: tuple[int, ...], _: Any) -> torch.Tensor:
        found = torch.stack([1.5 * self._images[number % 12] + 0.3 for number in range(count)])
        if place[-1]:
            found[0] = torch.randn(1, 12, 12)
        return found


def test_near_copies_of_training_images_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "Flow", _Copyist)
    monkeypatch.setattr(drawing, "fit", lambda *_: [])
    made = drawn_for(tmp_path, recipe(dataclasses.replace(ASKED, near_copy=0.95)), pictures(12))
    # Of three wanted none is new at first, one in each later round.
    counts = [(each.wanted, each.drawn, each.copies, each.kept) for each in read_counts(tmp_path)]
    assert counts == [(3, 3 + 3 + 2, 6, 2)] * 2
    assert len(made.drawn) == 4


def test_an_image_is_compared_as_those_of_a_data_set_are() -> None:
    real = np.random.default_rng(0).standard_normal((5, 1, 12, 12)).astype(np.float32)
    other = np.random.default_rng(1).standard_normal((1, 1, 12, 12)).astype(np.float32)
    found = drawing.nearest(drawing.thumbnails(np.concatenate([2 * real[3:4] - 1, other])), drawing.thumbnails(real))
    assert found[0] == pytest.approx(1)
    assert found[1] < 0.5


def test_an_epoch_is_as_long_as_without_and_rare_classes_stay_as_rare_as_they_are(once: tuple[Path, Material]) -> None:
    _, made = once
    asked = trained_for(dataclasses.replace(made.recipe, evaluation=made.recipe.evaluation), batch=4)
    learner = Classifier(dataclasses.replace(made, recipe=asked, validation=()), 0)
    assert learner.steps == 3
    batches = [learner.batch(0, index, np.random.default_rng(0)) for index in range(learner.steps)]
    assert sum(len(truths) for _, truths in batches) == 12
    rare = tuple(each for each in made.train if each.case.label == 0)[:2]
    uneven = dataclasses.replace(made, train=(*rare, *(each for each in made.train if each.case.label)), validation=())
    balanced = trained_for(uneven.recipe, balance=Balance.SAMPLER, prior=1.0)
    learner = Classifier(dataclasses.replace(uneven, recipe=balanced), 0)
    assert learner._common.exp().tolist() == pytest.approx([2 / 8, 6 / 8])


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"share": -1.0}, "synthetic.share"),
        ({"share": 11.0}, "synthetic.share"),
        ({"near_copy": 1.0}, "synthetic.near_copy"),
        ({"updates": 0}, "synthetic.updates"),
        ({"side": 500}, "synthetic.side"),
        ({"kind": "gan"}, "synthetic.kind"),
    ],
)
def test_a_wrong_value_is_refused_by_name(table: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named):
        recipe_of({"synthetic": table}, Path("recipe.toml"))


def test_what_cannot_be_drawn_is_refused_by_name_before_anything_is_trained() -> None:
    with pytest.raises(Misconfigured, match=r"synthetic\.classes.*names grey.*dark, bright"):
        drawing.refuse(recipe(Synthetic(classes=("grey",))))
    volumes = Architecture(name="ResNet", arguments=TINY | {"spatial_dims": 3})
    with pytest.raises(Misconfigured, match="volumes, which is not supported"):
        drawing.refuse(recipe(network=volumes))
    with pytest.raises(Misconfigured, match="segmentation, which is not supported"):
        drawing.refuse(recipe(task=Task.SEGMENTATION))
    with pytest.raises(Misconfigured, match=r"synthetic\.classes"):
        changed(recipe(None), {"synthetic": {"classes": ["grey"]}})
    assert changed(recipe(None), {"synthetic": {"share": 1.0}}).synthetic == Synthetic(share=1.0)


def test_large_images_are_drawn_small_and_only_the_classes_that_are_asked_for(tmp_path: Path) -> None:
    asked = dataclasses.replace(ASKED, classes=("bright",), share=2.0, most=5, side=8, updates=2)
    made = drawn_for(tmp_path, recipe(asked), pictures(6, size=(20, 15)))
    assert [each.case.label for each in made.drawn] == [1] * 5
    assert {each.prepared.image.shape for each in made.drawn} == {(1, 20, 15)}
    assert load_file(tmp_path / "synthetic" / drawing.FILE_NAME)["images"].shape == (5, 1, 8, 8)


def test_a_whole_run_tells_what_was_drawn_and_what_came_of_it_and_keeps_it_to_itself(tmp_path: Path) -> None:
    dataset, run = synthetic.class_folders(tmp_path / "set"), tmp_path / "run"
    without = Ablation(epochs=1, ways=(Way(name="without", changes={"synthetic.share": 0.0}),))
    asked = trained_for(dataclasses.replace(recipe(), classes=(), ablation=without), epochs=1)
    (tmp_path / "recipe.toml").write_text(recipe_text(asked))
    words = [str(tmp_path / "recipe.toml"), "--dataset", str(dataset), "--run", str(run)]
    config = ["--config", str(ROOT / "config.toml"), "--data", str(tmp_path / "data")]
    # The models of that configuration are the checkout's own.
    done = CliRunner().invoke(app, ["train", *words, *config, "--no-install", "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert "fold 1, synthetic images: epoch 2 of 2" in done.output
    kept = sum(each.kept for each in read_counts(run / "seed-0" / "fold-0"))
    (note,) = [note for note in read_evaluation(run / "evaluation.json").notes if "synthetic" in note]
    assert f"{kept} in 1 training(s)" in note
    assert "near-copies" in note
    assert note in (run / "report.html").read_text()
    (model,) = [each for each in (run / "model").iterdir() if each.is_dir()]
    assert note in (model / "CARD.md").read_text()
    (compared,) = read_comparisons(run / "comparison.json")
    first, other = compared.rows
    assert first.figures["synthetic_images"].value == kept
    assert "synthetic_images" not in other.figures
    assert "auc_change" in other.figures
    # What was drawn stays where it was drawn.
    drawn = {each.read_bytes() for each in run.rglob("synthetic/*")}
    assert drawn
    out = [each for each in (*model.rglob("*"), *run.glob("*")) if each.is_file()]
    assert not [each for each in out if each.read_bytes() in drawn or "drawn" in each.name]
