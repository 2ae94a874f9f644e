"""From a parsed header to typed values: what is malformed is absent, never a failure.

Runs in the describing child alone: everything here works on what a stranger wrote.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date
from typing import Any

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

from node.domain.history import FACT_ATTRIBUTES, Fact
from node.domain.patient import UNDECODABLE, Patient, readable_name
from node.domain.rejection import KEY_OBJECT_SELECTION, MOST_REFERENCES, Reference, Rejection, RejectionTitle
from node.domain.study import Frames, Instance, Order, Pixels, Plane
from node.domain.uid import is_usable_uid

#: What pydicom raises on values that are not what their VR says.
MALFORMED = (
    *(ValueError, TypeError, ArithmeticError, LookupError, AttributeError, NotImplementedError),
    *(BytesLengthException, RecursionError),
)
#: Longest text kept of one value; the longest VR with a limit (LT) has 10240 characters.
_LONGEST = 10240
_AGE_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}
#: Manufacturer's Model Name (0008,1090) of everything that this node makes.
_OUR_MODEL_NAME = "Matins"


def is_ours(instance: Instance) -> bool:
    """Whether equipment like ours made it: a result that comes back."""
    return instance.manufacturer_model_name == _OUR_MODEL_NAME


def instance_of(header: Dataset, *, issuer: str, has_pixels: bool, frames: Frames | None = None) -> Instance:
    """Return the described instance, its content digest still empty.

    `issuer` is the sending peer's Issuer of Patient ID; it counts where the header names none. `frames` are those of
    a multi-frame image, whose header is `receive.frames.read_header`'s.
    """
    meta = getattr(header, "file_meta", Dataset())
    return Instance(
        study_instance_uid=text(header, "StudyInstanceUID"),
        series_instance_uid=text(header, "SeriesInstanceUID"),
        sop_instance_uid=text(header, "SOPInstanceUID"),
        sop_class_uid=text(header, "SOPClassUID"),
        transfer_syntax_uid=text(meta, "TransferSyntaxUID"),
        patient=_patient(header, issuer),
        order=_order(header),
        modality=text(header, "Modality"),
        manufacturer=text(header, "Manufacturer"),
        manufacturer_model_name=text(header, "ManufacturerModelName"),
        series_description=text(header, "SeriesDescription"),
        series_number=integer(header, "SeriesNumber"),
        protocol_name=text(header, "ProtocolName"),
        body_part_examined=text(header, "BodyPartExamined"),
        image_type=texts(header, "ImageType"),
        instance_number=integer(header, "InstanceNumber"),
        acquisition_number=integer(header, "AcquisitionNumber"),
        temporal_position=integer(header, "TemporalPositionIdentifier"),
        frame_of_reference_uid=text(header, "FrameOfReferenceUID"),
        slice_thickness_mm=number(header, "SliceThickness"),
        scanning_sequence=texts(header, "ScanningSequence"),
        sequence_name=text(header, "SequenceName"),
        mr_acquisition_type=text(header, "MRAcquisitionType"),
        repetition_time_ms=number(header, "RepetitionTime"),
        echo_time_ms=number(header, "EchoTime"),
        inversion_time_ms=number(header, "InversionTime"),
        diffusion_b_value=number(header, "DiffusionBValue"),
        contrast_agent=text(header, "ContrastBolusAgent"),
        lossy_image_compression=text(header, "LossyImageCompression"),
        image_laterality=text(header, "ImageLaterality"),
        patient_orientation=texts(header, "PatientOrientation"),
        plane=None if frames else _plane(header),
        pixels=_pixels(header) if has_pixels else None,
        frames=frames,
        rejects=_rejection(header) if text(header, "SOPClassUID") == KEY_OBJECT_SELECTION else None,
    )


def text(header: Dataset, keyword: str) -> str:
    """The value as text, several joined by a backslash; "" where absent or malformed."""
    return "\\".join(texts(header, keyword))


def texts(header: Dataset, keyword: str) -> tuple[str, ...]:
    """Each value as text without padding; empty ones keep their place unless all are."""
    found = tuple(_clean(value) for value in _values(header, keyword))
    return found if any(found) else ()


def number(header: Dataset, keyword: str) -> float | None:
    """The first value as a finite number; `None` where absent or malformed."""
    found = numbers(header, keyword)
    return found[0] if found else None


def integer(header: Dataset, keyword: str) -> int | None:
    """The first value as a whole number; `None` where absent or malformed."""
    found = number(header, keyword)
    return int(found) if found is not None and found.is_integer() else None


def numbers(header: Dataset, keyword: str) -> tuple[float, ...]:
    """All values as finite numbers; none of them if one is malformed."""
    try:
        found = tuple(float(value) for value in _values(header, keyword))
    except MALFORMED:
        return ()
    return found if all(map(math.isfinite, found)) else ()


def age_years(value: str) -> float | None:
    """Years of an Age String such as 045Y, 006M, 003W, 010D (PS3.5 §6.2); `None` if it is none."""
    amount, unit = value[:-1], value[-1:].upper()
    if unit not in _AGE_YEARS or not (amount.isascii() and amount.isdigit()):
        return None
    return round(int(amount) * _AGE_YEARS[unit], 3)


def _values(header: Dataset, keyword: str) -> list[Any]:
    try:
        value = header.get(keyword)
    except MALFORMED:
        return []
    if value is None:
        return []
    return list(value) if isinstance(value, MultiValue | Sequence | list | tuple) else [value]


def _clean(value: object) -> str:
    try:
        plain = str(value)[:_LONGEST].replace("\0", "").strip()
    except MALFORMED:
        return ""
    return plain.encode("utf-8", "replace").decode("utf-8")


def _patient(header: Dataset, issuer: str) -> Patient:
    return Patient(
        patient_id=_identifier(header, "PatientID"),
        issuer=_identifier(header, "IssuerOfPatientID") or issuer,
        name=readable_name(text(header, "PatientName"), ascii_only=_is_ascii_only(header)),
        birth_date=text(header, "PatientBirthDate"),
        sex=text(header, "PatientSex"),
    )


def _identifier(header: Dataset, keyword: str) -> str:
    """The value; where its character set does not have all its bytes, these themselves, so that no two become one."""
    try:
        raw = getattr(header.get_item(keyword), "value", None)
    except MALFORMED:
        raw = None
    found = text(header, keyword)
    return (
        UNDECODABLE + raw.rstrip(b"\0 ").hex()[:_LONGEST] if UNDECODABLE in found and isinstance(raw, bytes) else found
    )


def _is_ascii_only(header: Dataset) -> bool:
    """Whether the header names no character set, or one that is unknown (PS3.3 §C.12.1.1.2)."""
    try:
        encodings = convert_encodings(list(texts(header, "SpecificCharacterSet")))
    except MALFORMED:
        return True
    return encodings[0] == default_encoding and "latin_1" not in encodings


def _order(header: Dataset) -> Order:
    study_date = text(header, "StudyDate")
    priorities = (text(part, "RequestedProcedurePriority") for part in _with_requests(header))
    return Order(
        study_date=study_date,
        study_time=text(header, "StudyTime"),
        study_description=text(header, "StudyDescription"),
        study_id=text(header, "StudyID"),
        accession_number=text(header, "AccessionNumber"),
        requested_priority=next(filter(None, priorities), "").upper(),
        patient_age_years=age_years(text(header, "PatientAge")),
        facts=_facts(header, study_date),
    )


def _facts(header: Dataset, study_date: str) -> tuple[Fact, ...]:
    """What the data set says of the patient's history, each value once."""
    observed_at = _iso(study_date)
    found: dict[tuple[str, str], Fact] = {}
    for code, keyword in FACT_ATTRIBUTES.items():
        for part in _with_requests(header):
            for value in filter(None, texts(part, keyword)):
                found[code, value] = Fact(code=code, value=value, source="dataset", observed_at=observed_at)
    return tuple(found.values())


