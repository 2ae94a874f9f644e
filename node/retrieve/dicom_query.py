"""Questions to an archive by C-FIND, Study Root (PS3.4 §C.6.2), asked in a process that lives for this question alone.

Only keys that name one study, one accession number, one patient or a range of days are ever sent: `keys` refuses the
rest before any network. An answer is believed only where it is to what was asked.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator

from pydicom import Dataset
from pynetdicom.dimse_primitives import C_FIND
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from node.errors import Failed, Transient
from node.retrieve.answers import instance_of, instances_of, series_of, study_of, text_of
from node.retrieve.conversation import PENDING, Conversation, conversation
from node.retrieve.found import FoundInstance, FoundSeries, FoundStudy
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Call, ContentsQuery, Question, Reply, SeriesQuery, StudyQuery

FIND = str(StudyRootQueryRetrieveInformationModelFind)
#: PS3.4 Table C.4-1: success; the identifier does not match the SOP Class; unable to process (0xCxxx).
_SUCCESS = 0x0000
_NOT_THIS_LEVEL = 0xA900
_CANNOT_PROCESS = 0xC000
#: A study has one answer; whoever gives more is not listened to for long.
_MOST_ANSWERS = 20
_MOST_SERIES = 2_000
_MOST_INSTANCES = 100_000
#: Whoever answers besides what was asked is listened to for so many answers more.
_MOST_DISBELIEVED = 1_000
#: What is asked to be told of a study (return keys, PS3.4 §C.2.2.1.3).
STUDY_KEYWORDS = (
    *("StudyInstanceUID", "PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyDate", "StudyTime", "StudyDescription", "ModalitiesInStudy"),
    "NumberOfStudyRelatedInstances",
)


def instances_of_study(question: Question, stop: threading.Event | None = None) -> int:
    """Return Number of Study Related Instances (0020,1208) as the peer says it.

    Raises:
        Failed: the peer does not know the study or the number, or will never answer us as it is set up.
        Transient: it does not answer now.
    """
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = question.study_instance_uid
    identifier.NumberOfStudyRelatedInstances = None
    with conversation(question, [FIND], stop or threading.Event()) as asked:
        answers = list(_answers(asked, question, identifier, most=_MOST_ANSWERS))
    return believed_count(answers, question)


def believed_count(answers: list[Dataset], question: Question) -> int:
    """The number in the answer that is about the study asked for; others are not believed.

    Raises:
        Failed: there is no such answer, or no sound number in it.
    """
    about_it = [each for each in answers if text_of(each, "StudyInstanceUID") == question.study_instance_uid]
    if not about_it:
        raise Failed(f"{question.peer} does not hold the study")
    count = instances_of(about_it[0])
    if count is None:
        raise Failed(f"{question.peer} does not say how many instances the study has")
    return count


def matching_studies(query: StudyQuery, stop: threading.Event | None = None) -> Reply:
    """Return the studies that match, and how many answers were to something else.

    Raises:
        Failed: more match than `most`, or the peer will never answer us as it is set up.
        Transient: it does not answer now.
    """
    with conversation(query, [FIND], stop or threading.Event()) as asked:
        answers = _answers(asked, query, study_identifier(query.keys), most=query.most + _MOST_DISBELIEVED)
        return believed_studies(answers, query)


def believed_studies(answers: Iterator[Dataset], query: StudyQuery) -> Reply:
    """Keep the answers that are to what was asked, each study once.

    Raises:
        Failed: there are more than `most`.
    """
    found: dict[str, FoundStudy] = {}
    disbelieved: Counter[str] = Counter()
    for answer in answers:
        study = study_of(answer)
        reason = "no sound Study Instance UID" if study is None else query.keys.disbelief(study)
        if study is None or reason:
            disbelieved[reason] += 1
            continue
        found.setdefault(study.study_instance_uid, study)
        if len(found) > query.most:
            raise Failed(f"more than {query.most} studies match at {query.peer}; ask for less at a time")
    return Reply(studies=tuple(found.values()), disbelieved=dict(disbelieved))


class _Unanswered(Transient):
    """The query ended without success."""

    def __init__(self, peer: str, status: int) -> None:
        self.status = status
        super().__init__(f"{peer} answered the query with 0x{status:04X}")


def contents_of_study(query: ContentsQuery, stop: threading.Event | None = None) -> tuple[FoundInstance, ...] | None:
    """Return every instance that the peer lists of a study, series by series; `None` if it does not list any study's.

    Raises:
        Failed: the peer does not hold the study, lists more than any study has, or will never answer us.
        Transient: it does not answer now.
    """
    found: dict[str, FoundInstance] = {}
    try:
        with conversation(query, [FIND], stop or threading.Event()) as asked:
            _list(asked, query, found)
    except _Unanswered as error:
        # Not every archive answers below the study.
        if error.status == _NOT_THIS_LEVEL or error.status & 0xF000 == _CANNOT_PROCESS:
            return None
        raise
    return tuple(found.values())


def _list(asked: Conversation, query: ContentsQuery, found: dict[str, FoundInstance]) -> None:
    uid = query.study_instance_uid
    for series in _series(asked, query):
        series_uid = series.series_instance_uid
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "IMAGE"
        identifier.StudyInstanceUID, identifier.SeriesInstanceUID = uid, series_uid
        identifier.SOPInstanceUID = identifier.SOPClassUID = None
        for answer in _answers(asked, query, identifier, most=_MOST_INSTANCES):
            instance = instance_of(answer, uid, series_uid, series.modality)
            if instance is not None:
                found.setdefault(instance.sop_instance_uid, instance)
        if len(found) > _MOST_INSTANCES:
            raise Failed(f"{query.peer} lists more instances than any study has")


def study_identifier(keys: StudyKeys) -> Dataset:
    """Return the identifier of a query at STUDY level: matching keys with their value, the others empty."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for keyword in STUDY_KEYWORDS:
        setattr(identifier, keyword, None)
    if not (keys.accession_number + keys.patient_id).isascii():
        identifier.SpecificCharacterSet = "ISO_IR 192"
    for keyword, value in (
        ("StudyInstanceUID", keys.study_instance_uid),
        ("AccessionNumber", keys.accession_number),
        ("PatientID", keys.patient_id),
        # Range matching, PS3.4 §C.2.2.2.5.
        ("StudyDate", f"{keys.since}-{keys.until}" if keys.since else ""),
        ("ModalitiesInStudy", keys.modality),
    ):
        if value:
            setattr(identifier, keyword, value)
    return identifier


