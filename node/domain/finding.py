"""What a model noticed: coded terms, measurements, segments, findings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Code:
    """A coded term (PS3.3 §8): value, coding scheme designator, meaning."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    value: str
    scheme: str
    meaning: str


#: PS3.16 CID 7469 (generic intensity and size measurements); SNOMED CT "Volume".
VOLUME = Code("118565006", "SCT", "Volume")
#: UCUM units.
MILLILITRE = Code("mL", "UCUM", "mL")
MILLIMETRE = Code("mm", "UCUM", "mm")
#: UCUM unit → as it is shown.
_UNITS = {"[hnsf'U]": "HU", "mm2": "mm²", "1": ""}

#: PS3.16 CID 244; in the patient's own axes.
RIGHT = Code("24028007", "SCT", "Right")
LEFT = Code("7771000", "SCT", "Left")
RIGHT_AND_LEFT = Code("51440002", "SCT", "Bilateral")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """A number with its quantity and unit."""

    quantity: Code
    value: float
    unit: Code
    #: What the number is of many values, such as their mean (PS3.16 CID 7464).
    derivation: Code | None = None
    #: How it was measured, where the quantity leaves that open.
    method: Code | None = None
    #: The other structure, where the number lies between two.
    toward: Code | None = None
    #: How far two measurements of the same patient lie apart in 95 of 100 pairs, in the same unit, where it is known.
    repeats_within: float | None = None

    @property
    def name(self) -> str:
        """What a reader calls it: "Mean of attenuation coefficient", "Distance to liver (…)"."""
        name = self.quantity.meaning
        if self.derivation is not None:
            name = f"{self.derivation.meaning} of {lowered(name)}"
        if self.toward is not None:
            name = f"{name} to {lowered(self.toward.meaning)}"
        return name if self.method is None else f"{name} ({lowered(self.method.meaning)})"

    @property
    def unit_name(self) -> str:
        """What a reader calls the unit; empty where there is none."""
        return _UNITS.get(self.unit.value, self.unit.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A labelled region as the model card declares it (PS3.3 §C.8.20.2)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    #: Value in the mask and Segment Number (0062,0004); 1 is the first.
    number: int
    label: str
    #: Segmented Property Category and Type (PS3.16 CID 7150, CID 7151 and below).
    category: Code
    type: Code
    #: Finding site for the report, where it differs from `type`.
    site: Code | None = None
    #: sRGB, 0–255; written as Recommended Display CIELab Value.
    colour: tuple[int, int, int] = (220, 60, 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A box on one image: rows and columns of its outer pixel edges, 0 is the outer edge of the first pixel."""

    sop_instance_uid: str
    #: 1 is the first; 0 where the image has a single one.
    frame_number: int = 0
    #: (first row, first column, last row, last column) as edges, so 0, 0, 1, 1 is the first pixel.
    edges: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a model noticed in one series."""

    #: What was found.
    code: Code
    #: Segment of the mask that shows it, if any.
    segment_number: int | None = None
    measurements: tuple[Measurement, ...] = ()
    #: 0–1, or `None` where the model gives none.
    probability: float | None = None
    #: Whether the finding is there at all, or `None` where the model does not decide: a number alone is no decision.
    present: bool | None = None
    #: The probability from which the finding counts as present, 0–1, or `None` where there is none.
    operating_point: float | None = None
    #: Human tracking identifier and its UID (PS3.16 TID 1419 and 1411); the UID is derived, never random.
    tracking_identifier: str = ""
    tracking_uid: str = ""
    #: One sentence for the reader: what, where, how sure, compared with which prior.
    sentence: str = ""
    #: 0–1 as the model gave it, where it is no probability: not calibrated.
    score: float | None = None
    #: Where a detector saw it, image by image.
    regions: tuple[Region, ...] = ()
    #: Disagreement of the model with itself (coefficient of variation or standard deviation), where it was asked.
    uncertainty: float | None = None
    #: Side in the patient's own axes (SNOMED CT 24028007 Right, 7771000 Left, 51440002 Bilateral), if it has one.
    laterality: Code | None = None
    #: The images that show it best, at most a few.
    key_images: tuple[str, ...] = ()
    #: Finding site, where the card says it of a target.
    site: Code | None = None
    #: Which lesion of its segment it is, 1 is the largest; 0: it is of the whole segment, or of none.
    lesion_number: int = 0


def lowered(text: str) -> str:
    """Each word with a small first letter, unless an abbreviation begins there."""
    return " ".join(word if word[1:2].isupper() else word[:1].lower() + word[1:] for word in text.split())
