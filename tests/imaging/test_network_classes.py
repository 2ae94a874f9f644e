"""Single files that classify: images and volumes, prepared as the card declares."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.torch import save_file

from node.catalogue.bundle import complaints
from node.domain.colour import Colour
from node.domain.explanation import Explanation
from node.domain.finding import Code
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Scope, Task, Weights
from node.domain.preparation import Architecture, Fit, Preparation, Values
from node.domain.target import Target
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging import formats
from node.imaging.bundle import declared
from node.imaging.explain import CanBeExplained, explainable_of
from node.imaging.explain.study import Wish, explain
from node.imaging.images import Image
from node.imaging.pipelines import Fitting, Given, Runner, named
from node.imaging.tasks import classification
from node.imaging.volume import Volume
from tests.fakes import card

#: Least and greatest value that the radiographs have.
ENDS = (0.0, 4000.0)


class Corners(torch.nn.Module):
    """The means of the upper left, the upper right, and of the lower half: whether axes were exchanged shows."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        rows, columns = values.shape[-2] // 2, values.shape[-1] // 2
        upper = values[..., :rows, :]
        parts = [upper[..., :columns], upper[..., columns:], values[..., rows:, :]]
        return torch.stack([part.flatten(1).mean(1) for part in parts], dim=1)


class Colours(torch.nn.Module):
    """The mean of each channel."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.flatten(2).mean(2)


class Convolved(torch.nn.Module):
    """A convolution within a script."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 3, 3)
        self.rectified = torch.nn.ReLU(inplace=True)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.rectified(self.convolution(values)).flatten(2).mean(2)


class Extent(torch.nn.Module):
    """The sizes of what the network was given."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[values.shape[-3], values.shape[-2], values.shape[-1]]], dtype=torch.float32)


class Same(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values


class Single(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.mean()


class Nothing(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values[:, :0].flatten(1)


class Infinite(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.flatten(1).sum(1, keepdim=True) / 0.0


class Shares(torch.nn.Module):
    """Shares, as a file gives them that ends with a softmax."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[0.1, 0.2, 0.7]])


class Points(torch.nn.Module):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[10.0, 20.0, 70.0]])


def described(preparation: Preparation, *, images: bool = True, **changes: object) -> ModelCard:
    code = Code("52988006", "SCT", "Lesion")
    targets = tuple(Target(index=index, label=name, code=code) for index, name in enumerate("abc"))
    made = replace(
        card(),
        task=Task.CLASSIFICATION,
        pipeline="network",
        weights=(Weights(role="network", source="file:net.ts"),),
        parameters={},
        segments=(),
        volumes=(),
        targets=targets,
        needs_volume=not images,
        preparation=preparation,
    )
    return replace(made, **changes)


def loaded(folder: Path, module: torch.nn.Module, model_card: ModelCard) -> Runner:
    path = folder / "net.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), path)
    return runner_of(path, model_card)


def runner_of(path: Path, model_card: ModelCard) -> Runner:
    return named("network").load(Fitting(card=model_card, folder=path.parent, weights={"network": path}, device="cpu"))


def logits(runner: Runner, given: Given) -> NDArray[np.float32]:
    found = runner.run(given).logits
    assert found is not None
    return found


def radiograph(rows: int = 24, columns: int = 16) -> Image:
    """The upper left is bright, the upper right half as bright, the lower half dark."""
    array = np.zeros((rows, columns), np.int16)
    array[: rows // 2, : columns // 2], array[: rows // 2, columns // 2 :] = 4000, 2000
    return Image(array=array, sop_instance_uid="1.2.3")


def sonogram() -> Image:
    array = np.zeros((20, 30, 3), np.uint8)
    array[...] = (255, 102, 0)
    return Image(array=array, sop_instance_uid="1.2.4")


def volume() -> Volume:
    shape = (6, 10, 8)
    # Rows run from left to right and columns from back to front: no axis lies as the network wants it.
    affine = ((0.0, 2.0, 0.0, 5.0), (0.0, 0.0, -1.0, 7.0), (-3.0, 0.0, 0.0, -2.0), (0, 0, 0, 1.0))
    array = np.full(shape, -100, np.int16)
    array[:, :5] = 300
    return Volume(array, Grid(shape, affine), tuple(map(str, range(shape[0]))), (1,) * shape[0])


WINDOWED = Preparation(values=Values.WINDOW, window=ENDS, size=(8, 8), activation="sigmoid")


def test_a_radiograph_is_windowed_resized_and_its_rows_stay_rows(tmp_path: Path) -> None:
    runner = loaded(tmp_path, Corners(), described(WINDOWED))
    found = logits(runner, Given(images=(radiograph(), radiograph(50, 60))))
    assert found == pytest.approx(np.array([[1, 0.5, 0], [1, 0.5, 0]]), abs=0.05)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"values": Values.STRETCH}, [1, 0.5, 0]),
        ({"values": Values.NONE}, [4000, 2000, 0]),
        ({"values": Values.ZSCORE}, [1.508, 0.302, -0.905]),
        ({"values": Values.STRETCH, "mean": (0.5,), "deviation": (0.25,)}, [2, 0, -2]),
        ({"values": Values.STRETCH, "fit": Fit.LINEAR}, [1, 0.5, 0]),
        ({"values": Values.STRETCH, "fit": Fit.CROP, "size": (32, 32)}, [0.375, 0.1875, 0]),
    ],
)
def test_values_are_prepared_as_the_card_says(tmp_path: Path, said: dict[str, object], expected: list[float]) -> None:
    preparation = Preparation(**{"size": (12, 8), "activation": "sigmoid", **said})
    found = logits(loaded(tmp_path, Corners(), described(preparation)), Given(images=(radiograph(),)))
    assert found[0] == pytest.approx(expected, abs=0.05 * max(map(abs, expected)))


