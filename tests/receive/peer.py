"""A peer that calls: pynetdicom's SCU for good manners, a bare socket for bad ones."""

from __future__ import annotations

import io
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from tests.associations import associated
from tests.receive.objects import encoded

VERIFICATION = "1.2.840.10008.1.1"


@contextmanager
def calling(
    port: int,
    *,
    title: str = "SCANNER1",
    called: str = "MATINS",
    syntaxes: tuple[str, ...] = (ExplicitVRLittleEndian,),
    classes: tuple[str, ...] = (MRImageStorage, VERIFICATION),
    tls_args: tuple[ssl.SSLContext, str] | None = None,
) -> Iterator[Association]:
    """An association, accepted or not."""
    entity = AE(title)
    for sop_class in classes:
        for syntax in syntaxes:
            entity.add_requested_context(sop_class, syntax)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
    handlers = [(evt.EVT_CONN_OPEN, no_delay)]
    with associated(entity, port, ae_title=called, evt_handlers=handlers, tls_args=tls_args) as association:
        yield association


def no_delay(event: evt.Event) -> None:
    client = event.assoc.dul.socket.socket
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def store(
    association: Association,
    content: bytes,
    *,
    sop_class: str = MRImageStorage,
    sop_instance: str = "1.2.3.4.5.1",
    syntax: str = ExplicitVRLittleEndian,
    context_of: str = "",
) -> Dataset:
    """Send encoded bytes under a command of one's choice; return the answer."""
    [context_id] = [
        context.context_id
        for context in association.accepted_contexts
        if context.abstract_syntax == (context_of or sop_class) and context.transfer_syntax[0] == syntax
    ]
    request = C_STORE()
    request.MessageID = 7
    request.AffectedSOPClassUID = UID(sop_class)
    request._affected_sop_instance_uid = UID(sop_instance)
    request.Priority = 2
    request.DataSet = io.BytesIO(content)
    association._reactor_checkpoint.clear()
    try:
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
    finally:
        association._reactor_checkpoint.set()
    assert isinstance(answer, C_STORE), "no answer"
    result = Dataset()
    result.Status, result.ErrorComment = answer.Status, answer.ErrorComment or ""
    return result


