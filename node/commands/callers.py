"""What `check` says of who may call: certificates and how long they count, peers that TLS would refuse, passcodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from node.commands.check import Check, failed
from node.config import Settings
from node.errors import Misconfigured
from node.receive import tls, user_identity
from node.receive.certificate import Validity, validities

#: A new certificate takes a hospital some weeks.
_SOON = timedelta(days=30)
#: A revocation list is renewed by a machine.
_SOON_FOR_LISTS = timedelta(days=1)


def callers(settings: Settings, file: Path, now: datetime) -> Iterator[Check]:
    """Look at [receive.tls] and at what peers have to show; nothing where neither is set."""
    try:
        user_identity.look_at_passcodes(settings)
    except Misconfigured as error:
        yield replace(failed("peer", "user identity", error), file=str(file))
    if settings.receive.tls.is_on:
        yield from _files(settings, file, now)
    yield from _bindings(settings, file)
    if settings.receive.stow.enabled:
        yield _tokens(settings, file)


def _tokens(settings: Settings, file: Path) -> Check:
    """Look at the tokens of those that store over HTTP, and at whether others on the way can read them."""
    from node.receive.stow.caller import Callers, is_local

    subject = f"port {settings.receive.stow.port}"
    try:
        names = Callers(settings).peers
    except Misconfigured as error:
        return replace(failed("stow", subject, error), file=str(file))
    checked = Check(about="stow", subject=subject, ok=True, found=f"{', '.join(names)} may store over HTTP")
    if settings.receive.tls.is_on or is_local(settings.node.address):
        return checked
    problem = "tokens and patients travel in the clear"
    return replace(checked, problem=problem, file=str(file), key="receive.tls", remedy="Name a certificate there")


def _files(settings: Settings, file: Path, now: datetime) -> Iterator[Check]:
    try:
        tls.server_context(settings)
    except Misconfigured as error:
        yield replace(failed("tls", f"port {settings.node.tls_port}", error), file=str(file))
        return
    section = settings.receive.tls
    for key, label, what, soon in (
        ("certificate_file", "CERTIFICATE", "certificate", _SOON),
        ("authorities_file", "CERTIFICATE", "certificate", _SOON),
        ("revocation_file", "X509 CRL", "revocation list", _SOON_FOR_LISTS),
    ):
        path: Path | None = getattr(section, key)
        if path is None:
            continue
        checked = Check(about="tls", subject=str(path), ok=True, file=str(file), key=f"receive.tls.{key}")
        try:
            found = validities(path.read_bytes(), label)
        except ValueError as error:
            remedy = f"Put a {what} in PEM there"
            yield replace(checked, ok=False, problem=f"a {what} is damaged: {error}", remedy=remedy)
            continue
        yield _dated(checked, what, found, now, soon)


def _dated(checked: Check, what: str, found: list[Validity], now: datetime, soon: timedelta) -> Check:
    """Say how long all of them count; those that count no longer, or not yet, fail."""
    early = [each.since for each in found if each.since > now]
    ends = [each.until for each in found if each.until is not None]
    remedy = f"Put a new {what} there; it counts from the next connection on"
    if early:
        problem = f"a {what} is not valid before {max(early):%Y-%m-%d %H:%M} UTC"
        return replace(checked, ok=False, problem=problem, remedy="Set the clock, or wait until then")
    if not ends:
        return replace(checked, file="", key="", found=f"{len(found)} {what}(s) without an end")
    end = min(ends)
    if end <= now:
        return replace(checked, ok=False, problem=f"a {what} has expired on {end:%Y-%m-%d %H:%M} UTC", remedy=remedy)
    told = f"{len(found)} {what}(s), good until {end:%Y-%m-%d}"
    if end <= now + soon:
        left = f"{(end - now).days} day(s)" if end - now >= timedelta(days=1) else f"{(end - now).seconds // 3600} h"
        return replace(checked, found=told, problem=f"a {what} expires in {left}", remedy=remedy)
    return replace(checked, file="", key="", found=told)


def _bindings(settings: Settings, file: Path) -> Iterator[Check]:
    section = settings.receive.tls
    for index, peer in enumerate(settings.peers):
        if not peer.addresses:
            continue
        checked = Check(about="peer", subject=peer.name, ok=False, file=str(file), key=f"peers[{index}].certificate")
        if section.is_on and peer.certificate is None and not section.plain:
            problem = "it calls without a certificate of its own, and is refused"
            remedy = "Bind one to it, as certificate = { name = … }, or set [receive.tls] plain = true"
            yield replace(checked, problem=problem, remedy=remedy)
        if not section.is_on and peer.certificate is not None:
            problem = "it is bound to a certificate that it cannot show: TLS is off"
            yield replace(checked, problem=problem, remedy="Name certificate_file and the others in [receive.tls]")
