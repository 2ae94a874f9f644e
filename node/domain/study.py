"""Study, series and instance as typed values, read once from the full header."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.rejection import Rejection


class StudyState(StrEnum):
    """Where a study stands."""

    #: Instances are arriving, or the quiet time has not passed.
    RECEIVING = "receiving"
    #: Complete; work items wait for a worker.
    WAITING = "waiting"
    #: A model is at work.
    READING = "reading"
    #: Every model that was meant to look has an outcome.
    DONE = "done"
    #: Nothing goes on until a person has decided, for example about the patient.
    HELD = "held"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the instance says of its study and order."""

    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    study_id: str = ""
    accession_number: str = ""
    #: Requested Procedure Priority (0040,1003): STAT, HIGH, ROUTINE, MEDIUM, LOW or empty.
    requested_priority: str = ""
    patient_age_years: float | None = None
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Where one slice lies (PS3.3 §C.7.6.2), LPS, millimetres."""

    #: Centre of the first pixel (0020,0032).
    position: tuple[float, float, float]
    #: Direction cosines of a row, then of a column (0020,0037).
    orientation: tuple[float, float, float, float, float, float]
    #: Distance between rows, then between columns (0028,0030).
    spacing: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """How the pixel data is stored, and its digest."""

    rows: int
    columns: int
    number_of_frames: int = 1
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    pixel_representation: int = 0
    rescale_slope: float = 1.0
    rescale_intercept: float = 0.0
    #: Why the pixels cannot be decoded here; empty where they can.
    undecodable: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Frames of one multi-frame image that are alike in all but their place (PS3.3 §C.7.6.16)."""

    #: Frame numbers, 1 is the first, in the order of the object.
    numbers: tuple[int, ...]
    #: As in `Plane`, of each frame.
    positions: tuple[tuple[float, float, float], ...]
    orientation: tuple[float, float, float, float, float, float]
    spacing: tuple[float, float]
    #: Rescale slope and intercept of each frame; one pair where it is the same for all.
    rescales: tuple[tuple[float, float], ...] = ((1.0, 0.0),)
    slice_thickness_mm: float | None = None
    stack_id: str = ""
    temporal_position: int | None = None
    echo_time_ms: float | None = None
    diffusion_b_value: float | None = None
    image_type: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What the functional groups of a multi-frame image say of its frames."""

    stacks: tuple[Stack, ...] = ()
    #: Why the frames cannot be placed in the patient; empty where they can.
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Which frame of a multi-frame image stands for an image of its own (see `domain.frames`)."""

    #: 1 is the first.
    number: int
    stack_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One SOP Instance, described. Absent text is "", absent numbers are `None`."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    patient: Patient = field(default_factory=Patient)
    order: Order = field(default_factory=Order)
    modality: str = ""
    manufacturer: str = ""
    manufacturer_model_name: str = ""
    series_description: str = ""
    series_number: int | None = None
    protocol_name: str = ""
    body_part_examined: str = ""
    image_type: tuple[str, ...] = ()
    instance_number: int | None = None
    acquisition_number: int | None = None
    temporal_position: int | None = None
    frame_of_reference_uid: str = ""
    slice_thickness_mm: float | None = None
    scanning_sequence: tuple[str, ...] = ()
    sequence_name: str = ""
    mr_acquisition_type: str = ""
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    diffusion_b_value: float | None = None
    contrast_agent: str = ""
    #: "01" where information was lost, "00" where not (0028,2110).
    lossy_image_compression: str = ""
    #: R, L, U (unpaired) or B (both), of what the image shows (0020,0062).
    image_laterality: str = ""
    #: Directions in which rows and columns run, as letters (0020,0020); "L", "F" in a frontal chest.
    patient_orientation: tuple[str, ...] = ()
    plane: Plane | None = None
    pixels: Pixels | None = None
    #: Of an image with functional groups; never beside a `plane`.
    frames: Frames | None = None
    #: Set where this is one frame taken for itself; such an instance is never stored.
    frame: Frame | None = None
    #: SHA-256 over the decoded pixels and over what identity, geometry and models read: two
    #: instances with the same content digest are the same image, however they are encoded.
    content_digest: str = ""
    #: What it takes out of use, if it is a rejection note.
    rejects: Rejection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The described instances of one series, in no particular order."""

    series_instance_uid: str
    instances: tuple[Instance, ...]

    @property
    def first(self) -> Instance:
        """The instance whose series-level attributes speak for the series."""
        return self.instances[0]


#: SOP Classes that are documents, presentations or results: filed, never read by a model, never a revision.
#: (PS3.4 Table B.5-1; prefixes cover whole families.)
_NOT_IMAGES = (
    "1.2.840.10008.5.1.4.1.1.88.",  # Structured Reports and Key Object Selection
    "1.2.840.10008.5.1.4.1.1.11.",  # Presentation States
    "1.2.840.10008.5.1.4.1.1.66",  # Raw data, registrations, Segmentations, surfaces
    "1.2.840.10008.5.1.4.1.1.104.",  # Encapsulated documents
    "1.2.840.10008.5.1.4.1.1.481.",  # Radiotherapy
    "1.2.840.10008.5.1.4.1.1.30",  # Parametric Map
    "1.2.840.10008.5.1.4.1.1.9.",  # Waveforms
    "1.2.840.10008.5.1.4.34.",  # Procedure-step and inventory objects
)


def is_image(sop_class_uid: str) -> bool:
    """Whether instances of this SOP Class can be a model's input at all."""
    return not sop_class_uid.startswith(_NOT_IMAGES)


#: Storage SOP Classes of the standard begin so; those of vendors do not (PS3.4 Table B.5-1).
_STANDARD = "1.2.840.10008.5.1.4.1.1."
#: Ultrasound and nuclear medicine as they were until 1993, retired (PS3.6 Table A-1).
_RETIRED = frozenset(f"{_STANDARD}{number}" for number in (3, 5, 6))


def is_current_standard(sop_class_uid: str) -> bool:
    """Whether the SOP Class is the standard's and not retired: others nobody knows how to refer to."""
    return sop_class_uid.startswith(_STANDARD) and sop_class_uid not in _RETIRED
