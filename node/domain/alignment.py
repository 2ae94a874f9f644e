"""How two studies lie on each other, and which finding of one is which of the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

Rows = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """The rigid motion that brings a prior onto the current images, and how good it is."""

    #: 4×4, a place in the current study → the same place in the prior, LPS mm.
    motion: Rows
    #: Normalised cross-correlation of the two where both have images, −1 to 1.
    similarity: float
    #: Share of what the smaller of the two shows of the body that the other shows too.
    overlap: float
    #: How far the motion turns, and how far it moves the middle of what was aligned.
    rotation_deg: float
    shift_mm: float
    #: Why it is not to be relied on; empty where it is.
    refused: str = ""


class Way(StrEnum):
    """By what two findings were taken for the same."""

    #: Both bear one Tracking Unique Identifier (0062,0021).
    TRACKING = "tracking identifier"
    #: The same code on the same side.
    ANATOMY = "anatomy"
    #: Voxels of both lie in one place once the images are aligned.
    OVERLAP = "overlap"
    #: Their centres lie close together once the images are aligned.
    DISTANCE = "distance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A finding of the current study and the same of the prior, each by its place among the findings."""

    now: int
    before: int
    way: Way


@dataclass(frozen=True, slots=True, kw_only=True)
class Knot:
    """Lesions of which several lie on one: it has come apart, or several have grown together."""

    now: tuple[int, ...]
    before: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How finely the voxels of a mask show one finding."""

    #: Distance of voxels along (slice, row, column), mm.
    spacing_mm: tuple[float, float, float]
    #: How many it spans along each.
    spanned: tuple[int, int, int]
    #: Surface of the body that the voxels stand for, mm².
    surface_mm2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How images were made, as far as it says how large things look on them."""

    #: Distance of the slices, and the coarser distance in their plane, mm; 0 where they do not lie in space.
    slice_spacing_mm: float = 0.0
    in_plane_spacing_mm: float = 0.0
    slice_thickness_mm: float | None = None
    #: Convolution Kernel (0018,1210); empty where it is not said.
    kernel: str = ""
    #: Contrast/Bolus Agent (0018,0010); empty where none is named.
    contrast_agent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correspondence:
    """What the images of two studies say of their findings, each named by its place among the findings."""

    now: Conditions = field(default_factory=Conditions)
    before: Conditions = field(default_factory=Conditions)
    #: `None` where the two were not aligned, and then why.
    alignment: Alignment | None = None
    not_aligned: str = ""
    #: Lesions alone: segments are matched by what they are.
    pairs: tuple[Pair, ...] = ()
    knots: tuple[Knot, ...] = ()
    #: Whose place the other study does not show whole.
    unseen_now: tuple[int, ...] = ()
    unseen_before: tuple[int, ...] = ()
    #: What reaches the edge of its own images, so that there may be more of it.
    cut_now: tuple[int, ...] = ()
    cut_before: tuple[int, ...] = ()
    #: Of each finding that its mask shows.
    sampled_now: dict[int, Sampling] = field(default_factory=dict)
    sampled_before: dict[int, Sampling] = field(default_factory=dict)
    #: Lesions that the other study shows in the same place, too small to be counted there: place → mL there.
    faint_before: dict[int, float] = field(default_factory=dict)
    faint_now: dict[int, float] = field(default_factory=dict)
