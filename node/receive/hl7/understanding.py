"""From a message to what it tells: which types are taken (table 0076, 0003), and what of each counts."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from node.config.hl7 import Hl7Sender
from node.domain.told import Told
from node.errors import MatinsError
from node.receive.hl7 import facts, orders, patients
from node.receive.hl7.syntax import Message, NotUnderstood, Segment, parsed
from node.receive.hl7.times import said_at

_VERSION = re.compile(r"2\.[1-9](?:\.[0-9])?")
#: MSH-10 is an ST: characters; others than these could forge a line of the log.
_CONTROL_ID = re.compile(r"[\x20-\x7e]{1,199}")
#: ERR-3 (table 0357).
UNSUPPORTED_TYPE, UNSUPPORTED_EVENT, UNSUPPORTED_PROCESSING_ID, UNSUPPORTED_VERSION = "200", "201", "202", "203"
#: Events after which the patient is here no longer: discharge, cancelled admission.
_VISIT_OVER = frozenset(("A03", "A11"))
#: Of a visit that is to come, or of the person alone: PV1 says nothing of today.
_NO_VISIT = frozenset(("A05", "A28", "A31"))
_ADMISSIONS = frozenset(("A01", "A02", "A03", "A04", "A05", "A06", "A07", "A08", "A11", "A12", "A13", "A28", "A31"))
_MERGES = frozenset(("A34", "A40", "A47"))
_SEPARATION = "A37"
#: These merge or move what we cannot tell apart: accounts, visits, lists of identifiers.
_UNSURE = frozenset(("A18", "A24", "A30", "A35", "A36", "A39", "A41", "A42", "A43", "A44", "A45", "A46", "A48", "A49",
                     "A50", "A51"))  # fmt: skip


class NotTaken(MatinsError):
    """A message of a type, event, version or processing ID that is not taken; `code` is of table 0357."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A message, read."""

    #: As "ADT^A08".
    kind: str
    told: Told


def control_id(header: Segment) -> str:
    """Return MSH-10 as it stands.

    Raises:
        NotUnderstood: it is empty, too long, or no plain text: a message that comes again could not be recognised.
    """
    found = header.raw_field(10)
    if not _CONTROL_ID.fullmatch(found):
        raise NotUnderstood("MSH-10, the control ID, is empty, or no plain text of at most 199 characters")
    return found


def kind_of(header: Segment) -> str:
    """Type and event of a message (MSH-9), as "ADT^A08"; empty where they have not that form."""
    found = f"{header.text(9, 1)}^{header.text(9, 2)}".rstrip("^").upper()
    return found if re.fullmatch(r"[A-Z0-9]{3}(\^[A-Z0-9]{3})?", found) else ""


def understood(content: bytes, sender: Hl7Sender, *, ours: frozenset[str]) -> Understood:
    """Read a message of a sender; `ours` is how this node calls itself, in capitals.

    Raises:
        NotTaken: it is of a kind that is not taken (AR).
        NotUnderstood: it is of a kind that is taken and cannot be read (AE); the reason holds no value.
    """
    message = parsed(content, sender.character_set)
    header = message.header
    kind = kind_of(header)
    if not kind:
        raise NotUnderstood("MSH-9 names no type and event")
    if not _VERSION.fullmatch(header.text(12)):
        raise NotTaken(UNSUPPORTED_VERSION, "MSH-12 names no version of HL7 v2 that is read")
    if header.text(11).upper() not in ("", "P"):
        raise NotTaken(UNSUPPORTED_PROCESSING_ID, "MSH-11: messages for training or debugging are not taken")
    of_type, _, event = kind.partition("^")
    if of_type == "ADT" and not event:
        evn = message.one("EVN")
        event = evn.text(1).upper() if evn is not None else ""
    told = _reader(of_type, event)(message, sender, event, ours)
    return Understood(kind=f"{of_type}^{event}" if event else of_type, told=replace(told, at=_made_at(message, sender)))


_Reader = Callable[[Message, Hl7Sender, str, frozenset[str]], Told]


