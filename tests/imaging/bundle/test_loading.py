from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from node.domain.model_card import Task
from node.errors import Failed, MatinsError, Misconfigured
from node.imaging.bundle import configuration
from node.imaging.bundle.network import weights_of
from node.imaging.pipelines import Given
from tests.imaging.bundles import WEIGHTS, ZOO, bundle_card, loaded, model_folder, volume_of
from tests.imaging.series import Made

NETWORK: dict[str, Any] = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 2,
    "norm": "batch",
    "channels": [2, 4],
    "strides": [2],
    "num_res_units": 0,
}
Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model beside the one of the zoo, so that a test may spoil it."""
    made = model_folder(tmp_path, ZOO / "template_yaml" / "configs")
    (made / "bundle/configs/inference.yaml").unlink()
    content = {
        "bundle_root": ".",
        "device": "$torch.device('cuda')",
        "network_def": NETWORK,
        "network": "$@network_def.to(@device)",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
                {"_target_": "ScaleIntensityd", "keys": "image"},
            ],
        },
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16, 16], "sw_batch_size": 1, "overlap": 0.0},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "/never/written"},
            ],
        },
    }
    (made / "bundle/configs/inference.json").write_text(json.dumps(content))
    edit_metadata(made, {"0": "background", "1": "one"})
    remake(made)
    return made


def edit(folder: Path, change: Edit) -> None:
    file = folder / "bundle/configs/inference.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_metadata(folder: Path, channels: dict[str, str]) -> None:
    file = folder / "bundle/configs/metadata.json"
    content = json.loads(file.read_text())
    content["network_data_format"]["outputs"]["pred"]["channel_def"] = channels
    file.write_text(json.dumps(content))


def remake(folder: Path, **changes: Any) -> torch.nn.Module:
    """Write weights that fit, with every voxel as likely one as the other."""
    from monai.networks.nets.unet import UNet

    torch.manual_seed(3)
    network = UNet(**{key: value for key, value in {**NETWORK, **changes}.items() if key != "_target_"})
    torch.save(network.state_dict(), folder / WEIGHTS)
    return network


def run(folder: Path, tmp_path: Path, **changes: Any) -> Any:
    volume = volume_of(tmp_path / "dicom", (16, 24, 16), Made())
    card = bundle_card(folder, segments=1)
    return loaded(folder, replace(card, **changes)).run(Given(volumes={"": volume}))


EVIL: dict[str, Edit] = {
    "a component that runs a command": lambda content: content["preprocessing"]["transforms"].append(
        {"_target_": "os.system", "command": "touch {trace}"}
    ),
    "an expression that imports": lambda content: content.update(inferer="$__import__('os').system('touch {trace}')"),
    "an expression behind a reference": lambda content: (
        content["inferer"].update(overlap="@share"),
        content.update(share="$open('{trace}', 'w').write('x') * 0.0"),
    ),
    "an import in the middle of a list": lambda content: content["preprocessing"]["transforms"].append(
        "$import evil_module"
    ),
    "a file that is taken in": lambda content: content.update(inferer="%{trace}.json::inferer"),
    "what has to be resolved first": lambda content: content.update(
        evaluator={"_target_": "SupervisedEvaluator", "_requires_": "@first"},
        first="$open('{trace}', 'w')",
    ),
}


@pytest.mark.parametrize("kind", EVIL)
def test_nothing_of_a_bundle_that_is_not_trusted_is_executed(folder: Path, tmp_path: Path, kind: str):
    trace = tmp_path / "trace"
    edit(folder, EVIL[kind])
    file = folder / "bundle/configs/inference.json"
    file.write_text(file.read_text().replace("{trace}", str(trace)))
    (folder / "bundle" / "evil_module.py").write_text(f"open({str(trace)!r}, 'w')")
    with pytest.raises(Misconfigured) as caught:
        configuration.read(folder, task=Task.SEGMENTATION, device="cpu", own_code=False)
    assert "inference.json" in caught.value.file
    assert not trace.exists()
    assert str(folder / "bundle") not in sys.path


def test_what_is_dropped_may_say_what_it_likes(folder: Path, tmp_path: Path):
    trace = tmp_path / "trace"

    def evil(content: dict[str, Any]) -> None:
        content["datalist"] = content["run"] = content["initialize"] = [f"$open({str(trace)!r}, 'w')"]
        content["unused"] = {"_target_": "os.system", "command": f"touch {trace}"}
        content["imports"] = ["$import evil_module"]

    edit(folder, evil)
    assert run(folder, tmp_path).labels is not None
    assert not trace.exists()
    assert "evil_module" not in sys.modules


def test_the_code_of_a_trusted_bundle_is_found(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (folder / "bundle" / "own_steps_of_a_test").mkdir()
    (folder / "bundle" / "own_steps_of_a_test" / "__init__.py").write_text(
        "from monai.transforms import ScaleIntensityd\nclass Scaled(ScaleIntensityd):\n    pass\n"
    )
    edit(folder, lambda content: content["preprocessing"]["transforms"][1].update(
        _target_="own_steps_of_a_test.Scaled"))  # fmt: skip
    with pytest.raises(Misconfigured, match="own_steps_of_a_test"):
        run(folder, tmp_path)
    card = bundle_card(folder, segments=1)
    volume = volume_of(tmp_path / "dicom", (16, 24, 16), Made())
    reading = loaded(folder, card, own_code=True).run(Given(volumes={"": volume}))
    assert reading.labels is not None
    # What Python would leave beside the source is a file that nobody has trusted.
    assert not list(folder.rglob("*.pyc"))
    sys.modules.pop("own_steps_of_a_test")


WRAPPINGS: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "model": lambda weights: {"model": weights, "epoch": 3},
    "state_dict": lambda weights: {"state_dict": weights},
    "net": lambda weights: {"net": weights},
    "network": lambda weights: {"network": weights},
    "model in state_dict": lambda weights: {"state_dict": {"model": weights}},
    "several devices": lambda weights: {f"module.{name}": each for name, each in weights.items()},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_weights_are_found_in_whatever_training_wraps_them(folder: Path, wrapping: str):
    weights = weights_of(folder / WEIGHTS)
    torch.save(WRAPPINGS[wrapping](weights), folder / WEIGHTS)
    found = weights_of(folder / WEIGHTS)
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_weights_are_read_from_safetensors_and_torchscript_too(folder: Path, tmp_path: Path):
    network = remake(folder)
    expected = weights_of(folder / WEIGHTS)
    save_file({name: each.contiguous() for name, each in expected.items()}, tmp_path / "m.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(network.eval(), torch.zeros(1, 1, 16, 16, 16)).save(tmp_path / "m.ts")
    for file in ("m.safetensors", "m.ts"):
        found = weights_of(tmp_path / file)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


class Evil:
    """A pickle that would write a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.trace), "w"))


