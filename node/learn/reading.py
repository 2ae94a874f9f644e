"""A model that is there already, on a data set: each case read as the node would read it, beside what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node.domain.colour import Colour
from node.domain.model_card import Intensity, ModelCard, Task
from node.domain.target import Target
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging import colours, doubt
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Given, Reading, Runner
from node.imaging.tasks.classification import scores_of
from node.learn.case import Case, Dataset, Pixels
from node.learn.evaluate.calibration import logit
from node.learn.evaluate.figures import Scaling
from node.learn.evaluate.settling import Settled
from node.learn.evaluate.surface import figures, figures_at
from node.learn.prediction import Prediction, SeenBox, SegmentFigures
from node.learn.preparing import shown

_Picture = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32]
#: Length of a pixel of an image that does not say it.
_PIXEL_MM = 1.0
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model, loaded."""

    card: ModelCard
    runner: Runner
    #: Further members of an ensemble.
    others: Sequence[Runner] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A case that the model would not or could not read, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the model calls the classes of a data set."""

    #: Index of the class → its target; a class without one is that none of the others is there.
    targets: Mapping[int, Target]
    #: The model's segment number → label of the data set.
    segments: Mapping[int, int]


def names_of(card: ModelCard, dataset: Dataset) -> Names:
    """Match what the card finds with the classes of a data set: by name, else in their order.

    Raises:
        Failed: they are for different tasks.
        Misconfigured: they do not name the same.
    """
    if card.task is not dataset.task:
        raise Failed(f"{card.name} is for {card.task.value}, and {dataset.name} for {dataset.task.value}")
    classes = {name.casefold(): place for place, name in enumerate(dataset.classes)}
    if card.task is Task.SEGMENTATION:
        found = {each.number: classes.get(each.label.casefold()) for each in card.segments}
        if any(label is None for label in found.values()):
            _same_number(len(card.segments), dataset)
            ordered = sorted(found)
            found = {number: place for place, number in enumerate(ordered)}
        return Names(targets={}, segments={number: place + 1 for number, place in found.items() if place is not None})
    targets = {classes[each.label.casefold()]: each for each in card.targets if each.label.casefold() in classes}
    if len(targets) < len(card.targets):
        _same_number(len(card.targets), dataset)
        targets = dict(enumerate(sorted(card.targets, key=lambda each: each.index)))
    if card.task is Task.CLASSIFICATION and len(targets) < len(classes) - 1:
        missing = ", ".join(name for place, name in enumerate(dataset.classes) if place not in targets)
        problem = f"names none of {missing}, which {dataset.name} has"
        raise Misconfigured("model.toml", "targets", problem, "Give targets the names of the classes")
    return Names(targets=targets, segments={})


def settled_of(names: Names, classes: int, positive: int) -> Settled:
    """What the card says already of calibration and operating point."""

    def scaling(place: int) -> Scaling | None:
        found = names.targets[place].calibration if place in names.targets else None
        if found is None:
            return None
        return Scaling(temperature=found.temperature, bias=found.bias, cases=found.cases, positives=0)

    threshold = names.targets[positive].operating_point if positive in names.targets else None
    return Settled(scalings=tuple(scaling(place) for place in range(classes)), threshold=threshold)


def read(
    model: Model,
    dataset: Dataset,
    cases: Iterable[Case],
    *,
    groups: Mapping[str, str] | None = None,
    tolerance_mm: float = 1.0,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[Prediction | Unread]:
    """Read cases one after the other; `groups` tells which must not be counted twice, beside what the cases say.

    Raises:
        Failed, Misconfigured: as `names_of`; a case is damaged.
    """
    names = names_of(model.card, dataset)
    for case in cases:
        pixels = dataset.read(case)
        try:
            given = given_of(model.card, pixels, case.key)
            reading = doubt.read(model.card, model.runner, model.others, given, STILL)
            said = _said(model.card, names, len(dataset.classes), reading, pixels, tolerance_mm)
        except (Unsuitable, Failed) as error:
            yield Unread(key=case.key, reason=str(error))
        else:
            group = (groups or {}).get(case.key) or case.group or case.key
            yield Prediction(
                key=case.key,
                group=group,
                part="test",
                attributes=dict(case.attributes),
                truth=case.label if model.card.task is Task.CLASSIFICATION else None,
                logits=said.logits,
                segments=said.segments,
                boxes=said.boxes,
                true_boxes=said.true_boxes,
            )
        advance()


def given_of(card: ModelCard, pixels: Pixels, key: str) -> Given:
    """What the model is given of a case, as of a study: a volume under its role, or one image.

    Raises:
        Unsuitable: the case is none of what it reads.
    """
    if len(card.roles) > 1:
        raise Unsuitable("the model reads several series together")
    if card.needs_volume:
        if pixels.volume is None:
            raise Unsuitable("a single image, and the model reads volumes")
        return Given(volumes={card.roles[0].name if card.roles else "": pixels.volume})
    if pixels.image is None:
        raise Unsuitable("a volume, and the model reads single images")
    return Given(images=(Image(array=_as_wanted(card, pixels.image), sop_instance_uid=key),))


def _as_wanted(card: ModelCard, image: _Picture) -> _Picture:
    """A picture as the node would have it of a DICOM image (see `imaging.images.Image`)."""
    if card.colour is Colour.RGB or card.intensity is Intensity.SHOWN:
        return shown(image, card.colour)
    if image.ndim == 3:
        return colours.brightness(image.astype(np.uint8))
    return image if image.dtype == np.float32 else image.astype(np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """The part of a prediction that a model makes."""

    logits: tuple[float, ...] = ()
    segments: Mapping[int, SegmentFigures] = field(default_factory=dict)
    boxes: tuple[SeenBox, ...] = ()
    true_boxes: tuple[SeenBox, ...] = ()


def _said(card: ModelCard, names: Names, classes: int, reading: Reading, pixels: Pixels, tolerance_mm: float) -> _Said:
    if card.task is Task.CLASSIFICATION:
        return _Said(logits=logits_of(card, names, classes, reading))
    if card.task is Task.SEGMENTATION:
        return _Said(segments=_segments(names, classes, reading, pixels, tolerance_mm))
    label_of = {target.index: label for label, target in names.targets.items()}
    seen = (SeenBox(label=label_of[box.target], score=box.score, edges=box.edges) for box in reading.boxes)
    true = (SeenBox(label=box.label, score=1.0, edges=box.edges) for box in pixels.boxes)
    return _Said(boxes=tuple(seen), true_boxes=tuple(true))


def logits_of(card: ModelCard, names: Names, classes: int, reading: Reading) -> tuple[float, ...]:
    """One logit a class, whose softmax are the shares that the node's targets have, before calibration.

    Targets that do not exclude each other share what they have: the softmax is what is left of it then.

    Raises:
        Failed: as `imaging.tasks.classification.scores_of`.
    """
    rows = scores_of(card, reading.logits)
    scores = rows.mean(axis=0) if card.aggregate == "mean" else rows.max(axis=0)
    found = np.full(classes, np.nan)
    for place, target in names.targets.items():
        found[place] = scores[target.index]
    rest = np.isnan(found)
    if classes == 2 and rest.any():
        # Two classes, one number: no rounding may come between.
        z = float(logit(found[~rest])[0])
        return (0.0, z) if rest[0] else (z, 0.0)
    found[rest] = 1 - np.nansum(found)
    return tuple(float(each) for each in np.log(np.maximum(found, _LEAST)))


def _segments(
    names: Names, classes: int, reading: Reading, pixels: Pixels, tolerance_mm: float
) -> dict[int, SegmentFigures]:
    if reading.labels is None or pixels.labels is None:
        raise Failed("the model gave no mask" if reading.labels is None else "the case has no mask")
    table = np.zeros(256, np.uint8)
    for number, label in names.segments.items():
        table[number] = label
    said = table[reading.labels]
    if pixels.volume is not None:
        return figures(said, pixels.labels, pixels.volume.grid, range(1, classes + 1), tolerance_mm)
    flat = said[0] if said.ndim > pixels.labels.ndim else said
    return figures_at(flat, pixels.labels, (_PIXEL_MM, _PIXEL_MM), range(1, classes + 1), tolerance_mm)


def _same_number(count: int, dataset: Dataset) -> None:
    if count != len(dataset.classes):
        problem = f"names {count} things, and {dataset.name} has {len(dataset.classes)} under other names"
        raise Misconfigured("model.toml", "", problem, f"Call them {', '.join(dataset.classes)}")
