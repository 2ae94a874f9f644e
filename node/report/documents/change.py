"""What has changed since a prior, as it stands in the measurement group of a finding (PS3.16 TID 1411).

The verdict is a qualitative evaluation, with the terms that reports on the chest and the breast have for it (CID 6134,
CID 6002). The difference in size is a number in per cent (CID 6133) that is inferred from the image of the prior which
shows the finding best (TID 320). Sizes, interval and days are told by the sentence, and so is what cannot be compared
and what is no longer there: a lesion that is gone has no group of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from highdicom.sr import ContentSequence, ImageContentItem, QualitativeEvaluation, RelationshipTypeValues
from highdicom.sr import Measurement as MeasurementItem
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.change import Change, Verdict
from node.domain.finding import Code, Finding
from node.report.coding import coded
from node.report.evidence import Evidence
from node.report.prior_image import PriorImage
from node.triage.change_said import foremost, of_finding

#: PS3.16 CID 6134 and, for what is new, CID 6002; "not comparable" and "resolved" have no term there.
_TERMS = {
    Verdict.GROWN: Code("15454001", "SCT", "Increase in size"),
    Verdict.SHRUNK: Code("19776001", "SCT", "Decrease in size"),
    Verdict.STABLE: Code("129723006", "SCT", "No significant changes in the finding"),
    Verdict.NEW: Code("129721008", "SCT", "New finding"),
}
#: PS3.16 CID 6133.
_DIFFERENCE = Code("442714003", "SCT", "Difference in size")
_PERCENT = Code("%", "UCUM", "Percent")
_DIGITS = 4


def evaluations(evidence: Evidence, finding: Finding) -> list[QualitativeEvaluation]:
    """The verdict on a finding; nothing where nothing was compared, or the two cannot be."""
    change = _own(evidence, finding)
    term = None if change is None else _TERMS.get(change.verdict)
    return [] if term is None else [QualitativeEvaluation(codes.DCM.QualitativeDifference, coded(term))]


def differences(evidence: Evidence, finding: Finding) -> list[MeasurementItem]:
    """The difference in size of a finding, where there is a verdict on it."""
    change = _own(evidence, finding)
    if change is None or change.ratio is None or change.verdict not in _TERMS:
        return []
    value = float(f"{100 * (change.ratio - 1):.{_DIGITS}g}")
    item = MeasurementItem(name=coded(_DIFFERENCE), value=value, unit=coded(_PERCENT))
    image = _image(evidence.prior_images, change)
    if image is not None:
        reference = ImageContentItem(
            name=codes.DCM.SourceOfMeasurement,
            referenced_sop_class_uid=image.sop_class_uid,
            referenced_sop_instance_uid=image.sop_instance_uid,
            relationship_type=RelationshipTypeValues.INFERRED_FROM,
        )
        item[0].ContentSequence = ContentSequence([*(item[0].get("ContentSequence") or ()), reference])
    return [item]


def referred(evidence: Evidence) -> list[PriorImage]:
    """The images of priors that the report refers to."""
    named = [
        image
        for finding in evidence.findings
        if finding.segment_number is not None and differences(evidence, finding)
        for change in [_own(evidence, finding)]
        if change is not None and (image := _image(evidence.prior_images, change)) is not None
    ]
    return list(dict.fromkeys(named))


def other_evidence(images: Sequence[PriorImage]) -> list[Dataset]:
    """Items of Pertinent Other Evidence Sequence (0040,A385): what lies in other studies (PS3.3 §C.17.2)."""
    studies: dict[str, dict[str, list[PriorImage]]] = {}
    for each in images:
        studies.setdefault(each.study_instance_uid, {}).setdefault(each.series_instance_uid, []).append(each)
    items = []
    for study_uid, by_series in sorted(studies.items()):
        study = Dataset()
        study.StudyInstanceUID = study_uid
        study.ReferencedSeriesSequence = [_series(uid, members) for uid, members in sorted(by_series.items())]
        items.append(study)
    return items


def _series(uid: str, members: Sequence[PriorImage]) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = uid
    series.ReferencedSOPSequence = []
    for each in members:
        instance = Dataset()
        instance.ReferencedSOPClassUID = each.sop_class_uid
        instance.ReferencedSOPInstanceUID = each.sop_instance_uid
        series.ReferencedSOPSequence.append(instance)
    return series


def _own(evidence: Evidence, finding: Finding) -> Change | None:
    """What stands for the change of a finding itself, not of lesions of it that are gone."""
    found = of_finding(finding, evidence.changes)
    return foremost([each for each in found if each.lesion_number or not each.prior_lesion_number])


def _image(images: Sequence[PriorImage], change: Change) -> PriorImage | None:
    return next((each for each in images if each.sop_instance_uid == change.prior_image), None)
