"""A recipe: all that a training was asked to do, as a TOML file. What it leaves out is derived, or at its default."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, TypeAdapter

from node.catalogue.models import RECIPE
from node.catalogue.toml_file import read_document, validate
from node.domain.colour import Colour
from node.domain.model_card import Task
from node.domain.preparation import MAGNIFIED, Architecture, Preparation
from node.learn.boxes.table import Detecting
from node.learn.explained.table import Explaining
from node.learn.radiomics.table import Radiomics
from node.learn.recipe_export import Exporting
from node.learn.recipe_ways import Ablation, Searching
from node.learn.synthetic.table import Synthetic

_FORBID: Any = {"extra": "forbid"}
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Axis = Annotated[int, Field(ge=0)]
Magnification = Annotated[float, Field(ge=MAGNIFIED[0], le=MAGNIFIED[1])]
#: Name of the recipe's file beside a card.
FILE_NAME = RECIPE


class Balance(StrEnum):
    """What is done about classes of unequal size."""

    NONE = "none"
    #: Every class is drawn as often as any other.
    SAMPLER = "sampler"
    #: The loss of a case is weighed by the inverse of how common its class is.
    LOSS = "loss"


class Precision(StrEnum):
    """In which numbers a network is trained."""

    #: bfloat16 where the device computes it in hardware, else single.
    AUTO = "auto"
    SINGLE = "single"
    BFLOAT16 = "bfloat16"


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """The `[split]` table: how cases are parted. No group is ever torn apart."""

    __pydantic_config__: ClassVar = _FORBID

    #: 0: one split by `shares`; from 2 on: so many folds, each the test part of one training.
    folds: Annotated[int, Field(ge=0)] = 0
    #: Of training, validation, test.
    shares: tuple[Share, Share, Share] = (0.8, 0.1, 0.1)
    #: The parts that the data set itself names are kept: what it calls test is tested, and never trained on.
    official: bool = False
    seed: int = 0
    #: Images whose thumbnails correlate by more than this belong to one group; 1 turns it off.
    near_duplicate: Share = 0.95
    #: Rows and columns of the thumbnails.
    thumbnail: Count = 48
    #: CSV file beside the recipe, with the columns image and patient, where the data set does not say whose images
    #: they are; also sex, age, scanner, site.
    patients: str = ""

    def __post_init__(self) -> None:
        """Check what hangs together.

        Raises:
            ValueError: one fold leaves nothing to train on, and neither do such shares.
        """
        if self.folds == 1 or not self.shares[0]:
            raise ValueError("nothing would be trained on: ask for two folds or more, and for a share of training")


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The `[augmentation]` table: by how much a training image is changed, at random, each time it is shown."""

    __pydantic_config__: ClassVar = _FORBID

    #: Degrees, either way.
    rotate_deg: Annotated[float, Field(ge=0, le=180)] = 0.0
    #: Share of the side, either way.
    translate: Share = 0.0
    #: Factor, the least and the greatest.
    zoom: tuple[float, float] = (1.0, 1.0)
    #: 0.1: each axis is zoomed by another 0.9 to 1.1 besides.
    aspect: Share = 0.0
    #: Axes of the network's input that may be mirrored, 0 is the first.
    flip: tuple[Axis, ...] = ()
    #: Added to values of mean 0 and deviation 1, or as a share of the range, either way.
    brightness: Annotated[float, Field(ge=0)] = 0.0
    #: 0.2: values are spread by 0.8 to 1.2 around their mean.
    contrast: Annotated[float, Field(ge=0)] = 0.0
    #: 0.3: raised to a power of 1/1.3 to 1.3, over the range of the image.
    gamma: Annotated[float, Field(ge=0)] = 0.0
    #: Standard deviation of Gaussian noise at most.
    noise: Annotated[float, Field(ge=0)] = 0.0
    #: Standard deviation of Gaussian blur at most, in pixels.
    blur: Annotated[float, Field(ge=0)] = 0.0
    #: Largest factor by which the image is made coarser, along one axis or all, and fine again.
    coarsen: Annotated[float, Field(ge=1)] = 1.0
    #: Standard deviation of the logarithm of a smooth field that brightness is multiplied by, as of a coil.
    bias: Annotated[float, Field(ge=0)] = 0.0
    #: Largest share of the area that is blotted out.
    erase: Share = 0.0
    #: Parameter of the beta distribution that images are mixed by (Zhang et al., mixup, ICLR 2018); 0: not at all.
    mix: Annotated[float, Field(ge=0)] = 0.0

    def __post_init__(self) -> None:
        """Check what hangs together.

        Raises:
            ValueError: `zoom` is no least and greatest factor.
        """
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError("zoom is the least and the greatest factor, both above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The `[start]` table: weights that training begins from, and how they are let go."""

    __pydantic_config__: ClassVar = _FORBID

    #: "file:PATH" or "package:NAME==VERSION/PATH", as in a card.
    weights: str
    #: Epochs in which only the new last layer is trained.
    frozen_epochs: Annotated[int, Field(ge=0)] = 0
    #: So many stages, from the image on, stay as they came.
    frozen_stages: Annotated[int, Field(ge=0)] = 0
    #: Each stage learns by this factor more slowly than the one after it ...
    decay: Share = 1.0
    #: ... but the last layer by this factor faster than the one before it.
    last: Annotated[float, Field(gt=0)] = 1.0
    #: Statistics of batch normalisation stay as they came.
    keeps_statistics: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Further:
    """One of the `[[networks]]`: a network of another architecture, trained beside the first one."""

    __pydantic_config__: ClassVar = _FORBID

    #: As in `[network]`.
    name: str
    #: As in `[network]`.
    arguments: dict[str, Any] = field(default_factory=dict)
    #: What it begins from, as in `[start]`; left out: from nothing.
    start: Start | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """The `[training]` table."""

    __pydantic_config__: ClassVar = _FORBID

    epochs: Count = 50
    #: Cases at once.
    batch: Count = 16
    #: Batches an epoch; 0: every case once.
    steps: Annotated[int, Field(ge=0)] = 0
    #: "adamw" or "sgd" (with Nesterov's momentum).
    optimiser: Literal["adamw", "sgd"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    #: "cosine", "poly" (power 0.9) or "constant", after `warm_up` epochs.
    schedule: Literal["cosine", "poly", "constant"] = "cosine"
    warm_up: Annotated[float, Field(ge=0)] = 0.0
    balance: Balance = Balance.NONE
    #: Where classes are balanced: 0, the network answers as if all were equally common, 1, as they are in the data set
    #: (logit adjustment: Menon et al., ICLR 2021).
    prior: Share = 0.0
    smoothing: Share = 0.0
    #: Of the running mean of the weights that is validated and kept; 0: the weights themselves.
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    #: Ends after so many validations without a better score; 0: never, and the last weights are kept, not the best.
    patience: Annotated[int, Field(ge=0)] = 0
    #: Epochs between two validations.
    validate_every: Count = 1
    #: Largest norm of the gradients; 0: not held.
    clip: Annotated[float, Field(ge=0)] = 0.0
    precision: Precision = Precision.AUTO
    #: Networks that are trained alike, from seeds of their own, and whose weights are averaged into one (Wortsman et
    #: al., Model soups, ICML 2022); they have to begin from the same weights (`[start]`).
    soup: Count = 1
    #: One training each.
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)

    def __post_init__(self) -> None:
        """Check what hangs together.

        Raises:
            ValueError: a seed is named twice: it would count twice.
        """
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed is named twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """The `[evaluation]` table: by what the model is judged, and where it is set to work."""

    __pydantic_config__: ClassVar = _FORBID

    #: Class whose sensitivity counts; empty: the last one.
    positive: str = ""
    #: The operating point is the highest threshold with this sensitivity on cases that were not trained on.
    sensitivity: Share = 0.9
    #: Axes along which a case is also shown mirrored, and the answers averaged.
    flips: tuple[Axis, ...] = ()
    #: Of a classifier: what it is shown of a case, each around the middle, as [share of the sides, magnification], and
    #: the answers averaged; empty: all of it, as it is.
    views: tuple[tuple[Annotated[float, Field(gt=0, le=1)], Magnification], ...] = ()
    #: Attributes by which cases are put into subgroups, where they are known.
    subgroups: tuple[str, ...] = ("sex", "age", "scanner", "site")
    #: Tolerance of surface Dice.
    tolerance_mm: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole recipe. Tables that are left out are derived from the data sheet."""

    __pydantic_config__: ClassVar = _FORBID

    #: Name of the model.
    name: str = ""
    task: Task | None = None
    #: The hand-written part of the model's card, beside the recipe: intended use, codes, which series suit.
    card: str = ""
    #: Classes in the order of the network's outputs; empty: as the data set has them.
    classes: tuple[str, ...] = ()
    #: Of single images: "grey" or "rgb".
    colour: Colour = Colour.GREY
    split: Splitting = field(default_factory=Splitting)
    preparation: Preparation | None = None
    network: Architecture | None = None
    #: Further networks of other architectures: all of them become one model, their shares averaged.
    networks: tuple[Further, ...] = ()
    start: Start | None = None
    augmentation: Augmentation | None = None
    synthetic: Synthetic | None = None
    training: Training = field(default_factory=Training)
    evaluation: Judging = field(default_factory=Judging)
    explanations: Explaining = field(default_factory=Explaining)
    detection: Detecting = field(default_factory=Detecting)
    radiomics: Radiomics | None = None
    export: Exporting = field(default_factory=Exporting)
    search: Searching | None = None
    ablation: Ablation | None = None


_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def read_recipe(file: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    return recipe_of(read_document(file), file)


def recipe_of(document: dict[str, Any], file: Path) -> Recipe:
    """Check a recipe as it was read from `file`, or put together.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    return validate(_RECIPE, document, file)
