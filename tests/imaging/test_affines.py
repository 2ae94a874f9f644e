"""Our affines and masks are where other programs have them: SimpleITK on the same DICOM, nibabel on what we export."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from node.domain.geometry import Grid, to_patient
from node.imaging.mask import Mask, read_mask, to_bytes
from node.imaging.nifti import export_mask
from node.imaging.volume import Volume, read_volume
from node.receive.fields import instance_of
from tests.imaging.series import Made, Slices, write_series

SHAPE = (5, 6, 7)
AXES = [np.array(each, float) for each in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
#: Every way in which rows and columns may run along the patient's axes: 24 right-handed ones and their mirrors.
STRAIGHT = [
    (*(a * AXES[i]), *(b * AXES[j])) for i in range(3) for j in range(3) if i != j for a in (1, -1) for b in (1, -1)
]
TOLERANCE_MM = 1e-4
angles = st.floats(-np.pi, np.pi)


def turned(a: float, b: float, c: float) -> tuple[float, ...]:
    """Rows and columns turned about the three axes."""
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = about_z @ about_y @ about_x
    return (*turn[:, 0], *turn[:, 1])


def written(folder: Path, orientation: tuple[float, ...], *, step_mm: float = 2.5) -> Slices:
    """A series in which every voxel has a value of its own."""
    made = Made(orientation=orientation, spacing=(0.5, 0.8), step_mm=step_mm, origin=(-31.25, 12.5, -7.75))
    return write_series(folder, np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.uint16), made)


def places_by_the_standard(slices: Slices) -> np.ndarray:
    """Value → LPS mm, by PS3.3 §C.7.6.2.1.1 and each file's own header alone."""
    found = np.empty((np.prod(SHAPE), 3))
    for number, (_, instance) in enumerate(slices):
        plane = instance.plane
        row, column = np.array(plane.orientation[:3]), np.array(plane.orientation[3:])
        for i in range(SHAPE[1]):
            for j in range(SHAPE[2]):
                value = (number * SHAPE[1] + i) * SHAPE[2] + j
                found[value] = plane.position + row * plane.spacing[1] * j + column * plane.spacing[0] * i
    return found


def places_of(grid: Grid) -> np.ndarray:
    """LPS mm of every voxel, (slice, row, column, 3)."""
    return to_patient(grid.matrix, np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))


def by_value(places: np.ndarray, values: np.ndarray) -> np.ndarray:
    """LPS mm of each value, in order of the values."""
    return places.reshape(-1, 3)[np.argsort(values, axis=None)]


