"""Headers of the source instances as the builders need them: decoded, complete, of one mind.

What a scanner wrote is never changed; these are copies, without pixels. The first header in mask order
speaks for patient, study and equipment; the others keep what identifies and places one slice.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag
from pydicom.valuerep import DA, TM

from node.domain.geometry import Grid
from node.domain.patient import readable_name
from node.domain.study import Frames, Instance
from node.domain.uid import derived_uid
from node.errors import Failed, Transient
from node.report.places import COSINE_DIGITS, MILLIMETRE_DIGITS, is_placed, remove_place, thickness_mm, write_groups
from node.report.soundness import is_ascii_only, is_misread, is_sound, readable_element

#: What each slice says for itself; the first header is read whole.
_OWN = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "ImagePositionPatient", "Rows", "Columns")
#: Without these a header is damaged; behind them, in the order of tags, lies nothing that says whose it is.
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_OWN_TAGS: list[BaseTag | int] = [BaseTag(tag) for keyword in _OWN if (tag := tag_for_keyword(keyword)) is not None]
#: Behind these tags nothing is read: of a slice, and of the first header, whose text ends before functional groups,
#: overlays and pixels.
_LAST_OWN, _LAST_SPOKEN = max(_OWN_TAGS), 0x51FFFFFF
#: What the first says for all slices.
_SHARED = (
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "SliceThickness",
    "ImageOrientationPatient",
    "PixelSpacing",
)
#: Said in functional groups where an image has them.
_OF_SINGLE_IMAGES = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
#: Type 2 in every image: must be there, may be empty (PS3.3 §C.7.1.1, §C.7.2.1, §C.7.4.1).
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PositionReferenceIndicator",
)
#: Never touched, whatever their form: by these the archive files the result.
_IDENTITY = ("PatientName", "PatientID", "IssuerOfPatientID", "StudyInstanceUID", "AccessionNumber")
#: Kept though their form may be wrong: identity, and what is written anew below.
_KEPT = frozenset({"SpecificCharacterSet", *_IDENTITY, *_TYPE_2, *_OWN, *_SHARED})
_SEXES = frozenset({"M", "F", "O", ""})


def read_headers(paths: Sequence[Path]) -> list[Dataset]:
    """Read the headers of `paths`, in that order: the first whole, the others as far as a slice needs.

    Functional groups of multi-frame images are left out: thousands of frames they may be, and are described already.

    Raises:
        Transient: a file cannot be read now.
        Failed: a file is gone, or is not DICOM.
    """
    headers: list[Dataset] = []
    for path in paths:
        try:
            with path.open("rb") as file:
                if headers:
                    headers.append(read_partial(file, _beyond(_LAST_OWN), specific_tags=_OWN_TAGS))
                else:
                    headers.append(read_partial(file, _beyond(_LAST_SPOKEN)))
        except InvalidDicomError as error:
            raise Failed(f"{path.name} is not a DICOM file") from error
        except (EOFError, struct.error) as error:
            raise Failed(f"{path.name} ends within its header") from error
        except FileNotFoundError as error:
            raise Failed(f"{path.name} is gone; `matins check` says what else is") from error
        except OSError as error:
            raise Transient(f"{path.name} cannot be read: {error.strerror}") from error
    return headers


def described_header(instance: Instance) -> Dataset | None:
    """What `read_headers` reads of a slice but the first, from its description; `None` where that does not say all."""
    if instance.plane is None or instance.pixels is None:
        return None
    header = Dataset()
    header.SOPClassUID = instance.sop_class_uid
    header.SOPInstanceUID = instance.sop_instance_uid
    header.SeriesInstanceUID = instance.series_instance_uid
    header.ImagePositionPatient = [round(each, MILLIMETRE_DIGITS) for each in instance.plane.position]
    header.Rows, header.Columns = instance.pixels.rows, instance.pixels.columns
    return header


def _beyond(last: int) -> Callable[[BaseTag, str | None, int], bool]:
    return lambda tag, _vr, _length: tag > last


def normalise(
    headers: Sequence[Dataset], grid: Grid | None = None, frames: Sequence[Frames | None] = ()
) -> tuple[Dataset, ...]:
    """Mend copies of `headers` (in mask order) so that builders meet no absent or unsound attribute.

    Text becomes UTF-8, and goes where its character set does not say how it reads; absent type 2 attributes are empty;
    unsound optional ones go (PS3.5 §6.2); an unsound date, time or sex is empty; positions, orientation and spacing are
    written alike on all slices; without a `grid` what says only in part where an image lies goes. `frames` are those of
    multi-frame headers, in the same order: where they lie is written as functional groups. Patient ID and accession
    number are never changed, nor is a name that can be read.

    Raises:
        Failed: there are no sources, one is damaged, or one has no geometry.
    """
    if not headers:
        raise Failed("no source instances")
    missing = [keyword for keyword in _NEEDED if not headers[0].get(keyword)]
    if missing:
        raise Failed(f"the header of a source is not whole: {', '.join(missing)} missing")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote values; each fault that matters is dealt with here
        return _mended(headers, grid, frames)


def _mended(headers: Sequence[Dataset], grid: Grid | None, frames: Sequence[Frames | None]) -> tuple[Dataset, ...]:
    first = _speaking_header(headers[0])
    for keyword in ("StudyDate", "StudyTime", "PatientBirthDate"):
        setattr(first, keyword, _sound_time(first, keyword))
    first.PatientSex = _sex(first)
    _complete_de_identification(first)
    if any(frames):
        return _with_groups((first, *(_slice_header(header, first) for header in headers[1:])), frames, grid)
    if grid is None and not (is_placed(first) and all("ImagePositionPatient" in each for each in headers)):
        remove_place(first)
        slices = [first, *(_slice_header(header, first) for header in headers[1:])]
        for header in slices[1:]:
            header.pop("ImagePositionPatient", None)
        return tuple(slices)
    first.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or _frame_of_reference(first)
    first.ImageOrientationPatient = _rounded(first, "ImageOrientationPatient", COSINE_DIGITS)
    first.PixelSpacing = _rounded(first, "PixelSpacing", MILLIMETRE_DIGITS)
    first.SliceThickness = round(thickness_mm(first) or (grid.spacing_mm[0] if grid else 0.0), MILLIMETRE_DIGITS)
    mended = [first, *(_slice_header(header, first) for header in headers[1:])]
    for header in mended:
        header.ImagePositionPatient = _rounded(header, "ImagePositionPatient", MILLIMETRE_DIGITS)
    return tuple(mended)


def _with_groups(
    headers: tuple[Dataset, ...], frames: Sequence[Frames | None], grid: Grid | None
) -> tuple[Dataset, ...]:
    """Multi-frame headers with their frames' places as groups, and without what says so for single images."""
    first = headers[0]
    first.FrameOfReferenceUID = first.get("FrameOfReferenceUID") or _frame_of_reference(first)
    for header, placed in zip(headers, frames, strict=True):
        header.FrameOfReferenceUID = first.FrameOfReferenceUID
        for keyword in _OF_SINGLE_IMAGES:
            header.pop(keyword, None)
        if placed is None:
            raise Failed(f"{header.SOPInstanceUID} does not say where its frames lie")
        write_groups(header, placed, slice_mm=grid.spacing_mm[0] if grid else None)
    return headers


