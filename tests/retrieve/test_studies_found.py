"""Archives that mean no good, or mean well and say too much: what of their answers is believed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from pydicom import Dataset

from node.errors import Failed, Transient
from node.retrieve.dicom_query import contents_of_study, instances_of_study, matching_studies
from node.retrieve.keys import StudyKeys
from node.retrieve.question import ContentsQuery, NotOffered, StudyQuery
from tests.fakes import STUDY
from tests.retrieve.conftest import OTHER_SERVICE
from tests.retrieve.scripted import DONE, HANG, HANG_UP, Say, Script, Scripted, pending
from tests.retrieve.test_dicom_query import question

pytestmark = pytest.mark.filterwarnings(
    "ignore:Invalid value for VR", "ignore:The value length", "ignore:Found unknown escape"
)


def query(archive: Scripted, most: int = 5, **keys: str) -> StudyQuery:
    return StudyQuery.model_validate(call(archive) | {"keys": StudyKeys(**keys), "most": most})


def call(archive: Scripted) -> dict[str, object]:
    return question(archive.port, answer_s=5.0).model_dump(exclude={"study_instance_uid", "errand"})


def contents(archive: Scripted) -> ContentsQuery:
    return ContentsQuery.model_validate(call(archive) | {"study_instance_uid": STUDY})


def study(uid: str, **attributes: object) -> Say:
    return pending(QueryRetrieveLevel="STUDY", StudyInstanceUID=uid, **attributes)


def test_what_matches_comes_back_with_what_is_told_of_it(scripted: Callable[..., Scripted]) -> None:
    told = {"PatientID": "P1", "PatientName": "Doe^Jane", "ModalitiesInStudy": ["CT", "MR"], "StudyDate": "20260101"}
    archive = scripted([study("1.2.5", AccessionNumber="A1 ", NumberOfStudyRelatedInstances=7, **told), DONE])
    (found,) = matching_studies(query(archive, accession_number="A1")).studies
    assert (found.study_instance_uid, found.accession_number, found.instances) == ("1.2.5", "A1", 7)
    assert (found.patient.patient_id, found.patient.name, found.modalities) == ("P1", "Doe^Jane", ("CT", "MR"))
    (asked,) = archive.asked
    assert asked.AccessionNumber == "A1"
    assert {each.keyword for each in asked if not each.is_empty} == {"QueryRetrieveLevel", "AccessionNumber"}


def test_answers_about_others_are_counted_and_not_believed(scripted: Callable[..., Scripted]) -> None:
    mine = study("1.2.5", PatientID="P1")
    others = [study("1.2.6", PatientID="P2"), study("1.2.7"), study("../../x", PatientID="P1")]
    archive = scripted([*others, mine, mine, DONE])
    reply = matching_studies(query(archive, patient_id="P1"))
    assert [each.study_instance_uid for each in reply.studies] == ["1.2.5"]
    assert reply.disbelieved == {"another patient": 2, "no sound Study Instance UID": 1}


def test_text_that_could_forge_a_line_is_made_plain(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([study("1.2.5", StudyDescription="a\r\nb\x1b[31mc" + "x" * 1000, AccessionNumber="A1"), DONE])
    (found,) = matching_studies(query(archive, accession_number="A1")).studies
    assert found.study_description.isprintable()
    assert len(found.study_description) <= 200


def test_more_matches_than_wanted_are_an_error_and_end_the_query(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([*(study(f"1.2.5.{n}", AccessionNumber="A1") for n in range(50)), DONE])
    with pytest.raises(Failed, match="more than 5 studies"):
        matching_studies(query(archive, accession_number="A1"))


def test_an_archive_that_never_stops_talking_is_not_listened_to(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([*(study("1.2.6", AccessionNumber="B") for _ in range(1200)), DONE])
    with pytest.raises(Failed, match="far too many"):
        matching_studies(query(archive, accession_number="A1"))


@pytest.mark.parametrize("off_by", [1, -1, 1000])
def test_an_answer_to_another_message_is_not_believed(scripted: Callable[..., Scripted], off_by: int) -> None:
    archive = scripted([study("1.2.5", AccessionNumber="A1"), Say(status=0x0000, off_by=off_by)])
    with pytest.raises(Transient, match="another message"):
        matching_studies(query(archive, accession_number="A1"))


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ([HANG_UP], "broke off"),
        ([study("1.2.5", AccessionNumber="A1"), HANG_UP], "broke off"),
        ([Say(status=0xA700)], "0xA700"),
        ([Say(status=0xC001)], "0xC001"),
    ],
)
def test_a_query_that_breaks_is_asked_again(scripted: Callable[..., Scripted], script: Script, reason: str) -> None:
    with pytest.raises(Transient, match=reason):
        matching_studies(query(scripted(script), accession_number="A1"))


def test_whoever_offers_no_queries_is_told_apart(scripted: Callable[..., Scripted]) -> None:
    with pytest.raises(NotOffered):
        matching_studies(query(scripted([DONE], services=OTHER_SERVICE), accession_number="A1"))


def test_a_query_is_cancelled_when_the_process_is_asked_to_end(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([HANG])
    stop = threading.Event()
    stop.set()
    with pytest.raises(Transient):
        matching_studies(query(archive, accession_number="A1"), stop)
    assert archive.cancelled.wait(5)


def listing(series: dict[str, list[str]], **more: object) -> Callable[[Dataset], Script]:
    """A study's listing at SERIES and IMAGE level."""

    def answer(identifier: Dataset) -> Script:
        if identifier.QueryRetrieveLevel == "SERIES":
            return [*(pending(SeriesInstanceUID=uid, StudyInstanceUID=STUDY) for uid in series), DONE]
        names = series[identifier.SeriesInstanceUID]
        return [*(pending(SOPInstanceUID=uid, SOPClassUID="1.2.840.10008.5.1.4.1.1.4", **more) for uid in names), DONE]

    return answer


