from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from pydicom import dcmread

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.dicomweb import contents_of_study, instances_of_study, matching_studies, retrieve
from node.retrieve.keys import StudyKeys
from node.retrieve.question import ContentsQuery, Portion, StudyQuery, Way
from node.store.inbox import Inbox
from tests.receive.objects import STUDY, mr_slice, part10
from tests.retrieve.test_dicom_query import question
from tests.retrieve.test_dicom_retrieve import transfer

MULTIPART = 'multipart/related; type="application/dicom"; boundary=xyz'


@dataclass
class Web:
    """A DICOMweb service: path → (status, content type, body)."""

    answers: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    asked: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    #: Bytes of a body after which the connection is cut.
    cut: int | None = None
    address: str = ""
    _server: ThreadingHTTPServer | None = None

    def start(self) -> Web:
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                keys = parse_qsl(parts.query)
                web.asked.append((parts.path, keys))
                status, content_type, body = web.answers.get(parts.path, (404, "text/plain", b""))
                if dict(keys).get("offset", "0") != "0":
                    status, body = 204, b""
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if web.cut is None else body[: web.cut])

            def log_message(self, *_args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/dicom-web"
        threading.Thread(target=self._server.serve_forever, args=(0.05,)).start()
        return self

    def stop(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()

    def put(self, path: str, body: bytes, *, status: int = 200, content_type: str = "application/dicom+json") -> None:
        self.answers[f"/dicom-web{path}"] = (status, content_type, body)


@pytest.fixture
def web() -> Iterator[Web]:
    running = Web().start()
    yield running
    running.stop()


def attributes(**values: object) -> dict[str, object]:
    """The DICOM JSON of one match."""
    tags = {
        "study": ("0020000D", "UI"),
        "series": ("0020000E", "UI"),
        "sop": ("00080018", "UI"),
        "accession": ("00080050", "SH"),
        "count": ("00201208", "IS"),
        "modalities": ("00080061", "CS"),
    }
    return {tags[k][0]: {"vr": tags[k][1], "Value": v if isinstance(v, list) else [v]} for k, v in values.items()}


def call(web: Web) -> dict[str, object]:
    return question(0, dicomweb=web.address, answer_s=5.0).model_dump(exclude={"study_instance_uid", "errand"})


def query(web: Web, **keys: str) -> StudyQuery:
    return StudyQuery.model_validate(call(web) | {"keys": StudyKeys(**keys), "most": 5})


def multipart(*objects: bytes, boundary: str = "xyz", end: bool = True) -> bytes:
    parts = [f"\r\n--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode() + each for each in objects]
    return b"".join(parts) + (f"\r\n--{boundary}--\r\n".encode() if end else b"")


def objects(*numbers: int, **changes: object) -> list[bytes]:
    return [part10(mr_slice(number, **changes)) for number in numbers]


def taken(web: Web, folder: Path, **changes: object) -> tuple[list[Path], dict[str, int]]:
    inbox = Inbox(folder)
    errand = transfer(0, way=Way.WEB, dicomweb=web.address, folder=str(inbox.folder_of(3)), **changes)
    reply = retrieve(errand, threading.Event(), lambda _: None)
    return [path for _, path in inbox.waiting()], reply.disbelieved


def test_studies_are_found_and_only_answers_to_what_was_asked_are_believed(web: Web) -> None:
    told = [
        attributes(study="1.2.5", accession="A1", count="7", modalities=["CT", "MR"]),
        attributes(study="1.2.6", accession="A2"),
        attributes(study="../x", accession="A1"),
        "rubbish",
        {"0020000D": {"vr": "UI"}},
    ]
    web.put("/studies", json.dumps(told).encode())
    reply = matching_studies(query(web, accession_number="A1"))
    (study,) = reply.studies
    assert (study.study_instance_uid, study.instances, study.modalities) == ("1.2.5", 7, ("CT", "MR"))
    assert reply.disbelieved == {"another accession number": 1, "no sound Study Instance UID": 3}
    ((path, keys),) = web.asked
    assert path == "/dicom-web/studies"
    assert ("AccessionNumber", "A1") in keys
    assert not any("*" in value for _, value in keys)


def test_a_key_cannot_break_out_of_its_place(web: Web) -> None:
    web.put("/studies", b"[]")
    assert matching_studies(query(web, accession_number="A&PatientID=*"[:11] + "#/")).studies == ()
    ((path, keys),) = web.asked
    assert path == "/dicom-web/studies"
    assert dict(keys)["AccessionNumber"] == "A&PatientID#/"
    assert "PatientID" not in dict(keys)


def test_a_count_and_the_contents_are_asked_for(web: Web) -> None:
    web.put("/studies", json.dumps([attributes(study=STUDY, count="2")]).encode())
    assert instances_of_study(question(0, dicomweb=web.address, study_instance_uid=STUDY)) == 2
    listed = [attributes(study=STUDY, series="1.1", sop=f"1.1.{n}") for n in range(3)]
    listed += [attributes(study="9.9", series="1.1", sop="6.6"), attributes(study=STUDY, series="1.1", sop="../x")]
    web.put(f"/studies/{STUDY}/instances", json.dumps(listed).encode())
    found = contents_of_study(ContentsQuery.model_validate(call(web) | {"study_instance_uid": STUDY}))
    assert [each.sop_instance_uid for each in found] == ["1.1.0", "1.1.1", "1.1.2"]


def test_objects_are_streamed_into_the_inbox_byte_for_byte(web: Web, tmp_path: Path) -> None:
    sent = objects(1, 2, 3)
    web.put(f"/studies/{STUDY}", multipart(*sent), content_type=MULTIPART)
    paths, left_out = taken(web, tmp_path)
    assert sorted(path.read_bytes() for path in paths) == sorted(sent)
    assert left_out == {}


def test_portions_are_fetched_by_series_and_by_instance(web: Web, tmp_path: Path) -> None:
    web.put(f"/studies/{STUDY}/series/1.1", multipart(*objects(1)), content_type=MULTIPART)
    web.put(f"/studies/{STUDY}/series/1.2/instances/1.2.7", multipart(*objects(2)), content_type=MULTIPART)
    portions = (Portion(series_instance_uid="1.1"), Portion(series_instance_uid="1.2", sop_instance_uids=("1.2.7",)))
    paths, _ = taken(web, tmp_path, portions=portions)
    assert sorted(dcmread(path).InstanceNumber for path in paths) == [1, 2]


def test_objects_of_another_study_rubbish_and_giants_are_left_out_and_counted(web: Web, tmp_path: Path) -> None:
    giant = objects(9, PatientComments="x" * 5000)
    mixed = [*objects(1), *objects(2, StudyInstanceUID="9.9"), b"rubbish", *giant]
    web.put(f"/studies/{STUDY}", multipart(*mixed), content_type=MULTIPART)
    paths, left_out = taken(web, tmp_path, maximum_bytes=len(mixed[0]) + 100)
    assert [dcmread(path).InstanceNumber for path in paths] == [1]
    assert left_out == {
        "of another study than the one asked for": 1,
        "no DICOM object that can be read": 1,
        "larger than [receive] maximum_object_bytes": 1,
    }
    assert [path.suffix for path in Inbox(tmp_path).folder_of(3).iterdir()] == [".dcm"]


def test_a_body_cut_short_gives_its_whole_parts_and_is_asked_for_again(web: Web, tmp_path: Path) -> None:
    body = multipart(*objects(1, 2))
    web.put(f"/studies/{STUDY}", body, content_type=MULTIPART)
    web.cut = len(body) - 500
    with pytest.raises(Transient):
        taken(web, tmp_path)
    whole = [dcmread(path).InstanceNumber for _, path in Inbox(tmp_path).waiting()]
    assert whole == [1]


def test_a_body_without_its_last_boundary_is_not_whole(web: Web, tmp_path: Path) -> None:
    web.put(f"/studies/{STUDY}", multipart(*objects(1), end=False), content_type=MULTIPART)
    with pytest.raises(Transient, match=r"middle of the study|no sound multipart"):
        taken(web, tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, Failed, "asks for a login"),
        (403, Failed, "asks for a login"),
        (404, Failed, "does not hold it"),
        (406, Failed, "refuses the request"),
        (302, Failed, "refuses the request"),
        (429, Transient, "429"),
        (500, Transient, "500"),
        (503, Transient, "503"),
    ],
)
def test_each_status_says_whether_to_come_again(
    web: Web, tmp_path: Path, status: int, error: type[Exception], words: str
) -> None:
    web.put(f"/studies/{STUDY}", b"", status=status, content_type=MULTIPART)
    with pytest.raises(error, match=words):
        taken(web, tmp_path)


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/dicom", "multipart/related", "multipart/mixed; boundary=x"]
)
def test_an_answer_of_another_type_is_not_taken(web: Web, tmp_path: Path, content_type: str) -> None:
    web.put(f"/studies/{STUDY}", b"<html>", content_type=content_type)
    with pytest.raises(Failed, match="does not answer with multipart"):
        taken(web, tmp_path)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a": 1}', b"7", b"[[]]", b'[{"0020000D": 7}]'])
