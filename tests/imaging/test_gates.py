"""What of the pixels keeps a model from reading, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.domain.gate import Figure, Gate, Percentile
from node.domain.model_card import ModelCard
from node.errors import Unsuitable
from node.imaging import gates
from node.imaging.images import Image
from node.imaging.pipelines import Given
from node.imaging.volume import Volume
from tests.fakes import card
from tests.imaging.series import grid_of

SHAPE = (30, 40, 50)
#: First slice at the feet: index (slice, row, column) to LPS.
UPRIGHT = np.array([[0, 0, 2, 0], [0, 2, 0, 0], [2, 0, 0, 0], [0, 0, 0, 1]], float)
RNG = np.random.default_rng(1)


def volume(array: np.ndarray, affine: np.ndarray = UPRIGHT) -> Volume:
    return Volume(array.astype(np.int16), grid_of(array.shape, affine), tuple(map(str, range(len(array)))))


def head() -> np.ndarray:
    """A bright body with a wide top and a narrow neck, in air."""
    array = RNG.normal(-1000, 5, SHAPE)
    array[15:, 8:32, 10:40] = RNG.normal(50, 10, (15, 24, 30))
    array[:15, 15:25, 20:30] = RNG.normal(50, 10, (15, 10, 10))
    return array


def with_gate(figure: Figure, **limits: object) -> ModelCard:
    return replace(card(), gates=(Gate(figure=figure, **limits),))


def figure_of(given: Given, figure: Figure, **more: object) -> float:
    [told] = gates.passed(with_gate(figure, at_least=-1e9, at_most=1e9, **more), given)
    return float(told.split(" of the pixels ")[1].split(" ")[0])


def one(array: np.ndarray, affine: np.ndarray = UPRIGHT) -> Given:
    return Given(volumes={"": volume(array, affine)})


def test_blank_images_are_refused_with_the_figure() -> None:
    blank = with_gate(Figure.MOST_COMMON_SHARE, at_most=0.9, because="the images are blank ({value} the same)")
    with pytest.raises(Unsuitable, match=r"the images are blank \(1 the same\)"):
        gates.passed(blank, one(np.full(SHAPE, 7.0)))
    assert gates.passed(blank, one(head()))[0].startswith("Most common share of the pixels 0.0")
    with pytest.raises(Unsuitable, match="Spread of the pixels 0 "):
        gates.passed(with_gate(Figure.SPREAD, at_least=10), one(np.full(SHAPE, 7.0)))


def test_the_body_is_told_from_air() -> None:
    share = (15 * 24 * 30 + 15 * 10 * 10) / np.prod(SHAPE)
    assert figure_of(one(head()), Figure.BODY_SHARE) == pytest.approx(share, abs=0.002)


def test_a_field_of_view_that_cuts_the_body_off_is_seen() -> None:
    assert figure_of(one(head()), Figure.CUT_SHARE) == 0
    cut = head()[:, :, 20:]
    assert figure_of(one(cut), Figure.CUT_SHARE) > 0.4


@pytest.mark.parametrize(
    ("array", "affine"),
    [
        (head(), UPRIGHT),
        (head()[::-1], UPRIGHT @ np.array([[-1, 0, 0, 29], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])),
        (np.moveaxis(head(), 0, 1), UPRIGHT[:, [1, 0, 2, 3]]),
    ],
)
def test_which_half_is_the_head_s_follows_the_patient_and_not_the_order_of_slices(
    array: np.ndarray, affine: np.ndarray
) -> None:
    assert figure_of(one(array, affine), Figure.HEADWARD_SHARE) == pytest.approx(0.878, abs=0.005)


def test_a_volume_that_is_upside_down_in_the_patient_is_refused() -> None:
    with pytest.raises(Unsuitable, match=r"Headward share of the pixels 0\.12"):
        gates.passed(with_gate(Figure.HEADWARD_SHARE, at_least=0.5), one(head()[::-1]))


def test_intensities_far_from_those_of_the_training_are_out_of_distribution() -> None:
    reference = tuple(
        Percentile(percentile=each, mean=float(np.percentile(head(), each)), deviation=20.0) for each in (5, 50, 95)
    )
    assert figure_of(one(head()), Figure.INTENSITY_DISTANCE, reference=reference) < 0.3
    with pytest.raises(Unsuitable, match="Intensity distance of the pixels 50 "):
        gates.passed(with_gate(Figure.INTENSITY_DISTANCE, at_most=3, reference=reference), one(head() + 1000))


def test_of_several_series_the_worst_counts_and_of_images_the_median() -> None:
    blank = np.full(SHAPE, 7.0)
    limit = with_gate(Figure.MOST_COMMON_SHARE, at_most=0.9)
    with pytest.raises(Unsuitable):
        gates.passed(limit, Given(volumes={"one": volume(head()), "two": volume(blank)}))
    images = [Image(array=each[0].astype(np.int16), sop_instance_uid="1") for each in (head(), blank, head())]
    assert gates.passed(limit, Given(images=tuple(images)))
    with pytest.raises(Unsuitable):
        gates.passed(limit, Given(images=(images[1], images[1], images[0])))


def test_colours_are_looked_at_in_grey() -> None:
    rgb = Image(array=np.zeros((20, 30, 3), np.uint8), sop_instance_uid="1")
    assert figure_of(Given(images=(rgb,)), Figure.MOST_COMMON_SHARE) == 1


def test_values_that_are_not_numbers_are_in_no_range() -> None:
    array = head().astype(np.float32)
    array[3, 4, 5] = np.nan
    broken = Given(volumes={"": replace(volume(head()), array=array)})
    with pytest.raises(Unsuitable, match="nan"):
        gates.passed(with_gate(Figure.SPREAD, at_least=10), broken)


def test_all_gates_that_fail_are_said() -> None:
    both = replace(
        card(), gates=(Gate(figure=Figure.SPREAD, at_least=10), Gate(figure=Figure.BODY_SHARE, at_least=0.5))
    )
    with pytest.raises(Unsuitable, match=r"Spread .*; Body share"):
        gates.passed(both, one(np.full(SHAPE, 7.0)))
    assert gates.passed(card(), one(head())) == ()
