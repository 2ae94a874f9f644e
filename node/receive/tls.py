"""DICOM over mutual TLS: BCP 195 (RFC 8996, RFC 9325) as PS3.15 §B.12 (2024e) asks for it.

TLS 1.2 at least, 1.3 preferred, no way back to less. For 1.2 only suites of the closed list in §B.13 are spoken, all
with ephemeral keys and authenticated encryption. A peer must show a certificate, and its AE title is bound to it.
"""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from pathlib import Path
from typing import Protocol

import structlog

from node.config import BoundCertificate, Settings, TlsSettings
from node.errors import MatinsError, Misconfigured
from node.receive.certificate import Certificate, certificate_of

__all__ = [
    "Credentials",
    "HandshakeFailed",
    "certificate_of",
    "judge_certificate",
    "secure",
    "server_context",
    "shake_hands",
]

#: OpenSSL's names of the suites for TLS 1.2; those of 1.3 are all it knows by default, each permitted by §B.13.
SUITES = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)
#: Level 2: RSA and DH of 2048 bits, elliptic curves of 224, no SHA-1 in a signature.
_CIPHERS = "@SECLEVEL=2:" + ":".join(SUITES)
_FILE = "config.toml"
_NO_CERTIFICATE = "PEER_DID_NOT_RETURN_A_CERTIFICATE"
#: OpenSSL's reasons in words; none of them quotes the peer.
_WORDS = {
    _NO_CERTIFICATE: "it showed no certificate",
    "UNSUPPORTED_PROTOCOL": "it speaks only TLS below 1.2",
    "VERSION_TOO_LOW": "it speaks only TLS below 1.2",
    "NO_SHARED_CIPHER": "it knows no cipher suite that is safe enough",
    "HTTP_REQUEST": "it spoke HTTP, not TLS",
    "WRONG_VERSION_NUMBER": "it did not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "it went away during the handshake",
    "UNEXPECTED_MESSAGE": "it did not keep to the protocol",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it refused our certificate",
}

log = structlog.get_logger()


class HandshakeFailed(MatinsError):
    """A connection that did not become a secure one, and why; `alert` where it concerns who the peer is."""

    def __init__(self, reason: str, *, alert: bool = False) -> None:
        self.reason = reason
        self.alert = alert
        super().__init__(reason)


def server_context(settings: Settings) -> ssl.SSLContext | None:
    """Read certificate, key, authorities and revocation lists; `None` where no certificate is named.

    Raises:
        Misconfigured: a file is missing or unsound, the key is another's, or others may read it.
    """
    tls = settings.receive.tls
    if tls.certificate_file is None or tls.key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.verify_mode = ssl.CERT_REQUIRED
    # A session taken up again would skip the look at the certificate and at the revocation lists.
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    _load_own(context, tls.certificate_file, tls.key_file)
    _load_authorities(context, tls)
    return context


