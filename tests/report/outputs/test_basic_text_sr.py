"""Who stores no other report gets words: the same numbers, each item with a name."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from node.domain.finding import VOLUME, Code, Measurement
from node.report.composition import encode
from node.report.evidence import Evidence
from tests.report.outputs.test_not_performed_sr import content, words
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, classified, evidence_on

KIND = "basic_text_sr"


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(SCANS["oblique"]))


def test_it_says_the_numbers_of_a_segment(evidence: Evidence) -> None:
    said = words(build(evidence, KIND))
    volume_ml = evidence.findings[0].measurements[0].value
    assert f"{volume_ml:.4g} mL" in said
    assert "Brain 1" in said
    assert any(line.startswith("RESEARCH: ") for line in said)


def test_it_says_presence_probability_and_operating_point_of_the_images_as_a_whole(evidence: Evidence) -> None:
    report = build(classified(evidence), KIND)
    assert "0.875 (0 to 1); counts as present from 0.5" in words(report)
    values = {str(i.ConceptCodeSequence[0].CodeMeaning) for i in content(report) if i.ValueType == "CODE"}
    assert {"Intracranial hemorrhage", "Present", "Succeeded"} <= values


@pytest.mark.parametrize(("value", "text"), [(1234.56, "1235 mm3"), (0.0123456, "0.01235 mm3"), (98765.0, "98760 mm3")])
def test_numbers_have_four_digits_and_no_exponent(value: float, text: str, evidence: Evidence) -> None:
    measured = Measurement(quantity=VOLUME, value=value, unit=Code("mm3", "UCUM", "mm3"))
    found = replace(evidence.findings[0], measurements=(measured,))
    assert text in words(build(replace(evidence, findings=(found,)), KIND))


def test_every_item_has_a_name(evidence: Evidence) -> None:
    for each in (evidence, classified(evidence)):
        assert all(item.ConceptNameCodeSequence[0].CodeMeaning for item in content(build(each, KIND)))


def test_nothing_found_is_nothing_to_say(evidence: Evidence) -> None:
    assert AVAILABLE[KIND].unfit(replace(evidence, findings=()))


def test_dsrdump_reads_it(evidence: Evidence, tmp_path: Path) -> None:
    dsrdump = shutil.which("dsrdump")
    if dsrdump is None:
        pytest.skip("no dsrdump: apt-get install dcmtk")
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence, KIND)))
    dumped = subprocess.run([dsrdump, path], capture_output=True, text=True, errors="replace", timeout=60)
    assert dumped.returncode == 0, dumped.stderr
