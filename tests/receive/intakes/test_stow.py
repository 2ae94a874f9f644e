from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless

from node.config import Settings
from node.config.security import BoundCertificate, TlsSettings
from node.errors import Misconfigured
from node.receive.intakes import stow
from node.receive.keeper import Keeper
from node.receive.stow.server import HttpPort
from node.store import events, instances
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.spool import Spool
from tests.receive.authorities import SCANNER_NAME, Hospital
from tests.receive.objects import PEER, encoded, mr_slice, part10, settings_for
from tests.receive.ports import opening
from tests.receive.stow.bodies import (
    FAILED,
    OTHER,
    PART,
    STORED,
    TOKEN,
    TYPE,
    Told,
    as_curl,
    as_java,
    as_mail,
    body,
    head,
    post,
    raw,
    sent_headers,
    told,
)
from tests.site import free_port

SECOND = "f" * 64
OTHER_PEER = {**PEER, "name": "CT", "ae_title": "CT1", "addresses": ["192.0.2.0/24"]}


def token_file(folder: Path, name: str, token: str) -> str:
    file = folder / name
    file.write_text(token + "\n")
    file.chmod(0o600)
    return str(file)


def site(tmp_path: Path, *, artim_s: float = 1.0, **stow: object) -> Settings:
    """A scanner on this machine and one elsewhere, each with a token; limits are short."""
    peers = [
        {**PEER, "stow_token_file": token_file(tmp_path, "one.token", TOKEN)},
        {**OTHER_PEER, "stow_token_file": token_file(tmp_path, "two.token", SECOND)},
    ]
    limits = {"enabled": True, "port": free_port(), **stow}
    receive = {"stow": limits, "artim_s": artim_s, "idle_s": 1.0, "maximum_object_bytes": 1 << 20}
    return settings_for(tmp_path / "var", *peers, receive=receive)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return site(tmp_path)


@pytest.fixture
def opened(keeper: Keeper) -> Iterator[Callable[[Settings], HttpPort]]:
    """Opens the port with other settings."""
    with opening(stow.start, HttpPort, keeper) as open_with:
        yield open_with


@pytest.fixture
def port(opened: Callable[[Settings], HttpPort], settings: Settings) -> int:
    return opened(settings).port


def rows(keeper: Keeper) -> list[HeldInstance]:
    assert keeper.settle()
    return instances.of_study(keeper.db, current_only=False)


def uids(keeper: Keeper) -> set[str]:
    return {each.sop_instance_uid for each in rows(keeper)}


def noted(db: Database, about: str) -> events.Event:
    """The one event about it; it is written beside the answer."""
    while not (found := events.latest(db, about)):
        time.sleep(0.01)
    [event] = found
    return event


def slices(*numbers: int, **changes: object) -> list[bytes]:
    return [part10(mr_slice(number, **changes)) for number in numbers]


# ------------------------------------------------------------------------------------------------- what is taken


def test_every_instance_of_a_request_is_stored_and_told(port: int, keeper: Keeper, db: Database, spool: Spool):
    answer = post(port, body(slices(1, 2, 3)))
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom+json")
    assert answer.of(STORED) == [("1.2.3.4.5.1",), ("1.2.3.4.5.2",), ("1.2.3.4.5.3",)]
    assert FAILED not in answer.module
    assert {(each.source, each.transfer_syntax_uid) for each in rows(keeper)} == {("SCANNER", "1.2.840.10008.1.2.1")}
    kept = sorted(spool.read(each.path) for each in rows(keeper))
    assert [each[-len(encoded(mr_slice())) :] for each in kept] == [encoded(mr_slice(number)) for number in (1, 2, 3)]
    assert b"SCANNER1" in kept[0][:1000], "the file says who sent it"


