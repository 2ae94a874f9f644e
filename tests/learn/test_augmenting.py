"""Changes of training images: as large as asked, and labels lie where the image went."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from node.learn.augmenting import changed, mixed, standardised
from node.learn.recipe import Augmentation


def box(*size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image that is 1 in its middle, and labels that say so."""
    labels = torch.zeros(size, dtype=torch.uint8)
    labels[tuple(slice(side // 4, 3 * side // 4) for side in size)] = 1
    return labels[None].float(), labels


@pytest.mark.parametrize("size", [(40, 24), (24, 40, 16)])
def test_labels_go_where_the_image_goes(size: tuple[int, ...]) -> None:
    by = Augmentation(rotate_deg=25, translate=0.1, zoom=(0.8, 1.2), aspect=0.1, flip=(0,))
    for seed in range(20):
        image, labels = changed(*box(*size), by, np.random.default_rng(seed))
        assert labels is not None
        assert (image.shape[1:], labels.dtype) == (size, torch.uint8)
        agreed = ((image[0] > 0.5) == (labels > 0)).float().mean()
        assert agreed > 0.97


def test_a_turn_is_a_turn_though_the_sides_differ() -> None:
    """A disc stays a disc: the lattice knows how long the sides are."""
    rows, columns = torch.meshgrid(torch.arange(64) - 31.5, torch.arange(32) - 15.5, indexing="ij")
    disc = ((rows**2 + columns**2) < 100).to(torch.uint8)
    for seed in range(5):
        _, turned = changed(disc[None].float(), disc, Augmentation(rotate_deg=180), np.random.default_rng(seed))
        assert turned is not None
        assert (turned != disc).float().mean() < 0.03


def test_a_zoom_of_two_makes_four_times_the_area() -> None:
    _, labels = box(40, 40)
    labels[:] = 0
    labels[15:25, 15:25] = 1
    _, larger = changed(labels[None].float(), labels, Augmentation(zoom=(2.0, 2.0)), np.random.default_rng(0))
    assert larger is not None
    assert int(larger.sum()) == pytest.approx(400, rel=0.05)


def test_the_same_generator_changes_alike_and_nothing_asked_changes_nothing() -> None:
    image, labels = box(16, 16)
    by = Augmentation(
        rotate_deg=9, contrast=0.3, brightness=0.1, gamma=0.3, noise=0.2, blur=1, coarsen=2, bias=0.2, erase=0.2
    )
    first, second = (changed(image, labels, by, np.random.default_rng(5))[0] for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, image)
    same, kept = changed(image, labels, Augmentation(), np.random.default_rng(5))
    assert torch.equal(same, image)
    assert kept is not None
    assert torch.equal(kept, labels)


@pytest.mark.parametrize(
    "by",
    [
        Augmentation(brightness=0.5),
        Augmentation(contrast=0.5),
        Augmentation(gamma=0.8),
        Augmentation(noise=0.5),
        Augmentation(blur=2.0),
        Augmentation(coarsen=3.0),
        Augmentation(bias=0.5),
        Augmentation(erase=0.3),
    ],
    ids=lambda by: next(name for name in Augmentation.__slots__ if getattr(by, name) != getattr(Augmentation(), name)),
)
def test_each_change_of_values_changes_values_and_no_label(by: Augmentation) -> None:
    image, labels = box(24, 24, 24)
    image = image + torch.linspace(0, 1, 24)
    seen = [changed(image, labels, by, np.random.default_rng(seed)) for seed in range(12)]
    assert all(each[1] is not None and torch.equal(each[1], labels) for each in seen)
    assert any(not torch.allclose(each[0], image) for each in seen)
    assert all(bool(torch.isfinite(each[0]).all()) for each in seen)


def test_mixing_keeps_the_sum_of_the_truths() -> None:
    images, truths = torch.randn(6, 1, 4, 4), torch.eye(3).repeat(2, 1)
    mixture, shares = mixed(images, truths, 0.4, np.random.default_rng(1))
    assert torch.allclose(shares.sum(1), torch.ones(6))
    assert not torch.equal(mixture, images)
    assert mixed(images, truths, 0, np.random.default_rng(1)) == (images, truths)


def test_a_standardised_image_has_mean_0_and_deviation_1() -> None:
    image = standardised(torch.rand(1, 9, 9) * 40 + 7)
    assert float(image.mean()) == pytest.approx(0, abs=1e-5)
    assert float(image.std(correction=0)) == pytest.approx(1, abs=1e-5)
    coloured = standardised(torch.stack([torch.rand(9, 9), torch.rand(9, 9) * 40 + 7]))
    assert torch.allclose(coloured.mean((1, 2)), torch.zeros(2), atol=1e-5)
    assert bool(torch.isfinite(standardised(torch.ones(1, 3, 3))).all())
