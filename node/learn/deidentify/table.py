"""Table E.1-1 of PS3.15 as a maintained library has it: what becomes of each attribute in the Basic Profile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache

from pydicom.datadict import dictionary_is_retired, dictionary_VR
from pydicom.tag import BaseTag

#: Edition of the standard that the table was taken from, as the library calls it.
EDITION = "2026c"


class Action(Enum):
    """What becomes of an attribute, the code that the standard writes (PS3.15 §E.1.1)."""

    REMOVED = "X"
    EMPTIED = "Z"
    REPLACED = "D"
    #: A UID that stands for this one takes its place.
    UID = "U"
    #: Its items are cleaned.
    CLEANED = "C"


#: Of several that the standard leaves open, the one that breaks no object.
_OF_CATEGORY = {
    "X_TAGS": Action.REMOVED,
    "Z_TAGS": Action.EMPTIED,
    "D_TAGS": Action.REPLACED,
    "U_TAGS": Action.UID,
    "X_Z_TAGS": Action.EMPTIED,
    "X_D_TAGS": Action.REMOVED,
    "X_Z_D_TAGS": Action.EMPTIED,
    "Z_D_TAGS": Action.REPLACED,
    "X_Z_U_STAR_TAGS": Action.CLEANED,
}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of the table by tag."""

    rows: Mapping[int, Action]
    #: (group, group mask): overlays and curves, of which nothing stays.
    groups: tuple[tuple[int, int], ...]

    def action(self, tag: BaseTag) -> Action | None:
        """What becomes of it; `None`: the table does not name it, and it stays."""
        return self.rows.get(int(tag))

    def is_foreign(self, tag: BaseTag) -> bool:
        """Whether nobody can know what it tells: private, of no dictionary, retired, or of an overlay or a curve."""
        if tag.is_private or any(tag.group & mask == group for group, mask in self.groups):
            return True
        try:
            dictionary_VR(tag)
        except KeyError:
            return True
        return dictionary_is_retired(tag)


@cache
def table() -> Table:
    """The table."""
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    found = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    rows = {
        group << 16 | element: action
        for category, action in _OF_CATEGORY.items()
        for group, element in (tag for tag in found[category] if len(tag) == 2)
    }
    groups = {(tag[0] & tag[2], tag[2]) for category in _OF_CATEGORY for tag in found[category] if len(tag) == 4}
    return Table(rows, tuple(sorted(groups)))
