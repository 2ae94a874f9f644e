"""Who may ask over HTTP: a peer from one of its addresses, with its bearer token (RFC 6750), and its certificate.

A token is compared by its hash and in constant time. A browser is no source: what carries `Origin` is refused, and so
is a request under a name that is not ours, by which a page could reach us through its own name (DNS rebinding).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from node.config import Peer, Settings
from node.errors import Misconfigured
from node.receive.certificate import Certificate
from node.receive.tls import judge_certificate

#: b64token of RFC 6750 §2.1, long enough that nobody guesses it.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{32,512}=*", re.ASCII)
_BEARER = re.compile(r"bearer +(\S+)", re.IGNORECASE)
_REMEDY = "Write a new one: (umask 077; openssl rand -hex 32 > FILE), and give it to the peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a request is not answered."""

    #: HTTP status: 401, 403 or 421.
    status: int
    reason: str
    #: Somebody shows a token, or gives himself out for a peer, that is not his.
    alert: bool = False


class Callers:
    """The peers that may store over HTTP."""

    def __init__(self, settings: Settings) -> None:
        """Read their tokens.

        Raises:
            Misconfigured: there are none, or a token cannot be read, is open to others, too short, or another peer's.
        """
        self._settings = settings
        self._tokens: dict[bytes, Peer] = {}
        for peer in settings.peers:
            if peer.stow_token_file is None:
                continue
            digest = hashlib.sha256(_token_in(peer.stow_token_file, peer.name).encode()).digest()
            if digest in self._tokens:
                raise _wrong(peer.name, f"{peer.name} has the same token as {self._tokens[digest].name}")
            self._tokens[digest] = peer
        if not self._tokens:
            problem = "nobody may call: no peer has a stow_token_file"
            raise Misconfigured("config.toml", "receive.stow.enabled", problem, "Give the source one, or set it false")
        self._names = _names(settings.node.address) | {name.lower() for name in settings.receive.stow.names}

    @property
    def peers(self) -> list[str]:
        """Their names."""
        return [peer.name for peer in self._tokens.values()]

    def is_listed(self, address: str) -> bool:
        """Whether any of them may call from there. This machine always may: it is told why it is refused."""
        return ip_address(address).is_loopback or any(is_from(peer, address) for peer in self._tokens.values())

    def identify(
        self, address: str, headers: Mapping[str, str], certificate: Certificate | None = None
    ) -> Peer | Denial:
        """Say who asks, or why it is told no more; `certificate` is what the TLS handshake has proved."""
        if not self._is_our_name(headers.get("host", "")):
            return Denial(status=421, reason="it asks for a host that is not this node; see [receive.stow] names")
        if "origin" in headers:
            return Denial(status=403, reason="it comes from a page in a browser")
        given = _BEARER.fullmatch(headers.get("authorization", "").strip())
        peer = self._with_token(given.group(1)) if given else None
        if peer is None:
            return Denial(
                status=401, reason="an unknown token" if given else "no bearer token", alert=given is not None
            )
        if not is_from(peer, address):
            return Denial(status=403, reason=f"{peer.name} may not call from {address}", alert=True)
        fault = judge_certificate(self._settings, peer, certificate) if self._settings.receive.tls.is_on else ""
        return Denial(status=403, reason=fault, alert=True) if fault else peer

    def _with_token(self, token: str) -> Peer | None:
        given, found = hashlib.sha256(token.encode("latin-1", "replace")).digest(), None
        for digest, peer in self._tokens.items():
            if hmac.compare_digest(digest, given):
                found = peer
        return found

    def _is_our_name(self, host: str) -> bool:
        """Whether `Host` (RFC 9110 §7.2) names us; an address does: no page can be reached through another's."""
        text = host.strip().lower()
        name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
        try:
            ip_address(name)
        except ValueError:
            return name in self._names
        return True


def is_from(peer: Peer, address: str) -> bool:
    """Whether the address is one of the peer's; an IPv4 address inside IPv6 counts as itself."""
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in peer.networks)


def is_local(address: str) -> bool:
    """Whether an address to listen on is reached from this machine alone."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def _names(address: str) -> set[str]:
    return {"localhost"} if is_local(address) else {address.lower()}


def _token_in(file: Path, name: str) -> str:
    try:
        mode = file.stat().st_mode
        token = file.read_text("ascii", "replace").strip()
    except OSError as error:
        raise _wrong(name, f"{file} cannot be read: {error.strerror}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise _wrong(name, f"{file} may be read by others, or written by its group (mode {stat.S_IMODE(mode):04o})")
    if not _TOKEN.fullmatch(token):
        raise _wrong(name, f"{file} holds no token of 32 to 512 letters, digits and . _ ~ + / -")
    return token


def _wrong(name: str, problem: str) -> Misconfigured:
    return Misconfigured("config.toml", f"peers {name} stow_token_file", problem, _REMEDY)
