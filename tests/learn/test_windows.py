"""Windows: what is shown lies in the image, every voxel of it is shown some time, and cuts at edges are filled up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from node.learn.windows import cut, first_of, places_in

SHOWN, WIDE = 8, 10


def begins(side: int, center: int | None = None) -> set[int]:
    """Where what is shown begins, over many draws."""
    random = np.random.default_rng(1)
    return {first_of(side, SHOWN, WIDE, center, random) + (WIDE - SHOWN) // 2 for _ in range(400)}


@pytest.mark.parametrize("side", [9, 10, 11, 30])
def test_every_place_of_a_long_side_is_shown_and_nothing_beside_it(side: int) -> None:
    assert begins(side) == set(range(side - SHOWN + 1))


@pytest.mark.parametrize("center", [0, 1, 15, 28, 29])
def test_what_a_window_is_cut_around_is_shown(center: int) -> None:
    found = begins(30, center)
    assert all(0 <= first <= 30 - SHOWN for first in found)
    assert all(first <= center < first + SHOWN for first in found)


@pytest.mark.parametrize("side", [1, 5, 8])
def test_a_short_side_lies_whole_in_the_window(side: int) -> None:
    random = np.random.default_rng(2)
    firsts = {first_of(side, SHOWN, WIDE, None, random) for _ in range(200)}
    assert firsts == set(range(-(WIDE - side), 1))


@pytest.mark.parametrize("first", [-30, -10, -3, 0, 2, 5, 7, 9, 40])
def test_a_cut_is_what_the_padded_image_has_there(first: int) -> None:
    image = torch.arange(1.0, 9.0).repeat(2, 3, 1)
    padded = torch.zeros(2, 3, 8 + 100)
    padded[:, :, 50:58] = image
    found = cut(image, [0, first], [3, 10])
    assert torch.equal(found, padded[:, :, 50 + first : 60 + first])


def test_labels_stay_whole_numbers_when_they_are_cut() -> None:
    labels = torch.ones(1, 4, 4, dtype=torch.uint8)
    found = cut(labels, [-1, 2], [4, 4])
    assert (found.dtype, int(found.sum())) == (torch.uint8, 6)


def test_of_a_large_mask_places_are_taken_from_all_over() -> None:
    mask = torch.ones(100, 100, 10, dtype=torch.bool)
    found = places_in(mask)
    assert len(found) <= 20_000
    assert found.untyped_storage().nbytes() <= 20_000 * 3 * 4
    assert (int(found[0, 0]), int(found[-1, 0])) == (0, 99)
    assert len(places_in(mask[:10, :10])) == 1000
