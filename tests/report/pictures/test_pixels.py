"""A slice is shown as the source says: its window, its polarity, its colours, its shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless

from node.errors import Failed, Transient
from node.report.evidence import SourceSlice
from node.report.pictures.pixels import picture
from tests.report.synthetic import SCANS, mr_series

RAMP = np.arange(480, dtype=np.uint16).reshape(24, 20)


def slice_of(tmp_path: Path, values: NDArray[np.integer] = RAMP, **header: object) -> SourceSlice:
    path = mr_series(tmp_path / "series", SCANS["axial"])[0]
    dataset = dcmread(path)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = values.tobytes()
    dataset.save_as(path)
    return SourceSlice(dcmread(path, stop_before_pixels=True), None, path)


def grey(source: SourceSlice) -> NDArray[np.uint8]:
    colours = picture(source).colours
    assert colours.shape == (24, 20, 3)
    assert (colours == colours[..., :1]).all()
    return colours[..., 0]


def test_a_window_is_that_of_the_source(tmp_path: Path) -> None:
    shown = grey(slice_of(tmp_path, WindowCenter=["200.5", "9"], WindowWidth=["101", "1"]))
    # PS3.3 C.11.2.1.2.1: black up to c − 0.5 − (w − 1) / 2, white above c − 0.5 + (w − 1) / 2.
    assert shown.ravel()[:151].max() == 0
    assert shown.ravel()[250:].min() == 255
    assert shown.ravel()[200] == 128


def test_the_window_is_one_of_rescaled_values(tmp_path: Path) -> None:
    given = slice_of(tmp_path, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=-624, WindowWidth=200)
    assert grey(given).ravel()[[140, 200, 260]].tolist() == [0, 128, 255]


@pytest.mark.parametrize(("function", "level"), [("LINEAR_EXACT", 64), ("SIGMOID", 69)])
def test_the_function_of_the_window_is_heeded(function: str, level: int, tmp_path: Path) -> None:
    given = slice_of(tmp_path, WindowCenter=200, WindowWidth=100, VOILUTFunction=function)
    assert grey(given).ravel()[175] == level


def test_monochrome1_is_shown_the_other_way_round(tmp_path: Path) -> None:
    window = {"WindowCenter": 240, "WindowWidth": 480}
    upright = grey(slice_of(tmp_path, **window)).astype(int)
    for inverse in ({"PhotometricInterpretation": "MONOCHROME1"}, {"PresentationLUTShape": "INVERSE"}):
        reverse = grey(slice_of(tmp_path, **window, **inverse))
        assert np.abs(upright + reverse - 255).max() <= 1


@pytest.mark.parametrize("width", [None, 0, 0.5])
def test_without_a_sound_window_the_values_are_stretched(width: float | None, tmp_path: Path) -> None:
    given = {} if width is None else {"WindowCenter": 100, "WindowWidth": width}
    shown = grey(slice_of(tmp_path, **given))
    assert (shown.min(), shown.max()) == (0, 255)
    assert abs(int(shown.ravel()[240]) - 128) <= 2


def test_a_voi_table_is_looked_up(tmp_path: Path) -> None:
    table = Dataset()
    table.LUTDescriptor = [480, 0, 12]
    table.LUTData = np.array([0] * 240 + [4095] * 240, "<u2").tobytes()
    assert grey(slice_of(tmp_path, VOILUTSequence=[table])).ravel()[[239, 240]].tolist() == [0, 255]


def test_bits_above_those_stored_are_not_shown(tmp_path: Path) -> None:
    window = {"WindowCenter": 240, "WindowWidth": 480, "BitsStored": 12, "HighBit": 11}
    clean = grey(slice_of(tmp_path, **window))
    np.testing.assert_array_equal(grey(slice_of(tmp_path, RAMP | 0x8000, **window)), clean)


def test_colours_stay_colours(tmp_path: Path) -> None:
    values = np.zeros((24, 20, 3), np.uint8)
    values[2, 3] = (250, 120, 10)
    kind = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    assert picture(slice_of(tmp_path, values, **kind, **bits)).colours[2, 3].tolist() == [250, 120, 10]


@pytest.mark.parametrize(
    ("header", "stretch"),
    [
        ({"PixelSpacing": [0.5, 0.9]}, 0.5 / 0.9),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [0.2, 0.1]}, 2.0),
        ({"PixelSpacing": None, "PixelAspectRatio": ["3", "2"]}, 1.5),
        ({"PixelSpacing": [90, 0.1]}, 1.0),
        ({"PixelSpacing": None}, 1.0),
    ],
)
def test_pixels_are_as_high_as_the_source_has_them(header: dict[str, object], stretch: float, tmp_path: Path) -> None:
    assert picture(slice_of(tmp_path, **header)).stretch == pytest.approx(stretch)


def test_one_frame_is_shown_through_its_own_window(tmp_path: Path) -> None:
    frames = []
    for centre in (100, 400):
        voi, frame = Dataset(), Dataset()
        voi.WindowCenter, voi.WindowWidth = centre, 20
        frame.FrameVOILUTSequence = [voi]
        frames.append(frame)
    given = slice_of(tmp_path, np.stack([RAMP, RAMP + 100]), NumberOfFrames=2, PerFrameFunctionalGroupsSequence=frames)
    second = SourceSlice(given.header, 2, given.path)
    assert grey(second).ravel()[[280, 300, 320]].tolist() == [0, 134, 255]


def test_what_cannot_be_decoded_is_a_failure_that_says_which(tmp_path: Path) -> None:
    given = slice_of(tmp_path)
    damaged = dcmread(given.path)
    damaged.file_meta.TransferSyntaxUID = JPEG2000Lossless
    damaged.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x04\x00\x00\x00junk\xfe\xff\xdd\xe0\0\0\0\0"
    damaged["PixelData"].VR = "OB"
    damaged["PixelData"].is_undefined_length = True
    damaged.save_as(given.path)
    with pytest.raises(Failed, match=str(given.header.SOPInstanceUID)):
        picture(given)


def test_another_objects_file_is_not_shown(tmp_path: Path) -> None:
    given = slice_of(tmp_path)
    other = dcmread(given.path)
    assert other.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    other.SOPInstanceUID = "1.2.3"
    other.save_as(given.path)
    with pytest.raises(Failed, match="another object"):
        picture(given)


def test_a_slice_without_a_file_is_a_failure(tmp_path: Path) -> None:
    given = slice_of(tmp_path)
    with pytest.raises(Failed, match="not at hand"):
        picture(SourceSlice(given.header, None))
    assert given.path is not None
    given.path.unlink()
    with pytest.raises(Failed, match="is gone"):
        picture(given)


def test_a_file_that_cannot_be_read_now_is_tried_again(tmp_path: Path) -> None:
    given = slice_of(tmp_path)
    with pytest.raises(Transient, match="cannot be read"):
        picture(SourceSlice(given.header, None, tmp_path))