def _with_requests(header: Dataset) -> Iterator[Dataset]:
    """The header and the items of its Request Attributes Sequence (0040,0275), where orders are told in images."""
    yield header
    yield from items(header, "RequestAttributesSequence")


def _rejection(header: Dataset) -> Rejection | None:
    """What a Key Object Selection takes out of use; `None` if its title is none that rejects (PS3.16 TID 2010)."""
    titles = [
        text(title, "CodeValue")
        for title in items(header, "ConceptNameCodeSequence")
        if text(title, "CodingSchemeDesignator") == "DCM"
    ]
    if len(titles) != 1 or titles[0] not in list(RejectionTitle):
        return None
    found: dict[Reference, None] = {}
    left_out = 0
    for study, instance in _evidence(header):
        if len(found) < MOST_REFERENCES and is_usable_uid(study) and is_usable_uid(instance):
            found[Reference(study_instance_uid=study, sop_instance_uid=instance)] = None
        else:
            left_out += 1
    return Rejection(title=RejectionTitle(titles[0]), references=tuple(found), left_out=left_out)


def _evidence(header: Dataset) -> Iterator[tuple[str, str]]:
    """Study and SOP Instance UID of each instance that the document rests on (PS3.3 §C.17.2)."""
    for study in items(header, "CurrentRequestedProcedureEvidenceSequence"):
        for series in items(study, "ReferencedSeriesSequence"):
            for instance in items(series, "ReferencedSOPSequence"):
                yield text(study, "StudyInstanceUID"), text(instance, "ReferencedSOPInstanceUID")


