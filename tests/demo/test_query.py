from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from node.demo import query
from node.demo.query import BadQuery

STUDY, OTHER = "1.2.3", "1.2.4"


def header(study: str, series: str, uid: str, **attributes: object) -> Dataset:
    made = Dataset()
    made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID = study, series, uid
    made.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    made.Modality = "MR"
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


HELD = [
    header(STUDY, "1.2.3.1", "1.2.3.1.1", PatientID="A-1", PatientName="Doe^Jane", StudyDate="20260101"),
    header(STUDY, "1.2.3.1", "1.2.3.1.2", PatientID="A-1", PatientName="Doe^Jane", StudyDate="20260101"),
    header(STUDY, "1.2.3.2", "1.2.3.2.1", PatientID="A-1", PatientName="Doe^Jane", StudyDate="20260101", Modality="SR"),
    header(OTHER, "1.2.4.1", "1.2.4.1.1", PatientID="B[2]", PatientName="Roe^Richard", StudyDate="20260201"),
]


def ask(level: str, **keys: object) -> list[Dataset]:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return list(query.answers(identifier, HELD))


def test_a_study_is_answered_once_with_its_counts() -> None:
    counts = {"NumberOfStudyRelatedInstances": None, "NumberOfStudyRelatedSeries": None, "ModalitiesInStudy": None}
    (answer,) = ask("STUDY", StudyInstanceUID=STUDY, PatientID="", **counts)
    assert answer.NumberOfStudyRelatedInstances == 3
    assert answer.NumberOfStudyRelatedSeries == 2
    assert list(answer.ModalitiesInStudy) == ["MR", "SR"]
    assert answer.PatientID == "A-1"
    assert answer.QueryRetrieveLevel == "STUDY"
    assert "StudyDate" not in answer


def test_series_and_images_are_answered_inside_what_is_named_above_them() -> None:
    series = ask("SERIES", StudyInstanceUID=STUDY, SeriesInstanceUID="", NumberOfSeriesRelatedInstances=None)
    assert {(s.SeriesInstanceUID, s.NumberOfSeriesRelatedInstances) for s in series} == {("1.2.3.1", 2), ("1.2.3.2", 1)}
    images = ask("IMAGE", StudyInstanceUID=STUDY, SeriesInstanceUID="1.2.3.1", SOPInstanceUID="")
    assert [image.SOPInstanceUID for image in images] == ["1.2.3.1.1", "1.2.3.1.2"]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({}, 2),
        ({"PatientID": "A-1"}, 1),
        ({"PatientID": "a-1"}, 0),
        ({"PatientID": "?-1"}, 1),
        ({"PatientID": "*"}, 2),
        ({"PatientID": "B[2]"}, 1),
        ({"PatientID": "B2"}, 0),
        ({"PatientID": "A"}, 0),
        ({"PatientName": "doe*"}, 1),
        ({"PatientName": "*^r*"}, 1),
        ({"StudyDate": "20260101"}, 1),
        ({"StudyDate": "20260101-20260131"}, 1),
        ({"StudyDate": "20260102-"}, 1),
        ({"StudyDate": "-20260131"}, 1),
        ({"StudyDate": "20260101-20260201"}, 2),
        ({"StudyInstanceUID": [STUDY, OTHER]}, 2),
        ({"StudyInstanceUID": ["1.2.9", OTHER]}, 1),
        ({"ModalitiesInStudy": "SR"}, 1),
        ({"ModalitiesInStudy": "MR"}, 2),
        ({"ModalitiesInStudy": "CT"}, 0),
        ({"AccessionNumber": "X"}, 0),
        ({"NumberOfStudyRelatedInstances": 3}, 1),
        ({"SpecificCharacterSet": "ISO_IR 100", "RetrieveAETitle": "ELSEWHERE"}, 2),
    ],
)
def test_matching_follows_the_kind_of_the_key(keys: dict[str, object], found: int) -> None:
    assert len(ask("STUDY", **keys)) == found


def test_what_is_not_known_is_answered_empty() -> None:
    (answer,) = ask("STUDY", StudyInstanceUID=STUDY, AccessionNumber="", ReferencedStudySequence=[])
    assert answer.AccessionNumber in (None, "")
    assert len(answer.ReferencedStudySequence) == 0


@pytest.mark.parametrize(
    ("level", "keys"),
    [
        ("", {}),
        ("PATIENT", {}),
        ("SERIES", {}),
        ("IMAGE", {"StudyInstanceUID": STUDY}),
        ("IMAGE", {"SeriesInstanceUID": "1.2.3.1"}),
    ],
)
def test_a_query_outside_the_information_model_is_refused(level: str, keys: dict[str, object]) -> None:
    with pytest.raises(BadQuery):
        ask(level, **keys)
