"""What the archive knows better is written over what the source says, and what the source said is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import dcmread

from node.report.composition import encode
from node.report.evidence import Evidence
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, evidence_for
from tests.report.test_outputs import errors_of

MERGED = {"PatientID": "T-9", "PatientName": "Test^Person^Married", "AccessionNumber": "B-1", "PatientSex": "F"}


@pytest.fixture
def paths(series: Callable[[Scan], list[Path]]) -> list[Path]:
    return series(SCANS["axial"])


def corrected(kind: str, paths: list[Path], **corrections: str) -> Evidence:
    return evidence_for(kind, paths, corrections=corrections, corrected_by="ARCHIVE")


@pytest.mark.parametrize("kind", sorted(AVAILABLE))
def test_every_output_is_filed_as_the_archive_files_the_study(kind: str, paths: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "output.dcm"
    path.write_bytes(encode(build(corrected(kind, paths, **MERGED), kind)))
    output = dcmread(path)
    assert {keyword: str(output[keyword].value) for keyword in MERGED} == MERGED
    [item] = output.OriginalAttributesSequence
    [before] = item.ModifiedAttributesSequence
    originals = {element.keyword: str(element.value) for element in before}
    assert originals == {"PatientID": "T-1", "PatientName": "Test^Person", "AccessionNumber": "A-1"}
    assert (item.ModifyingSystem, item.ReasonForTheAttributeModification) == ("ARCHIVE", "COERCE")
    assert str(item.AttributeModificationDateTime).startswith("20261121")
    assert errors_of(path) == []


def test_an_object_that_was_corrected_is_another_object(paths: list[Path]) -> None:
    as_sent = build(evidence_for("measurement_sr", paths), "measurement_sr")
    as_filed = build(corrected("measurement_sr", paths, PatientID="T-9"), "measurement_sr")
    assert as_sent.SOPInstanceUID != as_filed.SOPInstanceUID
    assert as_sent.SeriesInstanceUID != as_filed.SeriesInstanceUID


def test_values_that_agree_leave_no_trace(paths: list[Path]) -> None:
    report = build(corrected("measurement_sr", paths, PatientID="T-1", PatientSex="F"), "measurement_sr")
    assert "OriginalAttributesSequence" not in report


def test_a_value_that_the_source_lacks_is_added_and_is_no_original(paths: list[Path]) -> None:
    report = build(corrected("measurement_sr", paths, PatientID="T-9", PatientComments="x"), "measurement_sr")
    [before] = report.OriginalAttributesSequence[0].ModifiedAttributesSequence
    assert [element.keyword for element in before] == ["PatientID"]


def test_the_evidence_itself_stays_as_the_source_has_it(paths: list[Path]) -> None:
    evidence = corrected("seg", paths, **MERGED)
    build(evidence, "seg")
    assert evidence.source.PatientID == "T-1"


def test_without_a_name_for_who_corrected_the_node_says_that_it_did(paths: list[Path]) -> None:
    evidence = replace(corrected("seg", paths, PatientID="T-9"), corrected_by="")
    assert build(evidence, "seg").OriginalAttributesSequence[0].ModifyingSystem == "Matins"
