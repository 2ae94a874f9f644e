"""Frames are packed bit by bit as PS3.5 §8.1.1 has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from node.errors import Failed
from node.imaging.mask import tally
from node.report.segments import frames


def bits_of(mask: NDArray[np.uint8], chosen: list[tuple[int, int]]) -> str:
    """All frames as one row of bits, the first pixel first: what the standard describes, pixel by pixel."""
    return "".join("1" if value == number else "0" for number, index in chosen for value in mask[index].ravel())


def unpacked(pixels: bytes, bits: int) -> str:
    return "".join(str(byte >> place & 1) for byte in pixels for place in range(8))[:bits]


@given(
    rows=st.integers(1, 11),
    columns=st.integers(1, 11),
    slices=st.integers(1, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_of_frame_is_packed_without_gaps(rows: int, columns: int, slices: int, seed: int) -> None:
    mask = np.random.default_rng(seed).integers(0, 4, (slices, rows, columns)).astype(np.uint8)
    chosen = frames.occupied(tally(mask).counts, range(slices))
    pixels = frames.pack(mask, chosen) if chosen else b""
    bits = bits_of(mask, chosen)
    assert unpacked(pixels, len(bits)) == bits
    assert len(pixels) == -(-len(bits) // 16) * 2
    assert not any(unpacked(pixels, 8 * len(pixels))[len(bits) :].replace("0", ""))


def test_frames_are_sorted_by_segment_and_then_as_slices_are_given() -> None:
    mask = np.zeros((3, 2, 2), np.uint8)
    mask[0], mask[2, 0], mask[2, 1] = 2, 1, 2
    assert frames.occupied(tally(mask).counts, [2, 1, 0]) == [(1, 2), (2, 2), (2, 0)]


def test_labels_are_written_as_they_are_and_padded_to_an_even_length() -> None:
    mask = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    assert frames.concatenate(mask, [2, 0]) == bytes([*range(18, 27), *range(9)])
    assert frames.concatenate(mask, [1]) == bytes([*range(9, 18), 0])


def test_more_than_one_object_can_hold_is_refused() -> None:
    mask = np.ones((1, 1, 1), np.uint8)
    enormous = np.broadcast_to(mask, (1, 1 << 16, 1 << 16))
    with pytest.raises(Failed, match=r"4\.0 GiB of pixels: one object holds less than 4 GiB"):
        frames.pack(enormous, [(1, 0)] * 8)
