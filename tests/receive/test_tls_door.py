"""The certificate matrix through the whole door: each hostile caller is closed with a reason, and a good one served."""

from __future__ import annotations

import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest
import trustme
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.config import Settings
from node.domain.time import SystemClock
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.receive.user_identity import hashed
from node.store import events, instances
from node.store.database import Database
from node.store.events import Event
from node.store.spool import Spool
from tests import associations
from tests.receive.authorities import DAY, SCANNER_NAME, Hospital, Shown, now
from tests.receive.objects import PEER, encoded, mr_slice, settings_for
from tests.receive.peer import VERIFICATION, association_request, calling, pdu_from, store
from tests.site import free_port

BOUND = {**PEER, "certificate": {"name": SCANNER_NAME}}
UNBOUND = {**PEER, "name": "OLD", "ae_title": "OLD"}
ACCEPT = 2


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    made.revoke(made.issue("lost", SCANNER_NAME))
    return made


@pytest.fixture(scope="module")
def scanner(hospital: Hospital) -> Shown:
    return hospital.issue("scanner", SCANNER_NAME)


@contextmanager
def opened(settings: Settings, db: Database) -> Iterator[Settings]:
    with closing(Keeper(db, Spool(settings.data.folder), SystemClock())) as keeper:
        running = cstore.start(settings, keeper)
        try:
            yield settings
        finally:
            running.stop(0.0)


def site(hospital: Hospital, folder: Path, *peers: dict[str, object], **changes: object) -> Settings:
    tls = hospital.settings(revocation_file=str(hospital.revocation_file), **changes)
    return settings_for(
        folder / "var",
        *(peers or (BOUND, UNBOUND)),
        node={"tls_port": free_port()},
        receive={"artim_s": 1.5, "tls": tls},
    )


@pytest.fixture
def door(hospital: Hospital, tmp_path: Path, db: Database) -> Iterator[Settings]:
    """A door that speaks TLS alone."""
    with opened(site(hospital, tmp_path), db) as settings:
        yield settings


@contextmanager
def associated(
    settings: Settings, client: ssl.SSLContext | None, *, title: str = "SCANNER1", user: tuple[str, str] | None = None
) -> Iterator[Association]:
    """An association of pynetdicom's, over TLS or plain, accepted or not."""
    entity = AE(title)
    entity.add_requested_context(VERIFICATION)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 10
    items = []
    if user is not None:
        item = UserIdentityNegotiation()
        item.user_identity_type, item.positive_response_requested = 2, True
        item.primary_field, item.secondary_field = (text.encode() for text in user)
        items.append(item)
    port = settings.node.port if client is None else settings.node.tls_port
    tls_args = None if client is None else (client, "localhost")
    with associations.associated(entity, port, ae_title="MATINS", tls_args=tls_args, ext_neg=items) as association:
        yield association


def is_answered(settings: Settings, client: ssl.SSLContext) -> bool:
    """Whether a good peer's C-ECHO is answered."""
    with associated(settings, client) as association:
        return bool(association.is_established) and association.send_c_echo().Status == 0x0000


def comes_in(settings: Settings, client: ssl.SSLContext) -> bool:
    """Whether an association is accepted."""
    try:
        with client.wrap_socket(plain(settings), server_hostname="localhost") as caller:
            caller.sendall(association_request())
            return pdu_from(caller)[0] == ACCEPT
    except OSError:
        return False


def reasons(db: Database, about: str) -> list[Event]:
    return events.latest(db, about, 20)


