"""A model that is there already, on a data set: each case read as the node would read it, beside what is true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from node.domain.colour import Colour
from node.domain.model_card import Intensity, ModelCard, Task
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
from node.learn.naming import Names, names_of
from node.learn.prediction import Prediction, SeenBox, SegmentFigures
from node.learn.preparing import shown

__all__ = ["Model", "Names", "Unread", "given_of", "names_of", "numbers_of", "read", "settled_of"]

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


def settled_of(names: Names, positive: int) -> Settled:
    """What the card says already of calibration and operating point."""

    def scaling(place: int) -> Scaling | None:
        found = names.targets[place].calibration if place in names.targets else None
        if found is None:
            return None
        return Scaling(temperature=found.temperature, bias=found.bias, cases=found.cases, positives=0)

    threshold = names.targets[positive].operating_point if positive in names.targets else None
    return Settled(scalings=tuple(scaling(place) for place in range(len(names.classes))), threshold=threshold)


def read(
    model: Model,
    dataset: Dataset,
    cases: Iterable[Case],
    names: Names,
    *,
    groups: Mapping[str, str] | None = None,
    tolerance_mm: float = 1.0,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[Prediction | Unread]:
    """Read cases one after the other; `groups` tells which must not be counted twice, beside what the cases say.

    Raises:
        Misconfigured: the model's numbers leave no room for a class that the data set has.
    """
    for case in cases:
        try:
            pixels = dataset.read(case)
            given = given_of(model.card, pixels, case.key)
            reading = doubt.read(model.card, model.runner, model.others, given, STILL)
            said = _said(model.card, names, reading, pixels, tolerance_mm)
        except (Unsuitable, Failed) as error:
            yield Unread(key=case.key, reason=str(error))
        else:
            yield replace(
                said,
                key=case.key,
                group=(groups or {}).get(case.key) or case.group or case.key,
                attributes=dict(case.attributes),
                truth=names.places[case.label or 0] if model.card.task is Task.CLASSIFICATION else None,
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
        return colours.brightness(shown(image, Colour.RGB))
    return image if image.dtype == np.float32 else image.astype(np.int16)


def _said(card: ModelCard, names: Names, reading: Reading, pixels: Pixels, tolerance_mm: float) -> Prediction:
    """The part of a prediction that a model makes."""
    empty = Prediction(key="", group="", part="test")
    if card.task is Task.CLASSIFICATION:
        shares, logits = numbers_of(card, names, reading)
        return replace(empty, shares=shares, logits=logits)
    if card.task is Task.SEGMENTATION:
        return replace(empty, segments=_segments(names, reading, pixels, tolerance_mm))
    label_of = {target.index: label for label, target in names.targets.items()}
    seen = (
        SeenBox(label=label_of[box.target], score=box.score, edges=box.edges)
        for box in reading.boxes
        if box.target in label_of
    )
    true = (SeenBox(label=box.label, score=1.0, edges=box.edges) for box in pixels.boxes if box.label in names.targets)
    return replace(empty, boxes=tuple(seen), true_boxes=tuple(true))


def numbers_of(card: ModelCard, names: Names, reading: Reading) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The number of each class as the node has it before calibration, 0 to 1, and logits in the same order.

    Of classes that exclude each other the softmax of the logits are these numbers. Where they do not, each number
    stands for itself; the class that none of the others is there has what the likeliest of them leaves.

    Raises:
        Failed: as `imaging.tasks.classification.scores_of`; a class has no number.
        Misconfigured: all that the model tells apart is named, and the data set has another class.
    """
    rows = scores_of(card, reading.logits)
    scores = rows.mean(axis=0) if card.aggregate == "mean" else rows.max(axis=0)
    if any(channel >= len(scores) for channel in names.channels.values()):
        raise Failed(f"the model gives {len(scores)} number(s), and has more classes")
    found = np.full(len(names.classes), np.nan)
    for place, channel in names.channels.items():
        found[place] = scores[channel]
    rest = np.isnan(found)
    if rest.any() and card.exclusive and len(scores) <= len(names.channels):
        left = ", ".join(name for name, is_rest in zip(names.classes, rest, strict=True) if is_rest)
        problem = f"names all {len(scores)} classes of {card.name}, and {left} is none of them"
        raise Misconfigured("model.toml", "targets", problem, "Leave such cases out, or give them the name of a class")
    known = found[~rest]
    found[rest] = max(0.0, 1 - float(known.sum() if card.exclusive else known.max()))
    shares = tuple(float(each) for each in found)
    if len(found) == 2 and rest.any():
        # Two classes, one number: no rounding may come between.
        z = float(logit(known)[0])
        return shares, (0.0, z) if rest[0] else (z, 0.0)
    return shares, tuple(float(each) for each in np.log(np.maximum(found, _LEAST)))


def _segments(names: Names, reading: Reading, pixels: Pixels, tolerance_mm: float) -> dict[int, SegmentFigures]:
    if reading.labels is None or pixels.labels is None:
        raise Failed("the model gave no mask" if reading.labels is None else "the case has no mask")
    table = np.zeros(256, np.uint8)
    for number, label in names.segments.items():
        table[number] = label
    said, labels = table[reading.labels], sorted(set(names.segments.values()))
    if pixels.volume is not None:
        return figures(said, pixels.labels, pixels.volume.grid, labels, tolerance_mm)
    flat = said[0] if said.ndim > pixels.labels.ndim else said
    return figures_at(flat, pixels.labels, (_PIXEL_MM, _PIXEL_MM), labels, tolerance_mm)
