"""Bundles made for tests: configurations in the published format, random weights, and MONAI's own way through them."""

from __future__ import annotations

import copy
import json
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.bundle.config_parser import ConfigParser
from monai.transforms.inverse_batch_transform import Decollated
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.finding import Code, Segment
from node.domain.model_card import EngineChoice, ModelCard, Role, Task, Weights
from node.domain.target import Target
from node.imaging import pipelines
from node.imaging.bundle import components, configuration, steps
from node.imaging.pipelines import Fitting, Runner
from node.imaging.volume import Volume, read_volume
from tests.fakes import BRAIN, card
from tests.imaging.series import Made, write_series

ZOO = Path(__file__).with_name("zoo")
TISSUE = Code("123037004", "SCT", "Anatomical Structure")
WEIGHTS = "bundle/models/model.pt"


def model_folder(into: Path, configs: Path, task: Task = Task.SEGMENTATION) -> Path:
    """A model's folder with an unmodified bundle and random weights."""
    folder = into / configs.parent.name
    shutil.copytree(configs, folder / "bundle" / "configs")
    (folder / WEIGHTS).parent.mkdir()
    torch.manual_seed(7)
    bundle = configuration.read(folder, task=task, device="cpu", own_code=False)
    resolved = steps.resolved(bundle, own_code=False)
    if task is Task.SEGMENTATION:
        _balance(resolved.network, bundle)
    if task is Task.DETECTION:
        torch.nn.init.zeros_(resolved.network.get_parameter("classification_head.cls_logits.bias"))
    torch.save(resolved.network.state_dict(), folder / WEIGHTS)
    return folder


def _balance(network: torch.nn.Module, bundle: configuration.Configuration) -> None:
    """Let a random network answer with every label, its background about half of the time."""
    inputs = bundle.described("inputs")
    size = [min(length, 64) if isinstance(length, int) else 32 for length in inputs["spatial_shape"]]
    last = [each for each in network.modules() if isinstance(each, torch.nn.Conv2d | torch.nn.Conv3d)][-1]
    assert last.bias is not None
    with torch.no_grad():
        seen = torch.randn((1, inputs["num_channels"], *size))
        out = network(_smooth(seen))
        if out.shape[1] != last.bias.numel():
            return
        last.bias -= out.mean(dim=(0, *range(2, out.ndim)))
        if len(bundle.channels("outputs")) == out.shape[1] and "background" in bundle.channels("outputs")[0]:
            out -= out.mean(dim=(0, *range(2, out.ndim)), keepdim=True)
            last.bias[0] += (out[:, 1:].amax(dim=1) - out[:, 0]).median()


def _smooth(values: torch.Tensor) -> torch.Tensor:
    smooth = ndimage.gaussian_filter(values.numpy(), (0, 0, *[2.0] * (values.ndim - 2)))
    return torch.from_numpy(smooth / smooth.std()).float()


def bundle_card(folder: Path, task: Task = Task.SEGMENTATION, segments: int | None = None, **changes: Any) -> ModelCard:
    """The least that a card has to say beside the bundle."""
    metadata = json.loads((folder / "bundle/configs/metadata.json").read_text())
    (described,) = metadata["network_data_format"]["outputs"].values()
    names = list((described.get("channel_def") or described.get("label_def", {})).values())
    count = segments if segments is not None else len(names) - 1
    regions = [Segment(number=n, label=f"region {n}", category=TISSUE, type=BRAIN) for n in range(1, count + 1)]
    targets = [Target(index=n, label=name, code=BRAIN) for n, name in enumerate(names or ["nodule"])]
    made = replace(
        card(name=folder.name, pipeline="bundle", task=task, volumes=(), parameters={}, engine=EngineChoice.EXACT),
        weights=(Weights(role="network", source=f"file:{WEIGHTS}"),),
        segments=tuple(regions) if task is Task.SEGMENTATION else (),
        targets=tuple(targets) if task is not Task.SEGMENTATION else (),
    )
    return replace(made, **changes)


def loaded(folder: Path, model_card: ModelCard, **changes: Any) -> Runner:
    fitting = Fitting(card=model_card, folder=folder, weights={"network": folder / WEIGHTS}, device="cpu")
    return pipelines.named("bundle").load(replace(fitting, **changes))


def roles(*names: str) -> tuple[Role, ...]:
    return tuple(Role(name=name) for name in names)


def textured(shape: tuple[int, ...], seed: int = 0, low: int = 0, high: int = 2000) -> NDArray[np.uint16]:
    """Smooth random values: something to see at every place."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    span = np.ptp(values)
    return (low + (values - values.min()) / span * (high - low)).astype(np.uint16)


def volume_of(folder: Path, shape: tuple[int, int, int], made: Made | None = None, seed: int = 0) -> Volume:
    """A volume that was written as DICOM files and read again."""
    folder.mkdir(parents=True, exist_ok=True)
    return read_volume(write_series(folder, textured(shape, seed), made))


def as_nifti(volume: Volume, file: Path) -> Path:
    """Write the volume as a converter would: (column, row, slice), RAS."""
    affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.matrix)[:, [2, 1, 0, 3]]
    image = nib.nifti1.Nifti1Image(np.asarray(volume.array, dtype=np.float32).T, affine)
    nib.loadsave.save(image, file)
    return file


def by_monai(folder: Path, images: Sequence[dict[str, Any]], output: Path) -> list[Any]:
    """The bundle's own chain, from its data set to what it saves, as its evaluator goes through it; `pred` of each."""
    components.provide()
    parser = ConfigParser()
    (file,) = (folder / "bundle" / "configs").glob("inference.[jy]*")
    parser.read_config(file)
    content = parser.config
    assert isinstance(content, dict)
    _for_this_monai(content)
    content.update(bundle_root=str(folder / "bundle"), output_dir=str(output), device="$torch.device('cpu')")
    content["dataset"]["data"] = copy.deepcopy(list(images))
    content["dataloader"]["num_workers"] = 0
    # Readers that are not installed, and what PyTorch will change one day.
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _evaluated(parser, folder)


def _evaluated(parser: ConfigParser, folder: Path) -> list[Any]:
    network = parser.get_parsed_content("network")
    network.load_state_dict(torch.load(folder / WEIGHTS, weights_only=True))
    network.eval()
    loader, inferer = parser.get_parsed_content("dataloader"), parser.get_parsed_content("inferer")
    postprocessing = parser.get_parsed_content("postprocessing")
    results = []
    for batch in loader:
        given = batch["image"]
        out = {"image": given, "pred": inferer(given, network)}
        for one, other in zip(Decollated(keys=None)(batch), Decollated(keys=None)(out), strict=True):
            results.append(postprocessing({**one, **other})["pred"])
    return results


def _for_this_monai(content: dict[str, Any]) -> None:
    """What MONAI itself needs here to run it at all: no argument that is gone, no reader that is not installed."""
    content["network_def"].pop("img_size", None)
    preprocessing = content["preprocessing"]["transforms"]
    for step in preprocessing if isinstance(preprocessing, list) else []:
        if step["_target_"] == "LoadImaged":
            step.pop("reader", None)
