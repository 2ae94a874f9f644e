from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    RLELossless,
)

from node.domain.colour import Colour
from node.domain.model_card import Intensity
from node.domain.study import Instance, Pixels
from node.errors import Failed, Unsuitable
from node.imaging.images import read_images
from node.imaging.volume import read_volume
from node.receive.fields import instance_of
from tests.imaging.series import Made, write_series

Given = tuple[Path, Instance]


def described(path: Path) -> Given:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return path, instance_of(dcmread(path, stop_before_pixels=True), issuer="", has_pixels=True)


def written(path: Path, stored: np.ndarray, **changes: object) -> Given:
    """A DX image, or frames of one where `stored` has a third axis; in colour where it has three samples."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = changes.pop("syntax", ExplicitVRLittleEndian)
    dataset.SOPClassUID = DigitalXRayImageStorageForPresentation
    dataset.SOPInstanceUID = f"1.2.{changes.pop('number', 1)}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = "1.2.3", "1.2.3.4", "DX"
    samples = 3 if changes.get("PhotometricInterpretation", "").startswith(("RGB", "YBR")) else 1
    shape = stored.shape[:-1] if samples == 3 else stored.shape
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    if samples == 3:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *shape[-2:], samples
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = stored.dtype.itemsize * 8
    dataset.PixelRepresentation = int(stored.dtype.kind == "i")
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    dataset.BitsStored = dataset.get("BitsStored", dataset.BitsAllocated)
    dataset.HighBit = dataset.BitsStored - 1
    order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    raw = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if stored.dtype.itemsize == 1 else "OW"
    dataset.save_as(path, enforce_file_format=True)
    return described(path)


def table(first: int, entries: list[int], bits: int, keyword: str = "LUT") -> Dataset:
    item = Dataset()
    setattr(item, f"{keyword}Descriptor", [len(entries), first, bits])
    setattr(item, f"{keyword}Data", np.array(entries, "<u2").tobytes())
    return item


GREY_FILES = (
    *("JLSL_08_07_0_1F", "JLSL_16_15_1_1F", "JPEG-LL", "MR-SIEMENS-DICOM-WithOverlays", "MR2_J2KI", "MR2_UNCR"),
    *("RG1_J2KI", "RG3_J2KR", "eCT_Supplemental", "emri_small", "emri_small_RLE", "emri_small_big_endian"),
    *("emri_small_jpeg_2k_lossless", "emri_small_jpeg_ls_lossless", "explicit_VR-UN", "mlut_18", "vlut_04", "liver"),
    *("liver_expb", "liver_nonbyte_aligned", "bad_sequence"),
)
COLOUR_FILES = (
    *("HTJ2K_08_RGB", "HTJ2KLossless_08_RGB", "SC_rgb", "SC_rgb_16bit_2frame", "SC_rgb_2frame", "SC_rgb_32bit"),
    *("SC_rgb_dcmtk_ebcyn1_dcmd", "SC_rgb_dcmtk_ebcynp_dcmd", "SC_rgb_dcmtk_ebcys2_dcmd", "SC_rgb_dcmtk_ebcys4_dcmd"),
    *("SC_rgb_expb", "SC_rgb_expb_16bit_2frame", "SC_rgb_expb_32bit", "SC_rgb_gdcm2k_uncompressed"),
    *("SC_ybr_full_uncompressed", "US1_J2KI", "US1_J2KR", "US1_UNCR", "color-pl", "color-px", "gdcm-US-ALOKA-16"),
)
#: pydicom does not turn the palette's bytes over: compared with what the same image says in little endian.
TWINS = {"OBXXXX1A_expb": "OBXXXX1A", "OBXXXX1A_expb_2frame": "OBXXXX1A_2frame", "OBXXXX1A_rle": "OBXXXX1A"}


@pytest.fixture
def odd(test_data: Path) -> Path:
    return test_data / "dicom" / "pydicom-data"


@pytest.mark.parametrize("name", GREY_FILES)
@pytest.mark.filterwarnings("ignore")
def test_grey_images_are_read_as_pydicom_reads_them(odd: Path, name: str):
    path, instance = described(odd / f"{name}.dcm")
    header = dcmread(path)
    # Of each frame: functional groups say the same of all of them here, or nothing.
    frames = header.pixel_array if header.pixel_array.ndim == 3 else header.pixel_array[None]
    groups = header.get("SharedFunctionalGroupsSequence") or header.get("PerFrameFunctionalGroupsSequence")
    rescale = groups[0].get("PixelValueTransformationSequence") if groups else None
    for keyword in ("RescaleSlope", "RescaleIntercept") if rescale else ():
        setattr(header, keyword, rescale[0][keyword].value)
    expected = apply_modality_lut(frames, header)
    images = read_images([(path, instance)])
    found = np.stack([image.array for image in images]).astype(np.float64)
    if header.PhotometricInterpretation == "MONOCHROME1":
        top = (1 << header.BitsStored) - 1
        found = top - found
    assert np.allclose(found, expected, atol=1e-3)
    assert [image.frame_number for image in images] == ([0] if len(images) == 1 else list(range(1, len(images) + 1)))


@pytest.mark.parametrize("name", COLOUR_FILES)
@pytest.mark.filterwarnings("ignore")
def test_images_in_colour_are_read_as_pydicom_reads_them(odd: Path, name: str):
    path, instance = described(odd / f"{name}.dcm")
    header = dcmread(path)
    expected = header.pixel_array
    if header.PhotometricInterpretation == "PALETTE COLOR":
        expected = apply_color_lut(expected, header) >> 8
    elif expected.dtype.itemsize > 1:
        expected = expected / ((1 << header.BitsStored) - 1) * 255
    images = read_images([(path, instance)], colour=Colour.RGB)
    found = np.stack([image.array for image in images])
    assert found.dtype == np.uint8
    assert np.abs(found - (expected if expected.ndim == 4 else expected[None]).astype(np.float64)).max() <= 0.5


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.filterwarnings("ignore")
def test_a_palette_is_the_same_in_either_byte_order(odd: Path, name: str):
    one, other = (read_images([described(odd / f"{each}.dcm")], colour=Colour.RGB) for each in (name, TWINS[name]))
    assert len(one) == len(other)
    assert all(np.array_equal(a.array, b.array) for a, b in zip(one, other, strict=True))
    assert one[0].array.max() == 255


@pytest.mark.parametrize("name", ["vlut_04", "mlut_18", "RG3_J2KR", "MR-SIEMENS-DICOM-WithOverlays", "JPEG-LL"])
@pytest.mark.filterwarnings("ignore")
def test_an_image_is_shown_as_pydicom_shows_it(odd: Path, name: str):
    path, instance = described(odd / f"{name}.dcm")
    header = dcmread(path)
    expected = apply_voi_lut(apply_modality_lut(header.pixel_array, header), header).astype(np.float64)
    if name == "JPEG-LL" or name == "mlut_18":  # no window: as far as its values go
        expected -= expected.min()
        expected /= expected.max()
    elif name == "vlut_04":
        expected /= (1 << header.VOILUTSequence[0].LUTDescriptor[2]) - 1
    else:
        expected /= (1 << header.BitsStored) - 1
    if header.PhotometricInterpretation == "MONOCHROME1":
        expected = 1 - expected
    (image,) = read_images([(path, instance)], intensity=Intensity.SHOWN)
    assert image.array.dtype == np.float32
    assert np.allclose(image.array, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0.0, 0.0, (100 - 99.5) / 99 + 0.5, 1.0]),
        ("LINEAR_EXACT", [0.0, 0.0, 0.5, 1.0]),
        ("SIGMOID", [1 / (1 + np.exp(4)), 1 / (1 + np.exp(2)), 0.5, 1 / (1 + np.exp(-4))]),
    ],
)
def test_the_first_of_several_windows_is_applied_by_its_function(tmp_path: Path, function: str, expected: list[float]):
    stored = np.array([[0, 50], [100, 200]], np.uint16)
    changes = {"WindowCenter": [100, 5], "WindowWidth": [100, 2], "VOILUTFunction": function, "BitsStored": 12}
    given = written(tmp_path / "a.dcm", stored, **changes)
    (image,) = read_images([given], intensity=Intensity.SHOWN)
    assert image.array.ravel() == pytest.approx(expected, abs=1e-6)
    (dark,) = read_images(
        [written(tmp_path / "b.dcm", stored, PhotometricInterpretation="MONOCHROME1", **changes)],
        intensity=Intensity.SHOWN,
    )
    assert dark.array.ravel() == pytest.approx([1 - each for each in expected], abs=1e-6)


def test_a_window_of_one_is_a_step(tmp_path: Path):
    given = written(tmp_path / "a.dcm", np.array([[9, 10, 11]], np.uint16), WindowCenter=10, WindowWidth=1)
    assert read_images([given], intensity=Intensity.SHOWN)[0].array.tolist() == [[0.0, 1.0, 1.0]]


def test_few_bits_without_a_window_are_shown_over_all_of_them(tmp_path: Path):
    given = written(tmp_path / "a.dcm", np.array([[0, 51], [102, 204]], np.uint8))
    assert read_images([given], intensity=Intensity.SHOWN)[0].array.ravel() == pytest.approx([0, 0.2, 0.4, 0.8])
    flat = written(tmp_path / "b.dcm", np.full((2, 2), 700, np.uint16))
    assert not read_images([flat], intensity=Intensity.SHOWN)[0].array.any()


def test_tables_are_looked_up_and_values_beyond_them_take_their_ends(tmp_path: Path):
    stored = np.array([[0, 9, 10], [11, 12, 4000]], np.uint16)
    modality = table(10, [5, 700, 900], 12)
    given = written(tmp_path / "a.dcm", stored, ModalityLUTSequence=[modality])
    assert read_images([given])[0].array.tolist() == [[5, 5, 5], [700, 900, 900]]
    dark = written(tmp_path / "b.dcm", stored, ModalityLUTSequence=[modality], PhotometricInterpretation="MONOCHROME1")
    assert read_images([dark])[0].array.tolist() == [[4090, 4090, 4090], [3395, 3195, 3195]]
    voi = table(700, [0, 1023, 512], 10)
    both = written(tmp_path / "c.dcm", stored, ModalityLUTSequence=[modality], VOILUTSequence=[voi])
    shown = read_images([both], intensity=Intensity.SHOWN)[0].array
    assert shown.ravel() == pytest.approx([0, 0, 0, 0, 512 / 1023, 512 / 1023])


def test_a_modality_table_makes_the_values_of_a_volume_too(tmp_path: Path):
    stored = np.array([[[0, 1], [2, 3]]] * 3, np.uint16)
    slices = write_series(tmp_path, stored)
    for path, _ in slices:
        header = dcmread(path)
        header.ModalityLUTSequence = [table(0, [0, 40000, 50000, 65535], 16)]
        header.save_as(path)
    volume = read_volume(slices)
    assert volume.array.dtype == np.float32
    assert volume.array[1].tolist() == [[0, 40000], [50000, 65535]]


def test_bits_above_those_stored_are_no_part_of_a_value_and_the_sign_is_extended(tmp_path: Path):
    overlay = np.array([[0xF001, 0x1FFF], [0x0800, 0x07FF]], np.uint16)
    plain = written(tmp_path / "a.dcm", overlay, BitsStored=12)
    signed = written(tmp_path / "b.dcm", overlay.view(np.int16), BitsStored=12)
    assert read_images([plain])[0].array.tolist() == [[1, 0xFFF], [0x800, 0x7FF]]
    assert read_images([signed])[0].array.tolist() == [[1, -1], [-2048, 2047]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_padding_is_as_dark_as_the_darkest_pixel(tmp_path: Path, syntax: str):
    stored = np.array([[-2000, 40], [-5, -2000]], np.int16)
    given = written(tmp_path / "a.dcm", stored, PixelPaddingValue=-2000, syntax=syntax)
    assert read_images([given])[0].array.tolist() == [[-5, 40], [-5, -5]]
    shown = written(tmp_path / "b.dcm", stored, PixelPaddingValue=-2000, PhotometricInterpretation="MONOCHROME1")
    assert read_images([shown], intensity=Intensity.SHOWN)[0].array.tolist() == [[0, 0], [1, 0]]
    ranged = written(tmp_path / "c.dcm", stored, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-4)
    assert read_images([ranged])[0].array.tolist() == [[40, 40], [40, 40]]


def test_padding_of_a_volume_is_as_dark_as_its_darkest_voxel(tmp_path: Path):
    stored = np.array([[[7, 60000], [60000, 8]], [[60000, 60000], [60000, 60000]], [[3, 4], [5, 60000]]], np.uint16)
    slices = write_series(tmp_path, stored, Made(intercept=-1.0))
    for path, _ in slices:
        header = dcmread(path)
        header.PixelPaddingValue = 60000
        header["PixelPaddingValue"].VR = "US"
        header.save_as(path)
    volume = read_volume(slices)
    assert volume.array.tolist() == [[[6, 2], [2, 7]], [[2, 2], [2, 2]], [[2, 3], [4, 2]]]


def test_slices_are_shown_each_by_its_own_window_and_by_a_common_one_where_none_has_any(tmp_path: Path):
    stored = np.array([[[0, 10]], [[0, 10]], [[0, 40]]], np.uint16)
    slices = write_series(tmp_path, stored)
    bare = read_volume(slices, intensity=Intensity.SHOWN).array
    assert bare.ravel() == pytest.approx([0, 0.25, 0, 0.25, 0, 1])
    for (path, _), width in zip(slices, (20, 40, 80), strict=True):
        header = dcmread(path)
        header.WindowCenter, header.WindowWidth, header.VOILUTFunction = width / 2, width, "LINEAR_EXACT"
        header.save_as(path)
    assert read_volume(slices, intensity=Intensity.SHOWN).array.ravel() == pytest.approx([0, 0.5, 0, 0.25, 0, 0.5])


def test_frames_of_a_clip_come_one_by_one_with_the_windows_of_their_own_groups(tmp_path: Path):
    stored = np.array([[[0, 10]], [[0, 10]]], np.uint16)
    groups = []
    for width, slope in ((10, 1), (40, 2)):
        window, rescale, group = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = width / 2, width, "LINEAR_EXACT"
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 0
        group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [rescale]
        groups.append(group)
    given = written(tmp_path / "a.dcm", stored, PerFrameFunctionalGroupsSequence=groups)
    values = read_images([given])
    assert [image.array.tolist() for image in values] == [[[0, 10]], [[0, 20]]]
    assert [image.frame_number for image in values] == [1, 2]
    shown = read_images([given], intensity=Intensity.SHOWN)
    assert [image.array.tolist() for image in shown] == [[[0, 1]], [[0, 0.5]]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless])
def test_a_clip_in_colour_is_read_frame_by_frame(tmp_path: Path, syntax: str):
    frames = np.random.default_rng(2).integers(0, 255, (3, 4, 5, 3)).astype(np.uint8)
    path, instance = written(tmp_path / "a.dcm", frames, PhotometricInterpretation="RGB")
    if syntax == RLELossless:
        dataset = dcmread(path)
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.save_as(path)
    images = read_images([(path, instance)], colour=Colour.RGB)
    assert np.array_equal(np.stack([image.array for image in images]), frames)
    grey = read_images([(path, instance)], colour=Colour.GREY)
    assert np.abs(grey[1].array - frames[1] @ (0.299, 0.587, 0.114)).max() <= 0.5
    (level, *_) = read_images([(path, instance)], colour=Colour.GREY, intensity=Intensity.SHOWN)
    assert np.allclose(level.array, grey[0].array / 255)


def test_a_grey_image_has_three_equal_colours_where_a_model_wants_them(tmp_path: Path):
    (image,) = read_images([written(tmp_path / "a.dcm", np.array([[0, 100]], np.uint8))], colour=Colour.RGB)
    assert image.array.tolist() == [[[0, 0, 0], [100, 100, 100]]]


def test_images_of_any_size_come_in_order_of_their_numbers_whatever_arrives_first(tmp_path: Path):
    given = []
    for name, number, instance_number, rows in (("a", 5, 2, 3), ("b", 4, None, 2), ("c", 3, 1, 4), ("d", 2, 2, 5)):
        stored = np.zeros((rows, 2), np.uint8)
        given.append(written(tmp_path / f"{name}.dcm", stored, number=number, InstanceNumber=instance_number))
    orders = ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1])
    found = [[image.array.shape[0] for image in read_images([given[i] for i in order])] for order in orders]
    assert found == [[4, 5, 3, 2]] * 3


def test_parallel_slices_come_in_order_of_their_places(tmp_path: Path):
    slices = write_series(tmp_path, np.arange(4 * 6, dtype=np.uint16).reshape(4, 2, 3))
    numbered = [(path, replace(each, instance_number=9 - index)) for index, (path, each) in enumerate(slices)]
    images = read_images([numbered[index] for index in (2, 0, 3, 1)])
    assert [image.sop_instance_uid for image in images] == list(read_volume(slices).sop_instance_uids)
    assert images[0].spacing_mm == (1.0, 1.0)


def test_the_spacing_is_that_of_the_patient_else_of_the_detector_else_of_one_ultrasound_region(tmp_path: Path):
    stored = np.zeros((2, 2), np.uint8)

    def spacing(name: str, **changes: object) -> tuple[float, float] | None:
        return read_images([written(tmp_path / f"{name}.dcm", stored, **changes)])[0].spacing_mm

    assert spacing("a", PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[1, 1]) == (0.2, 0.3)
    assert spacing("b", ImagerPixelSpacing=[0.1, 0.1]) == (0.1, 0.1)
    assert spacing("c", PixelSpacing=[0, 0.3]) is None
    region = Dataset()
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.01, 0.02
    assert spacing("d", SequenceOfUltrasoundRegions=[region]) == pytest.approx((0.2, 0.1))
    assert spacing("e") is None


@pytest.mark.parametrize(
    ("changes", "colour", "reason"),
    [
        (None, Colour.GREY, "1 of 1 .* without pixel data"),
        ({"undecodable": "no decoder for it"}, Colour.RGB, "no decoder for it"),
        ({"photometric_interpretation": "RGB", "samples_per_pixel": 3}, Colour.REFUSED, "not monochrome: RGB"),
        ({"photometric_interpretation": "HSV"}, Colour.RGB, "colours that cannot be read here: HSV"),
        ({"samples_per_pixel": 2}, Colour.GREY, "2 samples per pixel of an image in grey"),
        ({"rows": 0}, Colour.GREY, "without rows"),
        ({"bits_allocated": 12}, Colour.GREY, "not 1, 8, 16 or 32 bits"),
        ({"number_of_frames": 1 << 30}, Colour.GREY, "GiB: too many"),
        ({"rescale_slope": 0.0}, Colour.GREY, "slope of zero"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, changes: dict[str, object] | None, colour: Colour, reason: str):
    path, instance = written(tmp_path / "a.dcm", np.zeros((4, 4), np.uint16))
    assert instance.pixels is not None
    pixels = None if changes is None else replace(instance.pixels, **changes)  # type: ignore[arg-type]
    with pytest.raises(Unsuitable, match=reason):
        read_images([(path, replace(instance, pixels=pixels))], colour=colour)
    with pytest.raises(Unsuitable, match="0 of 0"):
        read_images([])


def test_a_damaged_or_missing_file_is_a_failure_that_names_the_instance(tmp_path: Path):
    path, instance = written(tmp_path / "a.dcm", np.zeros((3, 4, 4), np.uint16))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(Failed, match=r"1\.2\.1: pixel data is truncated"):
        read_images([(path, instance)])
    with pytest.raises(Failed, match="cannot be read"):
        read_images([(tmp_path / "none.dcm", instance)])
    odd = Pixels(rows=5, columns=5, photometric_interpretation="RGB", samples_per_pixel=3, bits_allocated=8)
    whole = written(tmp_path / "b.dcm", np.zeros((4, 4, 3), np.uint8), PhotometricInterpretation="RGB")
    with pytest.raises(Failed, match=r"1\.2\.1: decoded pixels are"):
        read_images([(whole[0], replace(whole[1], pixels=odd))], colour=Colour.RGB)


def test_images_cannot_be_written_to(tmp_path: Path):
    grey = read_images([written(tmp_path / "a.dcm", np.zeros((2, 2), np.uint8))])[0]
    with pytest.raises(ValueError, match="read-only"):
        grey.array[0, 0] = 1
