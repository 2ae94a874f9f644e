"""What `check` says of HL7 v2 coming in: who may send, whether others can read it, and what could not be used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from node.commands.check import Check
from node.config import Settings
from node.store import hl7_messages
from node.store.database import FILE_NAME, open_database

#: What came earlier has been seen, or is of no matter any more.
_LATELY = timedelta(days=1)


def messages(settings: Settings, file: Path, now: datetime) -> Iterator[Check]:
    """Look at [receive.hl7] and at the messages of the last day; nothing where it is not enabled."""
    from node.receive.stow.caller import is_local

    section = settings.receive.hl7
    if not section.enabled:
        return
    subject = f"port {section.port}"
    checked = Check(
        about="hl7", subject=subject, ok=True, found=f"{', '.join(each.name for each in section.senders)} may send"
    )
    tls = settings.receive.tls.is_on
    unbound = [index for index, each in enumerate(section.senders) if tls and each.certificate is None]
    if unbound:
        problem = f"{section.senders[unbound[0]].name} has no certificate, and is refused over TLS"
        key = f"receive.hl7.senders[{unbound[0]}].certificate"
        yield replace(checked, ok=False, found="", problem=problem, file=str(file), key=key, remedy="Name one")
    elif tls or is_local(settings.node.address):
        yield checked
    else:
        problem = "patients travel in the clear"
        yield replace(checked, problem=problem, file=str(file), key="receive.tls", remedy="Name a certificate there")
    if not (settings.data.folder / FILE_NAME).is_file():
        return
    with closing(open_database(settings.data.folder, "cli")) as db:
        found = hl7_messages.troubles(db, since=(now - _LATELY).isoformat(timespec="microseconds"))
    for each in found:
        yield Check(
            about="hl7",
            subject=each.sender,
            ok=False,
            file=str(file),
            key="receive.hl7.senders",
            problem=f"{each.number} × {each.kind or 'a message'} {each.state.value}: {each.reason}",
            remedy="Mend the settings or the message (node/HL7.md), and have it sent again",
        )