@pytest.mark.parametrize("style", [as_curl, as_java, as_mail])
def test_bodies_of_different_clients_are_understood(
    port: int, keeper: Keeper, style: Callable[[Sequence[bytes]], tuple[str, bytes]]
):
    kind, content = style([part10(mr_slice(1)), part10(mr_slice(2), ImplicitVRLittleEndian)])
    assert post(port, content, kind).status == 200
    assert uids(keeper) == {"1.2.3.4.5.1", "1.2.3.4.5.2"}


def test_a_chunked_body_is_taken_in_any_pieces(port: int, keeper: Keeper):
    whole = body(slices(*range(1, 6)))
    assert post(port, (whole[start : start + 97] for start in range(0, len(whole), 97))).status == 200
    assert len(uids(keeper)) == 5


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(port: int):
    content = body(slices(1))
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head(len(content), more="Expect: 100-continue\r\n"))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(content)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_requests_follow_each_other_on_one_connection(port: int, keeper: Keeper):
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    for number in range(1, 4):
        connection.request("POST", "/studies", body(slices(number)), sent_headers(TYPE, {}))
        assert told(connection.getresponse()).status == 200
    connection.close()
    assert len(uids(keeper)) == 3


def test_what_is_sent_again_is_stored_once(port: int, keeper: Keeper):
    assert [post(port, body(slices(1))).of(STORED) for _ in range(2)] == [[("1.2.3.4.5.1",)]] * 2
    assert len(rows(keeper)) == 1


def test_the_answer_comes_in_xml_where_that_is_asked_for(port: int):
    answer = post(port, body(slices(1)), Accept="application/dicom+xml")
    assert answer.headers["content-type"] == "application/dicom+xml"
    assert b'keyword="ReferencedSOPSequence"' in answer.content


def test_compressed_pixels_are_stored_as_they_are(port: int, keeper: Keeper):
    dataset = mr_slice()
    dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
    assert post(port, body([part10(dataset)])).status == 200
    assert [each.transfer_syntax_uid for each in rows(keeper)] == [JPEG2000Lossless]


# ------------------------------------------------------------------------------------------- what is refused, and how


def no_class() -> bytes:
    return part10(mr_slice(2, SOPClassUID="1.2.3.9"))


def foreign_syntax() -> bytes:
    return part10(mr_slice(2)).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0", 1)


def deflated() -> bytes:
    content = bytearray(part10(mr_slice(2)))
    return bytes(content.replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x001.2.840.10008.1.2.1.99", 1)).replace(
        content[140:144], (int.from_bytes(content[140:144], "little") + 2).to_bytes(4, "little"), 1
    )


@pytest.mark.parametrize(
    ("made", "reason", "sequence"),
    [
        (lambda: part10(mr_slice(2))[:-9], 0xC000, FAILED),
        (lambda: part10(mr_slice(2)).replace(b"1.2.3.4.5.2\0", b"1.2.3.4.5..2"), 0x0117, OTHER),
        (lambda: part10(mr_slice(2, StudyInstanceUID=None)), 0xC000, FAILED),
        (lambda: part10(mr_slice(2)) + bytes(2 << 20), 0xA700, FAILED),
        (no_class, 0x0122, FAILED),
        (foreign_syntax, 0xC122, FAILED),
        (lambda: b"a holiday photograph", 0xC000, OTHER),
        (lambda: b"", 0xC000, OTHER),
        (lambda: part10(mr_slice(2))[:140], 0xC000, OTHER),
        (lambda: bytes(128) + b"DICM\x02\x00\x00\x00UL\x04\x00\xff\xff\xff\xff" + bytes(99999), 0xC000, OTHER),
    ],
)
def test_one_that_is_refused_does_not_stop_the_others_and_is_told_with_its_status(
    port: int, keeper: Keeper, db: Database, made: Callable[[], bytes], reason: int, sequence: str
):
    answer = post(port, body([part10(mr_slice(1)), made(), part10(mr_slice(3))]))
    assert (answer.status, answer.of(STORED)) == (202, [("1.2.3.4.5.1",), ("1.2.3.4.5.3",)])
    assert [told[-1] for told in answer.of(sequence)] == [reason]
    if sequence == FAILED:
        assert answer.of(FAILED)[0][0] == "1.2.3.4.5.2"
    assert uids(keeper) == {"1.2.3.4.5.1", "1.2.3.4.5.3"}
    [event] = events.latest(db, "instance")
    assert event.reason.startswith(f"0x{reason:04X}: ")
    assert event.reason.endswith("(from SCANNER)")


