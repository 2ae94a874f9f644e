"""The Store Instances Response Module (PS3.18 Annex I) as DICOM JSON (PS3.18 Annex F) or XML (PS3.19 Annex A).

What was stored stands in Referenced SOP Sequence, what was not in Failed SOP Sequence with its Failure Reason, which is
the status that a C-STORE would have had (PS3.18 Table I.2-2 names the same ones); a part that does not even say which
instance it is, in Other Failures Sequence. Retrieve URL is empty: there is nothing to retrieve here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from node.receive.status import SUCCESS

JSON, XML = "application/dicom+json", "application/dicom+xml"
#: What may be asked for, and what it is answered with; the first is the default.
_OFFERED = {JSON: JSON, "application/json": "application/json", XML: XML}

_NAMES = {
    "00081150": ("ReferencedSOPClassUID", "UI"),
    "00081155": ("ReferencedSOPInstanceUID", "UI"),
    "00081190": ("RetrieveURL", "UR"),
    "00081197": ("FailureReason", "US"),
    "00081198": ("FailedSOPSequence", "SQ"),
    "00081199": ("ReferencedSOPSequence", "SQ"),
    "0008119A": ("OtherFailuresSequence", "SQ"),
}
#: Tag → values, in the order of the tags; a sequence holds more of these.
_Item = dict[str, list["str | int | _Item"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one part."""

    status: int
    #: Both empty where the part does not say which instance it is.
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    #: Why it failed.
    reason: str = ""
    #: It may be stored when it is sent again.
    later: bool = False


def offered_for(accept: str) -> str | None:
    """The media type to answer with, for an `Accept` field (RFC 9110 §12.5.1); `None` where none is acceptable."""
    wanted: dict[str, float] = {}
    for each in accept.split(","):
        name, *parameters = (part.strip().lower() for part in each.split(";"))
        if name:
            wanted[name] = _weight(parameters)
    best, best_weight = None, 0.0
    for name, answered in _OFFERED.items():
        # `multipart/related; type="application/dicom+xml"` is how earlier editions asked for XML.
        weight = wanted.get(name, wanted.get("application/*", wanted.get("*/*", 0.0 if wanted else 1.0)))
        if weight > best_weight:
            best, best_weight = answered, weight
    return best


def http_status(outcomes: Sequence[Outcome]) -> int:
    """The status of the whole (PS3.18 Table 10.5.3-1): 200, 202, 409; 503 where all may be stored later."""
    failed = [outcome for outcome in outcomes if outcome.status != SUCCESS]
    if not failed:
        return 200
    if len(failed) < len(outcomes):
        return 202
    return 503 if all(outcome.later for outcome in failed) else 409


def written(outcomes: Sequence[Outcome], media_type: str) -> bytes:
    """Write the module."""
    module: _Item = {"00081190": []}
    failed: list[str | int | _Item] = []
    stored: list[str | int | _Item] = []
    unknown: list[str | int | _Item] = []
    for outcome in outcomes:
        named: _Item = {"00081150": [outcome.sop_class_uid], "00081155": [outcome.sop_instance_uid]}
        reason: _Item = {"00081197": [outcome.status]}
        if outcome.status == SUCCESS:
            stored.append({**named, "00081190": []})
        elif outcome.sop_instance_uid and outcome.sop_class_uid:
            failed.append({**named, **reason})
        else:
            unknown.append(reason)
    for tag, items in (("00081198", failed), ("00081199", stored), ("0008119A", unknown)):
        if items:
            module[tag] = items
    if media_type == XML:
        head = '<?xml version="1.0" encoding="UTF-8"?><NativeDicomModel xml:space="preserve">'
        return f"{head}{_xml(module)}</NativeDicomModel>".encode()
    return json.dumps(_json(module), separators=(",", ":")).encode()


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0


def _json(item: _Item) -> dict[str, object]:
    told: dict[str, object] = {}
    for tag, values in item.items():
        element: dict[str, object] = {"vr": _NAMES[tag][1]}
        if values:
            element["Value"] = [_json(value) if isinstance(value, dict) else value for value in values]
        told[tag] = element
    return told


def _xml(item: _Item) -> str:
    told = []
    for tag, values in item.items():
        keyword, vr = _NAMES[tag]
        inner = "".join(
            f'<Item number="{number}">{_xml(value)}</Item>'
            if isinstance(value, dict)
            else f'<Value number="{number}">{escape(str(value))}</Value>'
            for number, value in enumerate(values, start=1)
        )
        told.append(f"<DicomAttribute tag={quoteattr(tag)} vr={quoteattr(vr)} keyword={quoteattr(keyword)}>{inner}")
        told.append("</DicomAttribute>")
    return "".join(told)
