"""Our filters beside scikit-image's, where that is installed: it is in no environment of the node."""

from __future__ import annotations

import numpy as np
import pytest

from node.imaging.preparation import filters
from tests.imaging.preparation.test_filters import picture

skimage = pytest.importorskip("skimage", reason="scikit-image is not installed: pip install scikit-image")
SHAPES = [(96, 112), (24, 32, 40)]


@pytest.mark.parametrize("shape", SHAPES)
def test_contrast_is_evened_out_as_scikit_image_does(shape: tuple[int, ...]) -> None:
    from skimage.exposure import equalize_adapthist

    values = picture(shape)
    tiles = [max(1, min(8, side // 8)) for side in shape]
    kernel = [-(-side // count) for side, count in zip(shape, tiles, strict=True)]
    stretched = (values - values.min()) / (values.max() - values.min())
    theirs = equalize_adapthist(stretched, kernel, clip_limit=8 / 256, nbins=256)
    ours = filters.clahe(values, 8.0)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


@pytest.mark.parametrize("shape", SHAPES)
def test_total_variation_is_that_of_scikit_image(shape: tuple[int, ...]) -> None:
    from skimage.restoration import denoise_tv_chambolle

    values = picture(shape)
    low, high = np.percentile(values, (1, 99))
    theirs = denoise_tv_chambolle(values / (high - low), weight=0.1, eps=2e-4, max_num_iter=100) * (high - low)
    assert np.abs(filters.denoise(values, 0.1) - theirs).max() < 1e-3


def test_bilateral_filtering_is_that_of_scikit_image() -> None:
    from skimage.restoration import denoise_bilateral

    values = picture((96, 112)) + 1
    theirs = denoise_bilateral(values, win_size=9, sigma_color=0.1, sigma_spatial=2.0, mode="edge", bins=10000)
    # Theirs takes the whole square window, ours the disk in it.
    assert np.abs(filters.bilateral(values, 2.0, edge=0.1) - theirs).mean() < 0.01


def test_blurring_and_medians_are_those_of_scikit_image() -> None:
    from skimage.filters import gaussian, median

    values = picture((96, 112))
    assert np.abs(filters.gaussian(values, 1.5) - gaussian(values, 1.5, mode="nearest")).max() < 1e-5
    assert np.array_equal(filters.median(values, 3), median(values, np.ones((3, 3)), mode="nearest"))
