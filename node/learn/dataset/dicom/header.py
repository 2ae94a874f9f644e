"""Headers of DICOM files: as far as pixels are to be read, and cases to be told apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from node.domain.study import Instance, Pixels, Plane
from node.errors import Unsuitable
from node.learn.deidentify.contents import UNREADABLE
from node.learn.deidentify.profile import quiet

#: Segmentation and Label Map Segmentation Storage (PS3.4 Table B.5-1).
_SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """One file."""

    file: Path
    instance: Instance
    #: (Patient ID, issuer); the ID is empty where nobody is named.
    patient: tuple[str, str]
    is_segmentation: bool
    #: "sex", "age" in years, "scanner", "site", as far as they are told.
    attributes: dict[str, str]
    #: Of a Segmentation: SOP Instance UIDs of the images it names.
    named: frozenset[str] = frozenset()
    #: Of a Segmentation: segment number → (coding scheme, code, meaning, label).
    segments: tuple[tuple[int, tuple[str, str, str, str]], ...] = ()


def read_header(file: Path) -> Header:
    """Read one.

    Raises:
        Unsuitable: it is no DICOM object, or does not say what it is.
    """
    with quiet():
        try:
            return _header(file, dcmread(file, stop_before_pixels=True))
        except UNREADABLE as error:
            raise Unsuitable(f"cannot be read ({type(error).__name__})") from error


def _header(file: Path, dataset: Dataset) -> Header:
    sop_class_uid = _text(dataset, "SOPClassUID")
    is_segmentation = sop_class_uid in _SEGMENTATIONS
    uids = tuple(_text(dataset, f"{each}InstanceUID") for each in ("Study", "Series", "SOP"))
    if not sop_class_uid or not all(uids):
        raise Unsuitable("it has no UIDs")
    instance = Instance(
        study_instance_uid=uids[0],
        series_instance_uid=uids[1],
        sop_instance_uid=uids[2],
        sop_class_uid=sop_class_uid,
        transfer_syntax_uid=_text(dataset.file_meta, "TransferSyntaxUID"),
        modality=_text(dataset, "Modality"),
        instance_number=int(dataset.InstanceNumber) if _text(dataset, "InstanceNumber") else None,
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
        plane=_plane(dataset),
        pixels=_pixels(dataset),
    )
    return Header(
        file=file,
        instance=instance,
        patient=(_text(dataset, "PatientID"), _text(dataset, "IssuerOfPatientID")),
        is_segmentation=is_segmentation,
        attributes=_attributes(dataset),
        named=_named(dataset) if is_segmentation else frozenset(),
        segments=_segments(dataset) if is_segmentation else (),
    )


def _text(dataset: Dataset, keyword: str) -> str:
    return str(dataset.get(keyword, "") or "").strip()


def _plane(dataset: Dataset) -> Plane | None:
    keywords = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    told = [tuple(float(each) for each in dataset.get(keyword) or ()) for keyword in keywords]
    if [len(each) for each in told] != [3, 6, 2]:
        return None
    (x, y, z), (a, b, c, d, e, f), (row, column) = told
    return Plane(position=(x, y, z), orientation=(a, b, c, d, e, f), spacing=(row, column))


def _pixels(dataset: Dataset) -> Pixels | None:
    if not dataset.get("Rows") or not dataset.get("Columns"):
        return None
    bits_allocated = int(dataset.get("BitsAllocated") or 16)
    return Pixels(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        number_of_frames=int(dataset.get("NumberOfFrames") or 1),
        samples_per_pixel=int(dataset.get("SamplesPerPixel") or 1),
        photometric_interpretation=_text(dataset, "PhotometricInterpretation") or "MONOCHROME2",
        bits_allocated=bits_allocated,
        bits_stored=int(dataset.get("BitsStored") or bits_allocated),
        pixel_representation=int(dataset.get("PixelRepresentation") or 0),
        rescale_slope=float(dataset.RescaleSlope) if _text(dataset, "RescaleSlope") else 1.0,
        rescale_intercept=float(dataset.RescaleIntercept) if _text(dataset, "RescaleIntercept") else 0.0,
    )


def _attributes(dataset: Dataset) -> dict[str, str]:
    age = _text(dataset, "PatientAge")
    years = f"{int(age[:-1]) * _YEARS[age[-1]]:g}" if age[:-1].isdecimal() and age[-1:] in _YEARS else ""
    scanner = " ".join(filter(None, (_text(dataset, "Manufacturer"), _text(dataset, "ManufacturerModelName"))))
    told = {
        "sex": _text(dataset, "PatientSex"),
        "age": years,
        "scanner": scanner,
        "site": _text(dataset, "InstitutionName"),
    }
    return {name: value for name, value in told.items() if value}


def _named(dataset: Dataset) -> frozenset[str]:
    items = [item for series in dataset.get("ReferencedSeriesSequence") or [] for item in _images(series)]
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for groups in dataset.get(keyword) or []:
            for derivation in groups.get("DerivationImageSequence") or []:
                items += derivation.get("SourceImageSequence") or []
    return frozenset(_text(item, "ReferencedSOPInstanceUID") for item in items)


def _images(series: Dataset) -> list[Dataset]:
    return list(series.get("ReferencedInstanceSequence") or [])


def _segments(dataset: Dataset) -> tuple[tuple[int, tuple[str, str, str, str]], ...]:
    found = []
    for item in dataset.get("SegmentSequence") or []:
        number = int(item.SegmentNumber)
        codes = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
        scheme, value, meaning = (
            _text(codes[0], each) for each in ("CodingSchemeDesignator", "CodeValue", "CodeMeaning")
        )
        if number:
            found.append((number, (scheme, value, meaning, _text(item, "SegmentLabel"))))
    return tuple(found)
