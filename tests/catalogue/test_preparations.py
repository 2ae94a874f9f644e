"""A preparation that cannot be followed is complained about where the card is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.catalogue.preparations import check_preparation
from node.domain.colour import Colour
from node.domain.model_card import ModelCard, Role, Task
from node.domain.preparation import Preparation, Values
from node.errors import Misconfigured
from tests.fakes import card

SEGMENTS = card(pipeline="network")
VOLUMES = replace(SEGMENTS, task=Task.CLASSIFICATION)
#: A classifier of single images in colour.
IMAGES = replace(VOLUMES, needs_volume=False, colour=Colour.RGB)


def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
    return Misconfigured("model.toml", key, problem, remedy)


@pytest.mark.parametrize(
    ("of", "said", "key"),
    [
        (SEGMENTS, {"size": (8, 8, 8)}, "size"),
        (SEGMENTS, {"mean": (1.0,), "deviation": (1.0,)}, "mean"),
        (SEGMENTS, {"flips": (3,)}, "flips"),
        (SEGMENTS, {"flips": (0, 0)}, "flips"),
        (IMAGES, {"channels": 3, "flips": (2,)}, "flips"),
        (SEGMENTS, {"views": ((1.0, 1.2),)}, "views"),
        (VOLUMES, {"views": ((1.1, 1.0),)}, "views"),
        (VOLUMES, {"views": ((1.0, 1.2), (0.5, 3.0))}, "views"),
        (VOLUMES, {"size": (8, 8)}, "size"),
        (VOLUMES, {"size": (8, 8, 0)}, "size"),
        (VOLUMES, {"patch": (8, 8, 8)}, "patch"),
        (VOLUMES, {"channels": 3}, "channels"),
        (VOLUMES, {"mean": (1.0,) * 3, "deviation": (1.0,) * 3}, "mean"),
        (replace(VOLUMES, exclusive=True), {"activation": "sigmoid"}, "activation"),
        (IMAGES, {"channels": 3, "size": (8, 8, 8)}, "size"),
        (IMAGES, {"channels": 1}, "channels"),
        (IMAGES, {"channels": 3, "spacing_mm": (1.0, 1.0, 1.0)}, "spacing_mm"),
        (IMAGES, {"channels": 3, "mean": (1.0,) * 2, "deviation": (1.0,) * 2}, "mean"),
        (IMAGES, {"channels": 3, "mean": (float("nan"),), "deviation": (1.0,)}, "mean"),
        (IMAGES, {"channels": 3, "mean": (1.0,)}, "deviation"),
        (IMAGES, {"channels": 3, "mean": (1.0,), "deviation": (0.0,)}, "deviation"),
        (IMAGES, {"channels": 3, "deviation": (1.0,)}, "deviation"),
        (replace(IMAGES, colour=Colour.GREY), {"channels": 2}, "channels"),
    ],
)
def test_what_cannot_be_followed_is_named(of: ModelCard, said: dict[str, object], key: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        check_preparation(replace(of, preparation=Preparation(**said)), complaint)
    assert caught.value.key == f"preparation.{key}"


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (IMAGES, {"channels": 3, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225), "size": (8, 9)}),
        (replace(IMAGES, pipeline="bundle"), {}),
        (VOLUMES, {"views": ((1.0, 1.2), (0.5, 2.0))}),
        (IMAGES, {"channels": 3, "values": Values.WINDOW, "window": (0, 255)}),
        (replace(IMAGES, colour=Colour.REFUSED), {"channels": 1, "mean": (1.0,), "deviation": (1.0,)}),
        (VOLUMES, {"spacing_mm": (1.0, 1.0, 1.0), "size": (8, 8, 8)}),
        (
            replace(VOLUMES, roles=(Role(name="t1"), Role(name="t2"))),
            {"mean": (1.0, 2.0), "deviation": (1.0, 2.0)},
        ),
    ],
)
def test_what_can_be_followed_passes(of: ModelCard, said: dict[str, object]) -> None:
    check_preparation(replace(of, preparation=Preparation(**said)), complaint)
