from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from node.domain.frames import each_slice
from node.domain.model_card import Intensity
from node.errors import Failed, Unsuitable
from node.imaging.images import read_images
from node.imaging.volume import read_volume
from node.receive.fields import instance_of
from node.receive.frames import whole
from tests.enhanced import MultiFrame, stack_of, values_of, write
from tests.imaging.series import Made, Slices, changed, real_series, write_series


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(3).integers(0, 2000, (4, 6, 5)).astype(np.uint16)


def test_any_order_of_arrival_gives_the_same_volume(tmp_path: Path, stored: np.ndarray):
    slices = write_series(tmp_path, stored)
    volume = read_volume(slices)
    for order in ([3, 1, 0, 2], [2, 3, 1, 0]):
        other = read_volume([slices[index] for index in order])
        assert np.array_equal(other.array, volume.array)
        assert other.grid == volume.grid
        assert other.sop_instance_uids == volume.sop_instance_uids == tuple(f"1.2.3.4.{n}" for n in (1, 2, 3, 4))


def test_the_affine_is_that_of_an_oblique_anisotropic_series(tmp_path: Path, stored: np.ndarray):
    angle = np.radians(20)
    orientation = (1.0, 0.0, 0.0, 0.0, float(np.cos(angle)), float(np.sin(angle)))
    made = Made(orientation=orientation, spacing=(0.5, 0.75), step_mm=3.0, origin=(-10.0, 20.0, 30.0))
    grid = read_volume(write_series(tmp_path, stored, made)).grid
    assert grid.spacing_mm == pytest.approx((3.0, 0.5, 0.75))
    assert grid.matrix[:3, 3] == pytest.approx((-10.0, 20.0, 30.0))
    assert grid.matrix[:3, 2] == pytest.approx((0.75, 0.0, 0.0))
    assert grid.matrix[:3, 1] == pytest.approx((0.0, 0.5 * np.cos(angle), 0.5 * np.sin(angle)))
    assert grid.voxel_volume_ml == pytest.approx(3.0 * 0.5 * 0.75 / 1000)


def test_whole_numbers_that_fit_stay_int16(tmp_path: Path, stored: np.ndarray):
    volume = read_volume(write_series(tmp_path, stored, Made(bits_stored=12, intercept=-1024.0)))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, stored.astype(np.int16) - 1024)


def test_an_intercept_may_lie_beyond_int16_as_long_as_the_values_do_not(tmp_path: Path, stored: np.ndarray):
    volume = read_volume(write_series(tmp_path, stored, Made(intercept=-32768.0)))
    assert volume.array.dtype == np.int16
    assert np.array_equal(volume.array, stored.astype(np.int32) - 32768)


def test_each_slice_has_its_own_rescale_slope_and_intercept(tmp_path: Path, stored: np.ndarray):
    slices = write_series(tmp_path, stored)
    _, instance = slices[2]
    assert instance.pixels is not None
    slices = changed(slices, 2, pixels=replace(instance.pixels, rescale_slope=0.5, rescale_intercept=3.0))
    array = read_volume(slices).array
    assert array.dtype == np.float32
    assert np.allclose(array[2], stored[2] * 0.5 + 3)
    assert np.array_equal(array[1], stored[1])


@pytest.mark.parametrize(("signed", "total"), [(False, 4095), (True, -1)])
def test_in_monochrome1_more_is_darker_so_it_is_turned_over(tmp_path: Path, signed: bool, total: int):
    values = np.array([[[0, 5], [100, 2047]], [[1, 2], [3, 4]]])
    made = Made(bits_stored=12, signed=signed, photometric="MONOCHROME1", intercept=10.0)
    volume = read_volume(write_series(tmp_path, values, made))
    assert np.array_equal(volume.array, total - values + 10)


def test_hounsfield_units_are_what_they_are_whichever_way_they_are_shown(tmp_path: Path):
    values = np.array([[[0, 5], [100, 2047]], [[1, 2], [3, 4]]])
    made = Made(bits_stored=12, photometric="MONOCHROME1", intercept=-1024.0)
    slices = [(path, replace(each, modality="CT")) for path, each in write_series(tmp_path, values, made)]
    assert np.array_equal(read_volume(slices).array, values - 1024)
    assert np.array_equal([each.array for each in read_images(slices)], values - 1024)
    shown = read_volume(slices, intensity=Intensity.SHOWN).array
    assert shown[0, 0, 0] > shown[0, 1, 1]


