"""Which label a voxel of the source has, from what its neighbours on the network's grid say.

The network's numbers are interpolated first and compared afterwards, as bundles do it, but in a small part of the
volume at a time, and only those of the classes that can win there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from node.errors import Failed
from node.imaging.bundle.plan import Activation, Discretisation, NotUnderstood, Plan, Returned
from node.imaging.cores import spread
from node.imaging.preparation.taps import Taps, along

#: Voxels of the source that are floating point at once: they stay in the cache of a CPU.
_TILE_VOXELS = 1 << 20
_DEVICE_TILE_VOXELS = 1 << 26
#: Sums of shares differ from 1 by rounding alone.
_ROUNDING = 1e-4

#: Sampling of a part: along slices, rows and columns of the source.
Three = tuple[Taps, Taps, Taps]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How numbers become labels."""

    #: What is interpolated, (class, …) float32, from the network's numbers; two classes become their difference.
    field: Callable[[torch.Tensor], torch.Tensor]
    #: A class has label `n` where it is the greatest; else where it is at least (two classes: more than) `threshold`.
    greatest: bool = False
    threshold: float = 0.0
    #: The one field is the difference of two classes.
    difference: bool = False
    #: Whether the fields add up to 1 everywhere.
    shares: bool = False
    #: (channel, label) in order of precedence; empty: each channel is a region of its own.
    merge: tuple[tuple[int, int], ...] = ()

    def regions(self, classes: int) -> int:
        """How many arrays come out: one of labels, or a region for each class."""
        return 1 if self.greatest or self.difference or self.merge else classes

    def labels(self, field: torch.Tensor) -> torch.Tensor:
        """Decide where nothing is interpolated: (region, …) uint8."""
        if self.greatest:
            return field.argmax(dim=0, keepdim=True).to(torch.uint8)
        if self.difference:
            return (field > self.threshold).to(torch.uint8)
        above = field >= self.threshold
        return self.merged(above) if self.merge else above.to(torch.uint8)

    def merged(self, above: torch.Tensor) -> torch.Tensor:
        """Put regions into one array of labels, the first of the order on top."""
        labels = torch.zeros_like(above[:1], dtype=torch.uint8)
        for channel, label in reversed(self.merge):
            labels[0].masked_fill_(above[channel], label)
        return labels


def rule_of(plan: Plan, classes: int) -> Rule:
    """Return the plan's rule for a network that gives `classes` numbers a voxel.

    Raises:
        NotUnderstood: what has to be done at the source needs all classes at once there.
        Failed: the network has fewer classes than the plan names, or more than labels can tell apart.
    """
    logits = plan.returned is Returned.LOGITS
    if classes > 256 or any(channel >= classes for channel, _ in plan.merge):
        raise Failed(f"the network gives {classes} numbers a voxel, which do not fit its bundle")
    if plan.discretisation is Discretisation.ARGMAX:
        # What is interpolated as it is may be compared as it is: the activation keeps the order.
        activation = Activation.NONE if logits else plan.activation
        if classes == 2:
            return Rule(field=_difference(activation), difference=True)
        shares = activation is Activation.SOFTMAX
        return Rule(field=_active(activation), greatest=True, shares=shares)
    if plan.discretisation is not Discretisation.THRESHOLD:
        raise NotUnderstood("no labels are made")
    if not logits:
        return Rule(field=_active(plan.activation), threshold=plan.threshold, merge=plan.merge)
    if plan.activation is Activation.SOFTMAX:
        raise NotUnderstood("shares are computed at the source, from all classes at once")
    threshold = plan.threshold
    if plan.activation is Activation.SIGMOID:
        if not 0 < threshold < 1:
            raise NotUnderstood(f"a threshold of {threshold} for values between 0 and 1")
        threshold = float(np.log(threshold / (1 - threshold)))
    return Rule(field=_active(Activation.NONE), threshold=threshold, merge=plan.merge)


def _active(activation: Activation) -> Callable[[torch.Tensor], torch.Tensor]:
    if activation is Activation.SOFTMAX:
        return lambda scores: torch.softmax(scores.float(), dim=0)
    if activation is Activation.SIGMOID:
        return lambda scores: torch.sigmoid(scores.float())
    return lambda scores: scores.float()


def _difference(activation: Activation) -> Callable[[torch.Tensor], torch.Tensor]:
    """Of two classes the second has more where their difference is positive, and that is as linear as they are."""
    if activation is Activation.SOFTMAX:
        return lambda scores: torch.sub(scores[1:].float(), scores[:1].float()).mul_(0.5).tanh_()
    active = _active(activation)

    def difference(scores: torch.Tensor) -> torch.Tensor:
        values = active(scores)
        return values[1:] - values[:1]

    return difference


