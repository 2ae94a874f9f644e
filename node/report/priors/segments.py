"""What the segments of a segmentation are (PS3.3 §C.8.20.2), without their pixels."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset

from node.domain.finding import LEFT, RIGHT, RIGHT_AND_LEFT, Code, Finding
from node.domain.prior_document import PriorFinding
from node.domain.uid import is_usable_uid
from node.report.priors.measured import MOST_FINDINGS, digests
from node.report.priors.tree import code_of, key, plain

_SIDES = {key(each): each for each in (LEFT, RIGHT, RIGHT_AND_LEFT)}
_LONGEST = 64
#: Of more nobody asks: no series has as many.
_MOST_IMAGES = 20_000


def findings(dataset: Dataset) -> tuple[tuple[PriorFinding, ...], int]:
    """A finding a segment, and how many were left out; one without a code is not told."""
    items = dataset.get("SegmentSequence") or []
    uid = str(dataset.get("SOPInstanceUID", "") or "")
    found = [_finding(item, uid) for item in items[:MOST_FINDINGS]]
    return tuple(each for each in found if each is not None), max(0, len(items) - MOST_FINDINGS)


def made_on(dataset: Dataset) -> tuple[str, ...]:
    """Series Instance UIDs of the images that it names (PS3.3 §C.12.1.1.1): usable ones, each once."""
    named = (str(each.get("SeriesInstanceUID", "") or "") for each in dataset.get("ReferencedSeriesSequence") or [])
    return tuple(dict.fromkeys(uid for uid in named if is_usable_uid(uid)))


def made_of(dataset: Dataset) -> tuple[str, ...]:
    """SOP Instance UIDs of the images that it names, for its series or for a frame (PS3.3 §C.8.20, §C.7.6.16.2.6)."""
    named: dict[str, None] = {}
    for series in dataset.get("ReferencedSeriesSequence") or []:
        _note(named, series.get("ReferencedInstanceSequence"))
    for frame in (
        dataset.get("SharedFunctionalGroupsSequence") or [],
        dataset.get("PerFrameFunctionalGroupsSequence") or [],
    ):
        for groups in frame:
            for derivation in groups.get("DerivationImageSequence") or []:
                _note(named, derivation.get("SourceImageSequence"))
    return tuple(named)


def is_drawn(dataset: Dataset) -> bool:
    """Whether a person has drawn each of its segments, or helped to (0062,0008), and each has a coded type."""
    items = dataset.get("SegmentSequence") or []
    shown = [item for item in items if item.get("SegmentNumber") != 0]
    types = {str(item.get("SegmentAlgorithmType", "") or "") for item in shown}
    is_coded = all(code_of(item, "SegmentedPropertyTypeCodeSequence") is not None for item in shown)
    return bool(shown) and is_coded and types <= {"MANUAL", "SEMIAUTOMATIC"}


def _note(named: dict[str, None], items: Iterable[Dataset] | None) -> None:
    for item in items or ():
        uid = str(item.get("ReferencedSOPInstanceUID", "") or "")
        # One that cannot be used is kept too: it is none of ours, and says so.
        if len(named) < _MOST_IMAGES:
            named[uid] = None


def _finding(item: Dataset, segmentation_uid: str) -> PriorFinding | None:
    code = code_of(item, "SegmentedPropertyTypeCodeSequence")
    number = item.get("SegmentNumber")
    if code is None or not isinstance(number, int) or number < 1:
        return None
    tracking_uid = str(item.get("TrackingUID", "") or "")
    given = digests(iter(_parameters(item)))
    is_made = str(item.get("SegmentAlgorithmType", "") or "") != "MANUAL"
    return PriorFinding(
        finding=Finding(
            code=code,
            segment_number=number,
            tracking_identifier=plain(str(item.get("TrackingID", "") or ""), _LONGEST),
            tracking_uid=tracking_uid if is_usable_uid(tracking_uid) else "",
            laterality=_side(item),
            site=code_of(item, "AnatomicRegionSequence"),
        ),
        segmentation_uid=segmentation_uid,
        algorithm=plain(str(item.get("SegmentAlgorithmName", "") or ""), _LONGEST) if is_made else "",
        model_digest=given.get("model", ""),
        card_digest=given.get("card", ""),
    )


def _parameters(item: Dataset) -> list[str]:
    identified = item.get("SegmentationAlgorithmIdentificationSequence")
    return [str(identified[0].get("AlgorithmParameters", "") or "")] if identified else []


def _side(item: Dataset) -> Code | None:
    for keyword in ("SegmentedPropertyTypeModifierCodeSequence",):
        modifiers = item.get(keyword) or []
        type_items = item.get("SegmentedPropertyTypeCodeSequence") or []
        for place in (*modifiers, *(one for each in type_items for one in each.get(keyword) or [])):
            holder = Dataset()
            holder.ConceptCodeSequence = [place]
            side = _SIDES.get(key(code_of(holder, "ConceptCodeSequence")))
            if side is not None:
                return side
    return None
