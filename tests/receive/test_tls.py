from __future__ import annotations

import os
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import structlog
import trustme

from node.config import Peer, Settings
from node.errors import Misconfigured
from node.receive import tls
from node.receive.certificate import Certificate, validities
from node.receive.tls import Credentials, HandshakeFailed, judge_certificate, secure, server_context, shake_hands
from tests.receive.authorities import DAY, SCANNER_NAME, Hospital, Shown, now
from tests.receive.objects import PEER, settings_for


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Hospital:
    return Hospital(tmp_path_factory.mktemp("hospital"))


@pytest.fixture(scope="module")
def scanner(hospital: Hospital) -> Shown:
    return hospital.issue("scanner", SCANNER_NAME)


def settings_of(hospital: Hospital, folder: Path, **changes: object) -> Settings:
    return settings_for(folder / "var", receive={"tls": hospital.settings(**changes)})


@pytest.fixture
def settings(hospital: Hospital, tmp_path: Path) -> Settings:
    return settings_of(hospital, tmp_path)


class Meeting:
    """Both ends of one connection; ours shakes hands in a thread."""

    def __init__(self, context: ssl.SSLContext, patience_s: float = 10.0) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.settimeout(20)
        self.outcome: Certificate | HandshakeFailed | None = None
        self._thread = threading.Thread(target=self._receive, args=(context, ours, patience_s))
        self._thread.start()

    def _receive(self, context: ssl.SSLContext, ours: socket.socket, patience_s: float) -> None:
        with closing(secure(context, ours)) as tls_socket:
            try:
                self.outcome = shake_hands(tls_socket, patience_s)
                tls_socket.sendall(b"welcome")
                self.version = tls_socket.version()
                self.cipher = tls_socket.cipher()
            except HandshakeFailed as failed:
                self.outcome = failed

    def end(self) -> Certificate | HandshakeFailed:
        self._thread.join(20)
        assert self.outcome is not None
        return self.outcome

    def as_client(self, context: ssl.SSLContext) -> bytes:
        """Come in as a client; return what it is sent, nothing where it is refused."""
        try:
            with context.wrap_socket(self.theirs, server_hostname="localhost") as theirs:
                return theirs.recv(100)
        except OSError:
            return b""
        finally:
            self.theirs.close()


def meet(settings: Settings, client: ssl.SSLContext) -> Certificate | HandshakeFailed:
    context = server_context(settings)
    assert context is not None
    meeting = Meeting(context)
    said = meeting.as_client(client)
    outcome = meeting.end()
    assert said == (b"" if isinstance(outcome, HandshakeFailed) else b"welcome")
    return outcome


def test_there_is_no_tls_without_a_certificate(tmp_path: Path):
    settings = settings_for(tmp_path / "var")
    assert server_context(settings) is None
    assert Credentials.read(settings) is None


def test_a_peer_with_a_certificate_of_an_authority_comes_in(settings: Settings, hospital: Hospital, scanner: Shown):
    outcome = meet(settings, hospital.client(scanner))
    assert outcome == Certificate(sha256=scanner.sha256, common_name="", dns_names=(SCANNER_NAME,))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_both_versions_and_both_kinds_of_key_are_spoken(
    hospital: Hospital, tmp_path: Path, version: ssl.TLSVersion, key_type: trustme.KeyType
):
    own = hospital.issue(f"own-{key_type.name}", "localhost", key_type=key_type)
    settings = settings_of(hospital, tmp_path, certificate_file=str(own.certificate), key_file=str(own.key))
    client = hospital.client(hospital.issue("any", SCANNER_NAME, key_type=key_type))
    client.minimum_version = client.maximum_version = version
    assert isinstance(meet(settings, client), Certificate)


def test_the_newer_version_is_preferred_and_nothing_weak_is_offered(
    settings: Settings, hospital: Hospital, scanner: Shown
):
    context = server_context(settings)
    assert context is not None
    meeting = Meeting(context)
    meeting.as_client(hospital.client(scanner))
    meeting.end()
    assert meeting.version == "TLSv1.3"
    offered = {cipher["name"]: cipher["protocol"] for cipher in context.get_ciphers()}
    assert {name for name, version in offered.items() if version != "TLSv1.3"} == set(tls.SUITES)
    assert min(cipher["strength_bits"] for cipher in context.get_ciphers()) >= 128
    assert context.security_level == 2
    assert context.num_tickets == 0
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET, ssl.OP_CIPHER_SERVER_PREFERENCE):
        assert context.options & option


