from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from node.config import DeliverSettings, Route
from node.deliver.carriage import Lost, Unreachable
from node.deliver.routes import Heard, Reply, hl7
from tests.deliver.ris import Ris, listening
from tests.deliver.routes.letters import AT, letter
from tests.receive.authorities import Hospital


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path / "certificates")


@pytest.fixture
def ris(hospital: Hospital) -> Iterator[Ris]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(hospital.own.certificate, hospital.own.key)
    context.load_verify_locations(hospital.authorities_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with listening(Ris(tls=context)) as found:
        yield found


def send(port: int, **keys: object) -> Reply:
    place = {"name": "R", "kind": "hl7", "host": "localhost", "port": port, "interface": "worklist", "answer_s": 20.0}
    route = Route.model_validate({**place, "tls": "tls", **{key: str(value) for key, value in keys.items()}})
    with hl7.opened(route, DeliverSettings(connect_s=20)) as receiver:
        return receiver.send(hl7.message(route, letter(route)), letter(route).control_id, AT)


def test_both_sides_show_a_certificate(ris: Ris, hospital: Hospital) -> None:
    ours = hospital.issue("sender", "sender.example.org")
    reply = send(
        ris.port, authorities_file=hospital.authorities_file, certificate_file=ours.certificate, key_file=ours.key
    )
    assert (reply.heard, len(ris.kept)) == (Heard.ACKNOWLEDGED, 1)


def test_a_receiver_of_another_authority_is_told_nothing(ris: Ris, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(other)
    with pytest.raises(Unreachable, match="not believed") as refused:
        send(ris.port, authorities_file=other)
    assert refused.value.by_configuration
    assert ris.received == []


def test_a_receiver_that_asks_for_a_certificate_and_gets_none_keeps_nothing(ris: Ris, hospital: Hospital) -> None:
    with pytest.raises((Lost, Unreachable)):
        send(ris.port, authorities_file=hospital.authorities_file)
    assert ris.received == []
