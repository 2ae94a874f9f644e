"""What is measured of explanations: where they point, whether they look at the network, and within what time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from node.errors import Misconfigured, Unsuitable
from node.imaging.explain import methods
from node.imaging.explain.subject import Subject
from node.learn.explained import measuring
from node.learn.explained.explanations import Explanations, read_explanations, write_explanations
from node.learn.explained.measuring import FEW, Shown, Terms, measured
from node.learn.explained.summary import baselines, summarised
from node.learn.prediction import Prediction
from tests.imaging.explain.networks import subject

#: Rows and columns of the images, and of the spot on which the answer depends.
SIDE, SPOT = 32, slice(4, 12)


class Spotted(torch.nn.Module):
    """Class 1 is how bright the spot is; what lies elsewhere counts for nothing."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        gate = torch.zeros(1, 1, SIDE, SIDE)
        gate[..., SPOT, SPOT] = 1
        self.register_buffer("gate", gate)
        self.body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.ReLU())
        self.head = torch.nn.Linear(4, 2)
        with torch.no_grad():
            self.body[0].weight.abs_()
            self.body[0].bias.zero_()
            self.head.weight.copy_(torch.tensor([[0.0], [1.0]]).expand(2, 4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(image * self.gate).mean((2, 3)))


@dataclass
class Spots:
    """Shows noise in which the spot is drawn."""

    is_drawn: bool = True
    shown: list[str] = field(default_factory=list)

    def show(self, prediction: Prediction, answer: int) -> Shown:
        self.shown.append(prediction.key)
        generator = torch.Generator().manual_seed(int(prediction.key[-2:]))
        image = 1 + torch.rand(1, 1, SIDE, SIDE, generator=generator)
        region = np.zeros((SIDE, SIDE), np.bool_)
        region[SPOT, SPOT] = True
        asked = subject(Spotted(), image, channel=answer, layer="body")
        return Shown(subject=asked, region=region if self.is_drawn else None)


def predictions(count: int) -> tuple[Prediction, ...]:
    """All of them are answered with class 1; of every other one that is right."""
    return tuple(
        Prediction(key=f"case {n:02}", group=f"case {n:02}", part="test", truth=n % 2, logits=(0.0, 1.0))
        for n in range(count)
    )


def terms(**more: object) -> Terms:
    return Terms(classes=("no", "yes"), minutes=60.0, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found() -> Explanations:
    return measured(predictions(4), Spots(), terms())


def test_maps_of_a_network_that_looks_at_a_spot_point_there(found: Explanations) -> None:
    assert found.is_complete
    assert found.notes == ()
    told = summarised(found)
    assert list(told) == measuring.in_order()
    for name, each in told.items():
        assert each.figures["pointing_game"].value == pytest.approx(1.0), name
        assert each.figures["pointing_near"].value == pytest.approx(1.0), name
        assert each.cases["pointing_game"] == each.cases["pointing_near"] == 4
        assert (each.pointing_right.value, each.right) == (pytest.approx(1.0), 2)
    gradients = told["integrated-gradients"].figures
    assert gradients["mass_inside"].value == pytest.approx(1.0)
    assert gradients["deletion_auc"].value < 0.2 < 0.8 < gradients["insertion_auc"].value
    assert gradients["infidelity"].value < 0.1
    known = baselines(found.cases)
    assert known["region"].value == pytest.approx((8 / SIDE) ** 2)
    assert known["centre"].value == known["centre_near"].value == 0.0
    assert 0.2 > known["region_near"].value > known["region"].value


def test_cheap_methods_are_measured_whole_and_dear_ones_on_a_few_cases(found: Explanations) -> None:
    told = summarised(found)
    assert told["grad-cam"].cases["max_sensitivity"] == 4
    assert told["lime"].cases["max_sensitivity"] == FEW
    assert found.told_forwards["grad-cam"] == 2.0
    assert found.samples["lime"] == methods.named("lime").USUAL
    assert all(each.figures["forwards"].value > 0 for each in told.values())


def edges(asked: Subject, samples: int, seed: int) -> torch.Tensor:
    """A map that shows the image's own edges and never asks the network."""
    image = asked.inputs[0, 0]
    return (image - image.roll(1, 0)).abs() + (image - image.roll(1, 1)).abs()


def test_a_method_that_ignores_the_weights_fails_the_sanity_check(monkeypatch: pytest.MonkeyPatch) -> None:
    blind = SimpleNamespace(USUAL=1, FEWEST=1, forwards=lambda samples: 1.0 * samples, explain=edges)
    named = methods.named
    monkeypatch.setattr(methods, "names", lambda: ["edges", "occlusion"])
    monkeypatch.setattr(methods, "named", lambda name: blind if name == "edges" else named(name))
    told = summarised(measured(predictions(3), Spots(), terms()))
    like = "randomisation_rank_correlation"
    assert (told["edges"].failed, told["edges"].cases[like]) == (3, 3)
    assert told["edges"].figures[like].value == pytest.approx(1.0)
    assert told["edges"].figures["infidelity"].value > told["occlusion"].figures["infidelity"].value


def test_without_a_mask_nothing_is_said_of_where_they_point() -> None:
    found = measured(predictions(1), Spots(is_drawn=False), terms())
    assert not any("pointing_game" in each for case in found.cases for each in case.maps.values())
    assert found.cases[0].region is None
    assert baselines(found.cases)["region"].value is None


def ticking() -> Iterator[float]:
    """A clock that stands still for a while, and then is at the end of the time."""
    yield from itertools.repeat(0.0, 9)
    yield from itertools.repeat(1e9)


def test_what_the_time_is_too_short_for_is_left_out_and_measured_when_there_is_more() -> None:
    clock, spots = ticking(), Spots()
    short = measured(predictions(4), spots, terms(clock=lambda: next(clock)))
    assert not short.is_complete
    made = {name: sum(name in case.maps for case in short.cases) for name in measuring.in_order()}
    assert list(made.values()) == [4, 4, 0, 0, 0, 0]
    assert list(short.samples) == measuring.in_order()
    # As much time is not enough again.
    again = Spots()
    assert measured(predictions(4), again, terms(), short) is short
    assert not again.shown
    longer = measured(predictions(4), again, Terms(classes=("no", "yes"), minutes=61.0), short)
    assert longer.is_complete
    assert [case.maps["grad-cam"] for case in longer.cases] == [case.maps["grad-cam"] for case in short.cases]
    assert all(len(case.maps) == len(measuring.in_order()) for case in longer.cases)


def test_other_answers_are_measured_anew(found: Explanations) -> None:
    spots = Spots()
    assert measured(predictions(4), spots, terms(), found) is found
    masks = {"case 00": ("a_mask.png",)}
    clock = ticking()
    assert measured(predictions(4), spots, terms(masks=masks, clock=lambda: next(clock)), found) is not found
    assert spots.shown


def test_cases_that_cannot_be_shown_are_told_without_their_names() -> None:
    class Broken(Spots):
        def show(self, prediction: Prediction, answer: int) -> Shown:
            if prediction.key == "case 00":
                raise Unsuitable(f"nothing of {prediction.key}")
            return super().show(prediction, answer)

    found = measured(predictions(2), Broken(), terms())
    assert found.notes == ("1 case(s) cannot be explained: nothing of a case",)
    assert [len(case.maps) for case in found.cases] == [0, 6]


def test_what_was_measured_is_kept_in_a_file(found: Explanations, tmp_path: Path) -> None:
    file = tmp_path / "explanations.json"
    assert read_explanations(file) is None
    write_explanations(file, found)
    assert read_explanations(file) == found
    file.write_text("{}")
    with pytest.raises(Misconfigured, match="tells of no explanations"):
        read_explanations(file)