def test_an_image_in_colour_gets_the_mean_and_deviation_of_each_channel(tmp_path: Path) -> None:
    said = Preparation(
        values=Values.WINDOW,
        window=(0.0, 255.0),
        mean=(0.485, 0.456, 0.406),
        deviation=(0.229, 0.224, 0.225),
        size=(16, 16),
        channels=3,
        activation="sigmoid",
    )
    runner = loaded(tmp_path, Colours(), described(said, colour=Colour.RGB))
    expected = [(1 - 0.485) / 0.229, (0.4 - 0.456) / 0.224, (0 - 0.406) / 0.225]
    assert logits(runner, Given(images=(sonogram(),)))[0] == pytest.approx(expected, abs=1e-4)


def test_a_grey_image_is_given_three_times_to_a_network_for_colour(tmp_path: Path) -> None:
    said = replace(WINDOWED, channels=3)
    found = logits(loaded(tmp_path, Colours(), described(said)), Given(images=(radiograph(),)))
    assert found[0] == pytest.approx([0.375, 0.375, 0.375], abs=1e-4)


@pytest.mark.parametrize(
    ("said", "shape"),
    [
        ({"spacing_mm": (1.0, 2.0, 3.0)}, None),
        ({"size": (4, 6, 12)}, (4, 6, 12)),
        ({"spacing_mm": (2.0, 2.0, 2.0), "size": (5, 7, 9), "fit": Fit.CROP}, (5, 7, 9)),
        ({"size": (4, 6, 12), "fit": Fit.LINEAR}, (4, 6, 12)),
    ],
)
def test_a_volume_reaches_the_network_at_its_spacing_and_size(
    tmp_path: Path, said: dict[str, object], shape: tuple[int, ...] | None
) -> None:
    preparation = Preparation(values=Values.WINDOW, window=(-100.0, 300.0), activation="sigmoid", **said)
    runner = loaded(tmp_path, Extent(), described(preparation, images=False))
    found = logits(runner, Given(volumes={"": volume()}))
    # Along x lie 6 slices of 3 mm, along y 10 rows of 2 mm, along z 8 columns of 1 mm.
    expected = shape or (19, 4, 6)
    assert tuple(found[0]) == pytest.approx(expected, abs=0 if shape else 1)


def test_the_first_axis_of_a_volume_is_the_one_that_the_card_names(tmp_path: Path) -> None:
    said = Preparation(axes="SPL", values=Values.WINDOW, window=(-100.0, 300.0), activation="sigmoid")
    found = logits(loaded(tmp_path, Extent(), described(said, images=False)), Given(volumes={"": volume()}))
    assert tuple(found[0]) == (6, 8, 10)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("module", [Shares(), Points()])
def test_numbers_that_are_shares_already_stay_what_they_are(
    tmp_path: Path, module: torch.nn.Module, *, exclusive: bool
) -> None:
    model_card = described(replace(WINDOWED, activation="none"), exclusive=exclusive)
    runner, given = loaded(tmp_path, module, model_card), Given(images=(radiograph(),))
    if isinstance(module, Points):
        with pytest.raises(Failed, match="10 to 70, and its card says that these are shares"):
            runner.run(given)
        return
    findings = classification.findings(model_card, given, runner.run(given))
    assert [each.score for each in findings] == pytest.approx([0.1, 0.2, 0.7], abs=1e-5)


def test_a_softmax_of_the_file_s_numbers_is_each_target_s_share(tmp_path: Path) -> None:
    model_card = described(replace(WINDOWED, activation="softmax"), scope=Scope.IMAGE)
    given = Given(images=(radiograph(),))
    findings = classification.findings(model_card, given, loaded(tmp_path, Corners(), model_card).run(given))
    powers = np.exp([1, 0.5, 0])
    assert [each.score for each in findings] == pytest.approx(list(powers / powers.sum()), abs=0.01)


@pytest.mark.parametrize(
    ("module", "problem"),
    [
        (Same(), "not a number for each target"),
        (Single(), "not a number for each target"),
        (Nothing(), "gave nothing"),
        (Colours(), "gave 1 numbers, and the card names number 2"),
        (Infinite(), "not numbers"),
    ],
)
def test_an_answer_that_cannot_be_meant_fails(tmp_path: Path, module: torch.nn.Module, problem: str) -> None:
    runner = loaded(tmp_path, module, described(WINDOWED))
    with pytest.raises(Failed, match=problem):
        runner.run(Given(images=(radiograph(),)))