class Credentials:
    """The context for the next connection: a renewed certificate or revocation list counts without a new start."""

    def __init__(self, settings: Settings, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._context = context
        self._seen = self._look()
        self._lock = threading.Lock()

    @classmethod
    def read(cls, settings: Settings) -> Credentials | None:
        """Read the files of [receive.tls]; `None` where no certificate is named.

        Raises:
            Misconfigured: as `server_context`.
        """
        context = server_context(settings)
        return None if context is None else cls(settings, context)

    def context(self) -> ssl.SSLContext:
        """Return the context, read again if a file has changed; the one before where the new files are unsound."""
        with self._lock:
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                try:
                    self._context = server_context(self._settings) or self._context
                    log.info("tls_files_read_again")
                except Misconfigured as error:
                    log.error("tls_files_unsound", reason=str(error))
            return self._context

    def _look(self) -> list[tuple[int, int] | None]:
        tls = self._settings.receive.tls
        files = (tls.certificate_file, tls.key_file, tls.authorities_file, tls.revocation_file)
        return [_seen(file) for file in files if file is not None]


def secure(context: ssl.SSLContext, connection: socket.socket) -> ssl.SSLSocket:
    """Put a TLS socket in the place of `connection`, which is empty from then on; nothing is sent or awaited yet.

    Raises:
        HandshakeFailed: the peer is gone already.
    """
    try:
        # Asked first, since wrapping a connection that was reset leaves its descriptor open for a while.
        connection.getpeername()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        connection.close()
        raise HandshakeFailed("it went away before the handshake") from error


def shake_hands(tls_socket: ssl.SSLSocket, patience_s: float) -> Certificate:
    """Shake hands within `patience_s` seconds in all; the certificate returned is verified, but not whose it is.

    The socket's timeout is `patience_s` afterwards.

    Raises:
        HandshakeFailed: it did not come to a secure connection; the caller closes the socket.
    """
    tls_socket.settimeout(patience_s)
    try:
        tls_socket.do_handshake()
    except TimeoutError as error:
        raise HandshakeFailed(f"no handshake within {patience_s:g} s") from error
    except ssl.SSLCertVerificationError as error:
        raise HandshakeFailed(f"its certificate was refused: {error.verify_message}", alert=True) from error
    except ssl.SSLError as error:
        reason = error.reason or ""
        told = _WORDS.get(reason) or reason.lower().replace("_", " ") or "it went away during the handshake"
        raise HandshakeFailed(told, alert=reason == _NO_CERTIFICATE) from error
    except OSError as error:
        raise HandshakeFailed("it went away during the handshake") from error
    certificate = certificate_of(tls_socket)
    if certificate is None:
        raise HandshakeFailed(_WORDS[_NO_CERTIFICATE], alert=True)
    return certificate


class Bound(Protocol):
    """Somebody in the settings whom a certificate may be bound to."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def certificate(self) -> BoundCertificate | None:
        """What it has to show."""
        ...


def judge_certificate(settings: Settings, peer: Bound, certificate: Certificate | None) -> str:
    """Say why the certificate is not the peer's, or "": anybody can type an AE title.

    certificate: what the handshake has proved, or `None` on the plain port.
    """
    tls, bound = settings.receive.tls, peer.certificate
    if certificate is None:
        if bound is not None:
            return f"{peer.name} is bound to a certificate, and called without TLS"
        return f"{peer.name} called without TLS" if tls.is_on and not tls.plain else ""
    shown = f"the certificate shown has the SHA-256 {certificate.sha256}"
    if bound is None:
        return f"{peer.name} has no certificate in [[peers]]; {shown}"
    if bound.sha256 and certificate.sha256 not in bound.sha256:
        return f"not the certificate of {peer.name}; {shown}"
    if bound.name and not certificate.is_called(bound.name):
        return f"the certificate is not in the name {bound.name} of {peer.name}; {shown}"
    return ""


def _load_own(context: ssl.SSLContext, certificate_file: Path, key_file: Path) -> None:
    _look_at_key(key_file)
    try:
        # The empty answer keeps OpenSSL from asking for a passphrase on the terminal.
        context.load_cert_chain(certificate_file, key_file, password=lambda: b"")
    except FileNotFoundError:
        raise _missing("certificate_file", certificate_file) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            problem, remedy = f"{key_file} is not the key of {certificate_file}", "Name the key it was made with"
        else:
            problem = f"{certificate_file} or {key_file} cannot be used: {error.reason or 'not PEM'}"
            remedy = "Give both in PEM, the key without passphrase, RSA of 2048 bits or more, or an elliptic curve"
        raise Misconfigured(_FILE, "receive.tls.certificate_file", problem, remedy) from None
    except OSError as error:
        raise _unreadable("certificate_file", certificate_file, error) from None


def _seen(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _look_at_key(file: Path) -> None:
    try:
        mode = file.stat().st_mode
        with file.open("rb"):
            pass
    except FileNotFoundError:
        raise _missing("key_file", file) from None
    except OSError as error:
        raise _unreadable("key_file", file, error) from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        problem = f"{file} may be read by others, or written by its group (mode {stat.S_IMODE(mode):04o})"
        raise Misconfigured(_FILE, "receive.tls.key_file", problem, f"chmod 600 {file}, and take a new key if in doubt")


def _load_authorities(context: ssl.SSLContext, tls: TlsSettings) -> None:
    for key, file in (("authorities_file", tls.authorities_file), ("revocation_file", tls.revocation_file)):
        if file is None:
            continue
        before = context.cert_store_stats()
        try:
            context.load_verify_locations(cafile=file)
        except FileNotFoundError:
            raise _missing(key, file) from None
        except ssl.SSLError:
            raise _unsound(key, file) from None
        except OSError as error:
            raise _unreadable(key, file, error) from None
        kind = "crl" if key == "revocation_file" else "x509"
        if context.cert_store_stats()[kind] == before[kind]:
            raise _unsound(key, file)
    if tls.revocation_file is not None:
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_CHAIN


def _missing(key: str, file: Path) -> Misconfigured:
    return Misconfigured(_FILE, f"receive.tls.{key}", f"no such file: {file}", "Put it there, or correct the path")


def _unreadable(key: str, file: Path, error: OSError) -> Misconfigured:
    remedy = "Give the user that runs the listener the right to read it"
    return Misconfigured(_FILE, f"receive.tls.{key}", f"{file} cannot be read: {error.strerror}", remedy)


def _unsound(key: str, file: Path) -> Misconfigured:
    what = "revocation list" if key == "revocation_file" else "certificate"
    return Misconfigured(_FILE, f"receive.tls.{key}", f"{file} holds no {what} in PEM", f"Give it a {what} in PEM")
