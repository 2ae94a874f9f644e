"""Small MR series as scanners write them, good and dirty, and the evidence on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, FileMetaDataset, dcmread
from pydicom.config import IGNORE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.domain.finding import MILLILITRE, VOLUME, Code, Finding, Measurement, Region, Segment
from node.domain.geometry import Grid, stack
from node.domain.model_card import ModelCard
from node.domain.study import Plane
from node.domain.uid import derived_uid
from node.domain.work import OutcomeState
from node.report.building import fitting_kinds
from node.report.composition import compose
from node.report.evidence import Evidence
from node.report.outputs import Output, in_order, outputs
from node.report.sources import normalise, read_headers

BRAIN = Code("12738006", "SCT", "Brain")
ANATOMY = Code("123037004", "SCT", "Anatomical Structure")
HAEMORRHAGE = Code("1386000", "SCT", "Intracranial hemorrhage")
NODULE = Code("27925004", "SCT", "Nodule")
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@dataclass(frozen=True)
class Scan:
    """How a synthetic series is made."""

    slices: int = 7
    rows: int = 24
    columns: int = 20
    spacing_mm: tuple[float, float, float] = (3.0, 1.0, 1.0)
    orientation: tuple[float, ...] = AXIAL
    #: Instance numbers run against the positions.
    reversed: bool = False
    #: Keyword → value put into every header; `None` removes the attribute.
    header: dict[str, object] = field(default_factory=dict)
    #: The same, but written as these bytes.
    raw: dict[str, bytes] = field(default_factory=dict)


def oblique(degrees_about_x: float, degrees_about_z: float) -> tuple[float, ...]:
    """Direction cosines of a tilted and turned plane, with all their digits."""
    tilt, turn = np.radians([degrees_about_x, degrees_about_z])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    matrix = about_z @ about_x
    return (*matrix[:, 0].tolist(), *matrix[:, 1].tolist())


SCANS = {
    "axial": Scan(),
    "oblique": Scan(orientation=oblique(17.3, -8.1)),
    "sagittal": Scan(orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
    "anisotropic": Scan(spacing_mm=(7.0, 0.5, 0.9)),
    "reversed": Scan(reversed=True),
    "odd pixel bytes": Scan(slices=3, rows=9, columns=9),
    "missing attributes": Scan(
        header=dict.fromkeys(
            (
                *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
                *("AccessionNumber", "ReferringPhysicianName", "SliceThickness", "FrameOfReferenceUID"),
                *("PositionReferenceIndicator", "Manufacturer", "StudyDescription", "SpecificCharacterSet"),
            )
        )
    ),
    "unsound attributes": Scan(
        header={
            "PatientAge": "42",
            "PatientSex": "W",
            "StudyDate": "17 July 2013",
            "StudyTime": "14h15",
            "StudyDescription": "x" * 70,
            "SpecificCharacterSet": "LATIN",
        },
        raw={"PatientWeight": b"75,5", "PatientSize": b"1.80\\1.81"},
    ),
    "latin name": Scan(header={"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Jürgen"}),
    "chinese name": Scan(header={"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"}),
    "japanese name, first character set empty": Scan(
        header={"SpecificCharacterSet": ["", "ISO 2022 IR 87"]},
        raw={"PatientName": b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B"},
    ),
    "latin bytes without a character set": Scan(
        header={"SpecificCharacterSet": None}, raw={"PatientName": b"M\xfcller^J\xfcrgen"}
    ),
    "with a time zone": Scan(header={"TimezoneOffsetFromUTC": "-0330"}),
}


def mr_series(folder: Path, scan: Scan) -> list[Path]:
    """Write the series slice by slice; return the files in order of instance number."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = _matrix(scan)
    paths = []
    for number in range(scan.slices):
        place = scan.slices - 1 - number if scan.reversed else number
        header = _header(scan, number)
        header.ImagePositionPatient = [float(f"{v:.8g}") for v in matrix[:3, 3] + place * matrix[:3, 0]]
        path = folder / f"{number:03}.dcm"
        header.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _matrix(scan: Scan) -> NDArray[np.float64]:
    row, column = np.array(scan.orientation[:3]), np.array(scan.orientation[3:])
    matrix = np.eye(4)
    matrix[:3, 0] = np.cross(row, column) * scan.spacing_mm[0]
    matrix[:3, 3] = (-31.25, 12.5, -7.75)
    return matrix