def test_a_deflated_data_set_is_refused_as_a_transfer_syntax_or_as_content(port: int):
    answer = post(port, body([deflated()]))
    assert answer.status == 409
    assert answer.of(FAILED)[0][1] in (0xC122, 0xC000)


def test_a_request_for_one_study_takes_only_that_study(port: int, keeper: Keeper):
    content = body([*slices(1), *slices(2, StudyInstanceUID="1.2.3.99")])
    answer = post(port, content, path="/studies/1.2.3.4")
    assert (answer.status, answer.of(STORED)) == (202, [("1.2.3.4.5.1",)])
    assert answer.of(FAILED) == [("1.2.3.4.5.2", 0xA900)]
    assert post(port, content, path="/studies/1.2.3.77").status == 409
    assert uids(keeper) == {"1.2.3.4.5.1"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"kind": 'multipart/related; type="application/dicom+json"; boundary=edge'}, 415),
        ({"kind": 'multipart/related; type="application/dicom+xml"; boundary=edge'}, 415),
        ({"kind": "application/dicom"}, 415),
        ({"kind": "multipart/related; boundary=edge"}, 415),
        ({"kind": "multipart/form-data; boundary=edge"}, 415),
        ({"kind": ""}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Accept": "text/html"}, 406),
        ({"kind": 'multipart/related; type="application/dicom"'}, 400),
        ({"kind": 'multipart/related; type="application/dicom"; boundary=wrong'}, 400),
        ({"path": "/studies/1.2.x"}, 404),
        ({"path": "/studies/1.2/series"}, 404),
        ({"path": "/../../etc/passwd"}, 404),
        ({"path": "/"}, 404),
    ],
)
def test_what_is_not_a_store_transaction_is_told_what_is(
    port: int, keeper: Keeper, headers: dict[str, str], status: int
):
    answer = post(port, body(slices(1)), **headers)
    assert answer.status == status
    if status == 415:
        assert b'type="application/dicom"' in answer.content
        assert answer.headers["accept"] == 'multipart/related; type="application/dicom"'
    assert uids(keeper) == set()


def test_only_storing_is_offered(port: int):
    for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS"):
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, "/studies", headers=sent_headers("", {}))
        answer = told(connection.getresponse())
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        connection.close()


@pytest.mark.parametrize("part", [b"Content-Type: image/jpeg\r\n", b"Content-Type: multipart/related; boundary=b\r\n",
                                  b"Content-Transfer-Encoding: base64\r\n", b"Content-Encoding: gzip\r\n"])  # fmt: skip
def test_a_part_of_another_kind_is_refused_alone(port: int, part: bytes):
    content = body(slices(1), headers=part, end=False) + body(slices(2))
    answer = post(port, content)
    assert (answer.status, answer.of(STORED), answer.of(OTHER)) == (202, [("1.2.3.4.5.2",)], [(0xC000,)])


def test_an_empty_body_stores_nothing(port: int):
    assert post(port, b"").status == 400
    assert post(port, b"--edge--\r\n").status == 400


