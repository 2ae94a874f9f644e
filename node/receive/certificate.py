"""X.509 certificates and revocation lists (RFC 5280): whose they are, and how long they count."""

from __future__ import annotations

import base64
import hashlib
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s(.*?)-----END \1-----", re.DOTALL)
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a peer has proved to hold, its chain verified."""

    #: SHA-256 of the whole certificate, hexadecimal.
    sha256: str
    common_name: str
    #: DNS names among its subject alternative names, lower case.
    dns_names: tuple[str, ...]

    def is_called(self, name: str) -> bool:
        """Whether `name` is one of its DNS names, or its common name where it has none (RFC 6125 §6.4.4)."""
        wanted = name.lower()
        return wanted in self.dns_names if self.dns_names else wanted == self.common_name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Validity:
    """From when until when a certificate or revocation list counts."""

    since: datetime
    #: None for a revocation list that names no end.
    until: datetime | None


def certificate_from(der: bytes, told: Mapping[str, Any]) -> Certificate:
    """Make the value from both forms of `ssl.SSLSocket.getpeercert`."""
    common_names = [value for names in told.get("subject", ()) for key, value in names if key == "commonName"]
    return Certificate(
        sha256=hashlib.sha256(der).hexdigest(),
        common_name=common_names[-1] if common_names else "",
        dns_names=tuple(value.lower() for kind, value in told.get("subjectAltName", ()) if kind == "DNS"),
    )


def certificate_of(tls_socket: ssl.SSLSocket) -> Certificate | None:
    """Return what the peer has shown in its handshake, or `None` where it has shown nothing."""
    der = tls_socket.getpeercert(binary_form=True)
    return certificate_from(der, tls_socket.getpeercert() or {}) if der else None


def validities(pem: bytes, label: str) -> list[Validity]:
    """Return the validity of each `label` ("CERTIFICATE", "X509 CRL") in a PEM file.

    Raises:
        ValueError: one of them is damaged.
    """
    return [_validity(body) for kind, body in _PEM.findall(pem) if kind.decode() == label]


def _validity(body: bytes) -> Validity:
    """Find the times: Validity of TBSCertificate, or thisUpdate and nextUpdate of TBSCertList (RFC 5280 §4.1, §5.1)."""
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
        [signed] = [content for tag, content in _elements(der) if tag == _SEQUENCE]
        to_be_signed = next(content for _, content in _elements(signed))
        times = list(_times(to_be_signed))
        if not times:
            inner = [list(_times(content)) for tag, content in _elements(to_be_signed) if tag == _SEQUENCE]
            times = next(found for found in inner if found)
    except (StopIteration, IndexError, ValueError) as error:
        raise ValueError("it cannot be read") from error
    return Validity(since=times[0], until=times[1] if len(times) > 1 else None)


def _times(content: bytes) -> Iterator[datetime]:
    for tag, value in _elements(content):
        if tag in (_UTC_TIME, _GENERALIZED_TIME):
            text = value.decode("ascii")
            # Two digits of the year: 50 to 99 are 19xx (RFC 5280 §4.1.2.5.1).
            century = "" if tag == _GENERALIZED_TIME else "19" if text >= "50" else "20"
            yield datetime.strptime(century + text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element in DER (X.690 §8.1)."""
    at = 0
    while at < len(content):
        tag, length, at = content[at], content[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length, at = int.from_bytes(content[at : at + count]), at + count
        if at + length > len(content):
            raise ValueError("it is cut short")
        yield tag, content[at : at + length]
        at += length