def _header(scan: Scan, number: int) -> Dataset:
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = MRImageStorage
    header.SOPInstanceUID = derived_uid("test instance", number)
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    header.StudyInstanceUID = derived_uid("test study")
    header.SeriesInstanceUID = derived_uid("test series")
    header.FrameOfReferenceUID = derived_uid("test frame")
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "Modality": "MR",
        "Manufacturer": "ACME",
        "PatientName": "Test^Person",
        "PatientID": "T-1",
        "IssuerOfPatientID": "HOSPITAL-A",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "PatientAge": "056Y",
        "StudyDate": "20261120",
        "StudyTime": "231500",
        "StudyID": "7",
        "StudyDescription": "MR head",
        "AccessionNumber": "A-1",
        "ReferringPhysicianName": "",
        "PositionReferenceIndicator": "",
        "SeriesNumber": 4,
        "InstanceNumber": number + 1,
        "SliceThickness": scan.spacing_mm[0],
        "ImageOrientationPatient": [float(f"{v:.10g}") for v in scan.orientation],
        "PixelSpacing": list(scan.spacing_mm[1:]),
        "Rows": scan.rows,
        "Columns": scan.columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }
    for keyword, value in (values | scan.header).items():
        if value is None:
            header.pop(keyword, None)
        else:
            _set_unchecked(header, keyword, value)
    for keyword, content in scan.raw.items():
        _set_unchecked(header, keyword, content)
    if "FrameOfReferenceUID" in scan.header:
        header.pop("FrameOfReferenceUID", None)
    header.PixelData = bytes(2 * scan.rows * scan.columns)
    return header


def _set_unchecked(header: Dataset, keyword: str, value: object) -> None:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    if isinstance(value, bytes):
        padded = value + b" " * (len(value) % 2)
        header[tag] = RawDataElement(BaseTag(tag), dictionary_VR(tag), len(padded), padded, 0, False, True)
    else:
        header.add(DataElement(tag, dictionary_VR(tag), value, validation_mode=IGNORE))


def planes_of(paths: list[Path]) -> list[Plane]:
    """Where each file's slice lies."""
    planes = []
    for path in paths:
        header = dcmread(path, stop_before_pixels=True)
        orientation = tuple(float(v) for v in header.ImageOrientationPatient)
        planes.append(
            Plane(
                position=tuple(float(v) for v in header.ImagePositionPatient),
                orientation=orientation,
                spacing=tuple(float(v) for v in header.PixelSpacing),
            )
        )
    return planes


def card(*segments: Segment) -> ModelCard:
    """A card with one brain segment unless others are given."""
    return ModelCard(
        name="brain-t1",
        version="1.0.2",
        title="Brain extraction, T1",
        purpose="Finds the brain in T1-weighted MR of the head",
        intended_use="Research",
        licence="MIT",
        citation="Fisch 2024",
        manufacturer="deepbet",
        pipeline="coarse-to-fine",
        weights=(),
        requires=(),
        procedure=Code("25056-3", "LN", "MRI unspecified body region"),
        segments=segments or (Segment(number=1, label="Brain", category=ANATOMY, type=BRAIN),),
    )


