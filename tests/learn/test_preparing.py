"""What a network learns from is what the node will feed it: the same pixels, prepared by both, are the same numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from node.domain.colour import Colour
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Task, Weights
from node.domain.preparation import Fit, Preparation, Values
from node.errors import Failed
from node.imaging.images import Image
from node.imaging.pipelines import Fitting, Given, network
from node.imaging.volume import Volume
from node.learn.case import Pixels
from node.learn.preparing import preparer, shown
from tests.fakes import card

GREY = Preparation(size=(12, 10), values=Values.ZSCORE)


class Recorder(nn.Module):
    """Keeps what it is given."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes, self.seen = classes, list[torch.Tensor]()

    def __deepcopy__(self, _: object) -> Recorder:
        return self

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.seen.append(torch.as_tensor(values).clone())
        shape = (len(values), self.classes) + (tuple(values.shape[2:]) if values.ndim == 5 else ())
        return torch.zeros(shape)


def fed(model_card: ModelCard, given: Given, monkeypatch: pytest.MonkeyPatch) -> torch.Tensor:
    """What the node's pipeline gives its network."""
    recorder = Recorder(2)
    monkeypatch.setattr(network, "network_of", lambda *_, **__: recorder)
    fitting = Fitting(card=model_card, folder=Path(), weights={"network": Path("net")}, device="cpu")
    network.load(fitting).run(given)
    return recorder.seen[-1][0]


def described(preparation: Preparation, **changes: Any) -> ModelCard:
    weights = (Weights(role="network", source="file:net"),)
    return replace(card(), pipeline="network", weights=weights, parameters={}, preparation=preparation, **changes)


def classifier(preparation: Preparation, colour: Colour) -> ModelCard:
    from node.domain.target import Target

    code = card().segments[0].category
    targets = tuple(Target(index=index, label=label, code=code) for index, label in enumerate(("no", "yes")))
    return described(
        preparation,
        task=Task.CLASSIFICATION,
        needs_volume=False,
        segments=(),
        targets=targets,
        exclusive=True,
        colour=colour,
    )


def picture(*size: int) -> NDArray[np.uint8]:
    return np.random.default_rng(4).integers(0, 256, size).astype(np.uint8)