def test_json_that_is_none_is_no_answer(web: Web, body: bytes) -> None:
    web.put("/studies", body)
    with contextlib.suppress(Transient):
        assert matching_studies(query(web, accession_number="A1")).studies == ()


def test_nobody_at_the_address_is_asked_again(tmp_path: Path) -> None:
    gone = Web().start()
    gone.stop()
    with pytest.raises(Transient, match="nobody answers soundly"):
        taken(gone, tmp_path)


def test_the_process_fetches_over_the_web_too(web: Web, tmp_path: Path) -> None:
    web.put(f"/studies/{STUDY}", multipart(*objects(1, 2)), content_type=MULTIPART)
    folder = Inbox(tmp_path).folder_of(3)
    errand = transfer(0, way=Way.WEB, dicomweb=web.address, folder=str(folder))
    assert ask(CHILD, errand, Stop(), lambda: None, start_s=60).tally.completed == 2


def test_a_disk_without_reserve_takes_nothing(web: Web, tmp_path: Path) -> None:
    web.put(f"/studies/{STUDY}", multipart(*objects(1)), content_type=MULTIPART)
    with pytest.raises(Transient, match="of the disk is free"):
        taken(web, tmp_path, minimum_free_percent=100.0)
    assert list(Inbox(tmp_path).waiting()) == []
