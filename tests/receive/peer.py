"""A peer that calls: pynetdicom's SCU for good manners, a bare socket for bad ones."""

from __future__ import annotations

import io
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

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
    association = entity.associate(
        "127.0.0.1", port, ae_title=called, evt_handlers=[(evt.EVT_CONN_OPEN, no_delay)], tls_args=tls_args
    )
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


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
    while not association._is_paused:
        pass
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


def store_command(data_set: bool = True) -> bytes:
    """A C-STORE-RQ command set for an MR image (PS3.7 §9.3.1)."""

    def element(number: int, value: bytes) -> bytes:
        value += b"\0" * (len(value) % 2)
        return struct.pack("<HHI", 0, number, len(value)) + value

    body = (
        element(0x0002, MRImageStorage.encode())
        + element(0x0100, struct.pack("<H", 0x0001))
        + element(0x0110, struct.pack("<H", 5))
        + element(0x0700, struct.pack("<H", 2))
        + element(0x0800, struct.pack("<H", 1 if data_set else 0x0101))
        + element(0x1000, b"1.2.3.4.5.1")
    )
    return element(0x0000, struct.pack("<I", len(body))) + body


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
