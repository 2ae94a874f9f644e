"""No patient leaves the objects and the columns made for patients, and no control character of a peer is kept raw."""

from __future__ import annotations

import re
import signal
import socket
import struct
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pydicom.config
import pytest
from pydicom.dataset import Dataset

from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import (
    association_request,
    calling,
    connect,
    p_data,
    pdu_from,
    store,
    store_command,
)
from tests.receive.test_listener import Room, described, wait_for

PATIENTS = 100
#: What turns up in a log when a peer's text gets there raw.
CONTROLS = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f]")
FORGED = "\r\nlevel=info event=forged\x1b[2J"


class Canary:
    """One patient whose every value is found by one word."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.words = [f"Tweety{number:03}", f"ZQ{number:03}ID", f"17{number:02}0230"[:8], f"ACC{number:03}QZ"]

    def object(self, **changes: object) -> Dataset:
        name, patient_id, birth, accession = self.words
        # Every third one tries to forge a line too.
        forged = FORGED if self.number % 3 == 0 else ""
        values = {
            "SOPInstanceUID": f"1.2.3.4.{self.number}.1",
            "StudyInstanceUID": f"1.2.3.4.{self.number}",
            "SeriesInstanceUID": f"1.2.3.4.{self.number}.5",
            "PatientName": f"{name}^{name}{forged}",
            "PatientID": patient_id + forged,
            "PatientBirthDate": birth,
            "AccessionNumber": accession + forged,
            "StudyDescription": f"of {name}",
            "PatientComments": f"{name} {patient_id}",
        }
        return mr_slice(self.number, **{**values, **changes})


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


def sent_and_kept(port: int, canaries: list[Canary]) -> None:
    with calling(port) as association:
        for canary in canaries:
            answer = store(association, encoded(canary.object()), sop_instance=f"1.2.3.4.{canary.number}.1")
            assert answer.Status == 0x0000


def sent_and_refused(port: int, canaries: list[Canary]) -> None:
    """Cut short, for another UID, without a study, under a UID that is none, of a mixed-up study: each has a reason."""
    with calling(port) as association:
        for canary in canaries:
            content, command = encoded(canary.object()), {"sop_instance": f"1.2.3.4.{canary.number}.1"}
            match canary.number % 5:
                case 0:
                    content = content[: -1 - canary.number]
                case 1:
                    command = {"sop_instance": "1.2.99"}
                case 2:
                    content = encoded(canary.object(StudyInstanceUID=canary.words[0]))
                case 3:
                    command = {"sop_instance": canary.words[0] + FORGED}
                case _:
                    content = b"\x08\x00\x18\x00PN" + struct.pack("<H", 60000) + canary.words[0].encode()
            answer = store(association, content, **command)
            assert answer.Status != 0x0000
            assert not any(word in answer.ErrorComment for word in canary.words)


def sent_and_aborted(port: int, canaries: list[Canary]) -> None:
    for canary in canaries:
        with closing(connect(port)) as peer:
            peer.sendall(association_request())
            assert pdu_from(peer)[0] == 2
            content = encoded(canary.object())
            peer.sendall(p_data(1, 3, store_command()) + p_data(1, 0, content[: len(content) // 2]))
            if canary.number % 2:
                peer.sendall(b"\x04\x00" + canary.words[0].encode())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", canary.number % 2, 0))


def refused_at_the_door(port: int, canaries: list[Canary]) -> None:
    """Patients and forged lines where nobody expects them: titles, context names, versions, and before any PDU."""
    request = association_request("TITLETITLETITLE1")
    for canary in canaries:
        title = f"{canary.words[0][:3]}\r\n\x1b[31mX".ljust(16)[:16].encode()
        junk = f"{canary.words[1]}{FORGED}".encode()
        for sent in (
            request.replace(b"TITLETITLETITLE1", title),
            association_request(application_context="1.2.3").replace(b"1.2.3", b"\r\n\x1b[m"),
            association_request().replace(b"1.2.840.10008.1.1", f"\r\n{canary.words[0]}\x1b".ljust(17)[:17].encode()),
            junk,
            struct.pack(">BxI", 1, len(junk)) + junk,
        ):
            with closing(connect(port)) as peer, suppress(OSError):
                peer.sendall(sent)
                peer.shutdown(socket.SHUT_WR)
                while peer.recv(4096):
                    pass


def written_down(room: Room) -> list[tuple[object, ...]]:
    """Every event, and every reason anywhere."""
    db = room.database()
    try:
        rows = [tuple(row) for row in db.rows("SELECT about, subject, before, after, reason FROM event")]
        for table in ("instance", "study", "work_item"):
            rows += [tuple(row) for row in db.rows(f"SELECT '{table}', '', '', '', reason FROM {table}")]
    finally:
        db.close()
    return rows


def test_a_hundred_patients_leave_no_trace_in_logs_events_and_file_names(room: Room, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    canaries = [Canary(number) for number in range(1, PATIENTS + 1)]
    room.start()
    sent_and_kept(room.port, canaries[:40])
    sent_and_refused(room.port, canaries[40:70])
    sent_and_aborted(room.port, canaries[70:90])
    refused_at_the_door(room.port, canaries[90:])
    wait_for(lambda: len(described(room)) == 40)
    names = {path.name for path in (*room.folder.rglob("*"), *Path(tempfile.gettempdir()).iterdir())}
    assert room.end() == 0
    names |= {path.name for path in room.folder.rglob("*")}
    told = written_down(room)
    assert len([1 for about, *_, after, _ in told if about == "instance" and after == "refused"]) == 30
    assert len([1 for about, *_, after, _ in told if about == "association" and after in ("rejected", "closed")]) >= 10
    files = [path for path in (room.folder / "var").rglob("*") if path.is_file()]
    assert any(canaries[0].words[0].encode() in path.read_bytes() for path in files), "they were never here"
    kept = {
        "log": (room.folder / "log").read_text(),
        "written down": "\n".join("\t".join(map(str, row)) for row in told),
        "file names": "\n".join(sorted(names)),
    }
    found = [(place, word) for place in kept for each in canaries for word in each.words if word in kept[place]]
    assert found == []
    assert [(place, line) for place, text in kept.items() for line in text.split("\n") if CONTROLS.search(line)] == []
    assert [line for line in kept["log"].splitlines() if not line.startswith("{")] == []
