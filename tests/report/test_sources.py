"""Headers are mended on copies: complete, sound, decoded; identity untouched."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.geometry import Grid, stack
from node.domain.uid import is_valid_uid
from node.errors import Failed, Transient
from node.report.sources import described_header, normalise, read_headers
from tests.enhanced import CORONAL, MultiFrame, stack_of, write
from tests.report.gathered import described
from tests.report.synthetic import SCANS, Scan, planes_of

Series = Callable[[Scan], list[Path]]


def grid_of(paths: list[Path]) -> Grid:
    first = dcmread(paths[0])
    return stack(planes_of(paths), int(first.Rows), int(first.Columns))[1]


def mended(paths: list[Path]) -> tuple[Dataset, ...]:
    return normalise(read_headers(paths), grid_of(paths))


def test_pixels_are_not_read(series: Series) -> None:
    assert not any("PixelData" in header for header in read_headers(series(SCANS["axial"])))


def test_only_the_first_header_is_read_whole(series: Series) -> None:
    first, *others = read_headers(series(SCANS["axial"]))
    assert first.PatientName == "Test^Person"
    assert not any("PatientName" in other for other in others)


def test_what_is_no_dicom_file_fails_for_good(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(b"no preamble" * 50)
    with pytest.raises(Failed, match=r"a\.dcm is not a DICOM file"):
        read_headers([path])


def test_a_file_that_is_gone_fails_for_good(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"gone\.dcm is gone"):
        read_headers([tmp_path / "gone.dcm"])


def test_a_disk_that_does_not_answer_is_tried_again(tmp_path: Path) -> None:
    with pytest.raises(Transient, match="cannot be read"):
        read_headers([tmp_path])  # a folder: the nearest to a fault of the disk


@pytest.mark.parametrize(
    ("character_set", "name", "description"),
    [
        ("ISO_IR 100", "Tést^Persön", "brän"),
        ("ISO_IR 192", "", None),
        ("ISO_IR 144", "Tщst^Persіn", "brфn"),
        ("NO SUCH ST", "Tést^Persön", "brän"),
        ("", "Tést^Persön", "brän"),
    ],
)
@pytest.mark.filterwarnings("ignore:Unknown encoding")
def test_text_that_its_character_set_does_not_explain_goes(
    series: Series, tmp_path: Path, character_set: str, name: str, description: str | None
) -> None:
    dataset = dcmread(series(SCANS["axial"])[0])
    dataset.SpecificCharacterSet, dataset.StudyDescription = "ISO_IR 101", "xyzzyx"
    path = tmp_path / "a.dcm"
    dataset.save_as(path)
    whole = path.read_bytes().replace(b"Test^Person", "Tést^Persön".encode("latin-1")).replace(b"xyzzyx", b"br\xe4n  ")
    path.write_bytes(whole.replace(b"ISO_IR 101", character_set.ljust(10).encode()[:10]))
    first = mended([path, *series(SCANS["axial"])[1:]])[0]
    assert (first.PatientName, first.get("StudyDescription")) == (name, description)
    assert first.SpecificCharacterSet == "ISO_IR 192"


def test_absent_type_2_attributes_are_empty(series: Series) -> None:
    first = mended(series(SCANS["missing attributes"]))[0]
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyID", "AccessionNumber"):
        assert first[keyword].value in ("", None)


def test_a_missing_slice_thickness_is_the_slice_distance(series: Series) -> None:
    assert all(float(header.SliceThickness) == 3.0 for header in mended(series(SCANS["missing attributes"])))


def test_a_missing_frame_of_reference_belongs_to_the_series_alone(series: Series) -> None:
    headers = mended(series(SCANS["missing attributes"]))
    uids = {str(header.FrameOfReferenceUID) for header in headers}
    assert len(uids) == 1
    assert is_valid_uid(uids.pop())
    assert mended(series(SCANS["axial"]))[0].FrameOfReferenceUID != headers[0].FrameOfReferenceUID


def test_rounding_in_the_orientations_is_evened_out(series: Series) -> None:
    headers = read_headers(series(SCANS["oblique"]))
    grid = grid_of(series(SCANS["oblique"]))
    headers[0].ImageOrientationPatient = [v + 1e-12 for v in headers[0].ImageOrientationPatient]
    assert len({tuple(header.ImageOrientationPatient) for header in normalise(headers, grid)}) == 1


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_source_without_geometry_fails(keyword: str, series: Series) -> None:
    paths = series(SCANS["axial"])
    headers = read_headers(paths)
    del headers[0][keyword]
    with pytest.raises(Failed, match=keyword):
        normalise(headers, grid_of(paths))


def test_no_sources_fail() -> None:
    with pytest.raises(Failed, match="no source instances"):
        normalise([], Grid((1, 1, 1), tuple(map(tuple, np.eye(4)))))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientAge", "42"), ("StudyDescription", "x" * 70), ("PatientComments", "x" * 20000)],
)
def test_an_unsound_optional_attribute_is_left_out(keyword: str, value: str, series: Series) -> None:
    assert keyword not in mended(series(replace(SCANS["axial"], header={keyword: value})))[0]


def test_numbers_with_a_decimal_comma_are_left_out_and_nothing_else(series: Series) -> None:
    first = mended(series(replace(SCANS["axial"], raw={"PatientWeight": b"75,5"})))[0]
    assert "PatientWeight" not in first
    assert first.PatientAge == "056Y"


def test_sound_optional_attributes_are_kept(series: Series) -> None:
    kept = {
        "PatientWeight": "75",
        "PatientSize": "1.80",
        "PatientAge": "056Y",
        "EthnicGroup": "x",
        "PregnancyStatus": 4,
    }
    first = mended(series(Scan(header=dict(kept))))[0]
    assert {keyword: str(first[keyword].value) for keyword in kept} == {k: str(v) for k, v in kept.items()}


def test_a_code_without_a_meaning_is_left_out(series: Series) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator = "MRHEAD", "99SITE"
    whole = Dataset()
    whole.update(code)
    whole.CodeMeaning = "MR of the head"
    assert "ProcedureCodeSequence" not in mended(series(Scan(header={"ProcedureCodeSequence": [code]})))[0]
    assert "ProcedureCodeSequence" in mended(series(Scan(header={"ProcedureCodeSequence": [whole]})))[0]


@pytest.mark.parametrize(("written", "read"), [("f", "F"), ("M ", "M"), ("W", ""), ("Female", ""), ("O", "O")])
def test_a_sex_is_one_of_three_or_unknown(written: str, read: str, series: Series) -> None:
    assert mended(series(Scan(header={"PatientSex": written})))[0].PatientSex == read


def test_an_identity_is_never_changed_however_odd(series: Series) -> None:
    odd = {"PatientID": "x" * 70, "PatientName": "a^b^c^d^e^f^g", "AccessionNumber": "A" * 30}
    first = mended(series(Scan(header=dict(odd))))[0]
    assert {keyword: str(first[keyword].value) for keyword in odd} == odd


def test_private_attributes_are_left_out(series: Series) -> None:
    headers = read_headers(series(SCANS["axial"]))
    headers[0].private_block(0x0009, "ACME", create=True).add_new(1, "LO", "secret")
    assert not any(e.tag.is_private for e in normalise(headers, grid_of(series(SCANS["axial"])))[0])


def test_nothing_is_warned_about(series: Series) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mended(series(SCANS["unsound attributes"]))


@pytest.mark.parametrize("scan", ["oblique", "anisotropic", "reversed", "missing attributes"])
def test_a_slice_as_it_was_described_is_as_good_as_its_file(series: Series, scan: str) -> None:
    paths = series(SCANS[scan])
    first, *others = read_headers(paths)
    told = [described_header(each) for each in described(paths)[1:]]
    grid = grid_of(paths)
    assert normalise([first, *(each for each in told if each)], grid) == normalise([first, *others], grid)


def test_a_description_without_a_place_or_pixels_is_no_header(series: Series) -> None:
    [one] = described(series(Scan(slices=1)))
    assert described_header(one)
    assert described_header(replace(one, plane=None)) is None
    assert described_header(replace(one, pixels=None)) is None


def test_of_a_multi_frame_image_the_groups_are_those_that_were_described(tmp_path: Path) -> None:
    frames = stack_of(3, temporal_position=1) + stack_of(3, orientation=CORONAL, temporal_position=2)
    path = write(tmp_path / "a.dcm", MultiFrame(frames=frames, header={"ImagePositionPatient": [1, 2, 3]}))
    [header] = read_headers([path])
    assert "PerFrameFunctionalGroupsSequence" not in header
    [one] = described([path])
    [mended] = normalise([header], None, [one.frames])
    assert "ImagePositionPatient" not in mended
    assert mended.NumberOfFrames == len(mended.PerFrameFunctionalGroupsSequence) == 6
    for group, frame in zip(mended.PerFrameFunctionalGroupsSequence, frames, strict=True):
        assert group.PlanePositionSequence[0].ImagePositionPatient == pytest.approx(frame.position)
        assert group.PlaneOrientationSequence[0].ImageOrientationPatient == list(frame.orientation)


def test_a_file_that_ends_within_its_header_fails_for_good(series: Series) -> None:
    path = series(SCANS["axial"])[0]
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(Failed):
        normalise(read_headers([path]))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("ImagePositionPatient", 5),
        ("ImagePositionPatient", [1, 2]),
        ("ImageOrientationPatient", [1, 0, 0, 0, 1]),
        ("PixelSpacing", 0.5),
        ("PixelSpacing", [0.5, 0]),
        ("PixelSpacing", [0.5, -1]),
        ("SliceThickness", [1, 2]),
        ("SliceThickness", 0),
        ("SliceThickness", ""),
        ("FrameOfReferenceUID", ""),
    ],
)
def test_a_single_image_is_placed_wholly_or_not_at_all(series: Series, keyword: str, value: object) -> None:
    [header] = read_headers(series(Scan(slices=1)))
    setattr(header, keyword, value)
    [mended] = normalise([header])
    placed = {each for each in ("ImagePositionPatient", "ImageOrientationPatient") if each in mended}
    assert len(placed) == (2 if keyword == "FrameOfReferenceUID" else 0)
    assert ("FrameOfReferenceUID" in mended) == bool(placed)
    assert [float(each) for each in mended.get("PixelSpacing", [])] == ([] if keyword == "PixelSpacing" else [1, 1])
