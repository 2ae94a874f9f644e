from __future__ import annotations

import io
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from node.domain.study import Instance
from node.receive.content import content_digest, locate, pixel_digest
from node.receive.fields import instance_of
from tests.receive.objects import compressed, mr_slice, part10


def digests(whole: bytes, deadline_s: float = math.inf) -> tuple[str, str, str]:
    """Content digest, pixel digest, and why the pixels cannot be decoded."""
    stream = io.BytesIO(whole)
    header = dcmread(stream, stop_before_pixels=True)
    value = locate(stream, header.file_meta.TransferSyntaxUID)
    assert value is not None
    instance = instance_of(header, issuer="", has_pixels=True)
    assert instance.pixels is not None
    pixels, problem = pixel_digest(stream, header, value, instance.pixels, deadline_s=deadline_s)
    return content_digest(instance, pixels), pixels, problem


def colour(seed: int = 0) -> Dataset:
    dataset = mr_slice(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    values = np.random.default_rng(seed).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB"
    return dataset


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless]
)
def test_the_same_image_has_the_same_digest_in_any_encoding(syntax: str, signed: bool):
    dataset = mr_slice(signed=signed)
    native = syntax in (ImplicitVRLittleEndian, ExplicitVRBigEndian)
    again = part10(dataset, syntax) if native else part10(compressed(dataset, syntax), syntax)
    assert digests(again) == digests(part10(dataset, ExplicitVRLittleEndian))


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_the_same_colours_have_the_same_digest_in_any_encoding(syntax: str):
    assert digests(part10(compressed(colour(), syntax), syntax)) == digests(part10(colour()))


def test_colours_by_plane_are_the_same_colours():
    planar = colour()
    planar.PlanarConfiguration = 1
    values = np.frombuffer(planar.PixelData, np.uint8).reshape(40, 36, 3)
    planar.PixelData = values.transpose(2, 0, 1).tobytes()
    planar["PixelData"].VR = "OB"
    assert digests(part10(planar)) == digests(part10(colour()))


def test_bits_that_mean_nothing_do_not_count():
    dirty = mr_slice()
    dirty.PixelData = (np.frombuffer(dirty.PixelData, np.uint16) | 0xA000).tobytes()
    dirty["PixelData"].VR = "OW"
    assert digests(part10(dirty)) == digests(part10(mr_slice()))


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"PatientID": "P2"},
        {"ImagePositionPatient": [0, 0, 3]},
        {"PixelSpacing": [1, 1.5]},
        {"RescaleSlope": 2},
        {"Modality": "CT"},
        {"FrameOfReferenceUID": "1.2.10"},
        {"PhotometricInterpretation": "MONOCHROME1"},
        {"SeriesDescription": "T2"},
    ],
)
def test_what_a_model_reads_changes_the_digest(changes: dict[str, object]):
    assert digests(part10(mr_slice(**changes)))[0] != digests(part10(mr_slice()))[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"AccessionNumber": "B2"},
        {"StudyDescription": "corrected"},
        {"WindowCenter": 40},
        # An archive adds these, and writes names as it likes; contradictions are found elsewhere.
        {"IssuerOfPatientID": "HOSPITAL"},
        {"PatientSex": None},
        {"PatientBirthDate": ""},
        {"PatientName": "DOE^JANE^^^"},
    ],
)
def test_what_no_model_reads_does_not(changes: dict[str, object]):
    assert digests(part10(mr_slice(**changes)))[0] == digests(part10(mr_slice()))[0]


def test_frames_count_in_their_order():
    def two(first: int, second: int) -> bytes:
        dataset = mr_slice(NumberOfFrames=2)
        dataset.PixelData = mr_slice(seed=first).PixelData + mr_slice(seed=second).PixelData
        dataset["PixelData"].VR = "OW"
        return part10(dataset)

    assert digests(two(1, 2))[2] == ""
    assert digests(two(1, 2)) != digests(two(2, 1))


@pytest.mark.parametrize("length", [2, 2878, 2884])
def test_pixel_data_of_the_wrong_length_is_undecodable_but_has_a_digest(length: int):
    dataset = mr_slice()
    dataset.PixelData = bytes(length)
    dataset["PixelData"].VR = "OW"
    content, _, problem = digests(part10(dataset))
    assert problem == f"{length} bytes of pixel data where 2880 are told"
    assert len(content) == 64


def test_damaged_compressed_pixels_are_undecodable_but_have_a_digest():
    whole = bytearray(part10(compressed(mr_slice(), JPEG2000Lossless), JPEG2000Lossless))
    start = whole.index(b"\xff\x4f\xff\x51")
    whole[start : start + 40] = bytes(40)
    _, pixels, problem = digests(bytes(whole))
    assert problem
    assert pixels != digests(part10(mr_slice()))[1]


def test_a_syntax_that_nothing_here_decodes_is_told():
    video = part10(compressed(mr_slice(), RLELossless), "1.2.840.10008.1.2.4.102")
    assert "MPEG-4" in digests(video)[2]


def test_decoding_ends_with_its_time():
    dataset = mr_slice(NumberOfFrames=2)
    dataset.PixelData = dataset.PixelData * 2
    whole = part10(compressed(dataset, RLELossless), RLELossless)
    assert digests(whole, deadline_s=time.monotonic() - 1)[2] == "decoding takes too long (1 frames so far)"


def test_fewer_frames_than_told_are_undecodable():
    dataset = compressed(mr_slice(), RLELossless)
    dataset.NumberOfFrames = 2
    assert digests(part10(dataset, RLELossless))[2]


def test_bits_have_a_digest():
    dataset = mr_slice(BitsAllocated=1, BitsStored=1, HighBit=0)
    dataset.PixelData = bytes(180)
    dataset["PixelData"].VR = "OB"
    assert digests(part10(dataset))[2] == ""


def test_no_pixels_no_value():
    stream = io.BytesIO(part10(mr_slice(PixelData=None)))
    header = dcmread(stream, stop_before_pixels=True)
    assert locate(stream, header.file_meta.TransferSyntaxUID) is None
    assert len(content_digest(instance_of(header, issuer="", has_pixels=False), "")) == 64
    assert isinstance(instance_of(header, issuer="", has_pixels=False), Instance)


def test_the_sides_of_an_image_are_content_only_where_it_does_not_say_where_it_lies() -> None:
    placed = instance_of(mr_slice(), issuer="", has_pixels=True)
    sided = {"image_laterality": "L", "patient_orientation": ("A", "F"), "lossy_image_compression": "00"}
    assert content_digest(replace(placed, **sided), "x") == content_digest(placed, "x")
    flat = replace(placed, plane=None)
    assert content_digest(replace(flat, lossy_image_compression="01"), "x") == content_digest(flat, "x")
    others = [replace(flat, **{name: sided[name]}) for name in ("image_laterality", "patient_orientation")]
    assert len({content_digest(each, "x") for each in (flat, *others)}) == 3
