"""Which part of the body a series of ours is of: the source's word, or none."""

from __future__ import annotations

from pydicom import Dataset


def state_body_part(dataset: Dataset, source: Dataset) -> None:
    """Copy Body Part Examined and Laterality; where the source has no part, Laterality is empty (PS3.3 §C.7.3.1).

    Laterality is type 2C: absent where the part is not paired. A part that nobody named may be.
    """
    if source.get("BodyPartExamined"):
        dataset.BodyPartExamined = source.BodyPartExamined
        if source.get("Laterality"):
            dataset.Laterality = source.Laterality
        return
    dataset.Laterality = source.get("Laterality") or ""