def until(found: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + 20
    while not found():
        assert time.monotonic() < deadline_s, f"waited in vain for {what}"
        time.sleep(0.02)


def is_closed(caller: socket.socket) -> bool:
    """Whether the door ends the connection by itself."""
    caller.settimeout(20)
    with suppress(ConnectionResetError, BrokenPipeError, ssl.SSLError):
        while caller.recv(4096):
            pass
    return True


def test_a_good_peer_comes_in_without_an_alert(door: Settings, hospital: Hospital, scanner: Shown, db: Database):
    assert is_answered(door, hospital.client(scanner))
    assert comes_in(door, hospital.client(scanner))
    assert reasons(db, "security") == []


def plain(settings: Settings) -> socket.socket:
    return socket.create_connection(("127.0.0.1", settings.node.tls_port), timeout=20)


def showing(client: ssl.SSLContext) -> Callable[[Settings], socket.socket]:
    """An attacker who shakes hands as this client."""

    def come(settings: Settings) -> socket.socket:
        caller = client.wrap_socket(plain(settings), server_hostname="localhost", do_handshake_on_connect=False)
        with suppress(OSError):
            caller.do_handshake()
        return caller

    return come


def saying(first: bytes, *, close: bool = False) -> Callable[[Settings], socket.socket]:
    """An attacker who sends these bytes and then nothing."""

    def come(settings: Settings) -> socket.socket:
        connection = plain(settings)
        connection.sendall(first)
        if close:
            connection.shutdown(socket.SHUT_WR)
        return connection

    return come


def dripping(settings: Settings) -> socket.socket:
    connection = plain(settings)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)

    def drip() -> None:
        with suppress(OSError):
            for at in range(len(hello)):
                connection.sendall(hello[at : at + 1])
                time.sleep(0.02)

    threading.Thread(target=drip, daemon=True).start()
    return connection


def of_version(hospital: Hospital, version: ssl.TLSVersion, ciphers: str = "ALL") -> ssl.SSLContext:
    client = hospital.client(hospital.issue(f"any-{version.name}-{ciphers}", SCANNER_NAME))
    client.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    if version < ssl.TLSVersion.TLSv1_2:
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            client.minimum_version = version
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            client.maximum_version = version
    else:
        client.maximum_version = version
    return client


Attack = Callable[[Settings], socket.socket]