def test_a_volume_is_no_image_and_an_answer_of_its_extent_no_class(tmp_path: Path) -> None:
    runner = loaded(tmp_path, Same(), described(replace(WINDOWED, size=(4, 4, 4)), images=False))
    with pytest.raises(Failed, match="not a number for each target"):
        runner.run(Given(volumes={"": volume()}))
    with pytest.raises(Unsuitable, match="neither a volume nor an image"):
        runner.run(Given())


def test_what_the_network_sees_of_an_image_lies_where_it_was_given(tmp_path: Path) -> None:
    runner = loaded(tmp_path, Corners(), described(replace(WINDOWED, size=(12, 32))))
    image = radiograph()
    image.array[3, 12] = 3000
    prepared = explainable_of(runner).prepare(Given(images=(image,)), 0)
    assert tuple(prepared.inputs.shape) == (1, 1, 12, 32)
    assert prepared.given.shape == (1, 24, 16)
    # The pixel's value went into row 1 and columns 24 and 25.
    here = prepared.inputs[0, 0, 1, 24:26].numpy() * 4000
    assert here == pytest.approx([2500, 2500])
    there = prepared.placed.matrix @ np.array([0, 1, 24.5, 1])
    assert there[:3] == pytest.approx([0, 2.5, 12])


def test_a_script_is_explained_but_by_its_layers_which_it_does_not_show(tmp_path: Path) -> None:
    wanted = Explanation(methods=("occlusion", "grad-cam", "integrated-gradients"), budget_s=1e6)
    model_card = described(WINDOWED, explanation=wanted)
    torch.manual_seed(0)
    runner, given = loaded(tmp_path, Convolved(), model_card), Given(images=(radiograph(),))
    made = explain(explainable_of(runner), given, runner.run(given), Wish(card=model_card, explanation=wanted))
    accounts = [each.account for each in made.maps if each.account is not None]
    assert {each.method for each in accounts} == {"occlusion", "integrated-gradients"}
    assert {each.weights.shape for each in made.maps} == {(1, 24, 16)}
    assert any(each.startswith("grad-cam") and "shows no convolution" in each for each in made.notes), made.notes


def test_grad_cam_looks_into_the_network_that_a_card_names(tmp_path: Path) -> None:
    arguments = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3, "init_features": 4, "growth_rate": 2}
    arguments |= {"block_config": [1, 1], "bn_size": 1}
    said = Architecture(name="DenseNet", arguments=arguments)
    torch.manual_seed(0)
    save_file(formats.built(said).state_dict(), tmp_path / "net.safetensors")
    wanted = Explanation(methods=("grad-cam",), budget_s=1e6)
    model_card = described(replace(WINDOWED, size=(64, 48)), architecture=said, explanation=wanted)
    runner, given = runner_of(tmp_path / "net.safetensors", model_card), Given(images=(radiograph(64, 48),))
    made = explain(explainable_of(runner), given, runner.run(given), Wish(card=model_card, explanation=wanted))
    assert made.maps, made.notes
    assert made.maps[0].weights.shape == (1, 64, 48)


def as_onnx(folder: Path) -> Path:
    """The mean of each channel, of images of 8 × 8 alone."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([node], "mean", [given], [made])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_an_onnx_file_classifies_and_says_why_nobody_can_look_into_it(tmp_path: Path) -> None:
    runner = runner_of(as_onnx(tmp_path), described(replace(WINDOWED, channels=3)))
    assert logits(runner, Given(images=(radiograph(),)))[0] == pytest.approx([0.375] * 3, abs=1e-4)
    assert isinstance(runner, CanBeExplained)
    with pytest.raises(Unsuitable, match="nobody can look into"):
        explainable_of(runner)


def test_a_size_that_an_onnx_file_does_not_take_fails(tmp_path: Path) -> None:
    runner = runner_of(as_onnx(tmp_path), described(replace(WINDOWED, channels=3, size=(9, 8))))
    with pytest.raises(Failed, match="could not run the network"):
        runner.run(Given(images=(radiograph(),)))


def test_a_classifier_without_targets_and_an_outline_of_images_are_refused(tmp_path: Path) -> None:
    for change in ({"targets": ()}, {"task": Task.DETECTION}, {"task": Task.SEGMENTATION}):
        with pytest.raises(Misconfigured, match="classifies images and volumes"):
            loaded(tmp_path, Corners(), replace(described(WINDOWED), **change))


@pytest.mark.parametrize("said", [WINDOWED, replace(WINDOWED, fit=Fit.CROP, mean=(0.5,), deviation=(2.0,))])
@pytest.mark.parametrize("images", [True, False])
def test_what_a_card_declares_is_a_bundle_that_the_gate_lets_through(said: Preparation, *, images: bool) -> None:
    found = declared.configuration(described(said, images=images), Path("/models/x"), "cpu")
    assert complaints(found.content) == []
