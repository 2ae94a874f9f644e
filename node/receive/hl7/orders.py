"""What a message says of orders (ORM, OMI: chapter 4) and of reports (ORU: chapter 7)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from node.config.hl7 import Hl7Sender
from node.domain.history import Fact
from node.domain.priority import lane_of_requested_priority, requested_priority_of_hl7
from node.domain.report_state import FROM_OBR_25, ReportState
from node.domain.told import ToldFacts, ToldOrder
from node.domain.uid import is_usable_uid
from node.receive.hl7.facts import LONGEST_VALUE, coded_of, told_observations, words_of
from node.receive.hl7.syntax import Element, Message, Segment
from node.receive.hl7.times import observed

#: ORC-1 (table 0119): nobody wants the order any more, or it is replaced by the one that follows.
_CANCELS = frozenset(("CA", "OC", "CR", "DC", "OD", "DR", "RP"))
#: ORC-5 (table 0038): cancelled, discontinued.
_CANCELLED = frozenset(("CA", "DC"))
#: ORC-1: the status of the order has changed, an observation follows; only then does an order message tell of a report.
_STATUS_CHANGES = frozenset(("SC", "RE"))
#: OBR-24 (table 0074): sections that make images.
_IMAGING = frozenset(("RAD", "RUS", "CT", "CTH", "NMR", "NMS", "CUS", "VUS", "OUS", "XRC"))
#: OBX-3: the impression of a report.
_IMPRESSIONS = frozenset(("LN:19005-8",))
_TEXT_TYPES = frozenset(("TX", "FT", "ST", "CE", "CWE"))
#: Orders of one message that are looked at.
_MOST_ORDERS = 200
#: Accession Number (0008,0050) is an SH: characters.
_LONGEST_SH = 16
#: Characters of an order's number that are kept (EI of HL7 v2.5.1: 22 for both components; others write more).
_LONGEST_NUMBER = 128


@dataclass(slots=True)
class _Group:
    """One order with what belongs to it, in the order of the message."""

    segments: list[Segment] = field(default_factory=list)

    def one(self, name: str) -> Segment | None:
        return next((each for each in self.segments if each.name == name), None)

    def text(self, place: str) -> str:
        """The first component of a field, as "OBR-18"."""
        name, _, number = place.partition("-")
        segment = self.one(name)
        return segment.text(int(number)) if segment is not None else ""

    def elements(self, name: str, number: int) -> list[Element]:
        segment = self.one(name)
        return segment.elements(number) if segment is not None else []


def told_orders(
    message: Message, sender: Hl7Sender, source: str, zone: ZoneInfo | None, ours: frozenset[str]
) -> tuple[ToldOrder, ...]:
    """What an order message says of each of its orders; several of one number, or of none, are one.

    `ours`: as in `told_results`: a priority that this node has asked for is no person's when it comes back.
    """
    told = []
    for group in _groups(message, "ORC"):
        if _is_ours(group, (), ours):
            continue
        control = group.text("ORC-1").upper()
        cancelled = control in _CANCELS or group.text("ORC-5").upper() in _CANCELLED
        report = _report_state(group) if control in _STATUS_CHANGES else None
        facts = None if control in _STATUS_CHANGES or cancelled else _reasons(group, source, zone)
        told.append(
            ToldOrder(
                accession_number=_accession(group, sender),
                study_instance_uid=_study(group),
                placer_number=_number(group, 2),
                filler_number=_number(group, 3),
                priority=None if cancelled else _priority(group, sender),
                cancelled=cancelled,
                facts=facts,
                report=report,
            )
        )
    return tuple(_gathered(_agreed(told)))


def told_results(
    message: Message, sender: Hl7Sender, source: str, zone: ZoneInfo | None, ours: frozenset[str]
) -> tuple[tuple[ToldOrder, ...], tuple[ToldFacts, ...]]:
    """What a result message says: reports of images, and observations of any other kind.

    `ours`: how this node calls itself, in capitals: what it has told the reading list is no radiologist's report.
    """
    reports, facts = [], []
    for group in _groups(message, "OBR"):
        observations = [each for each in group.segments if each.name == "OBX"]
        if _is_ours(group, observations, ours):
            continue
        at = observed(group.text("OBR-7"), zone)
        if _is_of_images(group, observations):
            impression = _impression(group, observations, source, at)
            reports.append(
                ToldOrder(
                    accession_number=_accession(group, sender),
                    study_instance_uid=_study(group),
                    report=_report_state(group),
                    impression=impression,
                )
            )
        elif observations and group.text("OBR-25").upper() != "X":
            facts.append(told_observations(observations, source, zone, at))
    return tuple(_agreed(reports)), tuple(facts)


def _agreed(reports: Sequence[ToldOrder]) -> list[ToldOrder]:
    """Reports of one order count as far as the least of them is: half of it signed is not signed."""
    steps = list(ReportState)
    least: dict[tuple[str, str], ReportState] = {}
    for each in reports:
        key = (each.accession_number, each.study_instance_uid)
        if each.report is not None:
            least[key] = min(each.report, least.get(key, each.report), key=steps.index)
    return [replace(each, report=least.get((each.accession_number, each.study_instance_uid))) for each in reports]


def _gathered(told: Sequence[ToldOrder]) -> Iterable[ToldOrder]:
    """Parts of one order as one: the most urgent counts, all reasons do, and it is cancelled where all of them are."""
    together: dict[tuple[str, str, str, str], list[ToldOrder]] = {}
    for each in told:
        key = (each.accession_number, each.study_instance_uid, each.placer_number, each.filler_number)
        together.setdefault(key, []).append(each)
    for parts in together.values():
        priorities = [each.priority for each in parts if each.priority is not None]
        reasons = [each.facts for each in parts if each.facts is not None]
        yield replace(
            parts[0],
            priority=min(priorities, key=lambda text: lane_of_requested_priority(text).order, default=None),
            cancelled=all(each.cancelled for each in parts),
            facts=tuple(fact for facts in reasons for fact in facts) if reasons else None,
        )


def _groups(message: Message, first: str) -> Iterable[_Group]:
    """What stands from one ORC (or OBR) to the next; an ORC before an OBR belongs to it."""
    groups: list[_Group] = []
    before: list[Segment] = []
    for segment in message.segments:
        if segment.name == first:
            groups.append(_Group([*before, segment]))
            before = []
        elif segment.name == "ORC":
            before = [segment]
        elif groups and segment.name in ("OBR", "TQ1", "IPC", "ZDS", "OBX"):
            groups[-1].segments.append(segment)
    return groups[:_MOST_ORDERS]


def _accession(group: _Group, sender: Hl7Sender) -> str:
    found = next((text for place in sender.accession if (text := group.text(place))), "")
    return found if len(found) <= _LONGEST_SH and "\\" not in found else ""


def _number(group: _Group, field_number: int) -> str:
    """Placer (2) or Filler Order Number (3) with its namespace (EI.1, EI.2); empty where there is none."""
    for name in ("ORC", "OBR"):
        for each in group.elements(name, field_number)[:1]:
            parts = [each.text(1), each.text(2)]
            if parts[0]:
                return "^".join(filter(None, parts))[:_LONGEST_NUMBER]
    return ""


def _study(group: _Group) -> str:
    """Study Instance UID: IPC-3 (OMI), or ZDS-1 as IHE has it in ORM; empty where it is no UID."""
    uid = group.text("IPC-3") or group.text("ZDS-1")
    return uid if is_usable_uid(uid) else ""


def _priority(group: _Group, sender: Hl7Sender) -> str | None:
    """Priority as the order has it: TQ1-9, else the sixth component of ORC-7 or OBR-27 (TQ)."""
    said = [each.text(1) for each in group.elements("TQ1", 9)]
    said += [each.text(6) for name, number in (("ORC", 7), ("OBR", 27)) for each in group.elements(name, number)]
    written = next(filter(None, said), "")
    return sender.priorities.get(written) or requested_priority_of_hl7(written)


def _reasons(group: _Group, source: str, zone: ZoneInfo | None) -> tuple[Fact, ...]:
    """Why it was ordered (OBR-31) and what is known of it (OBR-13), of the time of the order (ORC-9)."""
    at = observed(group.text("ORC-9"), zone)
    reasons = [(words_of(each), coded_of(each)) for each in group.elements("OBR", 31) if not each.is_null]
    facts = [
        Fact(code="reason_for_request", value=words, source=source, coded=coded, observed_at=at)
        for words, coded in reasons
        if words
    ]
    known = " ".join(each.text(1) for each in group.elements("OBR", 13) if not each.is_null).strip()
    if known:
        facts.append(Fact(code="additional_history", value=known[:LONGEST_VALUE], source=source, observed_at=at))
    return tuple(facts)


def _report_state(group: _Group) -> ReportState | None:
    return FROM_OBR_25.get(group.text("OBR-25").upper())


def _is_of_images(group: _Group, observations: Sequence[Segment]) -> bool:
    """Whether a result is the report of images: by its section, or because it has an impression."""
    return group.text("OBR-24").upper() in _IMAGING or any(map(_is_impression, observations))


def _is_impression(obx: Segment) -> bool:
    element = obx.first(3)
    # "&IMP" is the suffix of earlier versions (§7.1.4).
    return coded_of(element) in _IMPRESSIONS or "IMP" in (element.text(1), element.text(1, 2))


def _impression(group: _Group, observations: Sequence[Segment], source: str, at: str) -> tuple[Fact, ...]:
    """The impression as one fact; none of a report that is not signed, which may yet change."""
    if _report_state(group) is not ReportState.FINAL:
        return ()
    lines = [
        " ".join(each.text(2) or each.text(1) for each in obx.elements(5))
        for obx in observations
        if _is_impression(obx) and obx.text(2).upper() in _TEXT_TYPES
    ]
    text = " ".join(filter(None, lines)).strip()[:LONGEST_VALUE]
    return (Fact(code="report", value=text, source=source, observed_at=at),) if text else ()


def _is_ours(group: _Group, observations: Sequence[Segment], ours: frozenset[str]) -> bool:
    """Whether we told this ourselves and it comes back: by the filler (EI.2, EI.3), or by whom an observation is."""
    fillers = [*group.elements("OBR", 3), *group.elements("ORC", 3)]
    named = {each.text(number).upper() for each in fillers for number in (2, 3)}
    named |= {each.text(number).upper() for each in group.elements("OBR", 4) for number in (3, 6)}
    for obx in observations:
        named |= {obx.text(number, component).upper() for number in (15, 16, 18, 25) for component in (1, 2)}
        named |= {obx.text(3, component).upper() for component in (3, 6)}
    return bool(named & ours)
