from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from node.errors import Failed
from node.imaging.bundle.plan import (
    Activation,
    CropForeground,
    Discretisation,
    Inversion,
    Largest,
    NotUnderstood,
    Orient,
    Pad,
    Plan,
    Respace,
    Returned,
    Scale,
    Step,
)
from node.imaging.preparation import prepare
from node.imaging.restoration import largest, restore
from node.imaging.volume import Volume
from tests.imaging.transforms import at_source, volume

SPACED = (Orient(axes="RAS"), Respace(spacing_mm=(1.43, 1.52, 1.97)))
WINDOW = Scale(low=-157, high=264, to_low=0, to_high=1, clip=True)
TURNS = [(0.0, 0.0, 0.0), (10.0, 20.0, 30.0), (170.0, 5.0, -60.0)]


@dataclass
class Part:
    start: tuple[int, int]
    scores: torch.Tensor


def parts(scores: torch.Tensor, planes: int, rows: int) -> Iterator[Part]:
    """The answer piece by piece, each overwritten once the next is asked for."""
    for plane in range(0, scores.shape[1], planes):
        for row in range(0, scores.shape[2], rows):
            piece = scores[:, plane : plane + planes, row : row + rows].clone()
            yield Part((plane, row), piece)
            piece.fill_(torch.nan)


