"""References to all source instances, encoded: a series has hundreds, and a report or Segmentation names each."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset

from node.report.segments.explicit_vr import item, sequence, text


def reference(header: Dataset) -> bytes:
    """The two elements of the SOP Instance Reference Macro (PS3.3 Table 10-11)."""
    return text("ReferencedSOPClassUID", "UI", header.SOPClassUID) + text(
        "ReferencedSOPInstanceUID", "UI", header.SOPInstanceUID
    )


def instances(headers: Iterable[Dataset]) -> bytes:
    """Items that refer to one instance each."""
    return b"".join(item(reference(header)) for header in headers)


def by_series(headers: Iterable[Dataset], keyword: str) -> bytes:
    """Items of one series each, with the instances in the sequence `keyword` (PS3.3 Table 10-4, §C.12.2)."""
    series: dict[str, list[Dataset]] = {}
    for header in headers:
        series.setdefault(str(header.SeriesInstanceUID), []).append(header)
    items = []
    for uid, members in series.items():
        listed = sequence(keyword, [instances(members)])
        named = text("SeriesInstanceUID", "UI", uid)
        items.append(item(listed, named))
    return b"".join(items)


def evidence_of_study(study_instance_uid: str, headers: Iterable[Dataset]) -> bytes:
    """The item of one study of Current Requested Procedure Evidence Sequence (0040,A375), each instance once."""
    once = {str(header.SOPInstanceUID): header for header in headers}
    series = sequence("ReferencedSeriesSequence", [by_series(once.values(), "ReferencedSOPSequence")])
    return item(series, text("StudyInstanceUID", "UI", study_instance_uid))