def test_a_session_that_is_taken_up_again_still_says_whose_it_is(
    settings: Settings, hospital: Hospital, scanner: Shown
):
    context, client = server_context(settings), hospital.client(scanner)
    assert context is not None
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    session = None
    for _ in range(2):
        meeting = Meeting(context)
        with client.wrap_socket(meeting.theirs, server_hostname="localhost", session=session) as theirs:
            assert theirs.recv(100) == b"welcome"
            session = theirs.session
        outcome = meeting.end()
        assert isinstance(outcome, Certificate)
        assert outcome.sha256 == scanner.sha256
    assert session is not None
    assert not session.has_ticket


def refusals(hospital: Hospital) -> Iterator[tuple[str, ssl.SSLContext, str, bool]]:
    stranger = trustme.CA(organization_name="Stranger")
    yield "none", hospital.client(None), "showed no certificate", True
    yield "other CA", hospital.client(hospital.issue("other", SCANNER_NAME, authority=stranger)), "refused", True
    yield "expired", hospital.client(hospital.issue("old", SCANNER_NAME, until=now() - DAY)), "expired", True
    yield "not yet", hospital.client(hospital.issue("early", SCANNER_NAME, since=now() + DAY)), "not yet valid", True
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = hospital.client(hospital.issue("any", SCANNER_NAME))
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.minimum_version = version
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            old.maximum_version = version
        yield version.name, old, "only TLS below 1.2", False
    for weak in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256", "NULL-SHA256"):
        client = hospital.client(hospital.issue("any", SCANNER_NAME))
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        client.set_ciphers(f"{weak}:@SECLEVEL=0")
        yield weak, client, "no cipher suite that is safe enough", False


def test_who_shows_the_wrong_certificate_or_speaks_too_weakly_is_refused_with_the_reason(
    settings: Settings, hospital: Hospital
):
    for what, client, reason, alert in refusals(hospital):
        outcome = meet(settings, client)
        assert isinstance(outcome, HandshakeFailed), what
        assert reason in outcome.reason, what
        assert outcome.alert is alert, what


def test_a_revoked_certificate_is_refused_and_another_is_not(hospital: Hospital, tmp_path: Path, scanner: Shown):
    lost = hospital.issue("lost", SCANNER_NAME)
    settings = settings_of(hospital, tmp_path, revocation_file=str(hospital.revoke(lost)))
    outcome = meet(settings, hospital.client(lost))
    assert isinstance(outcome, HandshakeFailed)
    assert "revoked" in outcome.reason
    assert outcome.alert
    assert isinstance(meet(settings, hospital.client(scanner)), Certificate)


def test_a_revocation_list_past_its_time_refuses_everybody(hospital: Hospital, tmp_path: Path, scanner: Shown):
    settings = settings_of(hospital, tmp_path, revocation_file=str(hospital.revoke(until=now() - DAY)))
    outcome = meet(settings, hospital.client(scanner))
    assert isinstance(outcome, HandshakeFailed)
    assert "CRL has expired" in outcome.reason


def test_a_new_revocation_list_counts_from_the_next_connection_on(hospital: Hospital, tmp_path: Path):
    stolen = hospital.issue("stolen", SCANNER_NAME)
    settings = settings_of(hospital, tmp_path, revocation_file=str(hospital.revoke()))
    credentials = Credentials.read(settings)
    assert credentials is not None
    outcomes = []
    for _ in range(2):
        meeting = Meeting(credentials.context())
        meeting.as_client(hospital.client(stolen))
        outcomes.append(type(meeting.end()))
        hospital.revoke(stolen)
    assert outcomes == [Certificate, HandshakeFailed]


