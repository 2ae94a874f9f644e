"""C-FIND of the Study Root information model (PS3.4 §C.6.2), answered from headers in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

#: Level → (its unique key, unique keys of the levels above), PS3.4 §C.6.2.1.
_LEVELS = {
    "STUDY": ("StudyInstanceUID", ()),
    "SERIES": ("SeriesInstanceUID", ("StudyInstanceUID",)),
    "IMAGE": ("SOPInstanceUID", ("StudyInstanceUID", "SeriesInstanceUID")),
}
#: Say how the query is meant, and are no keys.
_NOT_KEYS = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC", "RetrieveAETitle"})
_RANGES = frozenset({"DA", "TM", "DT"})
#: Value representations without wild cards (PS3.4 §C.2.2.2.4).
_EXACT = frozenset({"UI", "DA", "TM", "DT", "AS", "IS", "DS", "US", "UL", "SS", "SL", "FL", "FD"})


class BadQuery(ValueError):
    """The identifier does not fit the information model."""


def answers(identifier: Dataset, headers: Sequence[Dataset]) -> Iterator[Dataset]:
    """Yield one data set a match: the keys asked for, with their values.

    Raises:
        BadQuery: no known level, or a unique key of a level above is missing (PS3.4 §C.4.1.2.1).
    """
    level = str(identifier.get("QueryRetrieveLevel", ""))
    if level not in _LEVELS:
        raise BadQuery(f"Query/Retrieve Level {level!r} is not one of {', '.join(_LEVELS)}")
    unique, above = _LEVELS[level]
    for keyword in above:
        if not identifier.get(keyword):
            raise BadQuery(f"{keyword} is needed at level {level}")
    entities: dict[str, list[Dataset]] = {}
    for header in headers:
        entities.setdefault(str(header.get(unique)), []).append(header)
    return (
        _answer(identifier, entity, level)
        for entity in (_described(members, headers) for members in entities.values())
        if all(_matches(key, entity) for key in identifier)
    )


def _described(members: Sequence[Dataset], headers: Sequence[Dataset]) -> Dataset:
    """What is said of an entity: its first instance's attributes, and the counts (PS3.4 §C.3.4)."""
    entity = Dataset()
    entity.update(members[0])
    study = [header for header in headers if header.StudyInstanceUID == entity.StudyInstanceUID]
    series = [header for header in study if header.SeriesInstanceUID == entity.SeriesInstanceUID]
    entity.ModalitiesInStudy = sorted({str(header.get("Modality", "")) for header in study} - {""})
    entity.SOPClassesInStudy = sorted({str(header.SOPClassUID) for header in study})
    entity.NumberOfStudyRelatedSeries = len({str(header.SeriesInstanceUID) for header in study})
    entity.NumberOfStudyRelatedInstances = len(study)
    entity.NumberOfSeriesRelatedInstances = len(series)
    entity.InstanceAvailability = "ONLINE"
    return entity


def _answer(identifier: Dataset, entity: Dataset, level: str) -> Dataset:
    answer = Dataset()
    if "SpecificCharacterSet" in entity:
        answer.SpecificCharacterSet = entity.SpecificCharacterSet
    for key in identifier:
        if key.keyword not in _NOT_KEYS:
            answer.add(entity[key.tag] if key.tag in entity else DataElement(key.tag, key.VR, None))
    answer.QueryRetrieveLevel = level
    return answer


def _matches(key: DataElement, entity: Dataset) -> bool:
    if key.keyword in _NOT_KEYS or key.VR == "SQ" or key.is_empty:
        return True
    values = _texts(entity[key.tag]) if key.tag in entity else []
    return any(_fits(value, wanted, key.VR) for value in values for wanted in _texts(key))


def _texts(element: DataElement) -> list[str]:
    if element.is_empty:
        return []
    return [str(value) for value in (element.value if element.VM > 1 else [element.value])]


def _fits(value: str, wanted: str, vr: str) -> bool:
    if vr in _RANGES and "-" in wanted:
        first, last = wanted.split("-", 1)
        return (not first or value >= first) and (not last or value[: len(last)] <= last)
    if vr in _EXACT:
        return value == wanted
    pattern = re.escape(wanted).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(pattern, value, re.IGNORECASE if vr == "PN" else 0) is not None
