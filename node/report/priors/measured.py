"""What a report has measured: the groups of PS3.16 TID 1500 (1410, 1411, 1501), and what detection reports mark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isfinite

from node.domain.finding import Finding, Measurement
from node.domain.prior_document import PriorFinding
from node.domain.uid import is_usable_uid
from node.report.priors.narrative import FINDING, MEASUREMENT_GROUP, presence
from node.report.priors.tree import Node, code_of, key, plain

MOST_FINDINGS = 500
_MOST_MEASUREMENTS = 50
_MOST_IMAGES = 3
_TRACKING_IDENTIFIER, _TRACKING_UID = ("DCM", "112039"), ("DCM", "112040")
#: Finding Site (its SNOMED RT code is turned into this), and Laterality below it.
_SITE, _LATERALITY = ("SCT", "363698007"), ("SCT", "272741003")
_DERIVATION, _METHOD = ("DCM", "121401"), ("SCT", "370129005")
_ALGORITHM, _ALGORITHM_VERSION = ("DCM", "111001"), ("DCM", "111003")
_PARAMETERS = ("DCM", "111002")
#: Of detection reports (PS3.16 TID 4000 and below): what was found, and whether it is meant to be shown.
_DETECTED = frozenset({("DCM", "111015"), ("DCM", "111059")})
_RENDERING_INTENT, _NOT_FOR_PRESENTATION = ("DCM", "111056"), ("DCM", "111152")
_DIGEST = re.compile(r"\b(model|card)=([0-9a-f]{64})\b")


def findings(root: Node) -> tuple[tuple[PriorFinding, ...], int]:
    """Every finding with its measurements, in the order of the report; and how many were left out."""
    found = [made for node in root.each() if (made := _finding(node)) is not None]
    return tuple(found[:MOST_FINDINGS]), max(0, len(found) - MOST_FINDINGS)


def digests(texts: Iterator[str]) -> dict[str, str]:
    """Digests that our own objects tell: "model" and "card", as far as they are there."""
    return {name: digest for text in texts for name, digest in _DIGEST.findall(text)}


def _finding(node: Node) -> PriorFinding | None:
    if node.type == "CONTAINER" and key(node.concept) == MEASUREMENT_GROUP:
        code = node.coded_child(FINDING)
        is_there = presence(node)
    elif node.type == "CODE" and key(node.concept) in _DETECTED:
        code = node.code
        is_there = True
        if key(node.coded_child(_RENDERING_INTENT)) == _NOT_FOR_PRESENTATION:
            return None
    else:
        return None
    if code is None:
        return None
    site = next(iter(node.named(_SITE)), None)
    laterality = site.coded_child(_LATERALITY) if site is not None else None
    uid = _uid(node)
    segmentation_uid, segment_number = _segment(node)
    given = digests(each.text for each in node.named(_PARAMETERS))
    return PriorFinding(
        finding=Finding(
            code=code,
            segment_number=segment_number,
            measurements=tuple(_measurements(node))[:_MOST_MEASUREMENTS],
            present=is_there,
            tracking_identifier=plain(node.text_child(_TRACKING_IDENTIFIER), 64),
            tracking_uid=uid,
            laterality=laterality or node.coded_child(_LATERALITY),
            key_images=tuple(dict.fromkeys(_images(node)))[:_MOST_IMAGES],
            site=site.code if site is not None else None,
        ),
        segmentation_uid=segmentation_uid,
        algorithm=" ".join(filter(None, (node.text_child(_ALGORITHM), node.text_child(_ALGORITHM_VERSION)))),
        model_digest=given.get("model", ""),
        card_digest=given.get("card", ""),
    )


def _uid(node: Node) -> str:
    for each in node.named(_TRACKING_UID):
        uid = str(each.dataset.get("UID", "") or "")
        if is_usable_uid(uid):
            return uid
    return ""


def _measurements(node: Node) -> Iterator[Measurement]:
    """The NUM items directly below, and below those (PS3.16 TID 300, TID 4110)."""
    for each in node.children:
        made = _measurement(each)
        if made is not None:
            yield made


def _measurement(node: Node) -> Measurement | None:
    values = node.dataset.get("MeasuredValueSequence") if node.type == "NUM" else None
    if not values or node.concept is None:
        return None
    unit = code_of(values[0], "MeasurementUnitsCodeSequence")
    number = values[0].get("FloatingPointValue")
    try:
        value = float(values[0].NumericValue if number is None else number)
    except (TypeError, ValueError, AttributeError):
        return None
    if not isfinite(value) or unit is None:
        return None
    return Measurement(
        quantity=node.concept,
        value=value,
        unit=unit,
        derivation=node.coded_child(_DERIVATION),
        method=node.coded_child(_METHOD),
    )


def _references(node: Node) -> Iterator[tuple[str, int | None]]:
    """SOP Instance UID and segment number of what a group refers to, regions and their images included."""
    for each in node.each():
        for item in each.dataset.get("ReferencedSOPSequence") or []:
            uid = str(item.get("ReferencedSOPInstanceUID", "") or "")
            number = item.get("ReferencedSegmentNumber")
            number = number[0] if isinstance(number, list) and number else number
            if is_usable_uid(uid):
                yield uid, int(number) if isinstance(number, int) and number > 0 else None


def _segment(node: Node) -> tuple[str, int | None]:
    """SOP Instance UID and number of the segment that a group is about."""
    return next(((uid, number) for uid, number in _references(node) if number is not None), ("", None))


def _images(node: Node) -> Iterator[str]:
    return (uid for uid, number in _references(node) if number is None)
