"""How a configuration leads its network over the volume, and what it makes of the network's numbers."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from node.imaging.bundle.recognition import NOTHING, Entry
from node.imaging.bundle.terms import (
    Activation,
    Blend,
    Discretisation,
    Inversion,
    Largest,
    NotUnderstood,
    Returned,
    Window,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The part of a plan that follows the network."""

    activation: Activation = Activation.NONE
    discretisation: Discretisation = Discretisation.NONE
    threshold: float = 0.5
    inversion: Inversion = Inversion.NONE
    returned: Returned = Returned.LOGITS
    largest: Largest | None = None
    merge: tuple[tuple[int, int], ...] = ()


def answer_of(entries: Sequence[Entry], *, moved: bool) -> Answer:
    """Read the postprocessing; `moved` says whether the preprocessing moved voxels.

    Raises:
        NotUnderstood: a transform, its order, or something that it says has no place in a plan.
    """
    answer, inverted = Answer(), False
    for entry in entries:
        if entry.name in NOTHING or entry.name == "EnsureTyped":
            continue
        if entry.name == "Invertd":
            if inverted:
                raise NotUnderstood("the result is brought back twice")
            answer, inverted = _inverted(entry, answer), True
        elif entry.name == "Activationsd":
            answer = _activated(entry, answer)
        elif entry.name == "AsDiscreted":
            answer = _discretised(entry, answer)
        elif entry.name == "KeepLargestConnectedComponentd":
            answer = _largest(entry, answer, at_source=inverted or not moved)
        elif entry.name == "Lambdad":
            answer = _merged(entry, answer)
        else:
            raise NotUnderstood(f"{entry.name or 'a step without a name'} is not known behind a network")
        entry.done()
    if answer.discretisation is Discretisation.NONE:
        raise NotUnderstood("no labels are made")
    if moved and not inverted:
        raise NotUnderstood("nothing brings the result back to the source")
    return answer if moved else replace(answer, inversion=Inversion.NONE, returned=Returned.LABELS)


def window_of(entry: Entry) -> Window:
    """Read the inferer.

    Raises:
        NotUnderstood: it is no sliding window, no walk over slices, and not the whole volume at once.
    """
    entry.ignore("sw_device", "device", "progress", "cache_roi_weight_map", "cpu_thresh", "buffer_steps", "buffer_dim")
    if entry.name == "SimpleInferer":
        entry.done()
        return Window()
    if entry.name not in ("SlidingWindowInferer", "SlidingWindowInfererAdapt", "SliceInferer"):
        raise NotUnderstood(f"the inferer {entry.name} is not known")
    entry.require("with_coord", False)
    axis = int(entry.take("spatial_dim", 0)) if entry.name == "SliceInferer" else None
    count = 3 if axis is None else 2
    roi = _each(entry.take("roi_size"), count, "roi_size")
    window = Window(
        roi=tuple(int(size) for size in roi),
        overlap=_each(entry.take("overlap", 0.25), count, "overlap"),
        blend=Blend(str(entry.take("mode", "constant")).rpartition(".")[2].lower()),
        sigma_scale=_each(entry.take("sigma_scale", 0.125), count, "sigma_scale"),
        padding=str(entry.take("padding_mode", "constant")),
        padding_value=float(entry.take("cval", 0.0)),
        batch=int(entry.take("sw_batch_size", 1)),
        slice_axis=axis,
    )
    entry.done()
    return window


def _each(given: Any, count: int, name: str) -> tuple[float, ...]:
    values = given if isinstance(given, list) else [given] * count
    if len(values) != count or not all(isinstance(value, int | float) for value in values):
        raise NotUnderstood(f"the inferer with {name} = {given!r}")
    return tuple(values)


def _inverted(entry: Entry, answer: Answer) -> Answer:
    entry.ignore("orig_keys", "meta_keys", "orig_meta_keys", "meta_key_postfix", "to_tensor", "device")
    if not re.fullmatch(r"\$?(copy\.deepcopy\()?@preprocessing\)?", entry.raw("transform")):
        raise NotUnderstood("what Invertd undoes is not the preprocessing")
    returned = Returned.LOGITS
    if answer.discretisation is not Discretisation.NONE:
        returned = Returned.LABELS
    elif answer.activation is not Activation.NONE:
        returned = Returned.ACTIVATIONS
    nearest = bool(entry.first("nearest_interp", True))
    return replace(answer, inversion=Inversion.NEAREST if nearest else Inversion.LINEAR, returned=returned)


def _activated(entry: Entry, answer: Answer) -> Answer:
    entry.require("other", None)
    chosen = [kind for kind in (Activation.SOFTMAX, Activation.SIGMOID) if entry.first(kind.value, False)]
    if len(chosen) > 1 or answer.activation is not Activation.NONE or answer.discretisation is not Discretisation.NONE:
        raise NotUnderstood("more than one activation, or one of labels")
    return replace(answer, activation=chosen[0]) if chosen else answer


def _discretised(entry: Entry, answer: Answer) -> Answer:
    if answer.discretisation is not Discretisation.NONE:
        raise NotUnderstood("labels are made twice")
    entry.require("rounding", None)
    entry.require("to_onehot", None)
    argmax, threshold = bool(entry.first("argmax", False)), entry.first("threshold", None)
    if argmax and threshold is None:
        return replace(answer, discretisation=Discretisation.ARGMAX)
    if argmax or threshold is None:
        raise NotUnderstood("AsDiscreted with neither argmax nor threshold, or both")
    return replace(answer, discretisation=Discretisation.THRESHOLD, threshold=float(threshold))


def _largest(entry: Entry, answer: Answer, *, at_source: bool) -> Answer:
    entry.require("is_onehot", None, False)
    entry.require("num_components", 1)
    if answer.discretisation is not Discretisation.ARGMAX or answer.largest is not None:
        raise NotUnderstood("the largest component of something else than labels")
    labels, connectivity = entry.take("applied_labels"), entry.take("connectivity")
    chosen = tuple(int(label) for label in (labels if isinstance(labels, list) else [labels] if labels else []))
    independent = bool(entry.take("independent", True))
    found = Largest(labels=chosen, independent=independent, connectivity=connectivity or 3, at_source=at_source)
    return replace(answer, largest=found)


def _merged(entry: Entry, answer: Answer) -> Answer:
    """Read `lambda x: torch.where(x[[2]] > 0, 4, torch.where(…, 1, 0))`: which channel takes which label, in order.

    Raises:
        NotUnderstood: the function does something else.
    """
    text = entry.raw("func")
    if answer.discretisation is not Discretisation.THRESHOLD or answer.merge:
        raise NotUnderstood(f"{text} is done to something else than channels cut at a threshold")
    found: list[tuple[int, int]] = []
    try:
        function = ast.parse(text.removeprefix("$").strip(), mode="eval").body
        inner = function.body if isinstance(function, ast.Lambda) else function
        while True:
            match inner:
                case ast.Constant(value=0) if found:
                    return replace(answer, merge=tuple(found))
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="torch"), attr="where"),
                    args=[
                        ast.Compare(
                            left=ast.Subscript(
                                value=ast.Name(id="x"),
                                slice=ast.List(elts=[ast.Constant(value=int(channel))]),
                            ),
                            ops=[ast.Gt()],
                            comparators=[ast.Constant(value=0)],
                        ),
                        ast.Constant(value=int(label)),
                        other,
                    ],
                    keywords=[],
                ):
                    found.append((channel, label))
                    inner = other
                case _:
                    raise NotUnderstood(f"{text} is not understood")
    except SyntaxError as error:
        raise NotUnderstood(f"{text} is not understood") from error
