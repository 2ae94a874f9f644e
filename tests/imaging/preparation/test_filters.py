"""Filters before a network: what they leave, what they take, and that no way to run a model passes over them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from numpy.typing import NDArray

from node.catalogue.bundle import components
from node.domain.filters import RANGES, Kind, filter_of
from node.domain.preparation import Crop, Preparation, Values
from node.imaging.bundle import declared, fast, plan
from node.imaging.bundle.exact import from_image
from node.imaging.pipelines import Given, network
from node.imaging.preparation import filters
from tests.imaging.test_network import HU, Threshold, described, fitted, torchscript, volume

EVERY = [kind.value for kind in Kind]


def picture(shape: tuple[int, ...] = (48, 56), *, noise: float = 0.05, seed: int = 0) -> NDArray[np.float32]:
    """A bright block on a slope, with noise."""
    values = np.broadcast_to(np.linspace(0, 0.4, shape[-1], dtype=np.float32), shape).copy()
    values[tuple(slice(side // 4, side // 2) for side in shape)] += 0.5
    return values + np.random.default_rng(seed).normal(0, noise, shape).astype(np.float32)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("shape", [(28, 28), (50, 41), (12, 20, 18), (1, 5)])
def test_a_filter_keeps_shape_and_range_and_leaves_what_is_even(name: str, shape: tuple[int, ...]) -> None:
    values = picture(shape)
    done = filters.filtered(values[None], [filter_of(name)])[0]
    assert done.shape == shape
    assert done.dtype == np.float32
    assert values.min() - 1e-4 <= done.min() <= done.max() <= values.max() + 1e-4
    even = np.full((1, *shape), 7.0, np.float32)
    assert np.allclose(filters.filtered(even, [filter_of(name)]), even, atol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_a_filter_does_the_same_in_any_unit(name: str) -> None:
    values = picture()
    done = filters.filtered(values[None], [filter_of(name)])
    elsewhere = filters.filtered((values * 800 - 300)[None], [filter_of(name)])
    assert np.allclose(elsewhere, done * 800 - 300, atol=0.1)


@pytest.mark.parametrize("name", ["gaussian", "median", "bilateral", "denoise"])
def test_noise_goes_and_with_all_but_blurring_the_edge_stays(name: str) -> None:
    clean, noisy = picture(noise=0), picture(noise=0.04)
    done = filters.filtered(noisy[None], [filter_of(name)])[0]
    inside = (slice(15, 21), slice(17, 25))
    assert np.abs(done[inside] - clean[inside]).mean() < 0.6 * np.abs(noisy[inside] - clean[inside]).mean()
    step = done[16:20, 14].mean() - done[16:20, 13].mean()
    assert step > 0.4 if name != "gaussian" else step < 0.4


def test_contrast_is_evened_out_where_there_is_little_but_not_without_limit() -> None:
    values = picture(noise=0)
    values[:, 30:] = 0.1 + 0.02 * np.sin(np.arange(26) / 2)
    weak = (slice(4, 44), slice(34, 52))
    spread = [filters.clahe(values, limit)[weak].std() / values[weak].std() for limit in (1.0, 2.0, 8.0)]
    assert spread[0] < 1.5 < spread[1] < spread[2]


def test_contrast_of_colours_is_that_of_their_brightness() -> None:
    grey = picture()
    colours = np.stack([grey, grey * 0.5, grey * 0.2])
    done = filters.filtered(colours, [filter_of("clahe")])
    assert np.allclose(done[0] - done[1], colours[0] - colours[1], atol=1e-5)
    threefold = filters.filtered(np.stack([grey] * 3), [filter_of("clahe")])
    assert np.allclose(threefold[1], filters.clahe(grey, 2.0), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "told"),
    [("sharpen", "choose of clahe"), ("median:x", "median:3"), ("median:4", "odd"), ("gaussian:99", "0.1 to 20")],
)
def test_what_is_no_filter_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Preparation(filters=(text,))


def test_every_filter_has_its_usual_number() -> None:
    assert {kind: filter_of(kind).strength for kind in Kind} == {kind: RANGES[kind][1] for kind in Kind}


def test_filters_stand_where_the_page_says() -> None:
    def order(said: Preparation, *, images: bool = True) -> list[str]:
        return [str(step["_target_"]).rpartition(".")[2] for step in declared.preprocessing(said, images=images)]

    told = order(Preparation(size=(32, 32), crop=Crop.CONTENT, filters=("clahe",), values=Values.ZSCORE))
    assert told[-4:] == ["ContentCropd", "Resized", "Filterd", "NormalizeIntensityd"]
    windowed = Preparation(values=Values.WINDOW, window=(0.0, 1.0), filters=("median",), mean=(0.5,), deviation=(0.2,))
    assert order(windowed)[-3:] == ["ScaleIntensityRanged", "Filterd", "NormalizeIntensityd"]
    cropped = Preparation(spacing_mm=(1.0,) * 3, crop=Crop.CONTENT)
    assert order(cropped, images=False)[-2:] == ["ContentCropd", "Spacingd"]
    assert {components.resolved(each) for each in (declared.CROP, declared.FILTER)} == {declared.CROP, declared.FILTER}


def test_a_picture_is_cropped_to_what_it_shows() -> None:
    image = np.zeros((300, 250), np.float32)
    image[20:70, 30:70] = 0.7
    image[3, 3:5] = 1.0
    steps = declared.preprocessing(Preparation(crop=Crop.CONTENT), images=True)
    chain = ConfigParser({"steps": {"_target_": "Compose", "transforms": steps}}).get_parsed_content("steps")
    done = chain({"image": from_image(image)})["image"]
    assert np.array_equal(done[0].numpy(), image[19:71, 29:71])
    assert chain({"image": from_image(np.zeros_like(image))})["image"].shape == (1, 300, 250)


@pytest.mark.parametrize(
    "said",
    [
        {"filters": ("median:3",)},
        {"crop": Crop.CONTENT},
        {"crop": Crop.CONTENT, "filters": ("median", "bilateral"), "spacing_mm": (1.0, 1.0, 1.0), "largest": True},
        {"crop": Crop.CONTENT, "activation": "sigmoid"},
    ],
)
def test_a_volume_is_filtered_and_cropped_and_its_labels_lie_on_the_source(tmp_path: Path, said: dict) -> None:
    torch.set_num_threads(1)
    model_card = described(patch=(), **said)
    fitting = fitted(torchscript(tmp_path, Half() if said.get("activation") else Threshold()), model_card)
    bundle = declared.configuration(model_card, tmp_path, "cpu")
    with pytest.raises(plan.NotUnderstood):
        plan.plan_of(bundle.content)
    assert fast.planned(fitting, bundle, torch.nn.Identity()) == (None, ())
    given = bright_corner()
    found = network.load(fitting).run(Given(volumes={"": given})).labels
    assert found is not None
    assert found.shape == given.array.shape
    truth = given.array > sum(HU) / 2
    if not said.get("filters"):
        assert np.array_equal(found, truth)
    else:
        assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.75


class Half(torch.nn.Module):
    """One number a voxel: above a half is organ."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 20 * (values - 0.5)


def bright_corner():
    """The volume of the other tests, empty but for a block that lies off its middle."""
    from dataclasses import replace

    given = volume()
    array = np.full_like(given.array, -900)
    array[2:7, 6:13, 1:8] = 250
    return replace(given, array=array)
