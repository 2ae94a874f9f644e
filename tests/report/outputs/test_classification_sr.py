"""A finding without a place: what, whether, how probable; and nothing that a viewer stops at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes
from pydicom.uid import ComputedRadiographyImageStorage, UltrasoundImageStorage

from node.errors import Failed
from node.report.composition import encode
from node.report.evidence import Evidence
from node.report.sources import normalise, read_headers
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, classified, evidence_on, mr_series
from tests.report.test_outputs import errors_of

KIND = "classification_sr"


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return classified(evidence_on(series(SCANS["axial"])))


def items(dataset: Dataset, name: object) -> list[Dataset]:
    return list(find_content_items(dataset, name=name, recursive=True))


def coded_value(item: Dataset) -> tuple[str, str]:
    return item.ConceptCodeSequence[0].CodeValue, item.ConceptCodeSequence[0].CodingSchemeDesignator


def test_the_codes_are_dicoms_own() -> None:
    assert codes.DCM.PresenceOfProperty.value == "121052"
    assert (codes.DCM.Present.value, codes.DCM.Absent.value) == ("121053", "121054")
    assert codes.DCM.Probability.value == "122157"


@pytest.mark.parametrize(("present", "code"), [(True, "121053"), (False, "121054")])
def test_it_says_what_whether_and_how_probable(present: bool, code: str, evidence: Evidence) -> None:
    found = replace(evidence.findings[0], present=present)
    [group] = items(build(replace(evidence, findings=(found,)), KIND), codes.DCM.MeasurementGroup)
    assert coded_value(items(group, codes.DCM.Finding)[0]) == ("1386000", "SCT")
    assert coded_value(items(group, codes.DCM.PresenceOfProperty)[0]) == (code, "DCM")
    [probability] = items(group, codes.DCM.Probability)
    assert float(probability.MeasuredValueSequence[0].NumericValue) == 0.875


def test_what_a_model_does_not_decide_is_not_said(evidence: Evidence) -> None:
    undecided = replace(evidence.findings[0], present=None, operating_point=None)
    report = build(replace(evidence, findings=(undecided,)), KIND)
    assert items(report, codes.DCM.PresenceOfProperty) == []
    assert not any("operating_point" in item.TextValue for item in items(report, codes.DCM.AlgorithmParameters))


def test_each_group_names_the_algorithm_and_its_operating_point(evidence: Evidence) -> None:
    other = replace(evidence.findings[0], operating_point=0.25)
    groups = items(build(replace(evidence, findings=(*evidence.findings, other)), KIND), codes.DCM.MeasurementGroup)
    assert len(groups) == 2
    for group, point in zip(groups, ("0.5", "0.25"), strict=True):
        assert items(group, codes.DCM.AlgorithmName)[0].TextValue == "brain-t1"
        parameters = {item.TextValue for item in items(group, codes.DCM.AlgorithmParameters)}
        assert parameters == {"model=" + "1f" * 32, "card=" + "2e" * 32, f"operating_point={point}"}


@pytest.mark.parametrize("probability", [0.875, None])
def test_every_tracking_uid_owns_coordinates_that_are_a_whole_image(
    probability: float | None, evidence: Evidence, tmp_path: Path
) -> None:
    found = replace(evidence.findings[0], probability=probability)
    report = build(replace(evidence, findings=(found, found)), KIND)
    groups = items(report, codes.DCM.MeasurementGroup)
    assert len({items(group, codes.DCM.TrackingUniqueIdentifier)[0].UID for group in groups}) == 2
    for group in groups:
        [region] = find_content_items(group, value_type=highdicom.sr.ValueTypeValues.SCOORD, recursive=True)
        points = np.array(region.GraphicData).reshape(-1, 2)
        assert points.min(axis=0).tolist() == [0, 0]
        assert points.max(axis=0).tolist() == [20, 24]  # columns, rows
        image = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert image.ReferencedSOPInstanceUID == evidence.sources[3].SOPInstanceUID
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(report))
    assert errors_of(path) == []


def test_the_image_is_the_one_where_the_model_looked_most(evidence: Evidence) -> None:
    saliency = np.zeros((7, 24, 20), dtype=np.float32)
    saliency[5, 3:6] = 1
    report = build(replace(evidence, saliency=saliency), KIND)
    [region] = find_content_items(report, value_type=highdicom.sr.ValueTypeValues.SCOORD, recursive=True)
    image = region.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == evidence.sources[5].SOPInstanceUID


def test_it_can_be_read_as_a_measurement_report(evidence: Evidence, tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(evidence, KIND)))
    report = highdicom.sr.srread(path)
    [group] = report.content.get_image_measurement_groups()
    assert group.finding_type.value == "1386000"
    assert "121053" in {evaluation.value.value for evaluation in group.get_qualitative_evaluations()}


def flat(folder: Path, sop_class: str, modality: str) -> Evidence:
    """A finding on one image without a place in space."""
    [path] = mr_series(folder, Scan(slices=1))
    header = dcmread(path)
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = sop_class
    header.Modality = modality
    for keyword in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("FrameOfReferenceUID", "PositionReferenceIndicator"),
    ):
        del header[keyword]
    header.save_as(path, enforce_file_format=True)
    volume = evidence_on(mr_series(folder / "volume", Scan()))
    return replace(classified(volume), sources=normalise(read_headers([path])), paths=(path,))


@pytest.mark.parametrize(
    ("sop_class", "modality"),
    [(ComputedRadiographyImageStorage, "CR"), (UltrasoundImageStorage, "US"), (UltrasoundImageStorage, "ZZ")],
)
def test_an_image_without_a_place_in_space_is_classified_too(sop_class: str, modality: str, tmp_path: Path) -> None:
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode(build(flat(tmp_path / "flat", sop_class, modality), KIND)))
    assert errors_of(path) == []


def test_findings_with_a_segment_belong_to_another_report(series: Callable[[Scan], list[Path]]) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    assert AVAILABLE[KIND].unfit(evidence)
    with pytest.raises(Failed, match="no finding is of the images as a whole"):
        build(evidence, KIND)


def test_a_model_that_segments_and_classifies_gets_both_reports(series: Callable[[Scan], list[Path]]) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    both = replace(evidence, findings=(*evidence.findings, *classified(evidence).findings))
    assert not AVAILABLE[KIND].unfit(both)
    assert not AVAILABLE["measurement_sr"].unfit(both)
    [group] = items(build(both, KIND), codes.DCM.MeasurementGroup)
    assert coded_value(items(group, codes.DCM.Finding)[0]) == ("1386000", "SCT")