def items(header: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where it is absent or malformed."""
    return [part for part in _values(header, keyword) if isinstance(part, Dataset)]


def _iso(value: str) -> str:
    try:
        return date.fromisoformat(value).isoformat() if len(value) == 8 else ""
    except ValueError:
        return ""


def _plane(header: Dataset) -> Plane | None:
    position = numbers(header, "ImagePositionPatient")
    orientation = numbers(header, "ImageOrientationPatient")
    spacing = numbers(header, "PixelSpacing")
    if (len(position), len(orientation), len(spacing)) != (3, 6, 2):
        return None
    x, y, z, *_ = position
    a, b, c, d, e, f = orientation
    return Plane(position=(x, y, z), orientation=(a, b, c, d, e, f), spacing=(spacing[0], spacing[1]))


def _pixels(header: Dataset) -> Pixels | None:
    """How the pixels are stored; `None` without rows and columns. What misleads a reader is told in `undecodable`."""
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    if rows is None or columns is None:
        return None
    wrong = [
        keyword
        for keyword in ("NumberOfFrames", "BitsAllocated", "BitsStored", "RescaleSlope", "RescaleIntercept")
        if keyword in header and text(header, keyword) and number(header, keyword) is None
    ]
    bits_allocated = integer(header, "BitsAllocated") or 16
    return Pixels(
        rows=rows,
        columns=columns,
        number_of_frames=integer(header, "NumberOfFrames") or 1,
        samples_per_pixel=integer(header, "SamplesPerPixel") or 1,
        photometric_interpretation=text(header, "PhotometricInterpretation") or "MONOCHROME2",
        bits_allocated=bits_allocated,
        bits_stored=integer(header, "BitsStored") or bits_allocated,
        pixel_representation=integer(header, "PixelRepresentation") or 0,
        rescale_slope=_or(header, "RescaleSlope", 1.0),
        rescale_intercept=_or(header, "RescaleIntercept", 0.0),
        undecodable=f"malformed: {', '.join(wrong)}" if wrong else "",
    )


def _or(header: Dataset, keyword: str, default: float) -> float:
    found = number(header, keyword)
    return default if found is None else found
