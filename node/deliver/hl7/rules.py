"""What a template may never say: it is refused when it is loaded.

A result of ours is preliminary in every part, under numbers of our own, and changes no order unless the site allows it.
"""

from __future__ import annotations

from node.config import Route
from node.deliver.hl7.template import Line, Template, Wrong

#: MSH-9 up to the event → whether it changes orders.
_TYPES = {"ORU^R01": False, "ORM^O01": True, "OMI^O23": True}
#: Envelopes, and answers to others.
_NEVER = frozenset({"FHS", "FTS", "BHS", "BTS", "MSA", "ERR", "DSC", "ADD"})
_FIXED = {10: "{control_id}", 11: "{processing_id}", 12: "{version}", 18: "{character_set}"}
#: Table 0123, Result Status, and table 0085, Observation Result Status: preliminary.
_PRELIMINARY = "P"
#: Table 0119: observations to follow; it asks nothing of an order.
_OBSERVATIONS = "RE"
OWN_CODES = "99MATINS"
#: By which image availability is told, too (PS3.16 Annex D).
_STUDY = "110180^Study Instance UID^DCM"


def check(template: Template, route: Route) -> None:
    """Raise unless the route may send messages of this template.

    Raises:
        Wrong: with the line.
    """
    head = template.lines[0]
    if not head.text.startswith("MSH|^~\\&|") or head.given:
        raise Wrong(head.number, "the first segment is MSH|^~\\&|, always there")
    for line in template.lines[1:]:
        if line.segment == "MSH" or line.segment in _NEVER:
            raise Wrong(line.number, f"{line.segment} has no place here")
    for number, fixed in _FIXED.items():
        if head.field(number) != fixed:
            raise Wrong(head.number, f"MSH-{number} is {fixed}: an acknowledgement and a repetition are known by it")
    changes = _TYPES.get(template.message_type)
    if changes is None:
        raise Wrong(head.number, f"MSH-9 is one of {', '.join(_TYPES)}, written out")
    if not any("{accession_number}" in line.text for line in template.lines):
        raise Wrong(head.number, "no segment names {accession_number}: the worklist could not match it")
    for line in template.of("OBX"):
        _observation(line)
    _order(template, head) if changes else _result(template, head)
    _version(template, head, route, changes=changes)


def _observation(line: Line) -> None:
    if line.field(11) != _PRELIMINARY:
        raise Wrong(line.number, "OBX-11 is P: what a model found is preliminary, and nothing else")
    if line.field(3).split("^")[2:3] != [OWN_CODES] and line.field(3) != _STUDY:
        raise Wrong(line.number, f"OBX-3 is an identifier of our own, NAME^Text^{OWN_CODES}")


def _result(template: Template, head: Line) -> None:
    if len(template.of("OBR")) != 1 or not template.of("OBX"):
        raise Wrong(head.number, "ORU has one OBR, and OBX")
    (request,) = template.of("OBR")
    if request.field(25) != _PRELIMINARY:
        raise Wrong(request.number, "OBR-25 is P: what a model found is preliminary, and nothing else")
    if not request.field(3).startswith("{filler_number}"):
        raise Wrong(request.number, "OBR-3 is {filler_number}: a number of our own, never that of a report")
    for line in template.of("ORC"):
        if line.field(1) != _OBSERVATIONS:
            raise Wrong(line.number, "ORC-1 of an ORU is RE: it asks nothing of the order")


def _order(template: Template, head: Line) -> None:
    if not template.of("ORC"):
        raise Wrong(head.number, "an order message has an ORC")
    for line in template.of("ORC"):
        if not line.field(1).isalpha():
            raise Wrong(line.number, "ORC-1 is written out: what is asked of the order")
    for line in template.of("OBR"):
        if line.field(25) not in ("", _PRELIMINARY):
            raise Wrong(line.number, "OBR-25 is P, or empty")


def _version(template: Template, head: Line, route: Route, *, changes: bool) -> None:
    if changes and not route.may_change_orders:
        problem = f"{template.message_type} changes orders, which are the RIS's: may_change_orders has to allow it"
        raise Wrong(head.number, problem)
    if template.message_type == "OMI^O23" and route.version < "2.5":
        raise Wrong(head.number, f"OMI^O23 exists from version 2.5 on, and this route sends {route.version}")
