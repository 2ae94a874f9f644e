"""Questions and retrievals over DICOMweb: QIDO-RS and WADO-RS (PS3.18 §10.6, §10.4), in a process of its own.

What comes is streamed to files, part by part, and handed to the listener; nothing is held in memory but one piece.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any, cast

import httpx
from pydicom import Dataset
from python_multipart.multipart import MultipartParser

from node import __version__
from node.errors import Failed, Transient
from node.retrieve.answers import instance_of, series_of
from node.retrieve.dicom_query import STUDY_KEYWORDS, believed_count, believed_studies
from node.retrieve.found import MALFORMED, FoundInstance, FoundSeries
from node.retrieve.hand_over import HandOver
from node.retrieve.keys import StudyKeys
from node.retrieve.parts import Parts
from node.retrieve.question import (
    Call,
    ContentsQuery,
    Portion,
    Question,
    Reply,
    SeriesQuery,
    StudyQuery,
    Tally,
    Transfer,
)

#: Bytes of one JSON document.
_LONGEST_JSON_BYTES = 64 << 20
#: Instances asked for at once.
_PAGE = 5_000
_MOST_INSTANCES = 100_000
_JSON = "application/dicom+json"
_OBJECTS = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_MULTIPART = "multipart/related"
#: RFC 2046 §5.1.1.
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")
_TOO_MANY, _NOT_FOUND, _NO_CONTENT, _SERVER_ERRORS = 429, 404, 204, 500
_GOOD = frozenset({200, 206})
_LOGIN = frozenset({401, 403})

Tell = Callable[[Tally], None]


def instances_of_study(question: Question) -> int:
    """Return Number of Study Related Instances as the peer says it.

    Raises:
        Failed, Transient: as `dicom_query.instances_of_study`.
    """
    keys = StudyKeys(study_instance_uid=question.study_instance_uid)
    return believed_count(list(_studies(question, keys, most=20)), question)


def matching_studies(query: StudyQuery) -> Reply:
    """Return the studies that match, and how many answers were to something else.

    Raises:
        Failed, Transient: as `dicom_query.matching_studies`.
    """
    return believed_studies(iter(_studies(query, query.keys, most=query.most + 1)), query)


def contents_of_study(query: ContentsQuery) -> tuple[FoundInstance, ...]:
    """Return every instance that the peer lists of a study, page by page.

    Raises:
        Failed, Transient: as `dicom_query.contents_of_study`.
    """
    found: dict[str, FoundInstance] = {}
    path = f"/studies/{query.study_instance_uid}/instances"
    asked = 0
    while asked <= _MOST_INSTANCES:
        keys = [
            ("includefield", "SOPClassUID"),
            ("includefield", "Modality"),
            ("limit", str(_PAGE)),
            ("offset", str(asked)),
        ]
        page = _found(query, path, keys)
        before = len(found)
        for answer in page:
            instance = instance_of(answer, query.study_instance_uid)
            if instance is not None:
                found.setdefault(instance.sop_instance_uid, instance)
        if len(found) == before:
            break
        asked += len(page)
    if not found:
        raise Failed(f"{query.peer} does not hold the study")
    return tuple(found.values())


def series_of_study(query: SeriesQuery) -> tuple[FoundSeries, ...]:
    """Return the series of a study with modality and body part, as far as the peer tells them.

    Raises:
        Failed, Transient: as `dicom_query.series_of_study`.
    """
    keys = [("includefield", "Modality"), ("includefield", "BodyPartExamined"), ("limit", str(_PAGE))]
    found: dict[str, FoundSeries] = {}
    for answer in _found(query, f"/studies/{query.study_instance_uid}/series", keys):
        series = series_of(answer, query.study_instance_uid)
        if series is not None:
            found.setdefault(series.series_instance_uid, series)
    if not found:
        raise Failed(f"{query.peer} does not hold the study")
    return tuple(found.values())


def retrieve(transfer: Transfer, stop: threading.Event, tell: Tell) -> Reply:
    """Fetch every portion of a study and hand its objects to the listener.

    Raises:
        Failed: the archive will never send it as things are set up.
        Transient: not now; or it broke off half-way.
    """
    given = HandOver(transfer, stop)
    with _client(transfer) as client:
        for path in _paths(transfer):
            _fetch(client, transfer, path, given, stop, tell)
    return Reply(tally=Tally(completed=given.given), disbelieved=dict(given.refused))


def _paths(transfer: Transfer) -> Iterator[str]:
    """Addresses of the portions; every part of them is a checked UID."""
    study = f"/studies/{transfer.study_instance_uid}"
    for portion in transfer.portions or (Portion(),):
        series = f"{study}/series/{portion.series_instance_uid}" if portion.series_instance_uid else study
        if portion.sop_instance_uids:
            yield from (f"{series}/instances/{uid}" for uid in portion.sop_instance_uids)
        else:
            yield series


def _fetch(
    client: httpx.Client, transfer: Transfer, path: str, given: HandOver, stop: threading.Event, tell: Tell
) -> None:
    with _answer(client, transfer, path, {"Accept": _OBJECTS}) as answer:
        if answer.status_code == _NO_CONTENT:
            return
        parts = Parts(given, transfer.maximum_bytes)
        parser = MultipartParser(_boundary(answer, transfer), cast("Any", parts.callbacks()))
        try:
            for piece in answer.iter_raw():
                if stop.is_set():
                    raise Transient("the room ends")
                parser.write(piece)
                tell(Tally(completed=given.given))
            parser.finalize()
        except MALFORMED as error:
            raise Transient(f"{transfer.peer} sent no sound multipart body") from error
        finally:
            parts.close()
        if not parts.is_whole:
            raise Transient(f"{transfer.peer} broke off in the middle of the study")


def _boundary(answer: httpx.Response, call: Call) -> bytes:
    """The boundary of a multipart answer.

    Raises:
        Failed: it is something else.
    """
    header = Message()
    header["Content-Type"] = answer.headers.get("content-type", "")
    boundary = str(header.get_param("boundary") or "")
    if header.get_content_type() != _MULTIPART or not _BOUNDARY.fullmatch(boundary):
        raise Failed(f"{call.peer} does not answer with {_MULTIPART}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Failed(f"{call.peer} packs its answer in a way that was not asked for")
    return boundary.encode("ascii")


def _studies(call: Call, keys: StudyKeys, *, most: int) -> list[Dataset]:
    asked = [("includefield", keyword) for keyword in STUDY_KEYWORDS] + [("limit", str(most))]
    for keyword, value in (
        ("StudyInstanceUID", keys.study_instance_uid),
        ("AccessionNumber", keys.accession_number),
        ("PatientID", keys.patient_id),
        ("StudyDate", f"{keys.since}-{keys.until}" if keys.since else ""),
        ("ModalitiesInStudy", keys.modality),
    ):
        if value:
            asked.append((keyword, value))
    return _found(call, "/studies", asked)


def _found(call: Call, path: str, keys: list[tuple[str, str]]) -> list[Dataset]:
    """Ask one QIDO-RS question.

    Raises:
        Failed, Transient: there is no answer that can be read.
    """
    with _client(call) as client, _answer(client, call, path, {"Accept": _JSON}, keys) as answer:
        if answer.status_code == _NO_CONTENT:
            return []
        content = bytearray()
        for piece in answer.iter_bytes():
            content += piece
            if len(content) > _LONGEST_JSON_BYTES:
                raise Failed(f"{call.peer} answers with more than {_LONGEST_JSON_BYTES} bytes")
    try:
        items = json.loads(content)
    except MALFORMED:
        items = None
    if not isinstance(items, list):
        raise Transient(f"{call.peer} sent an answer that cannot be read")
    return [_match(item) for item in items]


def _match(item: object) -> Dataset:
    """One match; empty, and so not believed, where it cannot be read."""
    try:
        return Dataset.from_json(cast("dict[str, Any]", item))
    except MALFORMED:
        return Dataset()


@contextmanager
def _client(call: Call) -> Iterator[httpx.Client]:
    timeout = httpx.Timeout(call.answer_s, connect=call.connect_s)
    headers = {"User-Agent": f"Matins/{__version__}", "Accept-Encoding": "identity"}
    # The operating system's certificates, so that a site can add its own; no proxy from the environment.
    verify = ssl.create_default_context()
    with httpx.Client(timeout=timeout, headers=headers, verify=verify, trust_env=False) as client:
        yield client


@contextmanager
def _answer(
    client: httpx.Client, call: Call, path: str, headers: dict[str, str], keys: Any = None
) -> Iterator[httpx.Response]:
    """Hold one answer open, once its status is good.

    Raises:
        Failed: asking again would not change it.
        Transient: nobody answers, the server has a fault, or breaks off.
    """
    try:
        with client.stream("GET", call.dicomweb + path, params=keys, headers=headers) as answer:
            _check(answer.status_code, call)
            yield answer
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise Transient(f"nobody answers soundly at {call.peer}'s dicomweb ({type(error).__name__})") from error


def _check(status: int, call: Call) -> None:
    if status in _GOOD or status == _NO_CONTENT:
        return
    if status in _LOGIN:
        raise Failed(
            f"{call.peer}'s dicomweb asks for a login (HTTP {status}); let this machine in without, or unset it"
        )
    if status == _NOT_FOUND:
        raise Failed(f"{call.peer} does not hold it, or dicomweb is not its address (HTTP 404)")
    if status >= _SERVER_ERRORS or status == _TOO_MANY:
        raise Transient(f"{call.peer}'s dicomweb has a fault (HTTP {status})")
    raise Failed(f"{call.peer}'s dicomweb refuses the request (HTTP {status})")
