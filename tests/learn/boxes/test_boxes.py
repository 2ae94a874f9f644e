"""Boxes keep to what they are of: out of masks, through preparation, windows and augmentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.meta_tensor import MetaTensor

from node.domain.geometry import Grid
from node.domain.preparation import Preparation
from node.imaging.bundle import declared
from node.imaging.bundle.boxes import boxes_of as boxes_back
from node.imaging.bundle.exact import from_image, from_volumes
from node.imaging.volume import Volume
from node.learn.boxes.anchors import anchors_of
from node.learn.boxes.masks import boxes_of
from node.learn.boxes.moved import changed, window, within
from node.learn.case import Box, Pixels
from node.learn.preparing import preparer
from node.learn.recipe import Augmentation

ONE = torch.tensor([0])


def test_each_connected_part_of_a_label_is_a_box():
    labels = np.zeros((10, 12), np.uint8)
    labels[1:3, 2:6] = 1
    labels[6:9, 1:3] = 1
    labels[9, 3] = 1  # touches at a corner
    labels[4:6, 8:11] = 2
    labels[0, 11] = 2  # a slip of the pen
    found = boxes_of(labels)
    assert [(box.label, box.edges) for box in found] == [
        (0, ((1, 3), (2, 6))),
        (0, ((6, 10), (1, 4))),
        (1, ((4, 6), (8, 11))),
    ]


def test_a_box_lies_on_a_resized_image_where_what_it_is_around_lies():
    image = np.zeros((40, 60), np.uint8)
    image[10:20, 30:54] = 255
    pixels = Pixels(image=image, boxes=(Box(label=0, edges=((10.0, 20.0), (30.0, 54.0))),))
    prepared = preparer(Preparation(size=(20, 20)), images=True)(pixels)
    (box,) = prepared.boxes
    assert np.allclose(box.edges, ((5, 10), (10, 18)))
    inside = prepared.image[0, 5:10, 10:18]
    assert float(inside.min()) > 0.9
    assert float(prepared.image.sum()) == pytest.approx(float(inside.sum()), rel=1e-3)


def test_a_box_of_an_oblique_lying_volume_goes_there_and_back():
    shape = (9, 12, 10)
    rows = ((1.2, 0.0, 0.0, 3.0), (0.0, 0.0, 1.0, -4.0), (0.0, -1.0, 0.0, 5.0), (0.0, 0.0, 0.0, 1.0))
    values = np.zeros(shape, np.int16)
    values[2:6, 3:9, 4:8] = 100
    volume = Volume(values, Grid(shape, rows), ())
    box = Box(label=1, edges=((2.0, 6.0), (3.0, 9.0), (4.0, 8.0)))
    said = Preparation(spacing_mm=(1.0, 1.0, 1.0))
    prepared = preparer(said, images=False)(Pixels(volume=volume, boxes=(box,)))
    (laid,) = prepared.boxes
    cut = tuple(slice(math.floor(low), math.ceil(high)) for low, high in laid.edges)
    assert float(prepared.image[0][cut].sum()) > 0.99 * float(prepared.image.sum())
    told = [
        {**step, "labels": None} if step["_target_"] == "Orientationd" else step
        for step in declared.preprocessing(said, images=False)
    ]
    steps = ConfigParser({"steps": {"_target_": "Compose", "transforms": told}}).get_parsed_content("steps")
    given = steps({"image": from_volumes([values], volume.grid)})["image"]
    corners = torch.tensor([[low - 0.5 for low, _ in laid.edges] + [high - 0.5 for _, high in laid.edges]])
    found = [{"box": corners, "label": torch.tensor([1]), "label_scores": torch.tensor([0.7])}]
    batch = MetaTensor(given.as_tensor()[None], affine=given.affine)
    (back,) = boxes_back(found, batch, from_volumes([values], volume.grid))
    assert np.allclose(back.edges, box.edges, atol=1e-3)


def test_a_picture_is_loaded_with_its_rows_first():
    image = np.zeros((8, 16), np.uint8)
    image[1:3, 9:15] = 200
    pixels = Pixels(image=image, boxes=(Box(label=0, edges=((1.0, 3.0), (9.0, 15.0))),))
    assert from_image(image).shape == (16, 8)
    (box,) = preparer(Preparation(), images=True)(pixels).boxes
    assert np.allclose(box.edges, ((1, 3), (9, 15)))


def lit(image: torch.Tensor) -> torch.Tensor:
    """The box around what is bright, (1, 2·axes)."""
    places = torch.nonzero(image[0] > 0.5)
    return torch.cat([places.min(0).values, places.max(0).values + 1]).float()[None]


@pytest.mark.parametrize("seed", range(6))
def test_boxes_go_with_mirrored_zoomed_and_moved_images(seed: int):
    image = torch.zeros(1, 40, 60)
    image[0, 12:22, 20:40] = 1
    by = Augmentation(zoom=(0.8, 1.25), translate=0.1, flip=(0, 1), aspect=0.1)
    shown, boxes, labels = changed(image, lit(image), ONE, by, np.random.default_rng(seed))
    assert labels.tolist() == [0]
    assert torch.allclose(boxes, lit(shown), atol=1.0)


def test_a_turned_box_is_upright_around_the_ellipse_within_it():
    rows, columns = torch.meshgrid(torch.arange(81.0), torch.arange(61.0), indexing="ij")
    image = ((((rows - 40) / 24) ** 2 + ((columns - 30) / 8) ** 2) < 1).float()[None]
    by = Augmentation(rotate_deg=60)
    for seed in range(4):
        shown, boxes, _ = changed(image, lit(image), ONE, by, np.random.default_rng(seed))
        assert torch.allclose(boxes, lit(shown), atol=1.6), seed


def test_a_box_of_which_little_is_left_is_none():
    boxes = torch.tensor([[-6.0, 2.0, 4.0, 8.0], [-7.0, 2.0, 3.0, 8.0]])
    inner, labels = within(boxes, torch.tensor([3, 4]), (10, 10))
    assert inner.tolist() == []
    inner, labels = within(boxes + torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([3, 4]), (10, 10))
    assert inner.tolist() == [[0.0, 2.0, 5.0, 8.0]]
    assert labels.tolist() == [3]


def test_a_window_holds_its_boxes_at_their_new_places():
    image = torch.zeros(1, 50, 20)
    image[0, 33:41, 4:9] = 1
    random = np.random.default_rng(1)
    seen = 0
    for _ in range(12):
        cut, boxes, _ = window(image, lit(image), ONE, (24, 32), random)
        assert cut.shape == (1, 24, 32)
        if len(boxes):
            seen += 1
            assert torch.equal(boxes, lit(cut))
    assert seen >= 6


def test_anchors_span_the_boxes_and_have_their_proportions():
    random = np.random.default_rng(0)
    sizes = np.exp(random.uniform(math.log(20), math.log(80), 400))
    tall = random.random(400) < 0.5
    sides = np.stack([np.where(tall, sizes * 1.5, sizes), np.where(tall, sizes / 1.5, sizes)], axis=1)
    found = anchors_of(sides)
    assert found.scales == (1, 2, 4)
    assert found.stride == 4
    proportions = sorted({round(row / column, 1) for row, column in found.shapes})
    assert proportions[0] == pytest.approx(1.0, abs=0.15)
    assert proportions[-1] == pytest.approx(2.25, abs=0.2)
    equal = anchors_of(np.full((5, 3), 9.0))
    assert (equal.shapes, equal.scales, equal.stride) == (((9.0, 9.0, 9.0),), (1, 2), 2)
