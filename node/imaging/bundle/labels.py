"""From what a bundle's channels and values mean to the segments of the card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import ModelCard
from node.errors import Failed, Misconfigured
from node.imaging.bundle.configuration import Configuration

#: Parameter of the card: for each segment, in order, the value or channel of the bundle's output that shows it.
LABELS = "labels"
#: Parameter of the card: what a mask without any segment means, "negative" or "failed".
EMPTY = "empty"
#: SNOMED CT "Anatomical Structure", a Segmented Property Category (PS3.16 CID 7150), and what many cards write for it.
_ANATOMY = frozenset(("91723000", "123037004"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Which value or channel of a bundle's output is which segment."""

    #: Value (one channel) or channel (several), in the order of the card's segments.
    values: tuple[int, ...]
    #: Names by channel, from `metadata.json`; empty where it has none.
    names: tuple[str, ...] = ()
    #: Whether the first name is that of the background.
    background: bool = True
    #: Whether a mask without any segment is a failure.
    empty_fails: bool = False


def naming(card: ModelCard, configuration: Configuration) -> Naming:
    """Say which output of the bundle is which segment.

    Without the parameter `labels` the segments are the bundle's own channels in its order, its background left out;
    with it, outputs that are not named are left out of the mask on purpose.

    Whether an empty mask is an answer depends on what is looked for. A series that suits the model holds the organ:
    where any segment is an anatomical structure, or a volume of the card has a least plausible value, emptiness is
    a failure. A lesion may be absent. The parameter `empty` ("negative" or "failed") says otherwise.

    Raises:
        Misconfigured: the card's segments are not the bundle's outputs, or a parameter is no such thing.
    """
    names = tuple(configuration.channels("outputs"))
    background = not names or "background" in names[0].lower()
    count = len(card.segments)
    if not count:
        raise Misconfigured("model.toml", "segments", "there is none", "Declare what the bundle segments")
    given = card.parameters.get(LABELS)
    if given is not None:
        values = _whole(given)
        if len(values) != count or len(set(values)) < count:
            problem = f"names {len(values)} outputs for {count} segments, or one of them twice"
            raise Misconfigured("model.toml", f"parameters.{LABELS}", problem, "Give one for each segment, in order")
    else:
        values = tuple(range(1, len(names)) if background else range(len(names))) if names else _first(count)
        if len(names) == 1 and not count - 1:
            values = (1,)
        if len(values) != count:
            problem = f"are {count}, the bundle has {len(values)} outputs ({', '.join(names)[:200]})"
            remedy = f"Declare all in the bundle's order, or give parameters.{LABELS}: an output for each segment"
            raise Misconfigured("model.toml", "segments", problem, remedy)
    return Naming(values=values, names=names, background=background, empty_fails=_empty_fails(card))


def channels(card: ModelCard, naming: Naming) -> dict[int, int]:
    """Return the network's channel of each segment.

    A bundle without a background may write values of its own into its mask: then names tell which channel is meant.
    """
    names = [] if naming.background else [name.casefold() for name in naming.names]
    labels = [segment.label.casefold() for segment in card.segments]
    known = bool(labels) and set(labels) <= set(names)
    return dict(enumerate([names.index(label) for label in labels] if known else naming.values, start=1))


def segments(output: NDArray[np.generic], naming: Naming) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Return the segment number of every voxel of a (channel, …) output, and notes.

    One channel holds values; several hold one region each, or are one-hot. Where regions overlap the segment that the
    card declares later is shown: let what lies inside another stand after it.

    Raises:
        Failed: the output holds a value that is no label of the bundle, has other channels, or is empty or full where
            that cannot be.
    """
    if output.shape[0] == 1:
        labels, notes = _of_values(output[0], naming)
    else:
        labels, notes = _of_channels(output, naming)
    if naming.empty_fails and not labels.any():
        raise Failed("the model finds none of its structures in the volume")
    if labels.all():
        raise Failed("the model takes every voxel for one of its structures")
    return labels, notes


def _of_values(values: NDArray[np.generic], naming: Naming) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low + high) and low >= 0 and high <= 255):
        raise Failed(f"the result holds values from {low:.4g} to {high:.4g} that are no labels")
    whole = np.rint(values).astype(np.uint8) if np.issubdtype(values.dtype, np.floating) else values.astype(np.uint8)
    between = int(np.count_nonzero(whole != values))
    known = {0, *naming.values, *range(len(naming.names) if naming.background else 0)}
    unknown = sorted(set(np.flatnonzero(np.bincount(whole.ravel(), minlength=1)).tolist()) - known)
    if unknown:
        raise Failed(f"the result holds {unknown[0]}, which is no label of the bundle and no segment of the card")
    table = np.zeros(256, dtype=np.uint8)
    table[list(naming.values)] = np.arange(1, len(naming.values) + 1)
    notes = (f"the bundle interpolates between labels; {between} voxels were rounded to the next one",)
    return np.asarray(table[whole]), notes if between else ()


def _of_channels(output: NDArray[np.generic], naming: Naming) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    channels = output.shape[0]
    # A bundle may have cut its background away.
    first = 1 if naming.background and channels == len(naming.names) - 1 else 0
    places = [value - first for value in naming.values]
    if min(places) < 0 or max(places) >= channels:
        raise Failed(f"the result has {channels} channels, and the card names number {max(naming.values)}")
    labels = np.zeros(output.shape[1:], dtype=np.uint8)
    shared = 0
    for number, place in enumerate(places, start=1):
        region = output[place] != 0
        if not ((output[place] == 1) | ~region).all():
            raise Failed(f"channel {place} of the result holds values between 0 and 1: no regions")
        shared += int(np.count_nonzero(labels[region]))
        labels[region] = number
    if not shared:
        return labels, ()
    return labels, (f"{shared} voxels lie in several regions; the one that the card declares last is shown",)


def _empty_fails(card: ModelCard) -> bool:
    said = card.parameters.get(EMPTY)
    if said not in (None, "negative", "failed"):
        raise Misconfigured("model.toml", f"parameters.{EMPTY}", f"is {said!r}", 'Give "negative" or "failed"')
    if said is not None:
        return said == "failed"
    least = any(volume.plausible_ml and volume.plausible_ml[0] > 0 for volume in card.volumes)
    return least or any(segment.category.value in _ANATOMY for segment in card.segments)


def _first(count: int) -> tuple[int, ...]:
    return tuple(range(1, count + 1))


def _whole(given: object) -> tuple[int, ...]:
    numbers: Sequence[object] = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    whole = [int(number) for number in numbers if isinstance(number, int | float) and float(number).is_integer()]
    if len(whole) < len(numbers) or any(not 0 <= number <= 255 for number in whole):
        raise Misconfigured("model.toml", f"parameters.{LABELS}", f"is {given!r}", "Give whole numbers, 0 to 255")
    return tuple(whole)
