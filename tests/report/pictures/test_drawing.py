"""What stands on a page, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.finding import Code, Finding, Measurement, Segment
from node.domain.work import OutcomeState
from node.report.evidence import Evidence, SourceSlice
from node.report.pictures import drawing, summary
from node.report.pictures.drawing import PAGE_WIDTH, blocks, page, panel_of, sides
from tests.report.synthetic import ANATOMY, BRAIN, SCANS, Scan, card, classified, evidence_on, not_performed, of_study

Series = Callable[[Scan], list[Path]]
COLOUR = (10, 250, 20)


def coloured(paths: list[Path]) -> Evidence:
    segment = Segment(number=1, label="Brain", category=ANATOMY, type=BRAIN, colour=COLOUR)
    return replace(evidence_on(paths), card=card(segment))


def written_on(evidence: Evidence, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    write = drawing.write

    def record(pen: object, at: object, text: str, *rest: object, **more: object) -> None:
        texts.append(text)
        write(pen, at, text, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(drawing, "write", record)
    page(evidence)
    return texts


def test_model_version_numbers_and_units_are_on_the_page(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    text = "\n".join(written_on(of_study(evidence), monkeypatch))
    for wanted in ("Brain extraction, T1", "brain-t1 1.0.2", "Brain: Volume ", " mL", "Bleeding", "bleed 1.0.2"):
        assert wanted in text
    assert "Intracranial hemorrhage: present, probability 0.875 (present from 0.5)" in text
    assert text.count("RESEARCH - not for diagnosis") == 2


def test_no_text_of_the_header_is_on_the_page(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = series(Scan(header={"InstitutionName": "Saint Elsewhere", "SeriesDescription": "ax t1 mprage"}))
    texts = written_on(of_study(evidence_on(paths)), monkeypatch)
    assert len(texts) > 8
    source = dcmread(paths[0])
    values = {str(v) for e in source.iterall() if e.VR in {"PN", "LO", "SH", "DA", "ST", "LT", "UI"} for v in [e.value]}
    values = {part for value in values for part in [value, *value.split("^")] if len(part) > 2}
    assert {"Test", "T-1", "19700101", "A-1", "Saint Elsewhere"} <= values
    for text in texts:
        assert not [value for value in values if value.lower() in text.lower()]


def test_the_contour_is_drawn_in_the_colour_of_the_card(series: Series) -> None:
    evidence = coloured(series(SCANS["axial"]))
    (index,) = summary.key_slices(evidence, 3)
    panel = np.asarray(panel_of(evidence, index, 240))
    drawn = np.argwhere((panel == COLOUR).all(axis=2))
    wanted = np.argwhere(evidence.labels[index] == 1)
    # 24 rows on 240 pixels: the outline runs around the pixels of the mask, ten for each.
    np.testing.assert_allclose(drawn.min(axis=0), wanted.min(axis=0) * 10, atol=2)
    np.testing.assert_allclose(drawn.max(axis=0), wanted.max(axis=0) * 10 + 10, atol=2)


def test_a_picture_has_the_shape_of_the_patient(series: Series) -> None:
    evidence = evidence_on(series(SCANS["anisotropic"]))
    panel = panel_of(evidence, 2, 300)
    assert max(panel.size) == 300
    assert panel.height / panel.width == pytest.approx(24 * 0.5 / (20 * 0.9), abs=0.01)


def test_a_slice_that_cannot_be_decoded_leaves_its_words(series: Series) -> None:
    evidence = replace(evidence_on(series(SCANS["axial"])), paths=())
    (block,) = blocks(evidence)
    assert not block.panels
    assert "cannot be shown" in block.missing
    assert page(evidence).shape[1] == PAGE_WIDTH


def test_a_stack_in_which_no_slice_stands_out_has_no_picture(series: Series) -> None:
    (block,) = blocks(classified(evidence_on(series(SCANS["axial"]))))
    assert (block.panels, block.missing) == ([], "")


def test_what_was_not_read_says_why(series: Series) -> None:
    evidence = not_performed(evidence_on(series(SCANS["axial"])), OutcomeState.NOT_APPLICABLE, "no T1")
    assert [line.text for line in summary.lines(evidence)] == ["Not read (not applicable): no T1"]


def test_many_findings_end_in_how_many_more_there_are(series: Series) -> None:
    found = tuple(Finding(code=Code(str(n), "99X", f"thing {n}")) for n in range(40))
    lines = summary.lines(replace(evidence_on(series(SCANS["axial"])), findings=found))
    assert lines[-1].text == "and 26 more in the report"
    assert len(lines) == 16


@pytest.mark.parametrize(
    ("value", "text"), [(1234.56, "1235"), (12.345, "12.35"), (0.0123456, "0.01235"), (7.0, "7"), (0.0, "0")]
)
def test_numbers_have_four_digits(value: float, text: str, series: Series) -> None:
    measured = Measurement(quantity=Code("1", "99X", "Size"), value=value, unit=Code("mm", "UCUM", "mm"))
    evidence = classified(evidence_on(series(SCANS["axial"])))
    evidence = replace(evidence, findings=(Finding(code=BRAIN, measurements=(measured,)),))
    assert summary.lines(evidence)[0].text == f"Brain: Size {text} mm"


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [([1, 0, 0, 0, 1, 0], ("R", "A")), ([0, 1, 0, 0, 0, -1], ("A", "H")), ([-1, 0, 0, 0, 0, -1], ("L", "H"))],
)
def test_the_sides_of_the_patient_are_named(orientation: list[float], expected: tuple[str, str]) -> None:
    header = Dataset()
    header.ImageOrientationPatient = orientation
    assert sides(SourceSlice(header, None)) == expected


@pytest.mark.parametrize(("given", "expected"), [(["L", "F"], ("R", "H")), (["PA", "F"], ("A", "H")), ("X", ("", ""))])
def test_a_projection_says_by_itself_which_sides_it_shows(given: object, expected: tuple[str, str]) -> None:
    header = Dataset()
    header.PatientOrientation = given
    assert sides(SourceSlice(header, None)) == expected
