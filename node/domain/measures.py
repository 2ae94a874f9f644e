"""What a model card asks to be measured on a mask, how well that repeats, what counts as a lesion, and which side."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.finding import MILLILITRE, MILLIMETRE, VOLUME, Code

_FORBID = {"extra": "forbid"}

# Codes as in PS3.16: CID 7469 (generic intensity and size), CID 7470 (linear), CID 7464 (derivations).
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
PERPENDICULAR_AXIS = Code("131189007", "SCT", "Perpendicular Axis")
#: The longest distance in 3-D, whatever the plane.
DIAMETER = Code("81827009", "SCT", "Diameter")
AREA = Code("42798000", "SCT", "Area")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
MR_SIGNAL = Code("110852", "DCM", "MR signal intensity")
LESION_COUNT = Code("246206008", "SCT", "Number of lesions")
DISTANCE = Code("121206", "DCM", "Distance")
MEAN = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
#: No standard term tells these two ways apart; 99… is a scheme of one's own (PS3.3 §8.2).
BETWEEN_SURFACES = Code("surfaces", "99MATINS", "Shortest distance between surfaces")
BETWEEN_CENTROIDS = Code("centroids", "99MATINS", "Distance between centroids")

SQUARE_MILLIMETRE = Code("mm2", "UCUM", "mm2")
HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
NO_UNITS = Code("1", "UCUM", "no units")


class Quantity(StrEnum):
    """What can be measured; definitions are in `node/imaging/measure`."""

    VOLUME = "volume"
    #: Longest distance in 3-D, and the longest perpendicular to it.
    DIAMETER = "diameter"
    PERPENDICULAR = "perpendicular"
    #: Longest distance in the plane of one slice, of all slices the longest, and the perpendicular in that plane.
    LONG_AXIS = "long_axis"
    SHORT_AXIS = "short_axis"
    AREA = "area"
    #: Of the values of its voxels: Hounsfield units in CT, signal in MR.
    MEAN = "mean"
    STANDARD_DEVIATION = "standard_deviation"
    LESION_COUNT = "lesion_count"
    DISTANCE = "distance"
    CENTROID_DISTANCE = "centroid_distance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """How a quantity is written down."""

    code: Code
    unit: Code
    derivation: Code | None = None
    method: Code | None = None


#: The intensities are written as CT writes them; see `intensity_term` for MR.
TERMS: dict[Quantity, Term] = {
    Quantity.VOLUME: Term(code=VOLUME, unit=MILLILITRE),
    Quantity.DIAMETER: Term(code=DIAMETER, unit=MILLIMETRE),
    Quantity.PERPENDICULAR: Term(code=PERPENDICULAR_AXIS, unit=MILLIMETRE),
    Quantity.LONG_AXIS: Term(code=LONG_AXIS, unit=MILLIMETRE),
    Quantity.SHORT_AXIS: Term(code=SHORT_AXIS, unit=MILLIMETRE),
    Quantity.AREA: Term(code=AREA, unit=SQUARE_MILLIMETRE),
    Quantity.MEAN: Term(code=ATTENUATION, unit=HOUNSFIELD, derivation=MEAN),
    Quantity.STANDARD_DEVIATION: Term(code=ATTENUATION, unit=HOUNSFIELD, derivation=STANDARD_DEVIATION),
    Quantity.LESION_COUNT: Term(code=LESION_COUNT, unit=NO_UNITS),
    Quantity.DISTANCE: Term(code=DISTANCE, unit=MILLIMETRE, method=BETWEEN_SURFACES),
    Quantity.CENTROID_DISTANCE: Term(code=DISTANCE, unit=MILLIMETRE, method=BETWEEN_CENTROIDS),
}
INTENSITIES = frozenset({Quantity.MEAN, Quantity.STANDARD_DEVIATION})
DISTANCES = frozenset({Quantity.DISTANCE, Quantity.CENTROID_DISTANCE})
#: Quantities of a mask on single images, which have no third axis.
FLAT = frozenset({Quantity.AREA, Quantity.LONG_AXIS, Quantity.SHORT_AXIS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeatability:
    """How far two measurements of the same patient lie apart in 95 of 100 pairs: exactly one of the two is given."""

    __pydantic_config__ = _FORBID

    #: In the unit of the measurement.
    absolute: float | None = None
    percent: float | None = None

    def of(self, value: float) -> float:
        """The distance for one value, in its unit."""
        return self.absolute if self.absolute is not None else abs(value) * (self.percent or 0.0) / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number that the card asks for: of a whole segment, or of each of its lesions."""

    __pydantic_config__ = _FORBID

    quantity: Quantity
    segment_number: int
    #: Of each lesion (`Lesions`) instead of the whole.
    per_lesion: bool = False
    #: For a distance: the other segment.
    to_segment: int | None = None
    #: Outside this range the output is taken as failed: no person has such a value. In the unit of the quantity.
    plausible: tuple[float, float] | None = None
    #: The model's own test-retest error; digits that it makes meaningless are not shown.
    repeatability: Repeatability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesions:
    """What counts as one lesion of a segment: voxels that share a face, an edge or a corner."""

    __pydantic_config__ = _FORBID

    segment_number: int
    #: What is smaller is neither counted nor reported.
    least_ml: float = 0.0
    #: How many get a finding of their own, the largest first; all are counted.
    most: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRepeatability:
    """How far two measurements by this very model lie apart in 95 of 100 pairs, as somebody has measured it.

    The repeatability coefficient of QIBA (1.96·√2 standard deviations within a patient): exactly one of `percent` and
    `absolute` is given. Without it no change of the quantity is told.
    """

    __pydantic_config__ = _FORBID

    quantity: Quantity
    segment_number: int
    #: Of each lesion (`Lesions`) instead of the whole.
    per_lesion: bool = False
    percent: float | None = None
    #: In the unit of the quantity.
    absolute: float | None = None
    #: Which study says so: a citation, or a file beside the card.
    source: str
    #: How many patients were measured twice.
    subjects: int

    @property
    def limits(self) -> Repeatability:
        """The figure alone."""
        return Repeatability(absolute=self.absolute, percent=self.percent)


class Midline(StrEnum):
    """Where left and right part."""

    #: Half way between the centroids of this segment and of `of_segment`, its own pair.
    PAIR = "pair"
    #: The centroid of `of_segment`: the body, the brain, the spine.
    SEGMENT = "segment"
    #: The middle of what is brighter than `body_above`, on the slices where the finding lies.
    BODY = "body"
    #: The middle of the volume.
    VOLUME = "volume"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sided:
    """A segment that lies on one side of the patient, and how the side is found from its centroid."""

    __pydantic_config__ = _FORBID

    segment_number: int
    midline: Midline
    of_segment: int | None = None
    #: Rescaled value (Hounsfield units in CT) from which a voxel is body.
    body_above: float | None = None


def intensity_term(quantity: Quantity, modality: str) -> Term | None:
    """How an intensity is written in this modality; `None` where its unit is not known."""
    term = TERMS[quantity]
    if modality == "CT":
        return term
    return Term(code=MR_SIGNAL, unit=NO_UNITS, derivation=term.derivation) if modality == "MR" else None
