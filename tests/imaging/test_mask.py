from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from node.errors import Failed
from node.imaging.mask import Mask, read_mask, segment_numbers, tally, to_bytes
from tests.imaging.series import grid_of


@pytest.fixture
def mask() -> Mask:
    labels = np.zeros((5, 7, 3), dtype=np.uint8)
    labels[1:4, 2:5, 1:] = 1
    labels[2, 3, 2] = 255
    affine = np.array([[0.1, 2, 0, 5], [3, 0.2, 0.7, -6.25], [0, 0, 1 / 3, 1e-7], [0, 0, 0, 1]])
    return Mask(labels, grid_of((5, 7, 3), affine), tuple(f"1.2.840.{n}" for n in range(5)))


def test_a_mask_comes_back_as_it_was(mask: Mask, tmp_path: Path):
    file = tmp_path / "mask.npz"
    file.write_bytes(to_bytes(mask))
    read = read_mask(file)
    assert np.array_equal(read.labels, mask.labels)
    assert read.labels.dtype == np.uint8
    assert read.grid == mask.grid
    assert read.sop_instance_uids == mask.sop_instance_uids


def test_an_empty_mask_comes_back_too(mask: Mask, tmp_path: Path):
    file = tmp_path / "mask.npz"
    file.write_bytes(to_bytes(Mask(np.zeros_like(mask.labels), mask.grid, mask.sop_instance_uids)))
    assert not read_mask(file).labels.any()


def test_the_same_mask_has_the_same_bytes(mask: Mask):
    assert to_bytes(mask) == to_bytes(mask)


def test_segment_numbers_are_those_that_occur(mask: Mask):
    assert segment_numbers(mask.labels) == [1, 255]
    assert segment_numbers(np.zeros((2, 2, 2), dtype=np.uint8)) == []


def test_a_damaged_mask_is_a_failure_at_any_place_of_the_damage(mask: Mask, tmp_path: Path):
    content = to_bytes(mask)
    file = tmp_path / "mask.npz"
    for end in (0, 10, len(content) // 2, len(content) - 30):
        file.write_bytes(content[:end])
        with pytest.raises(Failed, match=r"mask\.npz cannot be read"):
            read_mask(file)
    with pytest.raises(Failed):
        read_mask(tmp_path / "none.npz")


def test_frames_and_a_mask_without_a_place_come_back_too(mask: Mask, tmp_path: Path):
    file = tmp_path / "mask.npz"
    of_frames = Mask(mask.labels, None, ("1.2.840.1",) * 5, (3, 1, 4, 5, 2))
    file.write_bytes(to_bytes(of_frames))
    read = read_mask(file)
    assert (read.grid, read.sop_instance_uids, read.frame_numbers) == (
        None,
        of_frames.sop_instance_uids,
        (3, 1, 4, 5, 2),
    )
    assert np.array_equal(read.labels, mask.labels)


def test_a_mask_from_before_frames_is_still_read(mask: Mask, tmp_path: Path):
    arrays = {
        "shape": np.array(mask.labels.shape),
        "affine": mask.grid.matrix,
        "sop_instance_uids": np.array(mask.sop_instance_uids),
        "segment_numbers": np.array([], np.uint8),
    }
    with (tmp_path / "mask.npz").open("wb") as file:
        np.savez(file, **arrays)
    read = read_mask(tmp_path / "mask.npz")
    assert (read.grid, read.frame_numbers) == (mask.grid, ())


def test_segments_that_were_kept_on_the_whole_volume_are_still_read(mask: Mask, tmp_path: Path):
    arrays = {
        "shape": np.array(mask.labels.shape),
        "affine": mask.grid.matrix,
        "sop_instance_uids": np.array(mask.sop_instance_uids),
        "segment_numbers": np.array([1, 255], np.uint8),
    }
    for number in (1, 255):
        packed = zlib.compress(np.packbits(mask.labels == number).data)
        arrays[f"segment_{number}"] = np.frombuffer(packed, np.uint8)
    with (tmp_path / "mask.npz").open("wb") as file:
        np.savez(file, **arrays)
    assert np.array_equal(read_mask(tmp_path / "mask.npz").labels, mask.labels)


@pytest.mark.parametrize("values", [[0, 1], [0, 3, 255]])
def test_voxels_are_counted_by_slice_and_label(values: list[int]):
    labels = np.random.default_rng(5).choice(np.array(values, np.uint8), (4, 9, 11))
    counts = tally(labels).counts
    assert counts.shape == (4, 256)
    for index, number in np.ndindex(counts.shape):
        assert counts[index, number] == (labels[index] == number).sum()


def test_a_mask_is_not_counted_again_unless_it_is_another(mask: Mask):
    known = tally(mask.labels)
    assert tally(mask.labels, known) is known
    assert tally(mask.labels.copy(), known) is not known