def test_little_room_is_told_before_anything_is_sent(opened: Callable[[Settings], HttpPort], settings: Settings):
    reserve = settings.data.model_copy(update={"minimum_free_percent": 99.999})
    full = opened(settings.model_copy(update={"data": reserve}))
    answer = post(full.port, body(slices(1)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")


def test_an_object_that_cannot_be_written_now_is_to_be_sent_again(
    port: int, monkeypatch: pytest.MonkeyPatch, keeper: Keeper
):
    def full(*_: object, **__: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("node.receive.keeper.Incoming.keep", full)
    answer = post(port, body(slices(1)))
    assert (answer.status, answer.headers["retry-after"]) == (503, "60")
    assert [told[-1] for told in answer.of(FAILED)] == [0xA700]


def test_a_fault_of_ours_is_never_told_as_success(port: int, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr("node.receive.keeper.Incoming.keep", broken)
    answer = post(port, body(slices(1)))
    assert answer.status == 409
    assert [told[-1] for told in answer.of(FAILED)] == [0x0110]


# ------------------------------------------------------------------------------------------------------ who may call


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": ""}, 401),
        ({"Authorization": "Bearer " + "x" * 32}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Bearer {SECOND}"}, 403),
        ({"Origin": "http://localhost"}, 403),
        ({"Host": "attacker.example"}, 421),
        ({"Host": "attacker.example:8043"}, 421),
    ],
)
def test_who_is_no_source_stores_nothing(port: int, keeper: Keeper, db: Database, headers: dict[str, str], status: int):
    answer = post(port, body(slices(1)), **headers)
    assert answer.status == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert uids(keeper) == set()
    alert = (status == 403 and "Origin" not in headers) or "x" * 32 in headers.get("Authorization", "")
    about = "security" if alert else "association"
    event = noted(db, about)
    assert (event.subject, event.after) == ("127.0.0.1", "closed")
    assert event.reason.startswith(f"HTTP {status}: ")
    assert TOKEN not in event.reason


def test_a_host_may_have_further_names(opened: Callable[[Settings], HttpPort], tmp_path: Path):
    running = opened(site(tmp_path, names=["Matins.Example.org"]))
    for host in ("matins.example.org", "matins.example.org:8043", "localhost", "127.0.0.1:1", "[::1]:1"):
        assert post(running.port, body(slices(1)), Host=host).status == 200


def test_an_address_of_nobody_is_closed_unread(
    opened: Callable[[Settings], HttpPort], settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("node.receive.stow.caller.Callers.is_listed", lambda _self, _address: False)
    with socket.create_connection(("127.0.0.1", opened(settings).port), timeout=30) as connection:
        assert connection.recv(10) == b""
    assert "closed unread" in noted(db, "association").reason


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (lambda file: file.unlink(), "cannot be read"),
        (lambda file: file.chmod(0o644), "may be read by others"),
        (lambda file: file.write_text("short"), "holds no token"),
        (lambda file: file.write_text("x" * 31 + "ü"), "holds no token"),
        (lambda file: file.write_text(SECOND), "same token"),
    ],
)
def test_a_token_that_is_none_stops_the_start(
    opened: Callable[[Settings], HttpPort], tmp_path: Path, prepare: Callable[[Path], None], problem: str
):
    settings = site(tmp_path)
    prepare(tmp_path / "one.token")
    with pytest.raises(Misconfigured, match=problem):
        opened(settings)


def test_nobody_to_call_stops_the_start(opened: Callable[[Settings], HttpPort], tmp_path: Path):
    settings = settings_for(tmp_path / "var", receive={"stow": {"enabled": True}})
    with pytest.raises(Misconfigured, match="nobody may call"):
        opened(settings)


def test_a_taken_port_stops_the_start(opened: Callable[[Settings], HttpPort], settings: Settings, port: int):
    with pytest.raises(Misconfigured, match="cannot listen on 127"):
        opened(settings)


# ------------------------------------------------------------------------------------------- faults and attacks


def good(port: int) -> None:
    """A good peer is served."""
    assert post(port, body(slices(77))).status == 200


@pytest.mark.parametrize(
    ("shut", "length"), [(True, 1_000_000), (False, 1_000_000), (False, 0)], ids=["closed", "silent", "cut"]
)
def test_what_was_stored_before_a_body_broke_off_stays_stored_and_is_told(
    port: int, keeper: Keeper, shut: bool, length: int
):
    content = body([*slices(1, 2)], end=False) + body(slices(3), end=False)[:-100]
    answer = raw(port, head(length or len(content)) + content, shut=shut)
    assert answer.startswith(b"HTTP/1.1 408 " if length and not shut else b"HTTP/1.1 400 ")
    assert b"1.2.3.4.5.1" in answer
    assert answer.count(b"1.2.3.4.5.3") == 1
    assert uids(keeper) == {"1.2.3.4.5.1", "1.2.3.4.5.2"}
    assert post(port, body(slices(1, 2, 3))).status == 200


@pytest.mark.parametrize(
    "text",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x01\x00\x00\x00\x00\xd0\x00\x01" + bytes(200),
        b"POST /studies\r\n\r\n",
        b"POST /studies HTTP/1.1\r\n\r\n",
        b"POST /studies HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000,
        b"POST /studies HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        head(10, more="Content-Length: 11\r\n"),
        head(10, more="Transfer-Encoding: gzip\r\n"),
        head(None) + b"nonsense\r\n",
        head(None) + b"ffffffffffffffffffffffff\r\n",
    ],
)
def test_what_is_no_http_is_answered_or_closed_at_once(port: int, text: bytes, db: Database):
    answer = raw(port, text)
    assert answer == b"" or answer.split()[1] in (b"400", b"431", b"501")
    good(port)


def test_mutated_requests_end_and_leave_a_port_that_serves(port: int, keeper: Keeper):
    rng = random.Random(20261121)
    sound = body(slices(1, 2))
    whole = head(len(sound)) + sound
    for _ in range(150):
        mutated = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(mutated) if rng.random() < 0.3 else 600)
            how = rng.randrange(4)
            if how == 0:
                mutated[at] = rng.randrange(256)
            elif how == 1:
                del mutated[at : at + rng.randrange(1, 40)]
            elif how == 2:
                mutated[at:at] = rng.randbytes(rng.randrange(1, 40))
            else:
                mutated[at:at] = rng.choice([b"\r\n", b"--edge", b"\r\n--edge--\r\n", b": ", b"\0", b"chunked"])
        with suppress(ConnectionError):
            raw(port, bytes(mutated), shut=True)
    good(port)
    assert "1.2.3.4.5.77" in uids(keeper)


