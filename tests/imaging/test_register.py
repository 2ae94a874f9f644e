from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread
from pydicom.misc import is_dicom
from scipy.spatial.transform import Rotation

from node.domain.alignment import Alignment
from node.domain.geometry import Grid, to_patient
from node.domain.study import Instance
from node.imaging.register import register
from node.imaging.resample import resample
from node.imaging.volume import read_volume
from node.receive.fields import instance_of
from tests.conftest import ROOT
from tests.imaging.heads import Matrix, grid, head, motion, torso


def off(found: Alignment, true: Matrix, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> tuple[float, float]:
    """How far the found motion is from the true one: mm at a place, and degrees."""
    here = np.array(at, np.float64)
    difference = np.linalg.inv(true) @ np.array(found.motion)
    turn = Rotation.from_matrix(difference[:3, :3]).magnitude()
    return float(np.linalg.norm(to_patient(difference, here) - here)), float(np.degrees(turn))


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm"),
    [((0, 0, 0), (0, 0, 0)), ((6, -4, 9), (12, -7, 15)), ((-12, 14, 3), (-20, 10, -30))],
)
def test_a_known_motion_is_found_within_a_millimetre_and_a_degree(turn_deg, shift_mm) -> None:
    true = motion(turn_deg, shift_mm)
    before = grid((46, 50, 58), (4.0, 4.0, 3.2), (3, -4, 6))
    found = register((head(grid()), grid()), (head(before, true, seed=1), before))
    millimetres, degrees = off(found, true)
    assert (millimetres < 1, degrees < 1, found.refused) == (True, True, ""), found


def test_a_gain_an_offset_and_thick_slices_change_nothing() -> None:
    true = motion((4, 3, -5), (8, 3, -6))
    thick = grid((30, 54, 48), (6.0, 4.0, 4.0))
    brighter = (head(thick, true, seed=2).astype(np.float32) * 2.5 + 400).astype(np.float32)
    millimetres, degrees = off(register((head(grid()), grid()), (brighter, thick)), true)
    assert millimetres < 1.5
    assert degrees < 1.5


def test_what_shows_part_of_the_other_is_aligned_with_it() -> None:
    true = motion((2, -3, 4), (5, 6, -4))
    upper = grid((30, 54, 48), (4.0, 4.0, 4.0), (0, 0, 25))
    found = register((head(grid()), grid()), (head(upper, true, seed=1), upper))
    millimetres, degrees = off(found, true, (0, 0, 30))
    assert (millimetres < 2, degrees < 2, found.refused) == (True, True, ""), found


def test_in_one_frame_of_reference_the_search_begins_where_they_lie() -> None:
    true = motion((1, 0, 1), (1, 2, 0))
    found = register((head(grid()), grid()), (head(grid(), true, seed=1), grid()), same_frame=True)
    assert max(off(found, true)) < 1


def test_another_part_of_the_body_is_refused_and_says_how_unlike_it_is() -> None:
    trunk = grid((40, 58, 80), (5.0, 5.0, 5.0), (10, 20, -300))
    for pair in ((head(grid()), grid()), (torso(trunk), trunk)), ((torso(trunk), trunk), (head(grid()), grid())):
        assert register(*pair).refused.startswith("could not be aligned")


SOMEBODY_ELSE = motion((3, -4, 5), (6, 4, -5))


@pytest.mark.parametrize("stretched", [(1.1, 0.92, 1.0), (1.1, 1.1, 1.1)])
def test_a_head_of_another_shape_or_size_is_refused(stretched: tuple[float, float, float]) -> None:
    other = head(grid(), SOMEBODY_ELSE, seed=1, stretched=stretched)
    found = register((head(grid()), grid()), (other, grid()))
    assert found.refused.startswith("could not be aligned: their likeness is")
    assert found.similarity < 0.6


def test_likeness_proves_no_identity_another_brain_in_as_large_a_skull_is_not_refused() -> None:
    insides = (((-12, 10, 0), (12, 18, 16), 0.15), ((20, -6, 14), (4, 26, 6), 0.15), ((10, 30, -40), (30, 30, 22), 0.6))
    other = head(grid(), SOMEBODY_ELSE, seed=1, insides=insides)  # type: ignore[arg-type]
    assert register((head(grid()), grid()), (other, grid())).refused == ""


def test_nothing_at_all_is_refused() -> None:
    empty = np.zeros(grid().shape, np.int16)
    assert register((empty, grid()), (head(grid()), grid())).refused
    assert register((head(grid()), grid()), (empty, grid())).refused


def test_the_same_two_always_give_the_same_motion_and_a_beat_may_end_the_search() -> None:
    pair = (head(grid()), grid()), (head(grid(), motion((3, 0, 0), (4, 0, 0)), seed=1), grid())
    assert register(*pair, same_frame=True) == register(*pair, same_frame=True)

    def tired() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        register(*pair, beat=tired)


def described(place: Path, series: str = "") -> list[tuple[Path, Instance]]:
    """The images below a folder, those of one Series Description if that is given."""
    found = []
    for path in sorted(place.rglob("*")):
        if path.is_file() and is_dicom(path):
            header = dcmread(path, stop_before_pixels=True)
            instance = instance_of(header, issuer="", has_pixels=True)
            if (instance.plane or instance.frames) and series in ("", header.get("SeriesDescription", "")):
                found.append((path, instance))
    return found


@pytest.mark.interop
def test_the_real_heads_of_two_people_are_refused() -> None:
    root = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data")) / "dicom"
    places = [root / "studyforrest_T1w", root / "brain_tumor_progression_Study1"]
    if not all(each.is_dir() for each in places):
        pytest.skip(f"no real images: {root} is not there (MATINS_TEST_DATA)")
    one, other = read_volume(described(places[0])), read_volume(described(places[1], "T1pre_reg"))
    found = register((one.array, one.grid), (other.array, other.grid))
    assert found.similarity < 0.5
    assert found.refused.startswith("could not be aligned")


@pytest.mark.interop
@pytest.mark.parametrize("folder", ["totalseg_ct20", "Lung_Dx-A0002", "studyforrest_T1w"])
def test_a_real_body_moved_by_a_known_motion_is_found(folder: str) -> None:
    place = Path(os.environ.get("MATINS_TEST_DATA", ROOT.parent / "shared" / "data")) / "dicom" / folder
    if not place.is_dir():
        pytest.skip(f"no real images: {place} is not there (MATINS_TEST_DATA)")
    volume = read_volume(described(place))
    middle = to_patient(volume.grid.matrix, np.array(volume.grid.shape) / 2)
    true = motion((5, -6, 4), (9, -12, 7))
    true[:3, 3] += middle - true[:3, :3] @ middle
    moved = Grid(volume.grid.shape, tuple(map(tuple, (np.linalg.inv(true) @ volume.grid.matrix).tolist())))  # type: ignore[arg-type]
    values = torch.from_numpy(volume.array.astype(np.float32))
    prior = resample(values, volume.grid, moved, outside=float(values.min())).numpy()
    found = register((volume.array, volume.grid), (prior, volume.grid))
    millimetres, degrees = off(found, true, tuple(middle))
    assert (millimetres < 1, degrees < 1, found.refused) == (True, True, ""), found
