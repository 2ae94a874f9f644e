"""The model card: what a model is for, which series suit it, what its outputs mean."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import StrEnum

from node.domain.colour import Colour
from node.domain.detection import Detection
from node.domain.explanation import Explanation
from node.domain.finding import Code, Segment
from node.domain.gate import Gate, Uncertainty
from node.domain.measures import Lesions, Measure, MeasuredRepeatability, Quantity, Repeatability, Sided
from node.domain.preparation import Architecture, Preparation
from node.domain.study import Instance, Order, Pixels
from node.domain.target import Target

_FORBID = {"extra": "forbid"}


class Mode(StrEnum):
    """How far a model may speak."""

    #: Does not run.
    OFF = "off"
    #: Runs and stores; never ranks, never leaves the node.
    SHADOW = "shadow"
    #: Runs, ranks, and its results are sent.
    LIVE = "live"


class Task(StrEnum):
    """What comes out of a model."""

    #: A label for every voxel or pixel.
    SEGMENTATION = "segmentation"
    #: A number for each target.
    CLASSIFICATION = "classification"
    #: Boxes, each with a target and a number.
    DETECTION = "detection"


class Scope(StrEnum):
    """Over what a classifier's or detector's numbers are put together."""

    #: Each image for itself.
    IMAGE = "image"
    #: The images of the series together.
    SERIES = "series"
    #: The chosen series of the study together.
    STUDY = "study"


class Intensity(StrEnum):
    """Which values of the pixels a model wants."""

    #: After the modality LUT: Hounsfield units in CT (PS3.3 §C.11.1).
    RESCALED = "rescaled"
    #: Rescaled, and then as the image asks to be shown, 0 to 1 (VOI LUT, PS3.3 §C.11.2).
    SHOWN = "shown"


class EngineChoice(StrEnum):
    """How freely the way to compute may be chosen."""

    #: The bundle's own steps, one after the other, in single precision.
    EXACT = "exact"
    #: The fastest way that was seen to give the same on the model's validation cases; without cases, single precision.
    AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One requirement on a series: exactly one of the operators is given.

    `field` names an attribute of `domain.study.Instance`, or of its `pixels` (`pixels.rows`) or `order`
    (`order.patient_age_years`), or one of the geometry's: `slice_count`, `slice_spacing_mm`,
    `in_plane_spacing_mm` (the coarser one), `extent_mm` (smallest side). Numbers go with `at_least` and
    `at_most`, text with the others; of a multi-valued attribute the values are joined by backslashes for
    `matches`, and one of them is enough for `one_of`. Every instance of the series has to comply.
    """

    __pydantic_config__ = _FORBID

    field: str
    #: The value is one of these (text compared without case).
    one_of: tuple[str, ...] | None = None
    #: None of these is the value, nor among the values of a multi-valued attribute.
    none_of: tuple[str, ...] | None = None
    #: Regular expression, searched without case.
    matches: str | None = None
    #: Regular expression that must not be found, without case.
    matches_not: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    #: What is said to the reader when the condition fails; `{value}` is filled with the value found.
    because: str = ""
    #: What an absent value means: "refuse" the series, or "pass" over the condition.
    when_missing: str = "pass"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Points that order the suitable series; the best one is read."""

    __pydantic_config__ = _FORBID

    field: str
    one_of: tuple[str, ...] | None = None
    matches: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    points: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """One of several series that a model reads together, for example the four of a brain tumour study.

    Its series meets the card's `requires` and those of the role; all roles share one frame of reference.
    """

    __pydantic_config__ = _FORBID

    name: str
    requires: tuple[Condition, ...] = ()
    prefers: tuple[Preference, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeMeasurement:
    """Volume of one segment, in mL, to be measured in source geometry."""

    __pydantic_config__ = _FORBID

    segment_number: int
    #: Outside this range the output is taken as failed: no person has such a volume.
    plausible_ml: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One weights file: `package:DISTRIBUTION==VERSION/path/in/it` or `file:path/beside/the/card`."""

    __pydantic_config__ = _FORBID

    role: str
    source: str
    #: The network that the weights are put into, where it is another than the card's `[architecture]`.
    architecture: Architecture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """`models/<name>/model.toml` as values."""

    __pydantic_config__ = _FORBID

    name: str
    version: str
    #: Name of the model of which this is another version, to be compared with it before it takes its place; else empty.
    shadow_of: str = ""
    title: str
    purpose: str
    intended_use: str
    #: RESEARCH, PRODUCT or SERVICE (PS3.3 Content Qualification, (0018,9004)).
    content_qualification: str = "RESEARCH"
    licence: str
    citation: str
    manufacturer: str
    #: Unique Device Identifier (0018,1009) of a regulated product, as its label has it; empty where it is none.
    udi: str = ""
    #: Name of a module of `node/imaging/pipelines`, dashes for underscores.
    pipeline: str
    #: Seconds of wall time that one study may take.
    time_limit_s: float = 600.0
    task: Task = Task.SEGMENTATION
    weights: tuple[Weights, ...]
    #: Parameters of the pipeline, checked by the pipeline.
    parameters: dict[str, float | int | str | bool | tuple[float, ...]] = field(default_factory=dict)
    #: How the input of a network without a bundle is prepared, and its output read.
    preparation: Preparation = field(default_factory=Preparation)
    #: The network that weights alone are put into.
    architecture: Architecture | None = None
    #: What every suitable series must meet.
    requires: tuple[Condition, ...]
    prefers: tuple[Preference, ...] = ()
    #: The series that are read together, in the order of the network's channels; the first bears the result. None: one.
    roles: tuple[Role, ...] = ()
    #: Must the slices form one regular volume.
    needs_volume: bool = True
    intensity: Intensity = Intensity.RESCALED
    #: How images reach a model that needs no volume.
    colour: Colour = Colour.REFUSED
    engine: EngineChoice = EngineChoice.AUTO
    #: Folder beside the card with validation cases (`.nii.gz` images), by which an engine is judged; empty: none.
    validation: str = ""
    gates: tuple[Gate, ...] = ()
    uncertainty: Uncertainty | None = None
    explanation: Explanation = field(default_factory=Explanation)
    #: Procedure reported in the SR (PS3.16 CID 100).
    procedure: Code
    #: What a segmentation shows.
    segments: tuple[Segment, ...] = ()
    volumes: tuple[VolumeMeasurement, ...] = ()
    #: What else is measured, of which lesions, and which segments have a side.
    measures: tuple[Measure, ...] = ()
    lesions: tuple[Lesions, ...] = ()
    #: How well its measurements repeat: changes within that are not told.
    repeatability: tuple[MeasuredRepeatability, ...] = ()
    sides: tuple[Sided, ...] = ()
    #: What a classification or detection looks for.
    targets: tuple[Target, ...] = ()
    #: Do the targets of a classification exclude each other: a softmax over all channels, else a sigmoid of each.
    exclusive: bool = False
    detection: Detection = field(default_factory=Detection)
    scope: Scope = Scope.SERIES
    #: How the numbers of several images become one: "max" or "mean".
    aggregate: str = "max"

    @property
    def is_mixed(self) -> bool:
        """Whether its networks are of several architectures."""
        return any(weights.architecture not in (None, self.architecture) for weights in self.weights)

    @property
    def has_engines(self) -> bool:
        """Whether it may run with another engine than single precision: not as an ensemble of several architectures.

        An engine is measured with one network, and another architecture may not come to the same with it.
        """
        is_ensemble = self.uncertainty is not None and self.uncertainty.method == "ensemble"
        return self.engine is not EngineChoice.EXACT and not (is_ensemble and self.is_mixed)

    def architecture_of(self, role: str) -> Architecture | None:
        """The network that the weights of a role are put into; `None` where their file brings its own."""
        own = (weights.architecture for weights in self.weights if weights.role == role)
        return next(own, None) or self.architecture

    def repeats(self, quantity: Quantity, segment_number: int, *, per_lesion: bool) -> Repeatability | None:
        """How well a quantity of a segment, or of each of its lesions, repeats; `None` where the card does not say."""
        wanted = (quantity, segment_number, per_lesion)
        for each in self.repeatability:
            if (each.quantity, each.segment_number, each.per_lesion) == wanted:
                return each.limits
        asked = ((m.repeatability, (m.quantity, m.segment_number, m.per_lesion)) for m in self.measures)
        return next((limits for limits, measure in asked if limits is not None and measure == wanted), None)


#: Fields of the volume that the slices form, beside those of the instances.
GEOMETRY_FIELDS = frozenset({"slice_count", "slice_spacing_mm", "in_plane_spacing_mm", "extent_mm"})


def _fields_of(kind: type, prefix: str, *, numbers: bool) -> set[str]:
    """Names of the numeric, or of the text, fields of a described value; structured ones are neither."""
    wanted = {"int", "float", "int | None", "float | None"} if numbers else {"str", "tuple[str, ...]"}
    return {prefix + field.name for field in fields(kind) if str(field.type) in wanted}


_DESCRIBED: tuple[tuple[type, str], ...] = ((Instance, ""), (Pixels, "pixels."), (Order, "order."))
#: Every numeric field that a condition or preference may name.
NUMBER_FIELDS = GEOMETRY_FIELDS.union(*(_fields_of(kind, prefix, numbers=True) for kind, prefix in _DESCRIBED))
#: Every text field that a condition or preference may name.
TEXT_FIELDS = frozenset().union(*(_fields_of(kind, prefix, numbers=False) for kind, prefix in _DESCRIBED))