def decide(field: torch.Tensor, taps: Three, rule: Rule, into: torch.Tensor, cores: int = 1) -> None:
    """Interpolate a field, (class, slice, row, column) on the network's grid, and write labels where any are.

    into: (region, slice, row, column) uint8 of the source, zero.
    """
    slices, rows, columns = taps
    most = _TILE_VOXELS if field.device.type == "cpu" else _DEVICE_TILE_VOXELS
    depth = max(1, most // max(1, len(rows) * len(columns)))

    def tile(start: int) -> None:
        chosen = slice(start, min(start + depth, len(slices)))
        _decide(field, (slices.part(chosen), rows, columns), rule, into[:, chosen])

    spread(tile, range(0, len(slices), depth), cores)


def _decide(field: torch.Tensor, taps: Three, rule: Rule, into: torch.Tensor) -> None:
    """Decide in some slices of the source, where any voxel can have a label."""
    slices, rows, columns = taps
    first, last = int(slices.low.min()), int(slices.high.max()) + 1
    tile = field[:, first:last]
    box = _box(tile, rule)
    if box is None:
        return
    these_rows, these_columns = _reached(rows, *box[0]), _reached(columns, *box[1])
    row_span, column_span = _span(rows, these_rows), _span(columns, these_columns)
    near = tile[:, :, slice(*row_span), slice(*column_span)]
    inner = (
        slices.part(slice(None), first),
        rows.part(these_rows, row_span[0]),
        columns.part(these_columns, column_span[0]),
    )
    _decided(near, inner, rule, into[:, :, these_rows, these_columns])


def _decided(near: torch.Tensor, taps: Three, rule: Rule, into: torch.Tensor) -> None:
    """Decide in one tile."""
    if rule.greatest:
        _greatest(near, taps, rule, into)
    elif rule.difference:
        into[0] = _sampled(near[0], taps) > rule.threshold
    elif rule.merge:
        into.copy_(rule.merged(torch.stack([_sampled(channel, taps) >= rule.threshold for channel in near])))
    else:
        for region, channel in zip(into, near, strict=True):
            region.copy_(_sampled(channel, taps) >= rule.threshold)


def _greatest(near: torch.Tensor, taps: Three, rule: Rule, into: torch.Tensor) -> None:
    first, *others = _candidates(near, rule)
    best = _sampled(near[first], taps)
    labels = into[0]
    labels.fill_(first)
    for label in others:
        values = _sampled(near[label], taps)
        labels.masked_fill_(values > best, label)
        torch.maximum(best, values, out=best)


def _candidates(near: torch.Tensor, rule: Rule) -> Sequence[int]:
    """Return the classes, ascending, that can be the greatest somewhere between these voxels.

    An interpolated value is never beyond those around it. Where all classes add up to 1, some class has at least its
    part of what the others, at their most, leave over.
    """
    lows, highs = torch.stack(torch.aminmax(near.flatten(1), dim=1)).tolist()
    least = max(lows)
    if rule.shares:
        descending = sorted(highs, reverse=True)
        rest = sum(descending)
        for count, high in enumerate(descending, start=1):
            rest -= high
            least = max(least, (1 - rest) / count - _ROUNDING)
    chosen = [label for label, high in enumerate(highs) if high >= least]
    return chosen or range(len(highs))


def _sampled(values: torch.Tensor, taps: Three) -> torch.Tensor:
    slices, rows, columns = taps
    return along(along(along(values, 2, columns), 1, rows), 0, slices)


def _box(tile: torch.Tensor, rule: Rule) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Return the rows and columns of the network's grid outside of which no label can be; `None`: there is none."""
    if rule.greatest:
        found = (tile[1:].amax(dim=0) > tile[0]).any(dim=0)
    else:
        found = (tile > rule.threshold if rule.difference else tile >= rule.threshold).flatten(0, 1).any(dim=0)
    # Both in one: whatever goes to the host makes it wait for all that the device has before it.
    reached = torch.cat((found.any(dim=1), found.any(dim=0))).cpu().numpy()
    rows, columns = np.flatnonzero(reached[: len(found)]), np.flatnonzero(reached[len(found) :])
    if not len(rows):
        return None
    return (int(rows[0]), int(rows[-1])), (int(columns[0]), int(columns[-1]))


def _reached(taps: Taps, first: int, last: int) -> slice:
    """The samples that read any of the voxels `first` … `last`."""
    places = np.flatnonzero((taps.high >= first) & (taps.low <= last))
    return slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)


def _span(taps: Taps, chosen: slice) -> tuple[int, int]:
    """First voxel that these samples read, and the one behind the last."""
    part = taps.part(chosen)
    return (int(part.low.min()), int(part.high.max()) + 1) if len(part) else (0, 1)
