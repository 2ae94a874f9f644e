"""One page for all models of a study, that any viewer shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.output import SHOWN_AS_OF_OUTPUT
from node.report.composition import encode
from node.report.pictures.drawing import page
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, evidence_on, of_study

KIND = "secondary_capture"


@pytest.fixture
def capture(series: Callable[[Scan], list[Path]], tmp_path: Path) -> Dataset:
    path = tmp_path / "capture.dcm"
    path.write_bytes(encode(build(of_study(evidence_on(series(SCANS["axial"]))), KIND)))
    return dcmread(path)


def test_the_table_of_what_viewers_show_is_that_of_the_modules() -> None:
    assert {kind: output.SHOWN_AS for kind, output in AVAILABLE.items()}.items() <= SHOWN_AS_OF_OUTPUT.items()


def test_the_pixels_are_the_page(capture: Dataset, series: Callable[[Scan], list[Path]]) -> None:
    np.testing.assert_array_equal(capture.pixel_array, page(of_study(evidence_on(series(SCANS["axial"])))))
    assert (capture.PhotometricInterpretation, capture.BitsStored, capture.SamplesPerPixel) == ("RGB", 8, 3)


def test_it_says_what_it_is_and_what_is_burned_in(capture: Dataset) -> None:
    assert capture.ImageType == ["DERIVED", "SECONDARY", "OTHER"]
    assert (capture.BurnedInAnnotation, capture.ConversionType) == ("YES", "WSD")
    assert capture.ContentQualification == "RESEARCH"
    assert "not for diagnosis" in capture.ImageComments
    assert capture.SeriesDescription.startswith("AI Summary ")
    assert (capture.DateOfSecondaryCapture, capture.TimeOfSecondaryCapture) == (
        capture.ContentDate,
        capture.ContentTime,
    )


def test_it_names_every_model_and_the_slices_that_it_shows(
    capture: Dataset, series: Callable[[Scan], list[Path]]
) -> None:
    models = [item.ManufacturerModelName for item in capture.ContributingEquipmentSequence]
    assert models[:2] == ["bleed", "brain-t1"]
    evidence = evidence_on(series(SCANS["axial"]))
    largest = int(evidence.counts[:, 1].argmax())
    (shown,) = capture.SourceImageSequence
    assert shown.ReferencedSOPInstanceUID == evidence.slices[largest].header.SOPInstanceUID


def test_a_body_part_is_the_sources_and_none_is_invented(series: Callable[[Scan], list[Path]]) -> None:
    plain = build(evidence_on(series(SCANS["axial"])), KIND)
    assert "BodyPartExamined" not in plain
    assert plain.Laterality == ""
    head = build(evidence_on(series(Scan(header={"BodyPartExamined": "HEAD"}))), KIND)
    assert head.BodyPartExamined == "HEAD"
    assert "Laterality" not in head
    knee = build(evidence_on(series(Scan(header={"BodyPartExamined": "KNEE", "Laterality": "R"}))), KIND)
    assert (knee.BodyPartExamined, knee.Laterality) == ("KNEE", "R")


def test_it_is_built_without_pixels_too(series: Callable[[Scan], list[Path]]) -> None:
    evidence = replace(evidence_on(series(SCANS["axial"])), paths=())
    assert build(evidence, KIND).Columns == 1024