def test_a_pickle_with_code_is_refused_and_named_and_not_run(folder: Path, tmp_path: Path):
    trace = tmp_path / "trace"
    torch.save({"model": Evil(trace)}, folder / WEIGHTS)
    with pytest.raises(Misconfigured, match=r"model\.pt holds more than tensors"):
        run(folder, tmp_path)
    assert not trace.exists()


def test_weights_of_another_network_are_named(folder: Path, tmp_path: Path):
    remake(folder, channels=[4, 8])
    with pytest.raises(Misconfigured, match=r"model\.pt does not fit the network.*size mismatch"):
        run(folder, tmp_path)
    torch.save({"one": torch.zeros(1)}, folder / WEIGHTS)
    with pytest.raises(Misconfigured, match=r"does not fit the network: lacks"):
        run(folder, tmp_path)
    (folder / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(Misconfigured, match=r"model\.pt"):
        run(folder, tmp_path)


def test_numbers_that_are_none_fail_with_the_reason(folder: Path, tmp_path: Path):
    weights = weights_of(folder / WEIGHTS)
    weights[next(iter(weights))][0] = float("nan")
    torch.save(weights, folder / WEIGHTS)
    with pytest.raises(Failed, match="not numbers"):
        run(folder, tmp_path)


def test_a_step_that_fails_is_named_with_what_it_said(folder: Path, tmp_path: Path):
    edit(folder, lambda content: content["preprocessing"]["transforms"].append(
        {"_target_": "Lambdad", "keys": "image", "func": "$lambda x: x.reshape(7)"}))  # fmt: skip
    with pytest.raises(Failed, match="the pre-processing of the bundle failed: RuntimeError: shape"):
        run(folder, tmp_path)


def test_the_pulse_is_felt_before_every_window_and_may_end_the_study(folder: Path, tmp_path: Path):
    beats: list[tuple[int, int]] = []

    class Pulse:
        def beat(self, done: int, total: int) -> None:
            beats.append((done, total))
            if done == 1 and len(beats) > 2:
                raise Failed("the time of this study is over")

    volume = volume_of(tmp_path / "dicom", (16, 24, 16), Made())
    runner = loaded(folder, bundle_card(folder, segments=1))
    runner.run(Given(volumes={"": volume}), Pulse())
    assert beats == [(0, 2), (1, 2)]
    with pytest.raises(Failed, match="the time of this study is over"):
        runner.run(Given(volumes={"": volume}), Pulse())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: content.pop("network_def") and content.pop("network"), "network_def: is missing"),
        (lambda content: content["network_def"].pop("strides"), "network: cannot be made"),
        (lambda content: content["inferer"].update(_target_="SliceInferrer"), "SliceInferrer"),
    ],
)
def test_a_configuration_that_cannot_be_made_says_where(folder: Path, tmp_path: Path, spoil: Edit, said: str):
    card = bundle_card(folder, segments=1)
    edit(folder, spoil)
    with pytest.raises(MatinsError, match=said):
        loaded(folder, card)


def test_missing_files_and_unknown_parameters_are_named(folder: Path):
    card = bundle_card(folder, segments=1)
    with pytest.raises(Misconfigured, match=r"parameters\.speed: is unknown"):
        loaded(folder, replace(card, parameters={"speed": 1}))
    with pytest.raises(Misconfigured, match="elsewhere: no such configuration"):
        loaded(folder, replace(card, parameters={"configuration": "elsewhere"}))
    (folder / "bundle/configs/inference.json").write_text("{")
    with pytest.raises(Misconfigured, match=r"inference\.json: cannot be read"):
        loaded(folder, card)