def store_dataset(association: Association, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> int:
    """Send a sound object; return the status."""
    answer = store(
        association,
        encoded(dataset, syntax),
        sop_class=dataset.SOPClassUID,
        sop_instance=dataset.SOPInstanceUID,
        syntax=syntax,
    )
    return int(answer.Status)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def association_request(title: str = "SCANNER1", *, application_context: str = "1.2.840.10008.3.1.1.1") -> bytes:
    """An A-ASSOCIATE-RQ PDU for MR images and C-ECHO."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = application_context
    primitive.calling_ae_title, primitive.called_ae_title = title, "MATINS"
    contexts = [build_context(MRImageStorage, ExplicitVRLittleEndian), build_context(VERIFICATION)]
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


def p_data(context_id: int, control: int, fragment: bytes) -> bytes:
    """A P-DATA-TF PDU with one fragment (PS3.8 §9.3.5)."""
    value = struct.pack(">IBB", len(fragment) + 2, context_id, control) + fragment
    return struct.pack(">BxI", 4, len(value)) + value


def command_element(number: int, value: bytes) -> bytes:
    """An element of group 0000, padded."""
    value += b"\0" * (len(value) % 2)
    return struct.pack("<HHI", 0, number, len(value)) + value


def command_set(field: int, elements: list[tuple[int, bytes]], *, data_set: bool, message_id: int = 5) -> bytes:
    """A request's command set with Command Field, Message ID and Data Set Type (PS3.7 Annex E)."""
    every = [
        *((0x0100, struct.pack("<H", field)), (0x0110, struct.pack("<H", message_id))),
        (0x0800, struct.pack("<H", 1 if data_set else 0x0101)),
        *elements,
    ]
    body = b"".join(command_element(number, value) for number, value in sorted(every))
    return command_element(0x0000, struct.pack("<I", len(body))) + body


def store_command(
    data_set: bool = True,
    *,
    sop_class: str = MRImageStorage,
    sop_instance: str = "1.2.3.4.5.1",
    more: Sequence[tuple[int, bytes]] = (),
) -> bytes:
    """A C-STORE-RQ command set for an MR image (PS3.7 §9.3.1)."""
    elements = [(0x0002, sop_class.encode()), (0x0700, struct.pack("<H", 2)), (0x1000, sop_instance.encode()), *more]
    return command_set(0x0001, elements, data_set=data_set)


def echo_command() -> bytes:
    """A C-ECHO-RQ command set (PS3.7 §9.3.5)."""
    return command_set(0x0030, [(0x0002, VERIFICATION.encode())], data_set=False)


def answer_in(content: bytes) -> dict[int, bytes]:
    """Element number -> value of the command set in a P-DATA-TF with one PDV."""
    elements, content = {}, content[6:]
    while content:
        _, number, length = struct.unpack_from("<HHI", content)
        elements[number], content = content[8 : 8 + length], content[8 + length :]
    return elements


class Bare:
    """An association over a bare socket: MR images on context 1, C-ECHO on context 3."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        #: The elements of the last answer.
        self.last: dict[int, bytes] = {}

    def begin_store(self, data_set: bool = True, *, context_id: int = 1, **changes: Any) -> None:
        self.socket.sendall(p_data(context_id, 3, store_command(data_set, **changes)))

    def data(self, piece: bytes, *, last: bool, context_id: int = 1) -> None:
        self.socket.sendall(p_data(context_id, 2 if last else 0, piece))

    def store(
        self, content: bytes, *, fragment_bytes: int = 100000, context_id: int = 1, **changes: Any
    ) -> tuple[int, str]:
        """Send an object; return status and comment."""
        self.begin_store(context_id=context_id, **changes)
        for start in range(0, len(content), fragment_bytes):
            last = start + fragment_bytes >= len(content)
            self.data(content[start : start + fragment_bytes], last=last, context_id=context_id)
        return self.answer()

    def ask(self, command: bytes, *, context_id: int = 1) -> tuple[int, str]:
        """Send a request without a data set; return status and comment."""
        self.socket.sendall(p_data(context_id, 3, command))
        return self.answer()

    def echo(self) -> int:
        return self.ask(echo_command(), context_id=3)[0]

    def answer(self) -> tuple[int, str]:
        kind, content = self.pdu()
        assert kind == 4, f"PDU type {kind}: {content.hex(' ')}"
        self.last = answer_in(content)
        [status] = struct.unpack("<H", self.last[0x0900])
        return status, self.last.get(0x0902, b"").decode().rstrip()

    def pdu(self) -> tuple[int, bytes]:
        return pdu_from(self.socket)

    def release(self) -> None:
        """A-RELEASE, until the connection is closed."""
        self.socket.sendall(bytes.fromhex("05 00 00 00 00 04 00 00 00 00"))
        assert [self.pdu()[0], self.pdu()[0]] == [6, 0]

    def close(self) -> None:
        self.socket.close()


def bare(port: int, request: bytes = b"") -> Bare:
    """Associate."""
    connection = connect(port)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(request or association_request())
    kind, content = pdu_from(connection)
    assert kind == 2, f"PDU type {kind}: {content.hex(' ')}"
    return Bare(connection)


def pdu_from(connection: socket.socket) -> tuple[int, bytes]:
    """The next PDU: type and content; type 0 when the connection was closed."""
    header = _exactly(connection, 6)
    if len(header) < 6:
        return 0, b""
    return header[0], _exactly(connection, struct.unpack(">I", header[2:])[0])


def _exactly(connection: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        try:
            more = connection.recv(count - len(got))
        except ConnectionResetError:
            return got
        if not more:
            return got
        got += more
    return got
