"""That a model did not read is said so that nobody takes it for a negative, and so that no viewer stops at it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage, DigitalXRayImageStorageForPresentation

from node.domain.work import OutcomeState
from node.report.composition import encode
from node.report.evidence import Evidence
from tests.report.outputs.test_classification_sr import flat
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, evidence_on, not_performed
from tests.report.test_outputs import errors_of

KIND = "not_performed_sr"
STATES = (OutcomeState.NOT_APPLICABLE, OutcomeState.FAILED, OutcomeState.INCOMPLETE)


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(SCANS["axial"]))


def content(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", ()):
        yield child
        yield from content(child)


def words(report: Dataset) -> list[str]:
    return [str(item.TextValue) for item in content(report) if item.ValueType == "TEXT"]


@pytest.mark.parametrize("state", STATES)
def test_it_says_state_reason_model_and_version(state: OutcomeState, evidence: Evidence, tmp_path: Path) -> None:
    report = build(not_performed(evidence, state, "only 3 slices: too few"), KIND)
    said = words(report)
    assert "only 3 slices: too few" in said
    assert "Brain extraction, T1 (brain-t1)" in said
    assert "1.0.2" in said
    assert any(line.startswith("NOT READ: ") and "not a negative result" in line for line in said)
    [status] = [i.ConceptCodeSequence[0].CodeValue for i in content(report) if _named(i) == "111065"]
    assert status == ("111224" if state is OutcomeState.FAILED else "111225")
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(report))
    assert errors_of(path) == []


def _named(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def test_it_speaks_of_no_finding_and_is_no_measurement_report(evidence: Evidence) -> None:
    report = build(not_performed(evidence), KIND)
    assert report.SOPClassUID == BasicTextSRStorage == report.file_meta.MediaStorageSOPClassUID
    assert _named(report) != "126000"
    names = {_named(item) for item in content(report)}
    assert not names & {"121071", "121052", "122157", "125007", "126010"}
    assert report.CompletionFlag == "PARTIAL"
    assert "NOT READ" in report.SeriesDescription


def test_every_item_has_a_name_since_viewers_that_write_it_out_stop_at_one_without(evidence: Evidence) -> None:
    report = build(not_performed(evidence), KIND)
    for item in content(report):
        assert item.ConceptNameCodeSequence[0].CodeMeaning
        assert item.ValueType in {"TEXT", "CODE", "UIDREF", "CONTAINER"}
    sections = [item for item in [report, *content(report)] if item.ValueType == "CONTAINER"]
    assert all(len(section.ContentSequence) > 1 for section in sections)


def test_it_is_written_for_an_image_without_a_place_in_space(tmp_path: Path) -> None:
    image = flat(tmp_path / "flat", DigitalXRayImageStorageForPresentation, "DX")
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(not_performed(image), KIND)))
    assert errors_of(path) == []
    assert dcmread(path).PatientID == "T-1"


def test_only_what_came_to_no_result_is_told_so(evidence: Evidence) -> None:
    for state in OutcomeState:
        unread = replace(not_performed(evidence), state=state)
        assert bool(AVAILABLE[KIND].unfit(unread)) is (state not in STATES)
    for kind in ("seg", "measurement_sr", "classification_sr", "basic_text_sr"):
        assert AVAILABLE[kind].unfit(not_performed(evidence)), kind


def test_dsrdump_reads_it(evidence: Evidence, tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("no dsrdump: apt-get install dcmtk")
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(not_performed(evidence), KIND)))
    dumped = subprocess.run([dsrdump, "+Pl", path], capture_output=True, text=True, errors="replace", timeout=60)
    assert dumped.returncode == 0, dumped.stderr
    assert "not a negative result" in dumped.stdout