def places_of_image(image: SimpleITK.Image) -> np.ndarray:
    """LPS mm of every voxel of an image of SimpleITK, in the order of its array."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    index = np.moveaxis(np.indices(image.GetSize()[::-1]), 0, -1)[..., ::-1]
    return np.array(image.GetOrigin()) + index * np.array(image.GetSpacing()) @ direction.T


def read_by_itk(paths: list[Path]) -> SimpleITK.Image:
    """The series as SimpleITK reads it, in the order in which ITK sorts the files."""
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(paths[0].parent))
    assert len(names) == len(paths)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(names)
    return reader.Execute()


def hold(folder: Path, orientation: tuple[float, ...], order: list[int]) -> Volume:
    """Read in any order, every value lies where the standard and SimpleITK say."""
    slices = written(folder, orientation)
    volume = read_volume([slices[number] for number in order])
    ours = by_value(places_of(volume.grid), volume.array)
    np.testing.assert_allclose(ours, places_by_the_standard(slices), atol=TOLERANCE_MM)
    image = read_by_itk([path for path, _ in slices])
    theirs = by_value(places_of_image(image), SimpleITK.GetArrayFromImage(image))
    np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_MM)
    return volume


@pytest.mark.parametrize("orientation", STRAIGHT, ids=[str(each) for each in range(len(STRAIGHT))])
def test_every_straight_orientation_is_where_itk_has_it(tmp_path: Path, orientation: tuple[float, ...]) -> None:
    hold(tmp_path, orientation, [4, 1, 0, 3, 2])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(angles, angles, angles, st.permutations(range(SHAPE[0])))
def test_every_oblique_orientation_in_any_order_is_where_itk_has_it(
    tmp_path_factory: pytest.TempPathFactory, a: float, b: float, c: float, order: list[int]
) -> None:
    hold(tmp_path_factory.mktemp("series"), turned(a, b, c), order)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(angles, angles, angles, st.permutations(range(SHAPE[0])), st.integers(0, 2**32 - 1))
def test_a_mask_goes_back_to_the_very_voxels_it_was_made_on(
    tmp_path_factory: pytest.TempPathFactory, a: float, b: float, c: float, order: list[int], seed: int
) -> None:
    """Through the mask file, and through NIfTI as nibabel and as SimpleITK read it."""
    folder = tmp_path_factory.mktemp("series")
    slices = written(folder, turned(a, b, c))
    volume = read_volume([slices[number] for number in order])
    labels = np.random.default_rng(seed).integers(0, 4, SHAPE).astype(np.uint8)
    marked = {int(value): int(label) for value, label in zip(volume.array.flat, labels.flat, strict=True) if label}
    assert volume.sop_instance_uids == tuple(instance.sop_instance_uid for _, instance in slices)
    (folder / "mask.npz").write_bytes(to_bytes(Mask(labels, volume.grid, volume.sop_instance_uids)))
    kept = read_mask(folder / "mask.npz")
    assert np.array_equal(kept.labels, labels)
    assert kept.grid == volume.grid
    export_mask(folder / "mask.npz", folder / "mask.nii.gz")
    truth = places_by_the_standard(slices)
    image = nibabel.load(folder / "mask.nii.gz")
    index = np.argwhere(np.asarray(image.dataobj))
    lps = nibabel.affines.apply_affine(image.affine, index) * (-1, -1, 1)
    found = np.asarray(image.dataobj)[tuple(index.T)]
    assert marked == marks(truth, lps, found)
    other = SimpleITK.ReadImage(str(folder / "mask.nii.gz"))
    array = SimpleITK.GetArrayFromImage(other)
    assert marked == marks(truth, places_of_image(other)[array > 0], array[array > 0])


def marks(truth: np.ndarray, places: np.ndarray, labels: np.ndarray) -> dict[int, int]:
    """Value of the voxel at each place → label there; NIfTI holds its affine in single precision."""
    apart = np.linalg.norm(truth[None] - places[:, None], axis=2)
    assert apart.min(axis=1).max() < 1e-3
    return {int(value): int(label) for value, label in zip(apart.argmin(axis=1), labels, strict=True)}


REAL = [
    "studyforrest_T1w",
    "totalseg_ct20",
    "brain_tumor_progression_Study1/36459-FLAIRreg-76244",
    "brain_tumor_progression_Study1/34909-T1prereg-84610",
    "Lung_Dx-A0002/3.000000-ThoraxRoutine  8.0.0  B40f-10983",
]


@pytest.mark.parametrize("name", REAL)
def test_real_series_are_where_itk_has_them(test_data: Path, name: str) -> None:
    folder = test_data / "dicom" / name
    files = sorted(path for path in folder.glob("*") if path.suffix != ".txt")
    if not files:
        pytest.skip(f"no series {name} among the real studies in {test_data}")
    headers = [dcmread(path, stop_before_pixels=True) for path in files]
    slices = [(path, instance_of(each, issuer="", has_pixels=True)) for path, each in zip(files, headers, strict=True)]
    volume = read_volume(slices)
    image = read_by_itk([path for path, _ in slices])
    shape = volume.array.shape
    assert image.GetSize() == shape[::-1]
    theirs = SimpleITK.GetArrayViewFromImage(image)
    corners = np.array([(k, i, j) for k in (0, shape[0] - 1) for i in (0, shape[1] - 1) for j in (0, shape[2] - 1)])
    for corner, place in zip(corners, to_patient(volume.grid.matrix, corners.astype(float)), strict=True):
        there = image.TransformPhysicalPointToContinuousIndex(place.tolist())[::-1]
        np.testing.assert_allclose(there, corner, atol=0.05)
    for number in (0, shape[0] // 2, shape[0] - 1):
        assert np.array_equal(volume.array[number], theirs[number])