def attacks(hospital: Hospital) -> dict[str, tuple[Attack, str, str]]:
    """Name -> who comes, what the event is about, and what its reason has."""
    stranger = trustme.CA(organization_name="Stranger")
    revoked = Shown(hospital.folder / "lost.pem", hospital.folder / "lost.key", 0, "")

    def issued(label: str, **how: object) -> Attack:
        return showing(hospital.client(hospital.issue(label, SCANNER_NAME, **how)))  # type: ignore[arg-type]

    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)
    return {
        "no certificate": (showing(hospital.client(None)), "security", "it showed no certificate"),
        "another authority": (issued("other", authority=stranger), "security", "certificate was refused"),
        "expired": (issued("old", until=now() - DAY), "security", "certificate has expired"),
        "not yet valid": (issued("early", since=now() + DAY), "security", "not yet valid"),
        "revoked": (showing(hospital.client(revoked)), "security", "certificate revoked"),
        "TLS 1.0": (showing(of_version(hospital, ssl.TLSVersion.TLSv1)), "association", "only TLS below 1.2"),
        "TLS 1.1": (showing(of_version(hospital, ssl.TLSVersion.TLSv1_1)), "association", "only TLS below 1.2"),
        "weak cipher": (
            showing(of_version(hospital, ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA")),
            *("association", "no cipher suite that is safe enough"),
        ),
        "no encryption": (
            showing(of_version(hospital, ssl.TLSVersion.TLSv1_2, "NULL-SHA256")),
            *("association", "no cipher suite that is safe enough"),
        ),
        "plain DICOM": (saying(association_request()), "association", "it did not speak TLS"),
        "HTTP": (saying(b"GET / HTTP/1.1\r\n\r\n"), "association", "it spoke HTTP, not TLS"),
        "silent": (saying(b""), "association", "no handshake within"),
        "half a handshake": (saying(hello), "association", "no handshake within"),
        "slow handshake": (dripping, "association", "no handshake within"),
        "gone in the handshake": (saying(hello, close=True), "association", "it went away during the handshake"),
    }


ATTACKS = (
    *("no certificate", "another authority", "expired", "not yet valid", "revoked", "TLS 1.0", "TLS 1.1"),
    *("weak cipher", "no encryption", "plain DICOM", "HTTP", "silent", "half a handshake", "slow handshake"),
    "gone in the handshake",
)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_hostile_caller_is_closed_with_a_reason_while_a_good_one_is_served(
    attack: str, door: Settings, hospital: Hospital, scanner: Shown, db: Database
):
    come, about, reason = attacks(hospital)[attack]
    good = hospital.client(scanner)
    with ExitStack() as held:
        callers = [held.enter_context(come(door)) for _ in range(3)]
        assert is_answered(door, good)
        assert all(is_closed(caller) for caller in callers)
        until(lambda: [event for event in reasons(db, about) if reason in event.reason], f"an event with {reason!r}")
    [event, *_] = [event for event in reasons(db, about) if reason in event.reason]
    assert "127.0.0.1" in event.subject
    assert is_answered(door, good)


def test_a_crowd_without_certificates_is_told_of_once(door: Settings, hospital: Hospital, db: Database):
    come = showing(hospital.client(None))
    for _ in range(10):
        with come(door) as caller:
            assert is_closed(caller)
    with saying(b"GET / HTTP/1.1\r\n\r\n")(door) as caller:
        assert is_closed(caller)
    until(lambda: reasons(db, "association"), "the last of them")
    assert [len(reasons(db, about)) for about in ("security", "association")] == [1, 1]


def test_every_attack_is_tried(hospital: Hospital):
    assert set(attacks(hospital)) == set(ATTACKS)


def test_a_crowd_of_silent_callers_does_not_shut_a_good_one_out(door: Settings, hospital: Hospital, scanner: Shown):
    with ExitStack() as held:
        for _ in range(100):
            held.enter_context(plain(door))
        assert is_answered(door, hospital.client(scanner))


@pytest.mark.parametrize(
    ("label", "names", "title", "reason"),
    [
        ("thief", ("thief.example.org",), "SCANNER1", "not in the name scanner.example.org of SCANNER"),
        ("unbound", ("old.example.org",), "OLD", "OLD has no certificate in [[peers]]"),
    ],
)
def test_a_certificate_of_another_is_rejected_and_told_as_an_alert(
    door: Settings, hospital: Hospital, db: Database, label: str, names: tuple[str, ...], title: str, reason: str
):
    client = hospital.client(hospital.issue(label, *names))
    with associated(door, client, title=title) as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    [event] = reasons(db, "security")
    assert reason in event.reason
    assert event.reason.startswith("RJ 1/1/3: ")
    assert event.subject == f"{title} at 127.0.0.1"


def test_a_wrong_fingerprint_is_rejected(hospital: Hospital, scanner: Shown, tmp_path: Path, db: Database):
    other = {**PEER, "certificate": {"sha256": ["ab" * 32], "name": SCANNER_NAME}}
    with (
        opened(site(hospital, tmp_path, other), db) as settings,
        associated(settings, hospital.client(scanner)) as association,
    ):
        assert association.is_rejected
    [event] = reasons(db, "security")
    assert scanner.sha256 in event.reason


def test_the_plain_port_is_closed_while_tls_is_on(door: Settings):
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", door.node.port), timeout=5)


def test_the_plain_port_takes_peers_without_a_certificate_where_it_is_let_open(
    hospital: Hospital, scanner: Shown, tmp_path: Path, db: Database
):
    with opened(site(hospital, tmp_path, plain=True), db) as settings:
        with associated(settings, None, title="OLD") as association:
            assert association.is_established
            assert association.send_c_echo().Status == 0x0000
        with associated(settings, None) as association:
            assert association.is_rejected
        assert is_answered(settings, hospital.client(scanner))
    [event] = reasons(db, "security")
    assert "called without TLS" in event.reason


def test_a_new_revocation_list_shuts_out_at_once(hospital: Hospital, tmp_path: Path, db: Database):
    stolen = hospital.issue("stolen", SCANNER_NAME)
    lists = hospital.folder / "later.pem"
    shutil.copy(hospital.revocation_file, lists)
    with opened(site(hospital, tmp_path), db) as settings:
        assert comes_in(settings, hospital.client(stolen))
        hospital.revoke(stolen)
        try:
            assert not comes_in(settings, hospital.client(stolen))
        finally:
            shutil.copy(lists, hospital.revocation_file)


def test_objects_come_through_tls_unchanged(door: Settings, hospital: Hospital, scanner: Shown):
    with calling(door.node.tls_port, tls_args=(hospital.client(scanner), "localhost")) as association:
        for number in range(1, 4):
            content = encoded(mr_slice(number))
            assert store(association, content, sop_instance=f"1.2.3.4.5.{number}").Status == 0x0000


def test_a_large_object_comes_through_tls_unchanged(door: Settings, hospital: Hospital, scanner: Shown, db: Database):
    pixels = bytes(range(256)) * (3 << 12)
    content = encoded(mr_slice(1, Rows=1536, Columns=1024, PixelData=pixels))
    with calling(door.node.tls_port, tls_args=(hospital.client(scanner), "localhost")) as association:
        assert store(association, content).Status == 0x0000
    until(lambda: list(instances.of_study(db)), "its row")
    [held] = instances.of_study(db)
    assert (door.data.folder / held.path).read_bytes()[-len(content) :] == content


def test_a_reset_in_the_middle_of_the_handshake_leaves_no_trace(door: Settings, hospital: Hospital, scanner: Shown):
    for _ in range(50):
        with plain(door) as caller:
            caller.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert is_answered(door, hospital.client(scanner))
    until(lambda: threading.active_count() < 20, "the threads of callers that are gone")


@pytest.mark.parametrize(
    ("user", "accepted"),
    [(("night", "right"), True), (("night", "wrong"), False), (("day", "right"), False), (None, False)],
)
def test_a_user_identity_is_asked_for_and_answered(
    tmp_path: Path, db: Database, capsys: pytest.CaptureFixture[str], user: tuple[str, str] | None, accepted: bool
):
    file = tmp_path / "scanner.passcode"
    file.write_text(hashed(b"right"))
    peer = {**PEER, "user": {"name": "night", "passcode_file": str(file)}}
    with (
        opened(settings_for(tmp_path / "var", peer), db) as settings,
        associated(settings, None, user=user) as association,
    ):
        assert association.is_established is accepted
        answer = association.acceptor.primitive
        if accepted:
            [item] = [item for item in answer.user_information if isinstance(item, UserIdentityNegotiation)]
            assert item.server_response == b""
        else:
            assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 1)
    told = capsys.readouterr()
    written = (
        told.out
        + told.err
        + "".join(event.reason for about in ("association", "security") for event in reasons(db, about))
    )
    assert ("user identity" in written) is not accepted
    assert not [word for word in ("right", "wrong", "day") if f" {word} " in written]


def test_a_known_title_from_the_wrong_address_is_told_as_an_alert(tmp_path: Path, db: Database):
    elsewhere = {**PEER, "addresses": ["10.1.2.3/32"]}
    with opened(settings_for(tmp_path / "var", elsewhere), db) as settings, associated(settings, None) as association:
        answer = association.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    [event] = reasons(db, "security")
    assert "SCANNER may not call from 127.0.0.1" in event.reason
    assert event.subject == "SCANNER1 at 127.0.0.1"


def test_a_stranger_is_no_alert(tmp_path: Path, db: Database):
    with (
        opened(settings_for(tmp_path / "var"), db) as settings,
        associated(settings, None, title="NOBODY") as association,
    ):
        assert association.is_rejected
    assert reasons(db, "security") == []


@pytest.mark.interop
def test_renegotiation_is_not_taken_up(door: Settings, hospital: Hospital, scanner: Shown):
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: nobody could ask for a renegotiation")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{door.node.tls_port}", "-tls1_2", "-CAfile"]
    command += [str(hospital.authorities_file), "-cert", str(scanner.certificate), "-key", str(scanner.key)]
    attacker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert attacker.stdin is not None
    attacker.stdin.write("R\n")
    attacker.stdin.flush()
    assert is_answered(door, hospital.client(scanner))
    said, _ = attacker.communicate(timeout=20)
    assert "RENEGOTIATING" in said
    assert "no renegotiation" in said


@pytest.mark.interop
@pytest.mark.parametrize("profile", ["--profile-bcp195", "--profile-bcp195-nd"])
def test_dcmtk_is_answered_over_tls(door: Settings, hospital: Hospital, scanner: Shown, profile: str):
    if shutil.which("echoscu") is None:
        pytest.skip("echoscu is not installed (Debian: dcmtk)")
    command = ["echoscu", "-aet", "SCANNER1", "-aec", "MATINS", "+tls", str(scanner.key), str(scanner.certificate)]
    command += [profile, "+cf", str(hospital.authorities_file), "127.0.0.1", str(door.node.tls_port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    stranger = hospital.issue("stranger", "x.example.org", authority=trustme.CA())
    command[5:8] = ["+tls", str(stranger.key), str(stranger.certificate)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).returncode != 0
