"""Who may send: a system that is listed, from one of its addresses, by MSH-3 and MSH-4, and with its certificate."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from node.config import Settings
from node.config.hl7 import Hl7Sender
from node.receive.certificate import Certificate
from node.receive.hl7.syntax import Segment
from node.receive.tls import judge_certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a message is not taken from whoever sent it; names no value that it brought."""

    reason: str
    #: Somebody gives himself out for a sender that he is not.
    alert: bool = False


def is_listed(settings: Settings, address: str) -> bool:
    """Whether any sender may call from there; what this machine sends is refused with the reason, if need be."""
    senders = settings.receive.hl7.senders
    return ip_address(address).is_loopback or any(_is_from(each, address) for each in senders)


def identify(
    settings: Settings, address: str, header: Segment, certificate: Certificate | None = None
) -> Hl7Sender | Denial:
    """Say who sent a message, or why nobody is known to have; `certificate` is what the TLS handshake has proved."""
    application, facility = header.text(3), header.text(4)
    named = [
        each
        for each in settings.receive.hl7.senders
        if each.application == application and each.facility in ("", facility)
    ]
    if not named:
        return Denial(reason="no sender in [[receive.hl7.senders]] has the MSH-3 and MSH-4 that it names")
    # One that names a facility is meant before one that takes any.
    sender = max(named, key=lambda each: bool(each.facility))
    if not _is_from(sender, address):
        return Denial(reason=f"{sender.name} may not call from {address}", alert=True)
    if not settings.receive.tls.is_on:
        return sender
    if sender.certificate is None:
        return Denial(reason=f"{sender.name} has no certificate in [[receive.hl7.senders]]", alert=True)
    fault = judge_certificate(settings, sender, certificate)
    return Denial(reason=fault, alert=True) if fault else sender


def _is_from(sender: Hl7Sender, address: str) -> bool:
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in sender.networks)
