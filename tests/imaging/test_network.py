from __future__ import annotations

import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from safetensors.torch import save_file

from node.catalogue.bundle import complaints
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Weights
from node.domain.preparation import Architecture, Preparation, Values
from node.errors import Failed, Misconfigured
from node.imaging import formats
from node.imaging.bundle import declared, plan
from node.imaging.pipelines import Fitting, Given, names, network
from node.imaging.volume import Volume
from tests.fakes import card

HU = (-100.0, 300.0)
SHAPE = (9, 14, 12)


class Threshold(torch.nn.Module):
    """Brighter than half is organ."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - values, values - 0.5], dim=1)


class Bright(torch.nn.Module):
    """The same with one number a voxel."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values - 0.5


def volume(spacing: tuple[float, float, float] = (3.0, 1.0, 1.5)) -> Volume:
    values = np.random.default_rng(1).integers(-400, 600, SHAPE).astype(np.int16)
    # Rows run down the patient's left side: no axis lies as the network wants it.
    affine = ((0.0, spacing[1], 0.0, 5.0), (0.0, 0.0, -spacing[2], 7.0), (-spacing[0], 0.0, 0.0, -2.0), (0, 0, 0, 1.0))
    return Volume(values, Grid(SHAPE, affine), tuple(map(str, range(SHAPE[0]))), (1,) * SHAPE[0])


def expected() -> NDArray[np.uint8]:
    """What lies above the middle of the window."""
    return (volume().array > 100).astype(np.uint8)


def described(**preparation: object) -> ModelCard:
    said = {"values": Values.WINDOW, "window": HU, "patch": (8, 8, 8), **preparation}
    return replace(
        card(),
        pipeline="network",
        weights=(Weights(role="network", source="file:net"),),
        parameters={},
        preparation=Preparation(**said),
    )


def fitted(path: Path, model_card: ModelCard, *, own_code: bool = False) -> Fitting:
    return Fitting(card=model_card, folder=path.parent, weights={"network": path}, device="cpu", own_code=own_code)


def labels(path: Path, model_card: ModelCard, *, own_code: bool = False) -> NDArray[np.uint8]:
    found = network.load(fitted(path, model_card, own_code=own_code)).run(Given(volumes={"": volume()})).labels
    assert found is not None
    return found


def torchscript(folder: Path, module: torch.nn.Module | None = None) -> Path:
    path = folder / "net.ts"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module or Threshold()), path)
    return path


def exported(folder: Path) -> Path:
    path = folder / "net.pt2"
    program = torch.export.export(Threshold().eval(), (torch.zeros(1, 1, 8, 8, 8),))
    torch.export.save(program, path)
    return path


def as_onnx(folder: Path, outputs: int = 1) -> Path:
    path = folder / "net.onnx"
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    nodes = [
        helper.make_node("Sub", ["half", "x"], ["below"]),
        helper.make_node("Sub", ["x", "half"], ["above"]),
        helper.make_node("Concat", ["below", "above"], ["y"], axis=1),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8, 8])
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "above")[:outputs]]
    graph = helper.make_graph(nodes, "threshold", [given], made, [half])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_pipeline_is_found_by_its_name() -> None:
    assert "network" in names()


@pytest.mark.parametrize("written", [torchscript, exported, as_onnx], ids=["TorchScript", "torch.export", "ONNX"])
def test_a_file_reads_a_volume_back_in_its_own_geometry(tmp_path: Path, written) -> None:
    assert np.array_equal(labels(written(tmp_path), described(), own_code=True), expected())


def test_weights_are_put_into_the_network_that_the_card_names(tmp_path: Path) -> None:
    arguments = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "channels": [2, 4], "strides": [2]}
    said = Architecture(name="UNet", arguments=arguments)
    torch.manual_seed(0)
    made = formats.built(said).eval()
    path = tmp_path / "net.safetensors"
    save_file(made.state_dict(), path)
    model_card = replace(described(axes="LPS"), architecture=said)
    loaded = formats.network_of(path, said, torch.device("cpu"), own_code=False)
    given = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert torch.equal(loaded(given), made(given))
    assert labels(path, model_card).shape == SHAPE


def test_the_window_of_the_network_may_be_all_there_is(tmp_path: Path) -> None:
    assert np.array_equal(labels(torchscript(tmp_path), described(patch=())), expected())


def test_shares_of_their_own_are_cut_at_the_threshold(tmp_path: Path) -> None:
    found = labels(torchscript(tmp_path, Bright()), described(activation="sigmoid", threshold=0.55))
    prepared = np.clip((volume().array + 100) / 400, 0, 1)
    assert np.array_equal(found, (1 / (1 + np.exp(0.5 - prepared)) >= 0.55).astype(np.uint8))


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"spacing_mm": (2.0, 2.0, 2.0), "blend": "constant"},
        {"values": Values.ZSCORE_NONZERO, "window": (), "patch": ()},
        {"values": Values.STRETCH, "window": (), "activation": "sigmoid", "threshold": 0.4, "largest": True},
        {"values": Values.NONE, "window": (), "activation": "none", "largest": True},
        {"values": Values.ZSCORE, "window": (), "axes": "LPS"},
    ],
)
def test_what_a_card_declares_is_a_bundle_that_the_gate_lets_through(said: dict[str, object]) -> None:
    found = declared.configuration(described(**said), Path("/models/x"), "cpu")
    assert complaints(found.content) == []
    assert declared.sections(described(**said)).items() <= found.content.items()