def _reader(of_type: str, event: str) -> _Reader:
    if of_type == "ADT":
        if event in _ADMISSIONS:
            return _admission
        if event in _MERGES:
            return _merge
        if event == _SEPARATION:
            return _separation
        if event in _UNSURE:
            raise NotUnderstood(
                f"ADT {event} is not acted upon: it merges or moves what only the sender can tell apart"
            )
        raise NotTaken(UNSUPPORTED_EVENT, "an event of ADT that is not taken")
    readers = {("ORM", "O01"): _order, ("OMI", "O23"): _order, ("ORU", "R01"): _result}
    if of_type not in {each for each, _ in readers}:
        raise NotTaken(UNSUPPORTED_TYPE, "a type of message that is not taken")
    found = readers.get((of_type, event or {"ORM": "O01", "ORU": "R01"}.get(of_type, "")))
    if found is None:
        raise NotTaken(UNSUPPORTED_EVENT, f"an event of {of_type} that is not taken")
    return found


def _admission(message: Message, sender: Hl7Sender, event: str, _ours: frozenset[str]) -> Told:
    source, pid = f"hl7 {sender.name}", _pid(message)
    told = facts.told_facts(message, source, sender.zone, whole=sender.history == "snapshot")
    if event not in _NO_VISIT:
        told += facts.visit(message, source, sender.zone, is_over=event in _VISIT_OVER)
    return _of_patients(pid, sender, Told(corrects=True, deleted=patients.deleted_of(pid), facts=told))


def _merge(message: Message, sender: Hl7Sender, _event: str, _ours: frozenset[str]) -> Told:
    moves = patients.moves_of(message, sender)
    # Each of them is a patient with demographics of his own.
    survivors = tuple(dict.fromkeys(move.survivor for move in moves))
    return Told(merges=moves, patients=survivors, corrects=True)


def _separation(message: Message, sender: Hl7Sender, _event: str, _ours: frozenset[str]) -> Told:
    return Told(separations=patients.separations_of(message, sender))


def _order(message: Message, sender: Hl7Sender, _event: str, ours: frozenset[str]) -> Told:
    source = f"hl7 {sender.name}"
    if message.one("ORC") is None:
        raise NotUnderstood("an order message without an ORC segment")
    told = orders.told_orders(message, sender, source, sender.zone, ours)
    if not told:
        return Told(unused="nothing in it but what this node asked for itself")
    # What an order brings along is what the one who ordered knew, not all that there is.
    known = facts.told_facts(message, source, sender.zone, whole=False)
    known += facts.visit(message, source, sender.zone, is_over=False)
    return _of_patients(_pid(message), sender, Told(orders=told, facts=known))


def _result(message: Message, sender: Hl7Sender, _event: str, ours: frozenset[str]) -> Told:
    if message.one("OBR") is None:
        raise NotUnderstood("a result message without an OBR segment")
    reports, known = orders.told_results(message, sender, f"hl7 {sender.name}", sender.zone, ours)
    found = _of_patients(_pid(message), sender, Told(orders=reports, facts=known))
    if not reports and not known and not found.unused:
        return replace(found, unused="nothing in it but what this node told itself, or nothing that is read")
    return found


def _pid(message: Message) -> Segment:
    pids = list(message.named("PID"))
    if len(pids) != 1:
        raise NotUnderstood("a message of one patient with several PID segments" if pids else "no PID segment")
    return pids[0]


def _of_patients(pid: Segment, sender: Hl7Sender, told: Told) -> Told:
    found = patients.patients_of(pid, sender)
    identified = tuple(each for each in found if each.is_identified)
    unused = ""
    if not found:
        unused = "PID-3 names no identifier of an issuer that is known; see authorities of the sender"
    elif not identified:
        unused = "PID-3 names nobody: it is empty, or a placeholder"
    return replace(told, patients=identified, unused=unused)


def _made_at(message: Message, sender: Hl7Sender) -> str:
    """When it was made (MSH-7), or entered (EVN-2)."""
    evn = message.one("EVN")
    return said_at(message.header.text(7), sender.zone) or (said_at(evn.text(2), sender.zone) if evn else "")