def test_silent_connections_shut_nobody_out_and_end(opened: Callable[[Settings], HttpPort], tmp_path: Path):
    running = opened(site(tmp_path, artim_s=3.0, maximum_requests=4))
    silent = [socket.create_connection(("127.0.0.1", running.port), timeout=30) for _ in range(30)]
    for each in silent[::2]:
        each.sendall(b"POST /studies HT")
    good(running.port)
    silent[-1].setblocking(False)
    with pytest.raises(BlockingIOError):
        silent[-1].recv(1)  # the good one came in while others were still silent
    for each in silent:
        each.settimeout(30)
    ended = [each.recv(1000) for each in silent]
    assert all(text == b"" or text.startswith(b"HTTP/1.1 408 ") for text in ended)
    assert ended[-2].startswith(b"HTTP/1.1 408 ")
    for each in silent:
        each.close()


def test_a_body_that_drips_is_broken_off(port: int):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(head(10_000_000) + b"--edge\r\n" + PART + b"\r\n")
        answer: list[bytes] = []
        reader = threading.Thread(target=lambda: answer.append(connection.recv(1000)))
        reader.start()
        for _ in range(300):
            if not reader.is_alive():
                break
            connection.send(b"x")
            time.sleep(0.05)
        reader.join(10)
    assert answer[0].startswith(b"HTTP/1.1 408 ")


