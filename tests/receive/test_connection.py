from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import build_role
from pynetdicom.dimse_primitives import C_FIND, N_ACTION

from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store import instances
from node.store.database import Database
from tests.associations import associated
from tests.receive.objects import encoded, mr_slice, settings_for
from tests.receive.peer import (
    association_request,
    calling,
    connect,
    p_data,
    pdu_from,
    store,
    store_command,
    store_dataset,
)

ABORT, ACCEPT, REJECT = 7, 2, 3


@pytest.fixture
def strict(tmp_path: Path, keeper: Keeper) -> Iterator[cstore.Acceptor]:
    """A door with narrow limits and little patience."""
    limits = {
        "artim_s": 0.5,
        "idle_s": 0.5,
        "maximum_associations": 4,
        "maximum_pdu_bytes": 4096,
        "maximum_object_bytes": 1 << 20,
    }
    running = cstore.start(settings_for(tmp_path / "var", receive=limits), keeper)
    yield running
    running.stop(0.0)


def established(port: int) -> socket.socket:
    connection = connect(port)
    connection.sendall(association_request())
    assert pdu_from(connection)[0] == ACCEPT
    return connection


def test_a_pdu_longer_than_agreed_is_aborted_before_it_is_read(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        peer.sendall(struct.pack(">BxI", 4, 0xFFFFFFFF))
        assert pdu_from(peer) == (ABORT, bytes([0, 0, 2, 6]))
        assert pdu_from(peer)[0] == 0


def test_a_request_of_gigabytes_is_closed(strict: cstore.Acceptor):
    with closing(connect(strict.port)) as peer:
        peer.sendall(struct.pack(">BxI", 1, 0xFFFFFFFF))
        assert pdu_from(peer)[0] in (ABORT, 0)


@pytest.mark.parametrize(
    "sent", [b"", b"\x01\x00", struct.pack(">BxI", 1, 200), struct.pack(">BxI", 1, 200) + b"x" * 50]
)
def test_who_never_finishes_the_request_is_closed(strict: cstore.Acceptor, sent: bytes):
    with closing(connect(strict.port)) as peer:
        peer.sendall(sent)
        assert pdu_from(peer)[0] in (ABORT, 0)


def test_who_stops_inside_a_pdu_is_closed(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        peer.sendall(p_data(1, 3, b"x" * 100)[:50])
        assert pdu_from(peer)[0] in (ABORT, 0)


def test_who_says_nothing_after_the_association_is_aborted(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        assert pdu_from(peer)[0] in (ABORT, 0)


@pytest.mark.parametrize(
    "junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", bytes(100), b"\x04\0\0\0\0\0"]
)
def test_what_is_no_dicom_is_ended(strict: cstore.Acceptor, junk: bytes):
    with closing(connect(strict.port)) as peer:
        peer.sendall(junk)
        assert pdu_from(peer)[0] in (ABORT, 0)


def test_a_wrong_application_context_is_rejected(strict: cstore.Acceptor):
    with closing(connect(strict.port)) as peer:
        peer.sendall(association_request(application_context="1.2.3"))
        assert pdu_from(peer) == (REJECT, bytes([0, 1, 1, 2]))


def test_an_object_over_the_limit_is_refused_and_aborted(strict: cstore.Acceptor, keeper: Keeper, db: Database):
    with closing(established(strict.port)) as peer:
        peer.sendall(p_data(1, 3, store_command()))
        for _ in range(300):
            try:
                peer.sendall(p_data(1, 0, bytes(4000)))
            except OSError:
                break
        answers = [pdu_from(peer), pdu_from(peer)]
    assert [kind for kind, _ in answers] == [4, ABORT]
    assert struct.pack("<HHIH", 0, 0x0900, 2, 0xA700) in answers[0][1]
    assert keeper.settle()
    assert instances.of_study(db) == []


def test_a_command_without_an_end_is_aborted(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        for _ in range(40):
            try:
                peer.sendall(p_data(1, 1, bytes(4000)))
            except OSError:
                break
        assert pdu_from(peer)[0] in (ABORT, 0)


def test_a_store_without_a_data_set_is_answered(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        peer.sendall(p_data(1, 3, store_command(data_set=False)))
        kind, content = pdu_from(peer)
    assert kind == 4
    assert struct.pack("<HHIH", 0, 0x0900, 2, 0xC000) in content


def test_a_store_on_the_echo_context_is_answered(strict: cstore.Acceptor):
    with closing(established(strict.port)) as peer:
        peer.sendall(p_data(3, 3, store_command()) + p_data(3, 2, encoded(mr_slice())))
        kind, content = pdu_from(peer)
    assert kind == 4
    assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0122) in content


def test_a_good_peer_comes_in_while_silent_ones_hold_every_place(strict: cstore.Acceptor):
    with ExitStack() as silent:
        for number in range(12):
            connection = silent.enter_context(closing(connect(strict.port)))
            connection.sendall(b"\x01\x00"[: number % 3])
        with calling(strict.port) as good:
            assert good.is_established
            assert good.send_c_echo().Status == 0x0000


def test_places_of_aborted_associations_are_free_again(strict: cstore.Acceptor):
    for _ in range(12):
        with closing(established(strict.port)):
            pass
    with calling(strict.port) as good:
        assert store_dataset(good, mr_slice()) == 0x0000


@pytest.mark.parametrize("operation", ["find", "action"])
def test_an_operation_that_nobody_offered_is_answered_and_the_association_goes_on(
    door: cstore.Acceptor, operation: str
):
    with calling(door.port) as association:
        context_id = association.accepted_contexts[0].context_id
        request = C_FIND() if operation == "find" else N_ACTION()
        request.MessageID = 3
        if isinstance(request, C_FIND):
            request.AffectedSOPClassUID, request.Priority = MRImageStorage, 2
        else:
            request.RequestedSOPClassUID = MRImageStorage
            request.RequestedSOPInstanceUID, request.ActionTypeID = "1.2", 1
        association._reactor_checkpoint.clear()
        association.dimse.send_msg(request, context_id)
        _, answer = association.dimse.get_msg(block=True)
        association._reactor_checkpoint.set()
        assert answer.Status == 0x0211
        assert store(association, encoded(mr_slice())).Status == 0x0000


def test_a_role_that_is_offered_does_not_disturb(door: cstore.Acceptor):
    from pynetdicom import AE

    entity = AE("SCANNER1")
    entity.add_requested_context(MRImageStorage)
    role = build_role(MRImageStorage, scu_role=True, scp_role=True)
    with associated(entity, door.port, ae_title="MATINS", ext_neg=[role]) as association:
        assert association.is_established
