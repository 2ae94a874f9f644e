"""Whom a message is about: PID and MRG (chapter 3), as patients of the issuers that this node knows."""

from __future__ import annotations

from collections.abc import Iterable

from node.config.hl7 import Hl7Sender
from node.domain.patient import Patient
from node.domain.told import Move
from node.receive.hl7.syntax import Element, Message, NotUnderstood, Segment
from node.receive.hl7.times import day

#: Identifier types (CX.5, table 0203) that name a patient of an issuer; an empty one is taken for one of these.
#: Others are numbers of accounts, visits, insurances and persons.
_PATIENT_IDENTIFIERS = frozenset(("", "MR", "PI", "PT"))
#: PID-8 (table 0001) → Patient's Sex (0010,0040); unknown and not applicable say nothing.
_SEXES = {"M": "M", "F": "F", "O": "O", "A": "O"}
#: Patient ID (0010,0020) is an LO: characters.
_LONGEST_ID = 64
_NAME, _BIRTH_DATE, _SEX = 5, 7, 8
_FIELDS = {"name": _NAME, "birth_date": _BIRTH_DATE, "sex": _SEX}


def patients_of(pid: Segment, sender: Hl7Sender) -> tuple[Patient, ...]:
    """The patient under every identifier of PID-3 that an issuer we know has assigned, one an issuer."""
    known = {
        "name": _name(pid.first(_NAME)),
        "birth_date": day(pid.text(_BIRTH_DATE)),
        "sex": _SEXES.get(pid.text(_SEX).upper(), ""),
    }
    return tuple(Patient(patient_id=patient_id, issuer=issuer, **known) for issuer, patient_id in _ids(pid, 3, sender))


def deleted_of(pid: Segment) -> tuple[str, ...]:
    """Which of name, birth date and sex are deleted ("")."""
    return tuple(name for name, number in _FIELDS.items() if pid.first(number).is_null)


def moves_of(message: Message, sender: Hl7Sender) -> tuple[Move, ...]:
    """What a merge says (A40, A34) or a change of identifier (A47): each MRG-1 is the patient of the PID before it.

    Raises:
        NotUnderstood: a PID without MRG or an MRG without PID, or an identifier of the one side whose issuer the other
            side has none of: two hospitals' patients are never merged.
    """
    moves: list[Move] = []
    pid: Segment | None = None
    pairs = 0
    for segment in message.named("PID", "MRG"):
        if segment.name == "PID":
            pid = segment
            continue
        if pid is None:
            raise NotUnderstood("an MRG segment without a PID segment before it")
        moves += _moves(pid, segment, sender)
        pid, pairs = None, pairs + 1
    if pid is not None or not pairs:
        raise NotUnderstood("a PID segment without an MRG segment after it")
    return tuple(moves)


def separations_of(message: Message, sender: Hl7Sender) -> tuple[Move, ...]:
    """What A37 says: the patients of its two PID segments are not one.

    Raises:
        NotUnderstood: it has not two of them, or they have no issuer in common.
    """
    pids = list(message.named("PID"))
    if len(pids) != 2:
        raise NotUnderstood("an A37 without two PID segments")
    first, second = ({each.issuer: each for each in patients_of(pid, sender)} for pid in pids)
    common = [issuer for issuer in first if issuer in second]
    if not common:
        raise NotUnderstood("the two PID segments have no known issuer in common")
    return tuple(Move(patient=first[issuer], survivor=second[issuer]) for issuer in common)


def _moves(pid: Segment, mrg: Segment, sender: Hl7Sender) -> Iterable[Move]:
    survivors = {each.issuer: each for each in patients_of(pid, sender)}
    prior = list(_ids(mrg, 1, sender))
    if not survivors or not prior:
        raise NotUnderstood("PID-3 or MRG-1 names no identifier of an issuer that is known")
    for issuer, patient_id in prior:
        if issuer not in survivors:
            raise NotUnderstood("MRG-1 and PID-3 are of different issuers, and these are never merged")
        yield Move(patient=Patient(patient_id=patient_id, issuer=issuer), survivor=survivors[issuer])


def _ids(segment: Segment, number: int, sender: Hl7Sender) -> Iterable[tuple[str, str]]:
    """(issuer, Patient ID) of each identifier of a field that counts: the first of an issuer in PID-3, all in MRG-1."""
    seen: set[str] = set()
    for element in segment.elements(number):
        if element.is_null or element.text(5).upper() not in _PATIENT_IDENTIFIERS:
            continue
        issuer, patient_id = _issuer(element, sender), element.text(1)
        if issuer is None or len(patient_id) > _LONGEST_ID or (segment.name == "PID" and issuer in seen):
            continue
        seen.add(issuer)
        yield issuer, patient_id


def _issuer(element: Element, sender: Hl7Sender) -> str | None:
    """Our name for the assigning authority of an identifier (CX.4); `None` where that is not ours."""
    named = [text for text in (element.text(4, 1), element.text(4, 2)) if text]
    if not named:
        return sender.issuer
    issuers = {sender.authorities[text] for text in named if text in sender.authorities}
    # A name space and a universal ID of two issuers: nobody can say whose it is.
    return issuers.pop() if len(issuers) == 1 else None


def _name(element: Element) -> str:
    """PID-5 (XPN) as a PN value (PS3.5 §6.2): family, given, middle; prefix and suffix are of no use here."""
    parts = [element.text(number).replace("^", " ").replace("=", " ") for number in (1, 2, 3)]
    return "^".join(parts).rstrip("^")