def _speaking_header(header: Dataset) -> Dataset:
    """A decoded copy of a whole header without what cannot be written again."""
    copy = Dataset()
    for tag in header.keys():  # noqa: SIM118 - a Dataset iterates over elements, and would read them
        element = None if tag.is_private or tag.element == 0 else readable_element(header, tag)
        if element is not None and (element.keyword in _KEPT or is_sound(element)):
            copy.add(element)
    copy.decode()
    ascii_only = is_ascii_only(header)
    for element in [each for each in copy if each.keyword not in _KEPT and is_misread(each, ascii_only=ascii_only)]:
        del copy[element.tag]
    copy.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TYPE_2:
        if keyword not in copy:
            setattr(copy, keyword, "")
    for keyword in ("PatientName", "ReferringPhysicianName"):
        setattr(copy, keyword, readable_name(str(copy[keyword].value or ""), ascii_only=ascii_only))
    return copy


def _slice_header(header: Dataset, first: Dataset) -> Dataset:
    copy = Dataset()
    for keyword in _OWN:
        if keyword in header:
            copy.add(header[keyword])
    for keyword in _SHARED:
        if keyword in first:
            copy.add(first[keyword])
    return copy


def _sound_time(header: Dataset, keyword: str) -> str:
    """The date or time where it is one, else nothing."""
    value = header.get(keyword) or ""
    try:
        (TM if keyword.endswith("Time") else DA)(value)
    except (ValueError, TypeError):
        return ""
    return str(value)


def _sex(header: Dataset) -> str:
    sex = str(header.PatientSex or "").strip().upper()
    return sex if sex in _SEXES else ""


def _complete_de_identification(header: Dataset) -> None:
    """Say that it is not told how the patient's identity was removed: type 1C where it was (PS3.3 §C.7.1.1)."""
    told = header.get("DeidentificationMethod") or header.get("DeidentificationMethodCodeSequence")
    if header.get("PatientIdentityRemoved") == "YES" and not told:
        header.DeidentificationMethod = "not stated"


def _frame_of_reference(header: Dataset) -> str:
    """A Segmentation needs one (PS3.3 §A.51.3); a series without has at least its own."""
    return derived_uid("frame of reference", str(header.SeriesInstanceUID))


def _rounded(header: Dataset, keyword: str, digits: int) -> list[float]:
    """Numbers that fit 16 characters of DS (PS3.5 §6.2) and lose nothing that can be measured.

    Raises:
        Failed: the attribute is absent or empty.
    """
    values = header.get(keyword)
    if not values:
        raise Failed(f"{header.SOPInstanceUID} has no {keyword}")
    return [round(float(value), digits) for value in values]