def test_more_requests_at_once_than_are_taken_are_told_to_come_again(
    opened: Callable[[Settings], HttpPort], tmp_path: Path
):
    running = opened(site(tmp_path, maximum_requests=1))
    content = body(slices(1))
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as first:
        first.sendall(head(len(content), more="Expect: 100-continue\r\n"))
        assert first.recv(1000).startswith(b"HTTP/1.1 100 ")
        answer = post(running.port, content)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        first.sendall(content)
        assert first.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_ten_thousand_tiny_parts_are_answered_one_by_one(port: int, db: Database):
    answer = post(port, body([b"x"] * 10_000))
    assert (answer.status, len(answer.of(OTHER))) == (409, 10_000)
    assert len(events.latest(db, "instance", 1000)) == 100


def test_more_parts_than_are_taken_are_refused_and_those_before_them_stand(
    opened: Callable[[Settings], HttpPort], tmp_path: Path, keeper: Keeper
):
    running = opened(site(tmp_path, maximum_parts=2))
    answer = post(running.port, body(slices(1, 2, 3)))
    assert (answer.status, answer.of(STORED)) == (413, [("1.2.3.4.5.1",), ("1.2.3.4.5.2",)])
    assert len(uids(keeper)) == 2


def test_a_stop_lets_a_request_finish_and_takes_nobody_new(opened: Callable[[Settings], HttpPort], settings: Settings):
    running = opened(settings)
    content = body(slices(1))
    idle = HTTPConnection("127.0.0.1", running.port, timeout=30)
    idle.connect()
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as busy:
        busy.sendall(head(len(content), more="Expect: 100-continue\r\n"))
        assert busy.recv(1000).startswith(b"HTTP/1.1 100 ")
        stopping = threading.Thread(target=running.stop, args=(20.0,))
        stopping.start()
        running._thread.join(20)
        with pytest.raises(ConnectionError):
            post(running.port, content)
        busy.sendall(content)
        assert busy.recv(1000).startswith(b"HTTP/1.1 200 ")
    stopping.join(10)
    assert not stopping.is_alive()
    assert not running.is_alive()
    idle.close()


# ------------------------------------------------------------------------------------------------------------- TLS


def over_tls(port: int, context: ssl.SSLContext) -> Told | None:
    """One request over TLS; `None` where there is no answer."""
    connection = HTTPSConnection("localhost", port, timeout=30, context=context)
    try:
        connection.request("POST", "/studies", body(slices(1)), sent_headers(TYPE, {}))
        return told(connection.getresponse())
    except OSError:
        return None
    finally:
        connection.close()


def test_with_tls_a_source_is_who_its_certificate_says(
    opened: Callable[[Settings], HttpPort], tmp_path: Path, keeper: Keeper, db: Database
):
    hospital = Hospital(tmp_path / "hospital")
    scanner, other = hospital.issue("scanner", SCANNER_NAME), hospital.issue("other", "other.example.org")
    plain = site(tmp_path)
    tls = TlsSettings.model_validate(hospital.settings())
    peers = tuple(
        peer.model_copy(update={"certificate": BoundCertificate(name=SCANNER_NAME)}) if peer.name == "SCANNER" else peer
        for peer in plain.peers
    )
    receive = plain.receive.model_copy(update={"tls": tls})
    running = opened(plain.model_copy(update={"receive": receive, "peers": peers}))
    assert running.where.startswith("https://127.0.0.1:")
    silent = socket.create_connection(("127.0.0.1", running.port), timeout=30)
    assert over_tls(running.port, hospital.client(None)) is None
    refused = over_tls(running.port, hospital.client(other))
    assert refused is not None
    assert refused.status == 403
    assert uids(keeper) == set()
    answer = over_tls(running.port, hospital.client(scanner))
    assert answer is not None
    assert answer.status == 200
    assert uids(keeper) == {"1.2.3.4.5.1"}
    with closing(silent), suppress(ConnectionError):
        assert b"HTTP" not in raw(running.port, head(10))
    reasons = [event.reason for event in events.latest(db, "security")]
    assert any("showed no certificate" in reason for reason in reasons), reasons
    assert any(f"not in the name {SCANNER_NAME}" in reason for reason in reasons), reasons