def test_what_a_card_declares_has_a_plan() -> None:
    made = plan.plan_of(declared.sections(described(spacing_mm=(2.0, 2.0, 2.5), overlap=0.5, batch=3)))
    assert made.spacing_mm == (2.0, 2.0, 2.5)
    assert made.axes == "RAS"
    assert plan.Scale(low=-100, high=300, to_low=0, to_high=1, clip=True) in made.steps
    assert (made.window.roi, made.window.overlap, made.window.batch) == ((8, 8, 8), (0.5, 0.5, 0.5), 3)
    assert made.window.blend is plan.Blend.GAUSSIAN
    assert made.activation is plan.Activation.SOFTMAX
    assert made.discretisation is plan.Discretisation.ARGMAX


def test_a_program_does_not_run_before_its_code_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"net\.pt2 is a program"):
        network.load(fitted(exported(tmp_path), described()))


@pytest.mark.parametrize(
    ("said", "told"), [("Failed to allocate memory for requested buffer of size 9", MemoryError), ("Node 7", Failed)]
)
def test_onnx_that_wants_more_memory_than_there_is_says_so(
    tmp_path: Path, monkeypatch, said: str, told: type[Exception]
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import RuntimeException

    def run(*_: object) -> None:
        raise RuntimeException(said)

    found = formats.network_of(as_onnx(tmp_path), None, torch.device("cpu"), own_code=False)
    monkeypatch.setattr(found._run[0], "_session", SimpleNamespace(run=run))
    with pytest.raises(told, match=said):
        found(torch.zeros(1, 1, 8, 8, 8))


def test_onnx_without_its_runtime_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Misconfigured, match=r"pip install 'matins\[onnx\]'"):
        network.load(fitted(as_onnx(tmp_path), described()))


def test_onnx_weights_in_another_file_are_not_looked_for(tmp_path: Path) -> None:
    model = onnx.load(as_onnx(tmp_path))
    (tensor,) = model.graph.initializer
    tensor.raw_data = np.array([0.5], dtype=np.float32).tobytes()
    del tensor.float_data[:]
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(Misconfigured, match="weights inside"):
        network.load(fitted(tmp_path / "out.onnx", described()))


def pickled(folder: Path) -> Path:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (eval, (f"open({str(folder / 'mark')!r}, 'w')",))

    torch.save({"weight": Evil()}, folder / "net.pt")
    return folder / "net.pt"


def nothing(folder: Path) -> Path:
    (folder / "net.ts").write_bytes(b"nothing")
    return folder / "net.ts"


UNET = Architecture(name="UNet", arguments={"spatial_dims": 3, "in_channels": 1, "out_channels": 2})


@pytest.mark.parametrize(
    ("written", "architecture", "problem"),
    [
        (pickled, replace(UNET, arguments={**UNET.arguments, "channels": [2, 4], "strides": [2]}), "more than tensors"),
        (pickled, None, "holds weights alone"),
        (pickled, UNET, "UNet cannot be made"),
        (pickled, Architecture(name="os.system"), "no network of MONAI"),
        (nothing, None, "holds weights alone"),
        (torchscript, UNET, "brings its own network"),
        (lambda folder: as_onnx(folder, 2), None, "1 inputs and 2 outputs"),
        (lambda folder: nothing(folder).rename(folder / "net.onnx"), None, "no sound ONNX"),
        (lambda folder: nothing(folder).rename(folder / "net.pt2"), None, "cannot be loaded"),
    ],
)
def test_a_file_that_does_not_fit_is_named_and_nothing_in_it_runs(
    tmp_path: Path, written, architecture, problem: str
) -> None:
    path = written(tmp_path)
    with pytest.raises(Misconfigured, match=problem):
        network.load(fitted(path, replace(described(), architecture=architecture), own_code=True))
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"parameters": {"side": 1}}, "parameters.side"),
        ({"segments": ()}, "task"),
        ({"needs_volume": False}, "task"),
    ],
)
def test_a_card_that_the_pipeline_cannot_follow_is_refused(tmp_path: Path, change: dict[str, object], key: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        network.load(fitted(torchscript(tmp_path), replace(described(), **change)))
    assert caught.value.key == key


@pytest.mark.interop
def test_a_compiled_package_reads_a_volume(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(Threshold().eval(), (torch.zeros(1, 1, 8, 8, 8),))
        path = Path(torch._inductor.aoti_compile_and_package(program, package_path=str(tmp_path / "net.pt2")))
    assert np.array_equal(labels(path, described(), own_code=True), expected())
