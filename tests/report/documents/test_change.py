"""Changes since a prior in the measurement report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from node.domain.change import Change, Verdict
from node.domain.finding import MILLILITRE, VOLUME
from node.report.evidence import Evidence
from node.report.prior_image import PriorImage
from tests.report.synthetic import Scan, build, evidence_on

PRIOR = PriorImage(
    study_instance_uid="1.2.3.77",
    series_instance_uid="1.2.3.77.1",
    sop_class_uid=MRImageStorage,
    sop_instance_uid="1.2.3.77.1.5",
)


@pytest.fixture
def evidence(series: Callable[[Scan], list[Path]]) -> Evidence:
    return evidence_on(series(Scan()))


def changed(evidence: Evidence, verdict: Verdict, **more: object) -> Evidence:
    finding = evidence.findings[0]
    change = Change(
        model=evidence.card.name,
        code=finding.code,
        quantity=VOLUME,
        unit=MILLILITRE,
        segment_number=finding.segment_number or 0,
        before=10.0,
        after=12.5,
        ratio=1.25,
        ratio_low=1.1,
        ratio_high=1.4,
        days=90,
        prior_study_instance_uid=PRIOR.study_instance_uid,
        prior_date="20251002",
        prior_image=PRIOR.sop_instance_uid,
        verdict=verdict,
    )
    return replace(evidence, changes=(replace(change, **more),), prior_images=(PRIOR,))  # type: ignore[arg-type]


def items(node: Dataset, code: str) -> list[Dataset]:
    """Every content item below with this concept name."""
    found = []
    for each in node.get("ContentSequence", []):
        name = each.get("ConceptNameCodeSequence")
        if name and name[0].CodeValue == code:
            found.append(each)
        found += items(each, code)
    return found


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (Verdict.GROWN, "15454001"),
        (Verdict.SHRUNK, "19776001"),
        (Verdict.STABLE, "129723006"),
        (Verdict.NEW, "129721008"),
    ],
)
def test_a_verdict_is_a_coded_evaluation_of_the_finding(evidence: Evidence, verdict: Verdict, code: str) -> None:
    report = build(changed(evidence, verdict), "measurement_sr")
    (said,) = items(report, "111049")
    assert (said.ValueType, said.RelationshipType, said.ConceptCodeSequence[0].CodeValue) == ("CODE", "CONTAINS", code)


def test_the_difference_in_size_is_inferred_from_the_image_of_the_prior(evidence: Evidence) -> None:
    report = build(changed(evidence, Verdict.GROWN), "measurement_sr")
    (number,) = items(report, "442714003")
    measured = number.MeasuredValueSequence[0]
    assert (float(measured.NumericValue), measured.MeasurementUnitsCodeSequence[0].CodeValue) == (25.0, "%")
    (image,) = items(number, "121112")
    assert (image.ValueType, image.RelationshipType) == ("IMAGE", "INFERRED FROM")
    assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == PRIOR.sop_instance_uid
    (study,) = report.PertinentOtherEvidenceSequence
    referenced = study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert (study.StudyInstanceUID, referenced.ReferencedSOPInstanceUID) == ("1.2.3.77", PRIOR.sop_instance_uid)


def test_what_cannot_be_compared_has_no_code_and_no_number(evidence: Evidence) -> None:
    report = build(changed(evidence, Verdict.NOT_COMPARABLE), "measurement_sr")
    assert items(report, "111049") + items(report, "442714003") == []
    assert "PertinentOtherEvidenceSequence" not in report


def test_an_image_that_is_not_known_any_more_is_not_referred_to(evidence: Evidence) -> None:
    report = build(replace(changed(evidence, Verdict.GROWN), prior_images=()), "measurement_sr")
    assert len(items(report, "442714003")) == 1
    assert "PertinentOtherEvidenceSequence" not in report


def test_without_a_change_the_report_has_the_very_same_content(evidence: Evidence) -> None:
    plain = build(evidence, "measurement_sr")
    other = build(replace(evidence, changes=(), prior_images=(PRIOR,)), "measurement_sr")
    assert plain == other
    assert plain.SOPInstanceUID == build(changed(evidence, Verdict.GROWN), "measurement_sr").SOPInstanceUID