@pytest.fixture
def listed() -> Iterator[Callable[..., Scripted]]:
    started: list[Scripted] = []

    def start(answer: Callable[[Dataset], Script]) -> Scripted:
        started.append(Scripted(answer).start())
        return started[-1]

    yield start
    for each in started:
        each.stop()


def test_the_instances_of_a_study_are_listed_series_by_series(listed: Callable[..., Scripted]) -> None:
    archive = listed(listing({"1.2.3.1.1": ["1.1", "1.2"], "1.2.3.1.2": ["1.3"]}))
    found = contents_of_study(contents(archive))
    assert found is not None
    assert {(each.series_instance_uid, each.sop_instance_uid) for each in found} == {
        ("1.2.3.1.1", "1.1"),
        ("1.2.3.1.1", "1.2"),
        ("1.2.3.1.2", "1.3"),
    }
    assert {each.sop_class_uid for each in found} == {"1.2.840.10008.5.1.4.1.1.4"}
    assert [asked.QueryRetrieveLevel for asked in archive.asked] == ["SERIES", "IMAGE", "IMAGE"]


@pytest.mark.parametrize("more", [{"StudyInstanceUID": "9.9"}, {"SeriesInstanceUID": "9.9"}])
def test_instances_of_another_study_or_series_are_left_out(
    listed: Callable[..., Scripted], more: dict[str, object]
) -> None:
    assert contents_of_study(contents(listed(listing({"1.2.3.1.1": ["1.1"]}, **more)))) == ()


def test_instances_without_a_sound_uid_are_left_out(listed: Callable[..., Scripted]) -> None:
    names = ["1.1", "", "*", "../x", "1.2\\1.3", "1..2"]
    found = contents_of_study(contents(listed(listing({"1.2.3.1.1": names}))))
    assert found is not None
    assert [each.sop_instance_uid for each in found] == ["1.1", "1.2"] or [each.sop_instance_uid for each in found] == [
        "1.1"
    ]


@pytest.mark.parametrize("status", [0xA900, 0xC000])
def test_an_archive_that_answers_no_query_below_the_study_lists_nothing(
    listed: Callable[..., Scripted], status: int
) -> None:
    assert contents_of_study(contents(listed(lambda _identifier: [Say(status=status)]))) is None


def test_a_study_without_series_is_not_held(listed: Callable[..., Scripted]) -> None:
    with pytest.raises(Failed, match="does not hold"):
        contents_of_study(contents(listed(lambda _identifier: [DONE])))


def test_a_count_for_another_message_is_not_believed(scripted: Callable[..., Scripted]) -> None:
    lie = study(STUDY, NumberOfStudyRelatedInstances=1)
    lie.off_by = 1
    with pytest.raises(Transient, match="another message"):
        instances_of_study(question(scripted([lie, DONE]).port))
