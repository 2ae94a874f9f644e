"""What a model and a data set call the same things: matched by their names, never by their order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from node.domain.model_card import ModelCard, Task
from node.domain.target import Target
from node.errors import Failed, Misconfigured
from node.learn.case import Dataset

#: What a data set calls a class or label that it only numbers.
_NUMBER = re.compile(r"(?:label |class )?(\d+)")
_CARD, _KEY = "model.toml", "targets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the model calls the classes of a data set."""

    #: What is judged. Of a classifier every class that it tells apart, whether or not the data set has it; of a
    #: segmentation or detection those of the data set.
    classes: tuple[str, ...]
    #: Class of the data set → its place in `classes`.
    places: Mapping[int, int]
    #: Of a classifier, place → channel; one without is that none of the others is there.
    channels: Mapping[int, int] = field(default_factory=dict)
    #: Place → its target, where the card has one.
    targets: Mapping[int, Target] = field(default_factory=dict)
    #: The model's segment number → label of the data set.
    segments: Mapping[int, int] = field(default_factory=dict)
    #: Sentences on what one of them has and the other has not.
    notes: tuple[str, ...] = ()


def names_of(card: ModelCard, dataset: Dataset, outputs: Sequence[str] = ()) -> Names:
    """Match what the card finds with the classes of a data set.

    A data set that only numbers its classes (0, 1 of an array; label 1, label 2 of a mask) is taken at its numbers.

    Args:
        card: of the model.
        dataset: what it is to read.
        outputs: what the model's training called its classes, in the order of its outputs; of a segmentation its labels
            1, 2, …; empty: nobody knows, and the card's labels are all the names there are.

    Raises:
        Failed: they are for different tasks.
        Misconfigured: the data set has a class that the model does not know, or none that it knows; says which.
    """
    if card.task is not dataset.task:
        raise Failed(f"{card.name} is for {card.task.value}, and {dataset.name} for {dataset.task.value}")
    if card.task is Task.CLASSIFICATION:
        return _of_answers(card, dataset, tuple(outputs))
    first = 1 if card.task is Task.SEGMENTATION else 0
    known: dict[int, list[str]] = {number: [name] for number, name in enumerate(outputs, first)}
    labels = [(each.number, each.label) for each in card.segments] or [
        (each.index, each.label) for each in card.targets
    ]
    for number, label in labels:
        known.setdefault(number, []).append(label)
    numbers = {number for number, _ in labels}
    found = {place: number for place, number in _matched(dataset.classes, known).items() if number in numbers}
    if not found:
        raise _unknown(card, dataset, dataset.classes, [names[-1] for names in known.values()])
    without = [name for place, name in enumerate(dataset.classes) if place not in found]
    more = [label for number, label in labels if number not in found.values()]
    # A number alone says nothing to those who read the figures.
    called = [
        known[found[place]][0] if place in found and _NUMBER.fullmatch(name) else name
        for place, name in enumerate(dataset.classes)
    ]
    return Names(
        classes=tuple(called),
        places={place: place for place in found},
        targets={place: each for place, number in found.items() for each in card.targets if each.index == number},
        segments={number: place + 1 for place, number in found.items()} if card.segments else {},
        notes=(*_said(f"{card.name} does not know", without), *_said(f"{dataset.name} does not tell of", more)),
    )


def _of_answers(card: ModelCard, dataset: Dataset, outputs: tuple[str, ...]) -> Names:
    known: dict[int, list[str]] = {channel: [name] for channel, name in enumerate(outputs)}
    for target in card.targets:
        known.setdefault(target.index, []).append(target.label)
    found = _matched(dataset.classes, known)
    without = [name for place, name in enumerate(dataset.classes) if place not in found]
    # A card that looks for some things, and nobody says what else there is: one more class is that they are not there.
    is_rest = bool(found) and len(without) == 1 and not outputs
    if not found or (without and not is_rest):
        raise _unknown(card, dataset, without, [names[0] for _, names in sorted(known.items())])
    order = sorted(known) if outputs else list(dict.fromkeys(found.values()))
    if card.exclusive and not outputs:
        order += [channel for channel in sorted(known) if channel not in order]
    called = {channel: dataset.classes[place] for place, channel in found.items()}
    classes = [outputs[channel] if outputs else called.get(channel, known[channel][0]) for channel in order]
    places = {place: order.index(channel) for place, channel in found.items()}
    channels = dict(enumerate(order))
    if is_rest:
        # In the data set's order, since that is what is left.
        rest = dataset.classes.index(without[0])
        at = min(rest, len(classes))
        classes.insert(at, without[0])
        places = {place: other + (other >= at) for place, other in places.items()} | {rest: at}
        channels = {other + (other >= at): channel for other, channel in channels.items()}
    missing = [name for place, name in enumerate(classes) if place not in places.values()]
    return Names(
        classes=tuple(classes),
        places=places,
        channels=channels,
        targets={place: each for place, channel in channels.items() for each in card.targets if each.index == channel},
        notes=(
            *_numbered(dataset.classes, {place: classes[other] for place, other in places.items()}),
            *_said(f"{dataset.name} has no cases of", missing),
        ),
    )


def _matched(classes: Sequence[str], known: Mapping[int, Sequence[str]]) -> dict[int, int]:
    """Place of a class in the data set → the model's number of it; by number only where there are no names."""
    numbers = {_plain(name): number for number, names in known.items() for name in names}
    found = {place: numbers[_plain(name)] for place, name in enumerate(classes) if _plain(name) in numbers}
    said = [_NUMBER.fullmatch(name) for name in classes]
    if not found and all(said):
        own = {place: int(each[1]) for place, each in enumerate(said) if each is not None}
        found = {place: number for place, number in own.items() if number in known}
    return found


def _plain(name: str) -> str:
    """A name without what is only a way to write it."""
    return " ".join(re.split(r"[\s_-]+", name.casefold().strip()))


def _numbered(classes: Sequence[str], called: Mapping[int, str]) -> list[str]:
    taken = [f"{classes[place]} for {name}" for place, name in called.items() if classes[place] != name]
    if not taken or not all(_NUMBER.fullmatch(name) for name in classes):
        return []
    return [f"The data set only numbers its classes: {', '.join(taken)} was taken."]


def _said(what: str, names: Sequence[str]) -> list[str]:
    return [f"{what} {', '.join(names)}: nothing is told of it."] if names else []


def _unknown(card: ModelCard, dataset: Dataset, without: Sequence[str], known: Sequence[str]) -> Misconfigured:
    problem = f"knows nothing of {', '.join(without)}, which {dataset.name} has; it knows {', '.join(known)}"
    return Misconfigured(_CARD, _KEY, f"{card.name} {problem}", "Give them the same names, or leave such cases out")