@pytest.mark.parametrize(
    ("preparation", "colour", "size"),
    [
        (GREY, Colour.GREY, (30, 25)),
        (replace(GREY, fit=Fit.LINEAR), Colour.GREY, (9, 14)),
        (replace(GREY, fit=Fit.CROP), Colour.GREY, (9, 25)),
        (Preparation(size=(8, 8), channels=3, mean=(0.5, 0.4, 0.3), deviation=(0.2, 0.2, 0.1)), Colour.GREY, (20, 31)),
        (replace(GREY, values=Values.STRETCH), Colour.GREY, (30, 25, 3)),
        (Preparation(size=(8, 8), channels=3, values=Values.ZSCORE), Colour.RGB, (20, 31, 3)),
        (Preparation(size=(8, 8), channels=3, values=Values.WINDOW, window=(0.0, 255.0)), Colour.RGB, (20, 31)),
    ],
    ids=["area", "linear", "crop", "grey thrice", "colours as grey", "colours", "grey as colours"],
)
def test_a_picture_comes_to_the_network_as_the_node_brings_it(
    preparation: Preparation, colour: Colour, size: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = picture(*size)
    learnt = preparer(preparation, images=True, colour=colour)(Pixels(image=values)).image
    image = Image(array=shown(values, colour), sop_instance_uid="1")
    node = fed(classifier(preparation, colour), Given(images=(image,)), monkeypatch)
    assert learnt.shape == node.shape
    assert torch.allclose(learnt, node, atol=1e-5)
    assert float(learnt.std()) > 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_picture_in_colour_is_as_bright_to_a_model_of_grey_images_as_its_grey_twin(dtype: type) -> None:
    grey = picture(12, 9)
    grey[0, :2] = 0, 255
    stored = grey.astype(dtype) * (257 if dtype is np.uint16 else 1)
    colours = np.repeat(stored[..., None], 3, axis=2)
    assert np.allclose(shown(colours, Colour.GREY), shown(stored, Colour.GREY), atol=1e-6)
    assert np.allclose(shown(colours, Colour.GREY), grey / np.float32(255), atol=1e-6)


def tilted(degrees: float, spacing: tuple[float, float, float]) -> Grid:
    """A series whose slices, rows and columns lie across the patient's axes; index (slice, row, column) → LPS mm."""
    turn = np.radians(degrees)
    first, second = np.cos(turn), np.sin(turn)
    axes = np.array([[0.0, first, -second], [0.0, second, first], [1.0, 0.0, 0.0]])[[2, 0, 1]] * spacing
    rows = [(*(float(each) for each in row), 3.0 * place) for place, row in enumerate(axes)]
    return Grid((7, 12, 10), (*rows, (0.0, 0.0, 0.0, 1.0)))


@pytest.mark.parametrize("degrees", [0.0, 17.0])
@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(values=Values.ZSCORE),
        Preparation(axes="LPS", spacing_mm=(1.5, 1.5, 2.0), values=Values.WINDOW, window=(-100.0, 300.0)),
        Preparation(axes="SAR", spacing_mm=(1.0, 2.0, 1.0), values=Values.ZSCORE_NONZERO),
    ],
    ids=["as it is", "LPS", "SAR"],
)
def test_a_volume_comes_to_the_network_as_the_node_brings_it(
    preparation: Preparation, degrees: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = tilted(degrees, (3.0, 0.8, 1.1))
    values = np.random.default_rng(2).integers(-300, 500, grid.shape).astype(np.int16)
    volume = Volume(values, grid, tuple(map(str, range(grid.shape[0]))))
    learnt = preparer(preparation, images=False)(Pixels(volume=volume))
    node = fed(described(preparation), Given(volumes={"": volume}), monkeypatch)
    assert learnt.image.shape == node.shape
    assert torch.allclose(learnt.image, node, atol=1e-4)
    assert learnt.spacing_mm == pytest.approx(preparation.spacing_mm or (0.8, 3.0, 1.1), abs=1e-5) or (
        sorted(learnt.spacing_mm) == pytest.approx([0.8, 1.1, 3.0], abs=1e-5)
    )


@pytest.mark.parametrize("degrees", [0.0, 25.0])
@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(axes="LPS", spacing_mm=(1.0, 1.0, 1.0)),
        Preparation(axes="SAR", size=(12, 20, 14), fit=Fit.LINEAR),
        Preparation(spacing_mm=(1.0, 1.0, 1.0), size=(14, 14, 14), fit=Fit.CROP),
    ],
    ids=["spacing", "size", "cut"],
)
def test_labels_stay_on_their_image(preparation: Preparation, degrees: float) -> None:
    grid = tilted(degrees, (2.0, 1.2, 0.9))
    labels = np.zeros(grid.shape, np.uint8)
    labels[2:5, 3:9, 2:7] = 1
    volume = Volume(labels.astype(np.float32), grid, ())
    found = preparer(preparation, images=False)(Pixels(volume=volume, labels=labels))
    assert found.labels is not None
    assert found.labels.dtype == torch.uint8
    assert found.labels.any()
    agreed = ((found.image[0] > 0.5) == (found.labels > 0)).float().mean()
    assert agreed > 0.95


def test_labels_of_a_picture_stay_on_it() -> None:
    labels = np.zeros((20, 30), np.uint8)
    labels[3:9, 14:25] = 2
    found = preparer(Preparation(size=(40, 40)), images=True)(Pixels(image=(labels * 100), labels=labels))
    assert found.labels is not None
    assert ((found.image[0] > 0.4) == (found.labels == 2)).float().mean() > 0.97
    assert int(found.labels.max()) == 2


def test_what_is_no_number_once_it_is_prepared_is_told() -> None:
    values = np.ones((6, 6), np.float32)
    values[2, 2] = np.nan
    with pytest.raises(Failed, match="not numbers"):
        preparer(Preparation(size=(6, 6)), images=True)(Pixels(image=values))