def test_files_that_have_become_unsound_leave_the_door_as_it_was(hospital: Hospital, tmp_path: Path, scanner: Shown):
    own = hospital.issue("renewed", "localhost")
    settings = settings_of(hospital, tmp_path, certificate_file=str(own.certificate), key_file=str(own.key))
    credentials = Credentials.read(settings)
    assert credentials is not None
    before = credentials.context()
    own.certificate.write_text("half a certif")
    with structlog.testing.capture_logs() as told:
        assert credentials.context() is before
        assert credentials.context() is before
    assert [(line["event"], line["log_level"]) for line in told] == [("tls_files_unsound", "error")]
    hospital.issue("renewed", "localhost")
    assert credentials.context() is not before


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40)])
def test_who_does_not_finish_the_handshake_is_let_go_after_its_time(settings: Settings, sent: bytes):
    context = server_context(settings)
    assert context is not None
    meeting = Meeting(context, 0.2)
    with closing(meeting.theirs):
        meeting.theirs.sendall(sent)
        outcome = meeting.end()
    assert isinstance(outcome, HandshakeFailed)
    assert (outcome.reason, outcome.alert) == ("no handshake within 0.2 s", False)


def test_who_drips_byte_by_byte_is_let_go_after_the_time_of_the_whole_handshake(settings: Settings):
    context = server_context(settings)
    assert context is not None
    meeting = Meeting(context, 0.5)
    with closing(meeting.theirs), suppress(OSError):
        meeting.theirs.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        while meeting.outcome is None:
            meeting.theirs.sendall(b"\0")
            threading.Event().wait(0.02)
    outcome = meeting.end()
    assert isinstance(outcome, HandshakeFailed)
    assert outcome.reason == "no handshake within 0.5 s"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "it spoke HTTP, not TLS"),
        (b"\x01\x00\x00\x00\x00\xcd\x00\x01\x00\x00MATINS", "it did not speak TLS"),
        (b"\x16\x03\x01\x00\x05\x01\x00", "it went away"),
        (b"", "it went away"),
    ],
)
def test_who_does_not_speak_tls_or_goes_away_is_refused_without_alarm(settings: Settings, sent: bytes, reason: str):
    context = server_context(settings)
    assert context is not None
    meeting = Meeting(context)
    meeting.theirs.sendall(sent)
    meeting.theirs.close()
    outcome = meeting.end()
    assert isinstance(outcome, HandshakeFailed)
    assert reason in outcome.reason
    assert not outcome.alert


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x00\x05\x01\x00"])
def test_who_resets_the_connection_in_the_handshake_is_refused(settings: Settings, sent: bytes):
    context = server_context(settings)
    assert context is not None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
        client.sendall(sent)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        with pytest.raises(HandshakeFailed, match="went away"), closing(secure(context, ours)) as tls_socket:
            shake_hands(tls_socket, 5.0)


def peer(**certificate: object) -> Peer:
    return Peer.model_validate({**PEER, "certificate": certificate or None})


SHOWN = Certificate(sha256="ab" * 32, common_name="SCANNER", dns_names=("scanner.example.org", "ct1.example.org"))


@pytest.mark.parametrize(
    ("bound", "reason"),
    [
        ({"sha256": ["AB:" * 31 + "AB"]}, ""),
        ({"sha256": ["cd" * 32, "ab" * 32]}, ""),
        ({"name": "CT1.example.org"}, ""),
        ({"name": "ct1.example.org", "sha256": ["ab" * 32]}, ""),
        ({}, "no certificate in [[peers]]"),
        ({"sha256": ["cd" * 32]}, "not the certificate of SCANNER"),
        ({"name": "other.example.org"}, "not in the name other.example.org"),
        ({"name": "SCANNER"}, "not in the name SCANNER"),
        ({"name": "example.org"}, "not in the name"),
        ({"name": "ct1.example.org", "sha256": ["cd" * 32]}, "not the certificate"),
        ({"name": "other.example.org", "sha256": ["ab" * 32]}, "not in the name"),
    ],
)
def test_an_ae_title_is_bound_to_a_certificate(settings: Settings, bound: dict[str, object], reason: str):
    told = judge_certificate(settings, peer(**bound), SHOWN)
    assert reason in told
    assert bool(told) is bool(reason)
    assert not told or f"the certificate shown has the SHA-256 {'ab' * 32}" in told


def test_a_common_name_counts_where_there_is_no_dns_name(settings: Settings):
    old = Certificate(sha256="ab" * 32, common_name="SCANNER", dns_names=())
    assert judge_certificate(settings, peer(name="scanner"), old) == ""
    assert judge_certificate(settings, peer(name="other"), old) != ""


