"""A sender that keeps everything encoded in memory, so that what is measured is the receiver; a process of its own.

Reads one JSON line (`Task`) from standard input, prints one JSON line (`Sent`), and releases its associations when
standard input ends.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    P_DATA,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
)

#: Rows and columns of the objects of each workload; an association of dx goes through its sizes.
WORKLOADS: dict[str, tuple[tuple[int, int], ...]] = {
    "ct": ((512, 512),),
    "mr": ((128, 128),),
    "dx": ((3873, 3873), (4473, 4473), (5000, 5000), (5477, 5477)),
}
_CLASSES = {"ct": CTImageStorage, "mr": MRImageStorage, "dx": DigitalXRayImageStorageForPresentation}
_UID = "1.2.826.0.1.3680043.10.543.{run:010d}.{association:04d}.{number:09d}"
_RUN, _ASSOCIATION, _NUMBER = 1_000_000_000, 1000, 100_000_000


@dataclass(frozen=True)
class Task:
    """What is to be sent."""

    port: int
    called: str
    workload: str
    associations: int
    seconds: float
    #: Makes the UIDs of this run its own.
    run: int
    #: Leave Nagle's algorithm on and write the command apart, as DCMTK does.
    nagle: bool = False
    calling: str = "SCANNER"


@dataclass
class Sent:
    """What was sent and acknowledged."""

    instances: int = 0
    #: Bytes of data sets.
    octets: int = 0
    seconds: float = 0.0
    refused: int = 0
    #: Seconds from connect to A-ASSOCIATE-AC, one an association.
    set_up_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def encoded(workload: str, shape: tuple[int, int]) -> tuple[bytes, str]:
    """Return an encoded data set as equipment writes it, about 100 elements, and its SOP Instance UID."""
    uid = _UID.format(run=_RUN, association=_ASSOCIATION, number=_NUMBER)
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = _CLASSES[workload], uid
    image.StudyInstanceUID, image.SeriesInstanceUID = f"{uid[:40]}.1", f"{uid[:40]}.1.2"
    image.PatientID, image.PatientName, image.Modality = "BENCH", "Bench^Mark", workload.upper()
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    for keyword in ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate", "InstanceCreationDate"):
        setattr(image, keyword, "20260101")
    for keyword in ("StudyTime", "SeriesTime", "AcquisitionTime", "ContentTime", "InstanceCreationTime"):
        setattr(image, keyword, "120000.000000")
    for keyword in ("Manufacturer", "InstitutionName", "StudyDescription", "SeriesDescription"):
        setattr(image, keyword, "made for a benchmark")
    for item in ("ReferencedStudySequence", "ReferencedImageSequence", "RequestAttributesSequence"):
        part = Dataset()
        part.ReferencedSOPClassUID, part.ReferencedSOPInstanceUID = _CLASSES[workload], uid
        setattr(image, item, Sequence([part, part]))
    image.ImagePositionPatient, image.ImageOrientationPatient = [0, 0, 0], [1, 0, 0, 0, 1, 0]
    image.PixelSpacing, image.SliceThickness, image.InstanceNumber = [1, 1], 1, 1
    private = image.private_block(0x0029, "MATINS BENCHMARK", create=True)
    for number in range(40):
        private.add_new(number, "LO", f"value {number} of a private block")
    image.Rows, image.Columns, image.SamplesPerPixel = *shape, 1
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 12, 11, 0
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = np.random.default_rng(7).integers(0, 4096, shape, np.uint16).tobytes()
    image["PixelData"].VR = "OW"
    stream = BytesIO()
    dcmwrite(stream, image, implicit_vr=False, little_endian=True, force_encoding=True)
    return stream.getvalue(), uid


class Association:
    """One association that sends until it is told to stop."""

    def __init__(self, task: Task, number: int, objects: list[tuple[bytes, str]]) -> None:
        self._task = task
        self._number = number
        began_s = time.monotonic()
        self.socket = socket.create_connection(("127.0.0.1", task.port), timeout=60)
        if not task.nagle:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        #: Maximum Length of the receiver, at most 128 KiB.
        self.maximum = min(self._associate() or 131072, 131072)
        self.set_up_s = time.monotonic() - began_s
        self._framed = [self.frame(content, uid) for content, uid in objects]

    def run(self, until_s: float, sent: Sent) -> None:
        """Send one object after the other until `until_s`, waiting for each answer."""
        number = 0
        while time.monotonic() < until_s:
            pieces, places, size = self._framed[number % len(self._framed)]
            digits = self._digits(number)
            for piece, start in places:
                pieces[piece][start : start + len(digits)] = digits
            for piece in pieces:
                self.socket.sendall(piece)
            status = self.status()
            number += 1
            if status == 0:
                sent.instances += 1
                sent.octets += size
            else:
                sent.refused += 1

    def release(self) -> None:
        """A-RELEASE-RQ, and out."""
        self.socket.sendall(bytes.fromhex("05 00 00 00 00 04 00 00 00 00"))
        self.socket.recv(64)
        self.socket.close()

    def _associate(self) -> int:
        request = A_ASSOCIATE()
        request.application_context_name = "1.2.840.10008.3.1.1.1"
        request.calling_ae_title, request.called_ae_title = self._task.calling, self._task.called
        context = build_context(_CLASSES[self._task.workload], ExplicitVRLittleEndian)
        context.context_id = 1
        request.presentation_context_definition_list = [context]
        length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
        length.maximum_length_received = 16384
        implementation.implementation_class_uid = "1.2.826.0.1.3680043.10.543"
        request.user_information = [length, implementation]
        pdu = A_ASSOCIATE_RQ()
        pdu.from_primitive(request)
        self.socket.sendall(pdu.encode())
        kind, body = self._pdu()
        if kind != 0x02:
            raise ConnectionError(f"no association: PDU type {kind}, {body.hex(' ')}")
        accepted = A_ASSOCIATE_AC()
        accepted.decode(bytes([kind, 0]) + len(body).to_bytes(4, "big") + body)
        return next(
            int(item.maximum_length_received) for item in accepted.user_information.user_data if item.item_type == 0x51
        )

    def frame(
        self, content: bytes, uid: str, *, last: bool = True
    ) -> tuple[list[bytearray], list[tuple[int, int]], int]:
        """Cut one object into PDUs: the first piece is the command and first PDU, or the command alone under Nagle.

        Returned are the pieces, where the UID stands in them (piece, offset), and the size of the data set. Without
        `last` more of the object follows.
        """
        store = C_STORE()
        store.MessageID, store.Priority = 1, 2
        store.AffectedSOPClassUID, store.AffectedSOPInstanceUID = _CLASSES[self._task.workload], uid
        store.DataSet = BytesIO(b"\0\0")
        message = C_STORE_RQ()
        message.primitive_to_message(store)
        fragment: P_DATA = next(iter(message.encode_msg(1, self.maximum)))
        command = fragment.presentation_data_value_list[0][1][1:]
        room = self.maximum - 6
        pdus = [_p_data(command, 0x03)]
        for start in range(0, len(content), room):
            control = 0x02 if last and start + room >= len(content) else 0x00
            pdus.append(_p_data(content[start : start + room], control))
        pieces = (
            [pdus[0], pdus[1], bytearray().join(pdus[2:])]
            if self._task.nagle
            else [pdus[0] + pdus[1], bytearray().join(pdus[2:])]
        )
        pieces = [piece for piece in pieces if piece]
        mark = uid.encode()
        places = [(index, at) for index, piece in enumerate(pieces[:2]) for at in _all(piece, mark, 65536)]
        return pieces, places, len(content)

    def _digits(self, number: int) -> bytes:
        return _UID.format(
            run=_RUN + self._task.run, association=_ASSOCIATION + self._number, number=_NUMBER + number
        ).encode()

    def status(self) -> int:
        """Read one answer and return its status."""
        kind, body = self._pdu()
        if kind != 0x04:
            raise ConnectionError(f"PDU type {kind} instead of an answer: {body[:32].hex(' ')}")
        at = body.index(bytes.fromhex("00 00 00 09 02 00 00 00"))
        return int.from_bytes(body[at + 8 : at + 10], "little")

    def _pdu(self) -> tuple[int, bytes]:
        head = self._exactly(6)
        return head[0], self._exactly(int.from_bytes(head[2:6], "big"))

    def _exactly(self, count: int) -> bytes:
        if not self._task.nagle:
            # Receivers that write their answer in two pieces would wait 40 ms for our delayed acknowledgement.
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        got = self.socket.recv(count)
        while len(got) < count:
            more = self.socket.recv(count - len(got))
            if not more:
                raise ConnectionError("the receiver closed")
            got += more
        return got


def send(task: Task) -> tuple[Sent, list[Association]]:
    """Send over all associations at once for as long as the task says, and leave them open.

    What serves an association may be a process of its own, whose cost nobody can ask for once it has ended.
    """
    objects = [encoded(task.workload, shape) for shape in WORKLOADS[task.workload]]
    sent = [Sent() for _ in range(task.associations)]
    associations = [Association(task, number, objects) for number in range(task.associations)]
    began_s = time.monotonic()
    ended = [began_s] * len(associations)

    def work(number: int) -> None:
        try:
            associations[number].run(began_s + task.seconds, sent[number])
            ended[number] = time.monotonic()
        except (OSError, ValueError) as error:
            sent[number].problems.append(f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(associations))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Sent(
        instances=sum(each.instances for each in sent),
        octets=sum(each.octets for each in sent),
        seconds=max(ended) - began_s,
        refused=sum(each.refused for each in sent),
        set_up_s=[each.set_up_s for each in associations],
        problems=[problem for each in sent for problem in each.problems],
    )
    return whole, associations


def _p_data(fragment: bytes, control: int) -> bytearray:
    """A P-DATA-TF PDU with one fragment (PS3.8 §9.3.5, Annex E)."""
    length = len(fragment) + 2
    return bytearray(
        b"\x04\x00" + (length + 4).to_bytes(4, "big") + length.to_bytes(4, "big") + bytes([1, control]) + fragment
    )


def _all(piece: bytearray, mark: bytes, within: int) -> list[int]:
    found, at = [], piece.find(mark, 0, within)
    while at >= 0:
        found.append(at)
        at = piece.find(mark, at + 1, within)
    return found


if __name__ == "__main__":
    told, opened = send(Task(**json.loads(sys.stdin.readline())))
    print(json.dumps(asdict(told)), flush=True)
    # Whoever wants to measure before the associations are over holds our standard input open so long.
    sys.stdin.read()
    if not told.problems:
        for each in opened:
            each.release()
