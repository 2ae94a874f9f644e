from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from node.domain.study import Pixels
from node.errors import Failed
from node.imaging.pixel_data import read_file, stored_values
from tests.imaging.series import Made, write_series

#: Of the first slice of a series.
UID = "1.2.3.4.1"
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless]
DEPTHS = [(8, 8, False), (8, 6, False), (16, 12, False), (16, 12, True), (16, 16, True), (16, 16, False)]


def some_values(made: Made, shape: tuple[int, int] = (5, 7)) -> np.ndarray:
    low = -(1 << (made.bits_stored - 1)) if made.signed else 0
    high = (1 << (made.bits_stored - (1 if made.signed else 0))) - 1
    values = np.random.default_rng(made.bits_stored).integers(low, high + 1, shape)
    values[0, 0], values[0, 1] = low, high
    return values.astype(made.dtype)


@pytest.mark.parametrize("clutter", [False, True])
@pytest.mark.parametrize(("allocated", "stored", "signed"), DEPTHS)
@pytest.mark.parametrize("syntax", [*SYNTAXES, DeflatedExplicitVRLittleEndian])
def test_values_come_back_as_they_were_stored(
    tmp_path: Path, syntax: str, allocated: int, stored: int, signed: bool, clutter: bool
):
    made = Made(bits_allocated=allocated, bits_stored=stored, signed=signed, syntax=syntax, clutter=clutter)
    values = some_values(made)
    ((path, instance),) = write_series(tmp_path, values[None], made)
    assert instance.pixels is not None
    read = stored_values(path, instance.pixels, UID)
    assert np.array_equal(read, values)


def test_bits_beyond_bits_stored_are_no_part_of_the_value(tmp_path: Path):
    made = Made(bits_stored=12)
    values = some_values(made)
    overlay = (values | np.uint16(0xF000)).astype(np.uint16)
    ((path, instance),) = write_series(tmp_path, overlay[None], made)
    assert instance.pixels is not None
    assert np.array_equal(stored_values(path, instance.pixels, UID), values)


def test_values_below_the_high_bit_are_shifted_down(tmp_path: Path):
    made = Made(bits_stored=12, shift=4)
    values = some_values(Made(bits_stored=12))
    ((path, instance),) = write_series(tmp_path, (values << 4)[None], made)
    assert instance.pixels is not None
    assert np.array_equal(stored_values(path, instance.pixels, UID), values)


def test_the_sign_is_extended_where_it_was_cut_off(tmp_path: Path):
    made = Made(bits_stored=12, signed=True)
    values = some_values(made)
    cut = (values & np.int16(0x0FFF)).astype(np.int16)
    ((path, instance),) = write_series(tmp_path, cut[None], made)
    assert instance.pixels is not None
    assert np.array_equal(stored_values(path, instance.pixels, UID), values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_truncated_pixel_data_is_a_failure_that_counts_the_bytes(tmp_path: Path, syntax: str):
    made = Made(syntax=syntax)
    ((path, instance),) = write_series(tmp_path, some_values(made)[None], made)
    path.write_bytes(path.read_bytes()[:-10])
    assert instance.pixels is not None
    with pytest.raises(Failed, match=r"1\.2\.3\.4\.1: pixel data is truncated, 60 of 70 bytes"):
        stored_values(path, instance.pixels, UID)


def test_more_pixel_data_than_the_header_says_is_a_failure(tmp_path: Path):
    ((path, _),) = write_series(tmp_path, some_values(Made())[None])
    with pytest.raises(Failed, match="where 5 × 5 pixels need 50"):
        stored_values(path, Pixels(rows=5, columns=5), UID)


def test_a_file_that_is_gone_is_a_failure(tmp_path: Path):
    with pytest.raises(Failed, match="cannot be read"):
        stored_values(tmp_path / "none.dcm", Pixels(rows=5, columns=5), UID)


def test_pixel_data_of_another_size_than_described_is_a_failure_when_compressed(tmp_path: Path):
    made = Made(syntax=RLELossless)
    ((path, _),) = write_series(tmp_path, some_values(made)[None], made)
    with pytest.raises(Failed, match="not 5 × 5"):
        stored_values(path, Pixels(rows=5, columns=5), UID)


@pytest.mark.filterwarnings("ignore")  # of pydicom, about what it meets on the way
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 2000), place=st.integers(132, 2000), byte=st.integers(0, 255), seed=st.sampled_from(SYNTAXES))
def test_damage_gives_values_or_a_failure_and_never_anything_else(
    tmp_path: Path, cut: int, place: int, byte: int, seed: str
):
    made = Made(syntax=seed, clutter=True)
    ((path, instance),) = write_series(tmp_path, some_values(made)[None], made)
    content = bytearray(path.read_bytes())
    content[min(place, len(content) - 1)] = byte
    path.write_bytes(content[: len(content) - cut % len(content)])
    assert instance.pixels is not None
    shape, failure = None, ""
    try:
        shape = stored_values(path, instance.pixels, UID).shape
    except Failed as error:
        failure = str(error)
    assert shape == (5, 7) or failure.startswith(f"{UID}: ")


def test_bytes_in_big_endian_words_are_read_in_their_order(tmp_path: Path):
    made = Made(bits_allocated=8, bits_stored=8, syntax=ExplicitVRBigEndian)
    values = some_values(made, (4, 6))
    ((path, instance),) = write_series(tmp_path, values[None], made)
    plain = values.tobytes()
    swapped = np.frombuffer(plain, np.uint16).byteswap().tobytes()
    content = path.read_bytes()
    at = content.rindex(plain)
    path.write_bytes(content[:at].replace(b"OB\0\0", b"OW\0\0") + swapped)
    assert instance.pixels is not None
    assert np.array_equal(stored_values(path, instance.pixels, UID), values)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("wanted", ["1.2.3.4.2", "1.2.3.4", "1.2.3.4.11"])
def test_a_file_that_holds_another_instance_is_never_read_as_this_one(tmp_path: Path, syntax: str, wanted: str):
    made = Made(syntax=syntax)
    ((path, _),) = write_series(tmp_path, some_values(made)[None], made)
    assert read_file(path, UID)
    with pytest.raises(Failed, match=r"another instance \('1\.2\.3\.4\.1'\)"):
        read_file(path, wanted)