@pytest.mark.parametrize(
    ("plain", "bound", "reason"),
    [
        (True, {}, ""),
        (True, {"name": "ct1.example.org"}, "is bound to a certificate, and called without TLS"),
        (False, {}, "called without TLS"),
    ],
)
def test_on_the_plain_port_only_a_peer_without_a_certificate_comes_in_and_only_where_it_is_allowed(
    hospital: Hospital, tmp_path: Path, plain: bool, bound: dict[str, object], reason: str
):
    told = judge_certificate(settings_of(hospital, tmp_path, plain=plain), peer(**bound), None)
    assert reason in told
    assert bool(told) is bool(reason)


def test_without_tls_a_peer_without_a_certificate_comes_in_as_before(tmp_path: Path):
    assert judge_certificate(settings_for(tmp_path / "var"), peer(), None) == ""
    assert judge_certificate(settings_for(tmp_path / "var"), peer(name="x"), None) != ""


def wrong_files(hospital: Hospital, folder: Path) -> Iterator[tuple[dict[str, object], str, str]]:
    text, locked, sealed = folder / "text.pem", folder / "open.key", folder / "sealed.key"
    text.write_text("no certificate")
    locked.write_bytes(hospital.own.key.read_bytes())
    other = hospital.issue("another", "localhost")
    sealed.touch(0o600)
    sealed.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")
    yield {"certificate_file": str(folder / "none")}, "certificate_file", "no such file"
    yield {"key_file": str(folder / "none")}, "key_file", "no such file"
    yield {"authorities_file": str(folder / "none")}, "authorities_file", "no such file"
    yield {"revocation_file": str(folder / "none")}, "revocation_file", "no such file"
    yield {"certificate_file": str(text)}, "certificate_file", "cannot be used"
    yield {"authorities_file": str(text)}, "authorities_file", "holds no certificate"
    yield {"revocation_file": str(text)}, "revocation_file", "holds no revocation list"
    yield {"revocation_file": str(hospital.authorities_file)}, "revocation_file", "holds no revocation list"
    yield {"key_file": str(other.key)}, "certificate_file", "is not the key of"
    yield {"key_file": str(sealed)}, "certificate_file", "cannot be used"
    for mode in (0o604, 0o644, 0o666, 0o660, 0o777):
        locked.chmod(mode)
        yield {"key_file": str(locked)}, "key_file", f"mode {mode:04o}"


def test_a_wrong_file_stops_the_start_with_file_key_and_remedy(hospital: Hospital, tmp_path: Path):
    for changes, key, problem in wrong_files(hospital, tmp_path):
        with pytest.raises(Misconfigured, match=problem) as caught:
            server_context(settings_of(hospital, tmp_path, **changes))
        assert caught.value.key == f"receive.tls.{key}", changes
        assert str(next(iter(changes.values()))) in caught.value.problem, changes
        assert caught.value.remedy


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_key_that_only_its_owner_and_group_read_is_taken(hospital: Hospital, tmp_path: Path, mode: int):
    key = tmp_path / "own.key"
    key.write_bytes(hospital.own.key.read_bytes())
    key.chmod(mode)
    assert server_context(settings_of(hospital, tmp_path, key_file=str(key))) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_key_that_may_not_be_read_stops_the_start(hospital: Hospital, tmp_path: Path):
    key = tmp_path / "own.key"
    key.write_bytes(hospital.own.key.read_bytes())
    key.chmod(0)
    with pytest.raises(Misconfigured, match="cannot be read"):
        server_context(settings_of(hospital, tmp_path, key_file=str(key)))


def test_times_are_read_from_certificates_and_revocation_lists(hospital: Hospital):
    until = now() + 40 * DAY
    shown = hospital.issue("dated", "x.example.org", since=now() - DAY, until=until)
    [found, *_] = validities(shown.certificate.read_bytes(), "CERTIFICATE")
    assert (found.since, found.until) == (now() - DAY, until)
    [found] = validities(hospital.revoke(shown, until=until).read_bytes(), "X509 CRL")
    assert found.until == until
    far = now().replace(year=2061)
    [found, *_] = validities(hospital.issue("far", "x", until=far).certificate.read_bytes(), "CERTIFICATE")
    assert found.until == far


@pytest.mark.parametrize("body", ["AAAA", "MIIB", "MAMCAQE=", "MAA=", "!"])
def test_a_damaged_certificate_is_named_as_such(body: str):
    with pytest.raises(ValueError, match="cannot be read"):
        validities(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n".encode(), "CERTIFICATE")
