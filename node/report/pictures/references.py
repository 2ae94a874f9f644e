"""How an output refers to the images, and frames, of the source."""

from __future__ import annotations

from collections.abc import Iterable

from highdicom.sr import CodedConcept
from pydicom import Dataset
from pydicom.sr.coding import Code

from node.report.evidence import SourceSlice


def image_references(slices: Iterable[SourceSlice], purpose: Code | None = None) -> list[Dataset]:
    """Items of the Image SOP Instance Reference Macro (PS3.3 Table 10-3), one an image, with its frames if it has any.

    With a `purpose` the items are those of a sequence that asks for one (PS3.3 §C.7.6.1.1.4).
    """
    items: dict[str, Dataset] = {}
    frames: dict[str, list[int]] = {}
    for source in slices:
        uid = str(source.header.SOPInstanceUID)
        item = items.setdefault(uid, Dataset())
        item.ReferencedSOPClassUID = source.header.SOPClassUID
        item.ReferencedSOPInstanceUID = uid
        if source.frame_number is not None and source.frame_number not in frames.setdefault(uid, []):
            frames[uid].append(source.frame_number)
            item.ReferencedFrameNumber = frames[uid] if len(frames[uid]) > 1 else frames[uid][0]
        if purpose is not None:
            item.PurposeOfReferenceCodeSequence = [CodedConcept.from_code(purpose)]
    return list(items.values())


def speaking(source: Dataset, image: Dataset) -> Dataset:
    """The header of one slice with what only the first one says of patient, study and equipment."""
    if image is source:
        return image
    whole = Dataset()
    whole.update(source)
    whole.update(image)
    return whole
