"""What a bundle says about its input, its windows and its output, in our own terms.

A plan lets the same result be computed without MONAI's transforms: leaner, on the device, slab by slab. Where a
bundle says something that is not understood there is no plan, and its own transforms are run instead.

Axes and spacings are those of the network: the array starts as a NIfTI file would hold it, (column, row, slice)
with a RAS affine, and each step sees what the one before it left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class NotUnderstood(Exception):
    """A configuration that says something for which there is no plan; the sentence says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orient:
    """Axes in this order and direction, one letter each: "RAS" runs towards right, anterior, superior."""

    axes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Respace:
    """Another distance between voxels; the first voxel stays where it is, and so do the directions of the axes."""

    #: Along each axis; 0 or less keeps what is there.
    spacing_mm: tuple[float, float, float]
    nearest: bool = False
    #: Beyond the outermost voxel its value holds; else 0.
    border: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """`low` … `high` become `to_low` … `to_high`, linearly; `clip` holds what lies outside at these two."""

    low: float
    high: float
    to_low: float
    to_high: float
    clip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """The least and the greatest value of the whole array (or of each channel) become `to_low` and `to_high`."""

    to_low: float = 0.0
    to_high: float = 1.0
    channel_wise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardise:
    """Mean 0 and standard deviation 1, over the whole array or each channel, or what is not zero of it."""

    nonzero: bool = False
    channel_wise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CropForeground:
    """The smallest box around what is greater than zero in any channel, `margin` voxels wider where there is room."""

    margin: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad:
    """At least this many voxels along each axis, filled with `value`; 0 or less keeps what is there."""

    size: tuple[int, int, int]
    value: float = 0.0
    #: Half of it on either side (one more behind), else all of it behind.
    both_sides: bool = True


Step = Orient | Respace | Scale | Stretch | Standardise | CropForeground | Pad


class Blend(StrEnum):
    """How windows that overlap are weighted."""

    CONSTANT = "constant"
    GAUSSIAN = "gaussian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How much of the volume the network sees at once, and how its answers are put together."""

    #: Voxels along each axis of the network; 0 or less is all there is. Empty: the whole volume in one piece.
    #: Two numbers where `slice_axis` is given.
    roi: tuple[int, ...] = ()
    #: Share of the window that neighbours share, along each of its axes.
    overlap: tuple[float, ...] = ()
    blend: Blend = Blend.CONSTANT
    #: Standard deviation of the Gaussian weight as a share of the window, along each of its axes.
    sigma_scale: tuple[float, ...] = ()
    #: How a volume smaller than the window is filled: "constant", "reflect", "replicate", "circular".
    padding: str = "constant"
    padding_value: float = 0.0
    #: Windows in one batch.
    batch: int = 1
    #: The axis along which a two-dimensional network sees one slice after the other; `None`: it sees volumes.
    slice_axis: int | None = None


class Activation(StrEnum):
    """What turns the network's numbers into shares."""

    NONE = "none"
    SOFTMAX = "softmax"
    SIGMOID = "sigmoid"


class Discretisation(StrEnum):
    """What turns shares into labels."""

    NONE = "none"
    ARGMAX = "argmax"
    THRESHOLD = "threshold"


class Inversion(StrEnum):
    """How values come back to the source grid."""

    #: They need not: no step moved a voxel.
    NONE = "none"
    NEAREST = "nearest"
    LINEAR = "linear"


class Returned(StrEnum):
    """What it is that comes back to the source grid; the steps that are missing follow there."""

    LOGITS = "logits"
    ACTIVATIONS = "activations"
    LABELS = "labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Largest:
    """Of these labels only the largest connected group of voxels is kept."""

    #: Empty: every label but 0.
    labels: tuple[int, ...] = ()
    #: Each label by itself; else all of them together.
    independent: bool = True
    #: 1: voxels that share a face are connected; 2: also an edge; 3: also a corner.
    connectivity: int = 3
    #: Decided on the source grid; else on the network's, before the labels come back.
    at_source: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A bundle's way from a volume to labels."""

    #: In the bundle's order; steps on geometry and on values may alternate.
    steps: tuple[Step, ...] = ()
    window: Window = Window()
    activation: Activation = Activation.NONE
    discretisation: Discretisation = Discretisation.NONE
    #: A channel belongs to the target from this value on, where the discretisation is a threshold.
    threshold: float = 0.5
    inversion: Inversion = Inversion.NONE
    returned: Returned = Returned.ACTIVATIONS
    largest: Largest | None = None
    #: (channel, label) in order of precedence, for channels that are cut at a threshold. Empty: channel 0 is
    #: label 1, channel 1 label 2 and so on, and where several are above it the last one lies on top.
    merge: tuple[tuple[int, int], ...] = ()

    @property
    def axes(self) -> str:
        """The orientation that the network sees, empty where the bundle leaves the array as it is."""
        return next((step.axes for step in reversed(self.steps) if isinstance(step, Orient)), "")

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """The spacing that the network sees, `None` where the bundle leaves it as it is."""
        return next((step.spacing_mm for step in reversed(self.steps) if isinstance(step, Respace)), None)
