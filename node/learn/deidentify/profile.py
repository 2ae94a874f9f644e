"""An object without the person it is of: PS3.15 Annex E, Basic Application Confidentiality Profile, and three options.

What stays, by option: intervals between dates, sex and age of the patient, words of descriptions that are no names.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.metadata import version
from typing import Any

from pydicom import DataElement, Dataset, FileMetaDataset
from pydicom._uid_dict import UID_dictionary
from pydicom.config import disable_value_validation
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag
from pydicom.uid import UID

from node import IMPLEMENTATION_VERSION_NAME
from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.errors import Failed
from node.learn.deidentify.contents import UNREADABLE
from node.learn.deidentify.identities import Sought
from node.learn.deidentify.pseudonyms import Pseudonyms
from node.learn.deidentify.table import EDITION, Action, table
from node.learn.deidentify.terms import cleaned

LIBRARY = "dicom-anonymizer"
#: PS3.15 Table E.1-1, column "Rtn. Pat. Chars. Opt.", of these what subgroups are made of.
_CHARACTERISTICS = frozenset({"PatientSex", "PatientAge"})
#: The same, "Clean Desc. Opt.": what tells which series suits a model.
_DESCRIPTIONS = frozenset({"StudyDescription", "SeriesDescription", "ProtocolName", "RequestedProcedureDescription"})
#: UIDs that name a kind of thing, never a thing.
_OF_KINDS = re.compile("SOPClassUID|ClassesSupportedUID|TransferSyntaxUID|CodingSchemeUID|ContextUID|MappingResource")
_NUMERIC = frozenset({"US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
_TEXTS = frozenset({"AE", "AS", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_DAYS_OF = re.compile(r"(\d{8})(.*)", re.DOTALL)
_BIRTH = 0x0010
#: Ages beyond are those of few people.
_OLDEST_YEARS = 89
_DUMMY_DATE, _DUMMY_TIME = "19000101", "000000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the profile (PS3.15 §E.3)."""

    #: Retain Longitudinal Temporal Information with Modified Dates.
    dates: bool = True
    #: Retain Patient Characteristics: sex and age.
    characteristics: bool = True
    #: Clean Descriptors.
    descriptors: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose object it is, and who that is from now on."""

    #: Patient ID.
    pseudonym: str
    #: By so many days dates go back.
    days: int
    #: What must not stand in any text of it.
    identity: Sought
    #: Where it was made, by a name that stands for the institution; empty: not known.
    site: str = ""


def deidentified(dataset: Dataset, subject: Subject, pseudonyms: Pseudonyms, options: Options) -> Dataset:
    """Clean an object in place, its pixels as they are, and return it, ready to be written.

    Raises:
        Failed: what names it is damaged, or lacks.
    """
    with quiet():
        return _deidentified(dataset, subject, pseudonyms, options)


@contextmanager
def quiet() -> Iterator[None]:
    """Let pydicom take values as they are and say nothing of them: its warnings repeat them."""
    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        log = logging.getLogger("pydicom")
        level = log.level
        log.setLevel(logging.CRITICAL + 1)
        try:
            yield
        finally:
            log.setLevel(level)


def _deidentified(dataset: Dataset, subject: Subject, pseudonyms: Pseudonyms, options: Options) -> Dataset:
    age = _age(dataset) if options.characteristics else ""
    syntax = str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "") or "")
    _Cleaning(subject, pseudonyms, options).clean(dataset)
    if not dataset.get("SOPInstanceUID") or not dataset.get("SOPClassUID") or not syntax:
        raise Failed("an object that does not say what it is: nothing of it can be kept")
    dataset.PatientID, dataset.PatientName = subject.pseudonym, ""
    dataset.PatientBirthDate = ""
    if age:
        dataset.PatientAge = age
    if subject.site:
        dataset.InstitutionName = subject.site
    _declare(dataset, options)
    dataset.preamble = b"\0" * 128
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return dataset


class _Cleaning:
    """One object, all its depths."""

    def __init__(self, subject: Subject, pseudonyms: Pseudonyms, options: Options) -> None:
        self._subject, self._pseudonyms, self._options = subject, pseudonyms, options
        self._actions: dict[Action, Callable[[DataElement], bool]] = {
            Action.REMOVED: lambda _: False,
            Action.EMPTIED: _empty,
            Action.REPLACED: _replace,
            Action.UID: self._replace_uids,
            Action.CLEANED: lambda _: True,
        }

    def clean(self, dataset: Dataset) -> None:
        """Clean a data set and the items of its sequences."""
        for tag in list(dataset.keys()):
            if not self._stays(dataset, tag):
                del dataset[tag]

    def _stays(self, dataset: Dataset, tag: BaseTag) -> bool:
        if table().is_foreign(tag):
            return False
        try:
            element = dataset[tag]
            return self._cleaned(element, table().action(tag)) and not self._tells(element)
        except UNREADABLE:
            # What cannot be read cannot be cleaned.
            return False

    def _cleaned(self, element: DataElement, action: Action | None) -> bool:
        """Clean one element; `False`: it goes."""
        if element.VR == "SQ":
            if action not in (None, Action.CLEANED):
                return False
            for item in element.value:
                self.clean(item)
            return True
        kept = self._by_option(element)
        if kept is not None:
            return kept
        if action is None and element.VR == "UI" and not _OF_KINDS.search(element.keyword):
            action = Action.UID
        return self._actions[action](element) if action is not None else True

    def _by_option(self, element: DataElement) -> bool | None:
        """Whether an option keeps it, cleaned in place; `None`: no option says anything of it."""
        if element.VR in ("DA", "DT", "TM") and element.tag.group != _BIRTH:
            if not self._options.dates:
                return None if table().action(element.tag) is not None else False
            return element.VR == "TM" or _shift(element, self._subject.days)
        if self._options.characteristics and element.keyword in _CHARACTERISTICS:
            element.value = _capped(str(element.value or "")) if element.VR == "AS" else element.value
            return True
        if self._options.descriptors and element.keyword in _DESCRIPTIONS:
            element.value = cleaned(str(element.value or ""))
            return bool(element.value)
        return None

    def _replace_uids(self, element: DataElement) -> bool:
        if element.VR != "UI":
            return False
        values = element.value if element.VM > 1 else [element.value]
        new = [
            str(each) if not each or str(each) in UID_dictionary else self._pseudonyms.uid(str(each)) for each in values
        ]
        element.value = new if len(new) > 1 else new[0] if new else ""
        return True

    def _tells(self, element: DataElement) -> bool:
        """Whether a text that the profile lets stay tells of the patient all the same."""
        if element.VR in _TEXTS:
            values = element.value if element.VM > 1 else [element.value]
            return any(self._subject.identity.in_text(str(each)) for each in values)
        if element.VR in ("OB", "UN") and element.keyword != "PixelData" and isinstance(element.value, bytes):
            return bool(self._subject.identity.in_text(element.value.decode("latin-1")))
        return False


def _empty(element: DataElement) -> bool:
    element.value = b"" if _is_bytes(element) else None if element.VR in _NUMERIC else ""
    return True


def _replace(element: DataElement) -> bool:
    """Put in a value that says nothing and that the VR allows; `False`: there is none."""
    from dicomanonymizer.simpledicomanonymizer import replace_element

    if element.VR in ("DA", "DT", "TM"):
        # The library's year 1 is before what many readers can count.
        element.value = {"DA": _DUMMY_DATE, "TM": _DUMMY_TIME}.get(element.VR, _DUMMY_DATE + _DUMMY_TIME)
        return True
    if element.VR == "UI":
        return False
    try:
        replace_element(element)
    except NotImplementedError:
        return False
    return True


def _is_bytes(element: DataElement) -> bool:
    return element.VR in ("OB", "OW", "OD", "OF", "OL", "OV", "UN")


def _shift(element: DataElement, days: int) -> bool:
    """Move dates back; `False`: one of them is none."""
    values = element.value if element.VM > 1 else [element.value]
    moved = [_moved(str(each or ""), days) for each in values]
    if None in moved:
        return False
    element.value = moved if len(moved) > 1 else moved[0]
    return True


def _moved(text: str, days: int) -> str | None:
    if not text.strip():
        return ""
    found = _DAYS_OF.fullmatch(text.strip())
    try:
        day = date.fromisoformat(found[1]) - timedelta(days=days) if found else None
    except (ValueError, OverflowError):
        return None
    return f"{day:%Y%m%d}{found[2]}" if day is not None and found else None


def _capped(age: str) -> str:
    if age[-1:] == "Y" and age[:-1].isdecimal() and int(age[:-1]) > _OLDEST_YEARS:
        return f"{_OLDEST_YEARS + 1:03}Y"
    return age


def _age(dataset: Dataset) -> str:
    """The age as it stands, else what birth date and study date make of it; empty where neither is told."""
    try:
        told = str(dataset.get("PatientAge", "") or "")
        if told:
            return _capped(told)
        born = date.fromisoformat(str(dataset.get("PatientBirthDate", "")))
        seen = date.fromisoformat(str(dataset.get("StudyDate", "")))
    except UNREADABLE:
        return ""
    years = seen.year - born.year - ((seen.month, seen.day) < (born.month, born.day))
    return _capped(f"{years:03}Y") if 0 <= years < 200 else ""


def _declare(dataset: Dataset, options: Options) -> None:
    """Say by which method it was done (PS3.3 §C.7.1.1)."""
    terms: list[Any] = [codes.DCM.BasicApplicationConfidentialityProfile]
    if options.descriptors:
        terms.append(codes.DCM.CleanDescriptorsOption)
    if options.dates:
        terms.append(codes.DCM.RetainLongitudinalTemporalInformationModifiedDatesOption)
    if options.characteristics:
        terms.append(codes.DCM.RetainPatientCharacteristicsOption)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = [f"PS3.15 Table E.1-1 {EDITION}", f"{LIBRARY} {version(LIBRARY)}", "Matins"]
    dataset.DeidentificationMethodCodeSequence = [_item(term) for term in terms]
    dataset.LongitudinalTemporalInformationModified = "MODIFIED" if options.dates else "REMOVED"


def _item(term: Any) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = term.value, term.scheme_designator, term.meaning
    return item