def _without(what: str) -> dict[str, object]:
    return {what: None}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (_without("pixels"), "1 of 4 .* without pixel data"),
        (_without("plane"), "1 of 4 slice.* without a position"),
        ({"frame_of_reference_uid": "1.9"}, "several frames of reference"),
        ({"pixels": {"photometric_interpretation": "RGB"}}, "not monochrome: MONOCHROME2, RGB"),
        ({"pixels": {"samples_per_pixel": 3}}, "not monochrome"),
        ({"pixels": {"number_of_frames": 2}}, "multi-frame"),
        ({"pixels": {"rows": 7}}, r"mixed image sizes .* 6 × 5, 7 × 5"),
        ({"pixels": {"undecodable": "no decoder for it"}}, "no decoder for it"),
        ({"pixels": {"bits_allocated": 1, "bits_stored": 1}}, "not 8, 16 or 32 bits"),
        ({"pixels": {"rescale_slope": 0.0}}, "rescale slope of zero"),
    ],
)
def test_what_is_no_volume_says_why(tmp_path: Path, stored: np.ndarray, changes: dict[str, object], reason: str):
    slices = write_series(tmp_path, stored)
    pixels = changes.get("pixels")
    if isinstance(pixels, dict):
        assert slices[1][1].pixels is not None
        changes = {"pixels": replace(slices[1][1].pixels, **pixels)}
    with pytest.raises(Unsuitable, match=reason):
        read_volume(changed(slices, 1, **changes))


def test_a_missing_slice_is_a_gap_and_none_at_all_no_volume(tmp_path: Path, stored: np.ndarray):
    slices = write_series(tmp_path, np.concatenate([stored, stored]))
    with pytest.raises(Unsuitable, match="1 missing"):
        read_volume([*slices[:3], *slices[4:]])
    with pytest.raises(Unsuitable):
        read_volume([])


def test_one_truncated_file_fails_the_volume(tmp_path: Path, stored: np.ndarray):
    slices = write_series(tmp_path, stored)
    slices[2][0].write_bytes(slices[2][0].read_bytes()[:-4])
    with pytest.raises(Failed, match=r"1\.2\.3\.4\.3: pixel data is truncated"):
        read_volume(slices)


def test_a_volume_cannot_be_written_to(tmp_path: Path, stored: np.ndarray):
    volume = read_volume(write_series(tmp_path, stored))
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0, 0, 0] = 1


@pytest.mark.parametrize(
    "name", ["brain_tumor_progression_Study1/34909-T1prereg-84610", "brain_tumor_progression_Study1/13_HCropVolume"]
)
def test_a_real_series_is_read_as_pydicom_reads_it(test_data: Path, name: str):
    slices: Slices = real_series(test_data / "dicom" / name)
    volume = read_volume(slices)
    paths = {instance.sop_instance_uid: path for path, instance in slices}
    expected = np.stack([dcmread(paths[uid]).pixel_array for uid in volume.sop_instance_uids])
    assert np.array_equal(volume.array, expected)
    heights = [dcmread(paths[uid], stop_before_pixels=True).ImagePositionPatient[2] for uid in volume.sop_instance_uids]
    assert heights == sorted(heights)


def _frames(path: Path, made: MultiFrame) -> Slices:
    write(path, made)
    header, frames = whole(dcmread(path, stop_before_pixels=True))
    described = instance_of(header, issuer="", has_pixels=True, frames=frames)
    return [(path, each) for each in each_slice([described])]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_frames_of_one_object_are_slices_in_the_order_of_their_places(tmp_path: Path, syntax: str):
    frames = tuple(stack_of(5)[place] for place in (3, 0, 4, 1, 2))
    rescaled = tuple(replace(frame, rescale=(1.0, float(-n))) for n, frame in enumerate(frames))
    made = MultiFrame(frames=rescaled, syntax=syntax)
    volume = read_volume(_frames(tmp_path / "a.dcm", made))
    assert volume.frame_numbers == (2, 4, 5, 1, 3)
    assert len(set(volume.sop_instance_uids)) == 1
    expected = np.stack([values_of(made)[n - 1].astype(np.int32) - (n - 1) for n in volume.frame_numbers])
    assert np.array_equal(volume.array, expected)
    assert volume.grid.spacing_mm == pytest.approx((3.0, 1.0, 1.0))


def test_a_slice_of_a_single_image_has_no_frame_number(tmp_path: Path, stored: np.ndarray):
    assert read_volume(write_series(tmp_path, stored)).frame_numbers == ()


def test_a_truncated_multi_frame_object_fails_the_volume(tmp_path: Path):
    slices = _frames(tmp_path / "a.dcm", MultiFrame(frames=stack_of(4)))
    slices[0][0].write_bytes(slices[0][0].read_bytes()[:-1000])
    with pytest.raises(Failed, match="pixel data is truncated"):
        read_volume(slices)


def test_frames_beside_single_images_are_no_volume(tmp_path: Path, stored: np.ndarray):
    singles = write_series(tmp_path, stored)
    frames = _frames(tmp_path / "a.dcm", MultiFrame(frames=stack_of(4), rows=6, columns=5))
    with pytest.raises(Unsuitable, match="beside single images"):
        read_volume(singles + frames)