def series_of_study(query: SeriesQuery, stop: threading.Event | None = None) -> tuple[FoundSeries, ...]:
    """Return the series of a study with modality and body part, as far as the peer tells them.

    Raises:
        Failed: the peer does not hold the study, or will never answer us.
        Transient: it does not answer now.
    """
    with conversation(query, [FIND], stop or threading.Event()) as asked:
        return tuple(_series(asked, query))


def _series(asked: Conversation, query: ContentsQuery | SeriesQuery) -> list[FoundSeries]:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    identifier.StudyInstanceUID = query.study_instance_uid
    identifier.SeriesInstanceUID = identifier.Modality = identifier.BodyPartExamined = None
    found: dict[str, FoundSeries] = {}
    for answer in _answers(asked, query, identifier, most=_MOST_SERIES):
        series = series_of(answer, query.study_instance_uid)
        if series is not None:
            found.setdefault(series.series_instance_uid, series)
    if not found:
        raise Failed(f"{query.peer} does not hold the study")
    return list(found.values())


def _answers(asked: Conversation, call: Call, identifier: Dataset, *, most: int) -> Iterator[Dataset]:
    """Yield the matches of one query.

    Raises:
        Failed: more than `most` came.
        Transient: the query ended without success.
    """
    number = 0
    for response in asked.ask(C_FIND(), FIND, identifier, limit_s=call.answer_s):
        if response.status in PENDING:
            if response.identifier is None:
                continue
            number += 1
            if number > most:
                asked.cancel()
                raise Failed(f"{call.peer} answered with other studies than the one asked for, or far too many")
            yield response.identifier
        elif response.status != _SUCCESS:
            raise _Unanswered(call.peer, response.status)
