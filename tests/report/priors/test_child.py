"""What the process reads of reports and segmentations of others and of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import BasicTextSRStorage

from node.domain.finding import Code
from node.domain.prior_document import DocumentKind, PriorDocument, kind_of
from node.report.composition import compose, encode
from node.report.priors.child import read
from node.report.priors.messages import ANSWER, Answer, Question
from tests.foreign_reports import (
    ABSENT,
    DEVICE,
    EMBOLISM,
    FINDING,
    FINDINGS,
    GROUP,
    HISTORY,
    IMPRESSION,
    IMPRESSIONS,
    MEASUREMENTS,
    NODULE,
    OBSERVER,
    PRESENCE,
    PRESENT,
    UNDETERMINED,
    coded,
    detection,
    measured,
    nodule,
    number,
    pdf,
    report,
    section,
    segmentation,
    text,
    written,
)
from tests.report.synthetic import AVAILABLE, SCANS, Scan, evidence_on

STUDY = "1.2.3.1"
PERSON = ("121006", "DCM", "Person")
UID = "1.2.3.9"


def answered(path: Path) -> Answer:
    dataset = dcmread(path, stop_before_pixels=True)
    sop_class_uid = str(dataset.SOPClassUID)
    kind = kind_of(sop_class_uid)
    assert kind is not None
    question = Question(
        path=str(path), kind=kind, sop_class_uid=sop_class_uid, sop_instance_uid=str(dataset.SOPInstanceUID)
    )
    answer = read(question)
    assert ANSWER.validate_json(ANSWER.dump_json(answer)) == answer
    return answer


def document(folder: Path, dataset: Dataset) -> PriorDocument:
    answer = answered(written(folder, dataset))
    assert answer.document is not None, answer.unreadable
    return answer.document


def said(found: PriorDocument) -> dict[str, bool]:
    return {each.code.meaning: each.present for each in found.coded}


def test_impression_and_findings_of_a_dictated_report_are_read_and_its_history_is_not(tmp_path: Path) -> None:
    found = document(
        tmp_path,
        report(
            UID,
            STUDY,
            section(HISTORY, text(FINDING, "Rule out metastases.")),
            section(FINDINGS, text(FINDING, "Small effusion."), text(FINDING, "Heart\r\nnormal.")),
            section(IMPRESSIONS, text(IMPRESSION, "No embolism. Zerebrale Blutung möglich.")),
        ),
    )
    assert {each.heading: each.text for each in found.passages} == {
        "findings": "Small effusion. Heart normal.",
        "impression": "No embolism. Zerebrale Blutung möglich.",
    }
    assert (found.completion, found.verification, found.standing) == ("COMPLETE", "VERIFIED", "COMPLETE, VERIFIED")
    assert (found.title, found.made_by, found.document_date) == (
        "Diagnostic Imaging Report",
        "Others Dictation",
        "20250102",
    )
    assert found.counts
    assert not found.by_device


@pytest.mark.parametrize(
    ("completion", "verification", "counts"),
    [
        ("COMPLETE", "VERIFIED", True),
        ("COMPLETE", "UNVERIFIED", True),
        ("PARTIAL", "VERIFIED", True),
        ("PARTIAL", "UNVERIFIED", False),
        ("", "", False),
    ],
)
def test_only_what_is_verified_or_completed_counts(
    tmp_path: Path, completion: str, verification: str, counts: bool
) -> None:
    made = report(UID, STUDY, text(IMPRESSION, "Mass."), completion=completion, verification=verification)
    assert document(tmp_path, made).counts is counts


def test_what_is_said_by_codes_is_so_or_not_so_or_not_known(tmp_path: Path) -> None:
    found = document(
        tmp_path,
        report(
            UID,
            STUDY,
            section(FINDINGS, coded(FINDING, EMBOLISM, coded(PRESENCE, ABSENT)), coded(FINDING, NODULE)),
            section(HISTORY, coded(FINDING, ("363346000", "SCT", "Cancer"))),
            section(
                IMPRESSIONS,
                coded(IMPRESSION, ("233604007", "SCT", "Pneumonia"), coded(PRESENCE, UNDETERMINED)),
                coded(IMPRESSION, ("111286", "DCM", "No abnormality")),
            ),
        ),
    )
    assert said(found) == {"Pulmonary embolism": False, "Nodule": True}


def test_two_that_contradict_each_other_are_both_not_believed(tmp_path: Path) -> None:
    contradiction = section(FINDINGS, coded(FINDING, NODULE), coded(FINDING, NODULE, coded(PRESENCE, ABSENT)))
    assert said(document(tmp_path, report(UID, STUDY, contradiction))) == {}


def test_snomed_rt_is_read_as_the_code_that_replaced_it(tmp_path: Path) -> None:
    found = document(tmp_path, report(UID, STUDY, section(FINDINGS, coded(FINDING, ("M-03010", "SRT", "Nodule")))))
    assert [each.code for each in found.coded] == [Code("27925004", "SCT", "Nodule")]


def test_a_measurement_group_is_a_finding_with_size_side_and_segment(tmp_path: Path) -> None:
    found = document(tmp_path, measured(UID, STUDY, nodule("8.5", segmentation="1.2.3.10")))
    (one,) = found.findings
    assert (one.finding.code.meaning, one.finding.segment_number, one.segmentation_uid) == ("Nodule", 1, "1.2.3.10")
    assert (one.finding.tracking_identifier, one.finding.tracking_uid) == ("Nodule 1", "2.25.77")
    assert one.finding.site is not None
    assert one.finding.laterality is not None
    assert (one.finding.site.meaning, one.finding.laterality.meaning) == ("Lung", "Left")
    (size,) = one.finding.measurements
    assert (size.quantity.meaning, size.value, size.unit.value) == ("Diameter", 8.5, "mm")
    assert found.by_device
    assert not found.counts
    assert said(found) == {}


@pytest.mark.parametrize(("observers", "counts"), [((), False), ((PERSON,), True), ((PERSON, DEVICE), True)])
def test_what_an_algorithm_measured_counts_only_where_a_person_is_named(
    tmp_path: Path, observers: tuple[tuple[str, str, str], ...], counts: bool
) -> None:
    group = nodule()
    group.ContentSequence.append(text(("111001", "DCM", "Algorithm Name"), "OtherNet"))
    seen_by = [coded(OBSERVER, each, relation="HAS OBS CONTEXT") for each in observers]
    made = report(UID, STUDY, *seen_by, section(MEASUREMENTS, group), verification="UNVERIFIED")
    assert document(tmp_path, made).counts is counts


def test_of_a_measurement_group_that_says_so_the_finding_is_there_or_not(tmp_path: Path) -> None:
    groups = [section(GROUP, coded(FINDING, EMBOLISM), coded(PRESENCE, ABSENT)), nodule()]
    groups[1].ContentSequence.append(coded(PRESENCE, PRESENT))
    assert said(document(tmp_path, measured(UID, STUDY, *groups))) == {"Pulmonary embolism": False, "Nodule": True}


def test_a_number_that_is_none_is_left_out(tmp_path: Path) -> None:
    group = nodule()
    group.ContentSequence[-1].MeasuredValueSequence = []
    (one,) = document(tmp_path, measured(UID, STUDY, group)).findings
    assert one.finding.measurements == ()


def test_detection_says_what_it_found_and_is_a_device_whatever_else_it_tells(tmp_path: Path) -> None:
    shown = coded(("111059", "DCM", "Single Image Finding"), NODULE, number(("81827009", "SCT", "Diameter"), "6", "mm"))
    intent = coded(
        ("111056", "DCM", "Rendering Intent"),
        ("111152", "DCM", "Not for Presentation: Rendering device expected not to present"),
    )
    hidden = coded(("111059", "DCM", "Single Image Finding"), EMBOLISM, intent)
    found = document(tmp_path, detection(UID, STUDY, shown, hidden))
    assert [each.finding.code.meaning for each in found.findings] == ["Nodule"]
    assert [each.value for each in found.findings[0].finding.measurements] == [6.0]
    assert found.by_device
    assert not found.counts


def test_segments_are_findings_without_numbers(tmp_path: Path) -> None:
    found = document(tmp_path, segmentation(UID, STUDY, segments=(NODULE, EMBOLISM)))
    assert [(each.finding.code.meaning, each.finding.segment_number) for each in found.findings] == [
        ("Nodule", 1),
        ("Pulmonary embolism", 2),
    ]
    assert {each.segmentation_uid for each in found.findings} == {UID}
    assert found.findings[0].algorithm == "OtherNet"
    assert found.findings[0].finding.tracking_uid == "2.25.77"


def test_an_encapsulated_document_is_noted_by_its_title(tmp_path: Path) -> None:
    assert document(tmp_path, pdf(UID, STUDY)) == PriorDocument(
        title="Letter", made_by="Others Dictation", document_date="20250102"
    )


def test_our_own_report_and_segmentation_are_read_with_their_model(
    series: Callable[[Scan], list[Path]], tmp_path: Path
) -> None:
    evidence = evidence_on(series(SCANS["oblique"]))
    built = compose(evidence, ["seg", "measurement_sr"], AVAILABLE, {})
    found = {}
    for kind, dataset in built.items():
        path = tmp_path / f"{kind}.dcm"
        path.write_bytes(encode(dataset))
        answer = answered(path)
        assert answer.document is not None, answer.unreadable
        found[kind] = answer.document
    volumes = [each for each in found["measurement_sr"].findings if each.segmentation_uid]
    assert [(each.segmentation_uid, each.finding.segment_number) for each in volumes] == [
        (str(built["seg"].SOPInstanceUID), 1)
    ]
    (size,) = [each for each in volumes[0].finding.measurements if each.quantity.meaning == "Volume"]
    (expected,) = evidence.findings[0].measurements
    assert (size.value, size.unit) == (pytest.approx(expected.value, rel=1e-6), expected.unit)
    for each in (volumes[0], found["seg"].findings[0]):
        assert (each.model_digest, each.card_digest) == (evidence.model_digest, evidence.card_digest)
    assert volumes[0].finding.tracking_uid == found["seg"].findings[0].finding.tracking_uid
    assert not any(each.counts for each in found.values())


def test_a_report_that_is_nested_too_deeply_says_so(tmp_path: Path) -> None:
    deep = text(IMPRESSION, "Deep.")
    for _ in range(60):
        deep = section(IMPRESSIONS, deep)
    answer = answered(written(tmp_path, report(UID, STUDY, deep)))
    assert "nested deeper than 48" in answer.unreadable


def test_a_report_of_thousands_of_items_is_bounded(tmp_path: Path) -> None:
    groups = [section(GROUP, coded(FINDING, NODULE)) for _ in range(600)]
    found = document(tmp_path, measured(UID, STUDY, *groups))
    assert (len(found.findings), found.left_out) == (500, 100)
    long = document(tmp_path, report(UID, STUDY, text(IMPRESSION, "word " * 5000)))
    assert len(long.passages[0].text) == 4000


@pytest.mark.parametrize(
    "spoilt", [b"", b"not DICOM", b"\0" * 128 + b"DICM" + b"\xff" * 64], ids=["empty", "text", "noise"]
)
def test_what_is_no_object_is_unreadable_and_the_reason_tells_nothing_of_it(tmp_path: Path, spoilt: bytes) -> None:
    path = tmp_path / "x.dcm"
    path.write_bytes(spoilt)
    question = Question(
        path=str(path), kind=DocumentKind.REPORT, sop_class_uid=BasicTextSRStorage, sop_instance_uid=UID
    )
    answer = read(question)
    assert answer.document is None
    assert answer.unreadable


def test_another_object_than_was_indexed_is_not_read(tmp_path: Path) -> None:
    path = written(tmp_path, report(UID, STUDY, text(IMPRESSION, "Mass.")))
    question = Question(
        path=str(path), kind=DocumentKind.REPORT, sop_class_uid=BasicTextSRStorage, sop_instance_uid="1.2.3.8"
    )
    assert "not the object" in read(question).unreadable


def test_measurements_are_no_text_of_the_report(tmp_path: Path) -> None:
    group = section(GROUP, coded(FINDING, NODULE), text(FINDING, "typed by a tool"))
    assert document(tmp_path, measured(UID, STUDY, group)).passages == ()
    assert MEASUREMENTS[0] == "126010"