def blob(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """A body without symmetry, so that a flipped axis shows; first and last slice are empty."""
    z, y, x = np.indices(shape)
    inside = (
        ((z - shape[0] * 0.45) / (shape[0] * 0.3)) ** 2
        + ((y - shape[1] * 0.40) / (shape[1] * 0.3)) ** 2
        + ((x - shape[2] * 0.55) / (shape[2] * 0.25 + z)) ** 2
    ) < 1
    mask = inside.astype(np.uint8)
    mask[-1] = mask[0] = 0
    return mask


def finding(mask: NDArray[np.uint8], grid: Grid, number: int = 1, code: Code = BRAIN) -> Finding:
    """The volume of one segment."""
    volume_ml = int((mask == number).sum()) * grid.voxel_volume_ml
    measurement = Measurement(quantity=VOLUME, value=volume_ml, unit=MILLILITRE)
    return Finding(code=code, segment_number=number, measurements=(measurement,))


def evidence_on(paths: list[Path], mask: NDArray[np.uint8] | None = None, **changes: object) -> Evidence:
    """Evidence on a series whose files may come in any order."""
    first = dcmread(paths[0], stop_before_pixels=True)
    order, grid = stack(planes_of(paths), int(first.Rows), int(first.Columns))
    mask = blob(grid.shape) if mask is None else mask
    evidence = Evidence(
        sources=normalise(read_headers([paths[i] for i in order]), grid),
        paths=tuple(paths[i] for i in order),
        grid=grid,
        mask=mask,
        findings=(finding(mask, grid),),
        card=card(),
        model_digest="1f" * 32,
        card_digest="2e" * 32,
        content_digest="3d" * 32,
        run_number=1,
        revision=1,
        finished_at=datetime(2026, 11, 21, 3, 4, 5, 678900, tzinfo=UTC),
    )
    return replace(evidence, **changes)


def explained(evidence: Evidence) -> Evidence:
    """The same with the saliency of every voxel: a slope from corner to corner."""
    slope = np.indices(evidence.labels.shape).sum(axis=0, dtype=np.float32)
    return replace(evidence, saliency=slope / slope.max())


def classified(evidence: Evidence) -> Evidence:
    """What a model leaves that says of the whole study whether there is a haemorrhage, and segments nothing."""
    found = Finding(code=HAEMORRHAGE, probability=0.875, present=True, operating_point=0.5)
    return replace(
        evidence, grid=None, mask=None, saliency=None, findings=(found,), card=replace(evidence.card, segments=())
    )


def detected(evidence: Evidence) -> Evidence:
    """What a detector leaves: boxes on one image and through several, with scores, and a target that is not there."""
    uids = [str(header.SOPInstanceUID) for header in evidence.sources]
    through = tuple(Region(sop_instance_uid=uid, edges=(2.0, 3.5, 6.0, 8.25)) for uid in uids[:3])
    alone = Region(sop_instance_uid=uids[-1], edges=(0.0, 0.0, 1.0, 1.0))
    lesion = Finding(code=NODULE, score=0.75, present=True, operating_point=0.5, tracking_identifier="Nodule 1")
    found = (
        replace(lesion, regions=through, key_images=(uids[1],), site=BRAIN, sentence="Nodule: score 0.75."),
        replace(lesion, regions=(alone,), score=None, probability=0.625, tracking_identifier="Nodule 2"),
        Finding(code=HAEMORRHAGE, score=0.125, present=False, operating_point=0.5),
    )
    return replace(classified(evidence), findings=found)


def not_performed(
    evidence: Evidence, state: OutcomeState = OutcomeState.FAILED, reason: str = "the mask is empty"
) -> Evidence:
    """What is known of a model that did not read: one image says whose study it is."""
    return replace(
        evidence,
        sources=evidence.sources[:1],
        paths=evidence.paths[:1],
        grid=None,
        mask=None,
        saliency=None,
        findings=(),
        state=state,
        reason=reason,
    )


def of_study(evidence: Evidence) -> Evidence:
    """The evidence beside that of another model, which classified the same study."""
    other = classified(evidence)
    other = replace(other, card=replace(other.card, name="bleed", title="Bleeding"), model_digest="4c" * 32)
    return replace(evidence, together=tuple(sorted((evidence, other), key=lambda each: each.card.name)))


def evidence_for(kind: str, paths: list[Path], **changes: object) -> Evidence:
    """Evidence on a series from which an output of `kind` can be written: the first that fits."""
    base = evidence_on(paths, **changes)
    for candidate in (base, explained(base), detected(base), classified(base), not_performed(base)):
        if fitting_kinds(candidate, [kind], AVAILABLE):
            return of_study(candidate) if AVAILABLE[kind].SCOPE == "study" else candidate
    raise AssertionError(f"no evidence of these tests can be written as {kind}")


def build(evidence: Evidence, kind: str) -> Dataset:
    """One output with everything it needs before it."""
    return compose(evidence, [kind], AVAILABLE, {})[kind]


AVAILABLE: dict[str, Output] = outputs()
ORDERED = in_order(AVAILABLE, AVAILABLE)