def soft(plan: Plan, given: Volume, classes: int) -> torch.Tensor:
    """Numbers that change over a few voxels, as a network's do."""
    shape = prepare([given], plan).tensor.shape[2:]
    coarse = torch.randn(
        (1, classes, *(max(2, size // 3) for size in shape)), generator=torch.Generator().manual_seed(1)
    )
    return torch.nn.functional.interpolate(4 * coarse, size=tuple(shape), mode="trilinear")[0]


def planned(
    steps: tuple[Step, ...],
    activation: Activation = Activation.SOFTMAX,
    discretisation: Discretisation = Discretisation.ARGMAX,
    inversion: Inversion = Inversion.LINEAR,
    returned: Returned = Returned.ACTIVATIONS,
) -> Plan:
    return Plan(
        steps=steps, activation=activation, discretisation=discretisation, inversion=inversion, returned=returned
    )


def agrees(plan: Plan, given: Volume, scores: torch.Tensor) -> None:
    """Hold the labels, from the whole answer and from pieces, against those of MONAI's transforms."""
    theirs = at_source(plan, given, scores)
    prepared = prepare([given], plan)
    for answer in (scores, scores[None], parts(scores, 5, 7), parts(scores, 1, 10**6)):
        ours = restore(answer, prepared, plan)
        assert ours.dtype == np.uint8
        assert ours.shape == theirs.shape
        assert (ours == theirs).mean() >= 0.9995
    assert len(np.unique(theirs)) > 1


@pytest.mark.parametrize(("angles", "classes"), [(TURNS[0], 2), (TURNS[1], 2), (TURNS[2], 4), (TURNS[1], 105)])
def test_shares_are_brought_back_and_compared_at_the_source(angles: tuple[float, float, float], classes: int):
    given = volume(angles=angles) if classes < 105 else volume((9, 17, 15), angles=angles)
    plan = planned(SPACED)
    agrees(plan, given, soft(plan, given, classes))
    agrees(plan, given, torch.randn(classes, *prepare([given], plan).tensor.shape[2:]))


@pytest.mark.parametrize("returned", [Returned.LABELS, Returned.ACTIVATIONS])
@pytest.mark.parametrize("angles", TURNS)
def test_labels_are_brought_back_from_the_nearest_voxel(angles: tuple[float, float, float], returned: Returned):
    given, plan = volume(angles=angles), planned(SPACED, inversion=Inversion.NEAREST, returned=returned)
    agrees(plan, given, soft(plan, given, 5))


@pytest.mark.parametrize("classes", [2, 4])
def test_logits_are_brought_back_where_the_bundle_does_so(classes: int):
    given, plan = volume(angles=TURNS[1]), planned(SPACED, returned=Returned.LOGITS)
    agrees(plan, given, soft(plan, given, classes))


@pytest.mark.parametrize("angles", [*TURNS, (3.0, -5.0, 89.0)])
@pytest.mark.parametrize("axes", ["RAS", "SAR"])
@pytest.mark.parametrize("returned", [Returned.LABELS, Returned.LOGITS])
def test_halfway_between_two_voxels_the_one_is_taken_that_monai_takes(
    angles: tuple[float, float, float], axes: str, returned: Returned
):
    given = volume((15, 30, 21), (1.0, 0.75, 0.75), angles)
    for border in (True, False):
        steps = (Orient(axes=axes), Respace(spacing_mm=(1.5, 1.5, 2.0), border=border))
        plan = planned(steps, inversion=Inversion.NEAREST, returned=returned)
        scores = torch.randn(4, *prepare([given], plan).tensor.shape[2:])
        assert np.array_equal(restore(scores, prepare([given], plan), plan), at_source(plan, given, scores))


@pytest.mark.parametrize("later", [Orient(axes="LPS"), CropForeground(), Pad(size=(40, 40, 40))])
def test_halfway_between_two_voxels_of_a_cropped_or_turned_array_nothing_is_guessed(later: Step):
    given = volume((15, 30, 21), (1.0, 0.75, 0.75))
    plan = planned((Respace(spacing_mm=(1.5, 1.5, 2.0)), later), inversion=Inversion.NEAREST)
    prepared = prepare([given], plan)
    with pytest.raises(NotUnderstood, match="halfway"):
        restore(torch.randn(3, *prepared.tensor.shape[2:]), prepared, plan)


@pytest.mark.parametrize("returned", [Returned.LOGITS, Returned.ACTIVATIONS])
@pytest.mark.parametrize("classes", [1, 3])
def test_channels_cut_at_a_threshold_are_a_region_each(returned: Returned, classes: int):
    given = volume(angles=TURNS[1])
    plan = planned(SPACED, Activation.SIGMOID, Discretisation.THRESHOLD, returned=returned)
    agrees(plan, given, soft(plan, given, classes))


def test_regions_are_merged_in_the_order_that_the_bundle_says():
    given = volume()
    plan = planned(SPACED, Activation.SIGMOID, Discretisation.THRESHOLD)
    scores = soft(plan, given, 3)
    one, two, three = at_source(plan, given, scores) > 0
    merged = Plan(
        **{name: getattr(plan, name) for name in ("steps", "activation", "discretisation", "inversion", "returned")},
        merge=((2, 4), (0, 1), (1, 2)),
    )
    labels = restore(parts(scores, 4, 6), prepare([given], merged), merged)
    assert (labels[0] == np.where(three, 4, np.where(one, 1, np.where(two, 2, 0)))).mean() >= 0.9995


@pytest.mark.parametrize("angles", TURNS[:2])
@pytest.mark.parametrize(
    "steps",
    [
        (Respace(spacing_mm=(1.43, 1.52, 1.97), border=False), Orient(axes="LAS")),
        (*SPACED, WINDOW, CropForeground(margin=1)),
        (*SPACED, WINDOW, CropForeground(), Pad(size=(40, 40, 40))),
        (*SPACED, Pad(size=(40, 5, 40), both_sides=False)),
        (Orient(axes="RAS"),),
    ],
)
def test_what_was_cropped_padded_and_turned_comes_back_in_its_place(
    angles: tuple[float, float, float], steps: tuple[Step, ...]
):
    made = volume(angles=angles)
    array = made.array.copy()
    array[:3], array[:, :, -9:], array[:, :7] = -900, -900, -900
    given, plan = Volume(array, made.grid, ()), planned(steps)
    agrees(plan, given, soft(plan, given, 4))
    agrees(plan, given, soft(plan, given, 2))


def test_most_of_a_volume_that_is_all_background_is_passed_over():
    given, plan = volume(), planned(SPACED)
    scores = torch.full((6, *prepare([given], plan).tensor.shape[2:]), -8.0)
    scores[0] = 8.0
    scores[:, 5:9, 3:8, 4:7] = 4 * torch.randn(6, 4, 5, 3)
    agrees(plan, given, scores)


def test_an_answer_with_parts_missing_is_no_result():
    given, plan = volume(), planned(SPACED)
    pieces = list(parts(torch.randn(3, *prepare([given], plan).tensor.shape[2:]), 5, 7))
    with pytest.raises(Failed, match="answered for"):
        restore(pieces[:-1], prepare([given], plan), plan)


def test_shares_that_need_all_classes_at_the_source_have_no_plan():
    given = volume()
    plan = planned(SPACED, discretisation=Discretisation.THRESHOLD, returned=Returned.LOGITS)
    with pytest.raises(NotUnderstood, match="all classes at once"):
        restore(soft(plan, given, 3), prepare([given], plan), plan)


def test_the_largest_component_is_kept_of_each_label_or_of_all_together():
    labels = np.zeros((1, 5, 6, 7), dtype=np.uint8)
    labels[0, 0, 0, :4], labels[0, 4, 0, :2], labels[0, 1, 1, 4:] = 1, 1, 2
    labels[0, 4, 5, 6] = 3
    alone = largest(labels.copy(), Largest(labels=(1,)))
    assert alone[0, 4, 0].max() == 0
    assert (alone == 2).sum() == 3
    assert alone[0, 4, 5, 6] == 3
    # (0, 0, 3) and (1, 1, 4) share a corner alone.
    assert (largest(labels.copy(), Largest(independent=False)) > 0).sum() == 7
    faces = largest(labels.copy(), Largest(independent=False, connectivity=1))
    assert (faces > 0).sum() == 4


def test_the_largest_component_is_decided_on_the_grid_that_the_bundle_says():
    given = volume()
    plan = planned(SPACED, inversion=Inversion.NEAREST, returned=Returned.LABELS)
    scores = soft(plan, given, 3)
    for where in (True, False):
        kept = Plan(
            **{
                name: getattr(plan, name) for name in ("steps", "activation", "discretisation", "inversion", "returned")
            },
            largest=Largest(at_source=where),
        )
        found = restore(scores, prepare([given], kept), kept)
        if where:
            assert np.array_equal(found, largest(restore(scores, prepare([given], plan), plan), Largest()))
        else:
            assert 0 < np.count_nonzero(found) < np.count_nonzero(restore(scores, prepare([given], plan), plan))


MEMORY = """
import resource, sys
import numpy as np
import torch
from node.domain.geometry import Grid
from node.imaging.bundle.plan import Activation, Discretisation, Inversion, Orient, Plan, Respace, Returned
from node.imaging.preparation import prepare
from node.imaging.restoration import Restoration
from node.imaging.volume import Volume

torch.set_num_threads(1)
shape = tuple(map(int, sys.argv[1:]))
grid = Grid(shape, ((0, 0, 1.28, 0), (0, 1.28, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)))
plan = Plan(
    steps=(Orient(axes="RAS"), Respace(spacing_mm=(1.0, 1.0, 1.0))), activation=Activation.SOFTMAX,
    discretisation=Discretisation.ARGMAX, inversion=Inversion.LINEAR, returned=Returned.ACTIVATIONS,
)
given = Volume(np.zeros(shape, dtype=np.int16), grid, ())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
prepared = prepare([given], plan)
x, y, z = prepared.tensor.shape[2:]
restoration = Restoration(prepared, plan)
for plane in range(0, x, 8):
    scores = torch.full((105, min(8, x - plane), y, z), -9.0)
    # Regions of all labels, some of them in every part.
    for label in range(105):
        low = (label * 37) % (y - 40)
        scores[label, :, low : low + 40, (label * 11) % z : (label * 11) % z + 30] += 8.0 + label / 50
    restoration.add((plane, 0), scores)
labels = restoration.finished()
assert labels.shape == (1, *shape) and labels.max() == 104
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 105 * x * y * z * 4 // 1024)
"""


def memory_kib(*shape: int) -> tuple[int, int, int]:
    """Resident before and at most, and what all classes on the network's grid would take."""
    command = [sys.executable, "-c", MEMORY, *map(str, shape)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=550)
    assert done.returncode == 0, done.stderr
    before, most, everything = map(int, done.stdout.split())
    return before, most, everything


def test_of_a_hundred_classes_only_a_part_is_held_at_a_time():
    before, most, everything = memory_kib(64, 96, 96)
    assert everything > 380 << 10
    assert most - before < everything / 2


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_hundred_classes_of_a_whole_body_come_back_within_a_gibibyte_and_a_half():
    _, most, everything = memory_kib(160, 200, 200)
    assert everything > 4 << 20
    assert most < 1.5 * (1 << 20)
