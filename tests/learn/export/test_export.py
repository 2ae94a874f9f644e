"""A run becomes a folder that the node runs, with nothing lost and nothing of us in it."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open, save_file

from node.catalogue.cards import read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import ModelCard, Task
from node.errors import Failed, Misconfigured
from node.imaging import doubt, pipelines
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Fitting, Given, Reading
from node.learn.export import Trained, export, weight_bytes
from node.learn.known import known_to
from node.learn.preparing import shown
from tests.learn.export import runs

torch.set_num_threads(1)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "recipe"
    folder.mkdir()
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def read(folder: Path, given: Given) -> tuple[ModelCard, Reading]:
    """As the node reads a study."""
    card = read_card(folder)
    weights = locate_all(card, folder, folder / "model.toml")
    fitting = Fitting(card=card, folder=folder, weights=weights, device="cpu")
    runner = pipelines.named(card.pipeline).load(doubt.alone(fitting))
    return card, doubt.read(card, runner, doubt.members(fitting), given, STILL)


def picture(trained: Trained) -> Given:
    pixels = trained.cases[0].image
    assert pixels is not None
    return Given(images=(Image(array=shown(pixels, trained.recipe.colour), sop_instance_uid="1"),))


def test_a_segmentation_runs_at_once(source: Path, into: Path) -> None:
    folder = export(runs.outlined(source), into / "outlined")
    card, reading = read(folder, Given(volumes={"": runs.volume()}))
    assert (card.task, card.version, card.title) == (Task.SEGMENTATION, "2.1", "Something")
    assert reading.labels is not None
    assert set(np.unique(reading.labels)) >= {1, 2}
    assert [path.name for path in into.iterdir()] == ["outlined"]


def test_a_classifier_has_its_calibration_and_its_operating_point(source: Path, into: Path) -> None:
    trained = runs.classified(source)
    card, reading = read(export(trained, into / "seen"), picture(trained))
    assert card.exclusive
    assert (card.needs_volume, card.colour, card.intensity) == (False, "grey", "shown")
    assert [(target.index, target.label) for target in card.targets] == [(0, "Benign"), (1, "Malignant"), (2, "Normal")]
    assert trained.evaluation is not None
    figures = trained.evaluation.classification
    assert figures is not None
    assert figures.operating is not None
    assert [target.operating_point for target in card.targets] == [None, figures.operating.thresholds[0], None]
    fitted, told = card.targets[1].calibration, figures.classes[1].calibration
    assert fitted is not None
    assert told is not None
    scaling = told.scalings[0]
    assert scaling is not None
    assert (fitted.temperature, fitted.bias, fitted.cases) == (scaling.temperature, scaling.bias, scaling.cases)
    assert (fitted.fitted_on, fitted.fitted_at) == ("2026-11-21", "pictures, validation")
    assert reading.logits is not None
    assert reading.logits.shape == (1, 3)


def test_figures_of_the_seed_that_became_the_model_are_taken(source: Path, into: Path) -> None:
    trained = runs.classified(source)
    other = dataclasses.replace(trained.members[0], seed=1)
    card = read_card(export(dataclasses.replace(trained, members=(other,)), into / "seen"))
    assert trained.evaluation is not None
    figures = trained.evaluation.classification
    assert figures is not None
    assert figures.operating is not None
    assert card.targets[1].operating_point == figures.operating.thresholds[1] != figures.operating.thresholds[0]


def test_weights_are_halved_and_say_nothing_of_where_they_were_made(source: Path, into: Path) -> None:
    trained = runs.outlined(source)
    folder = export(trained, into / "outlined")
    file = folder / "bundle" / "models" / "model.safetensors"
    before, after = load_file(trained.members[0].weights), load_file(file)
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert tensor.dtype == (torch.float16 if tensor.ndim > 1 else torch.float32), name
        assert torch.allclose(tensor.float(), before[name], atol=1e-3)
    with safe_open(file, "pt") as opened:
        assert opened.metadata() == {"format": "pt"}
    assert weight_bytes(folder) == file.stat().st_size < trained.members[0].weights.stat().st_size * 0.7


def test_several_networks_answer_together_and_a_classifier_says_how_far_they_lie_apart(
    source: Path, into: Path
) -> None:
    trained = runs.classified(source, members=2)
    card, reading = read(export(trained, into / "seen"), picture(trained))
    assert [each.role for each in card.weights] == ["network", "network-2"]
    assert card.uncertainty is not None
    assert card.uncertainty.method == "ensemble"
    assert reading.uncertainty[1] > 0


def test_views_that_the_figures_rest_on_are_taken_by_the_model_too(source: Path, into: Path) -> None:
    plain = export(runs.outlined(source), into / "outlined")
    _, one = read(plain, Given(volumes={"": runs.volume()}))
    turned = export(runs.outlined(source, flips=(0, 2), members=2), into / "outlined")
    card, other = read(turned, Given(volumes={"": runs.volume()}))
    assert card.preparation.flips == (0, 2)
    assert card.uncertainty is None
    assert not np.array_equal(one.labels, other.labels)


def test_what_answers_otherwise_than_what_was_trained_is_not_exported(source: Path, into: Path, monkeypatch) -> None:
    from node.learn.export import weights

    def damaged(name: str, tensor: torch.Tensor, *, half: bool) -> torch.Tensor:
        return tensor.float() * (1.5 if half and tensor.ndim > 1 else 1.0)

    monkeypatch.setattr(weights, "_shipped", damaged)
    for make, name in ((runs.outlined, "outlined"), (runs.classified, "seen")):
        with pytest.raises(Failed, match="the exported model is another one"):
            export(make(source), into / name)
    assert list(into.iterdir()) == []


def test_what_is_larger_than_the_recipe_allows_is_not_exported(source: Path, into: Path) -> None:
    trained = runs.outlined(source)
    small = dataclasses.replace(trained.recipe.export, largest_mb=0.001)
    trained = dataclasses.replace(trained, recipe=dataclasses.replace(trained.recipe, export=small))
    with pytest.raises(Failed, match="the recipe allows"):
        export(trained, into / "outlined")


def test_a_weight_that_is_no_number_is_not_exported(source: Path, into: Path) -> None:
    trained = runs.outlined(source)
    state = load_file(trained.members[0].weights)
    first = next(iter(state))
    state[first].view(-1)[0] = float("nan")
    save_file(state, trained.members[0].weights)
    with pytest.raises(Failed, match="not numbers"):
        export(trained, into / "outlined")


def test_without_a_hand_written_part_the_card_suits_nothing_and_says_what_to_look_at(source: Path, into: Path) -> None:
    trained = runs.classified(source, card="")
    folder = export(trained, into / "seen")
    card = read_card(folder)
    assert card.requires[0].one_of == ("OT",)
    assert [target.label for target in card.targets] == list(runs.CLASSES)
    assert card.targets[1].operating_point is not None
    for text in ((folder / "model.toml").read_text(), (folder / "CARD.md").read_text()):
        assert "modality: nobody has said which series it reads" in text
        assert "code.malignant: no code was found for it" in text
        # The training has found one.
        assert "threshold.malignant" not in text
        assert "threshold.benign" in text
    assert read_card(export(runs.outlined(source, card=""), into / "outlined")).volumes


@pytest.mark.parametrize(
    ("card", "key"),
    [
        (runs.HEAD.replace('version = "2.1"', 'pipeline = "bundle"') + runs.TARGETS, "pipeline"),
        (runs.HEAD + runs.TARGETS.replace("Malignant", "Mass"), "targets[1]"),
        (runs.HEAD + runs.TARGETS.replace("[[targets]]", "[[targets]]\nindex = 1", 1), "targets[0]"),
        (runs.HEAD.replace("Sees something.", "") + runs.TARGETS, "purpose"),
    ],
)
def test_a_hand_written_part_that_does_not_fit_is_named(source: Path, into: Path, card: str, key: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        export(runs.classified(source, card=card), into / "seen")
    assert caught.value.key == key
    assert ".part" not in str(caught.value)


def test_a_label_may_be_another_word_for_a_class(source: Path, into: Path) -> None:
    named = runs.HEAD + runs.TARGETS.replace('label = "Malignant"', 'label = "Mass"\nclass = "malignant"')
    card = read_card(export(runs.classified(source, card=named), into / "seen"))
    assert (card.targets[1].index, card.targets[1].label) == (1, "Mass")


def test_segments_are_those_of_the_data_set(source: Path, into: Path) -> None:
    with pytest.raises(Misconfigured, match="the data set has 2"):
        export(runs.outlined(source, card=runs.HEAD), into / "outlined")


def test_the_page_tells_people_what_to_expect(source: Path, into: Path) -> None:
    trained = runs.classified(source)
    folder = export(trained, into / "seen")
    text = (folder / "CARD.md").read_text()
    assert trained.evaluation is not None
    assert trained.evaluation.classification is not None
    auc = trained.evaluation.classification.classes[1].figures["auc"]
    for said in (
        "Tests.", "CC-BY-4.0", "Nobody", "pictures", "by hand", "benign: 30 cases", f"{auc.value:.3f}",
        f"{auc.low:.3f} to {auc.high:.3f}", "Operating point for malignant", "expected calibration error",
        "Subgroups: the data set names neither", "matins train recipe.toml --dataset DATA --seed 0", "2.13.0",
        "of the trained network's on 2 cases", "as it comes, before any calibration",
    ):  # fmt: skip
        assert said in text, said
    assert json.loads((folder / "evidence" / "run.json").read_text())["digest"] in text
    outlined = (export(runs.outlined(source), into / "outlined") / "CARD.md").read_text()
    assert "anterior, dice" in outlined
    assert "Volume of anterior" in outlined


def test_the_evidence_is_read_back(source: Path, into: Path) -> None:
    trained = runs.classified(source)
    report = source / "report.html"
    report.write_text("<p>good</p>")
    trained = dataclasses.replace(trained, evidence={"report.html": report})
    folder = export(trained, into / "seen") / "evidence"
    from node.learn.evaluate.evaluation import read_evaluation
    from node.learn.recipe import read_recipe
    from node.learn.split import read_split

    assert read_evaluation(folder / "evaluation.json") == trained.evaluation
    assert read_split(folder / "split.json") == trained.split
    assert read_recipe(folder / "recipe.toml") == trained.recipe
    assert (folder / "report.html").read_text() == "<p>good</p>"
    assert tomllib.loads((folder.parent / "card.toml").read_text())["title"] == "Something"


def test_a_folder_of_this_machine_in_a_report_stops_the_export(source: Path, into: Path) -> None:
    report = source / "report.html"
    report.write_text(f"read from {Path('/home/somebody/images')}")
    trained = dataclasses.replace(runs.classified(source), evidence={"report.html": report})
    with pytest.raises(Failed, match=r"report.html names a folder of this machine \(/home/somebody/images"):
        export(trained, into / "seen")
    report.write_text('<img src="data:image/png;base64,AAAA/home/AAAA+/tmp/x">')
    assert export(trained, into / "seen").is_dir()


def test_what_may_name_a_patient_has_another_name_in_the_evidence(source: Path, into: Path) -> None:
    trained = dataclasses.replace(runs.classified(source), private=True)
    trained = dataclasses.replace(trained, split=dataclasses.replace(trained.split, left_out=("a/4.png",)))
    folder = export(trained, into / "seen")
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in files:
        content = file.read_bytes()
        for said in (b"patient 7", b"a/1.png", b"a/4.png", b"validation/0", b"test/0"):
            assert said not in content, (file.name, said)
    kept = json.loads((folder / "evidence" / "split.json").read_text())
    assert list(kept["groups"]) == kept["folds"][0]["train"]


def test_the_same_run_exported_again_is_the_same_to_the_byte(source: Path, into: Path) -> None:
    trained = runs.classified(source, members=2)
    trained = dataclasses.replace(trained, pixels={key: key * 8 for key in ("a/1.png", "a/2.png", "a/3.png")})

    def contents() -> dict[str, bytes]:
        folder = export(trained, into / "seen")
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    first = contents()
    assert first == contents()
    assert {"model.toml", "CARD.md", "bundle/models/model-2.safetensors", "evidence/known.txt"} <= first.keys()


def test_the_images_that_it_was_made_of_are_known_by_their_pixels_and_by_nothing_else(source: Path, into: Path) -> None:
    pixels = {"a/1.png": "1" * 64, "a/2.png": "2" * 64, "a/3.png": "3" * 64}
    trained = dataclasses.replace(runs.classified(source), pixels=pixels, private=True)
    folder = export(trained, into / "seen")
    known = known_to(folder)
    assert known.by_pixels
    assert (known.trained, known.chose) == ({"1" * 16}, {"2" * 16})
    assert known.has(known.trained, "another name", "1" * 64)
    assert not known.has(known.trained, "a/1.png", "4" * 64)


def test_what_lies_where_a_training_without_a_recipe_began_is_none_of_its_model(source: Path, into: Path) -> None:
    (source / "recipe.toml").write_text("# of something else\n")
    (source / "split.json").write_text("{}")
    folder = export(runs.classified(source, card=""), into / "seen")
    assert not {"recipe.toml", "split.json"} & {path.name for path in folder.iterdir()}


def test_figures_of_other_networks_than_the_model_say_so(source: Path, into: Path) -> None:
    trained = runs.classified(source, members=2)
    alone = (export(trained, into / "seen") / "CARD.md").read_text()
    assert "the mean of 2 networks, each trained on other cases: no case is new to all of them" in alone
    assert trained.evaluation is not None
    as_one = dataclasses.replace(trained.evaluation, seeds=(7,), cases=45, groups=45, method="out of fold")
    together = dataclasses.replace(trained, evaluation=dataclasses.replace(trained.evaluation, together=as_one))
    text = (export(together, into / "seen") / "CARD.md").read_text()
    assert "What 2 of its networks say as one, on 45 cases in 45 groups that none of them was trained on" in text
    assert text.index("as one, on 45") < text.index("Each network by itself:")
    whole = tuple(dataclasses.replace(member, fold=-1) for member in trained.members)
    text = (export(dataclasses.replace(trained, members=whole), into / "seen") / "CARD.md").read_text()
    assert "It has learnt from every case, so nobody can measure it without others." in text
    outlined = (export(runs.outlined(source), into / "outlined") / "CARD.md").read_text()
    assert "at the spacing that the network sees, 1 × 1 × 1 mm" in outlined


def test_a_model_is_named_as_its_folder(source: Path, into: Path) -> None:
    with pytest.raises(Misconfigured, match="is not the name of"):
        export(runs.classified(source), into / "other")
