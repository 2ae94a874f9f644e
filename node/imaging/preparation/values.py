"""The steps on values: each is its bundle's transform, in place and with no copy of the volume."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch

from node.imaging.bundle.plan import Orient, Respace, Scale, Standardise, Step, Stretch

ValueStep = Scale | Stretch | Standardise
#: Changes a part of an array in place.
Change = Callable[[torch.Tensor], object]


def split(steps: Sequence[Step]) -> tuple[list[ValueStep], list[Step]]:
    """Return what is done to values before the array is resampled, and every step after it that is no orientation."""
    where = next((place for place, step in enumerate(steps) if isinstance(step, Respace)), -1)
    before = [step for step in steps[: where + 1] if isinstance(step, ValueStep)]
    return before, [step for step in steps[where + 1 :] if not isinstance(step, Orient)]


def change_of(step: ValueStep, parts: Callable[[], Iterable[torch.Tensor]]) -> Change:
    """Return what `step` does to each part of an array; `parts` gives all of them, floating, one after the other."""
    if isinstance(step, Scale):
        return partial(_scale, step=step)
    if isinstance(step, Stretch):
        return _stretch(step, parts())
    return _standardise(step, parts())


def apply(step: ValueStep, channels: torch.Tensor) -> None:
    """Do one step to a whole array, (channel, …) float32, in place."""
    by_channel = not isinstance(step, Scale) and step.channel_wise
    for part in channels if by_channel else (channels,):
        change_of(step, partial(_alone, part))(part)


def _alone(part: torch.Tensor) -> Sequence[torch.Tensor]:
    return (part,)


def _scale(values: torch.Tensor, step: Scale) -> None:
    slope = (step.to_high - step.to_low) / (step.high - step.low)
    values.sub_(step.low).mul_(slope)
    if step.to_low != 0:
        values.add_(step.to_low)
    if step.clip:
        values.clamp_(step.to_low, step.to_high)


def _stretch(step: Stretch, parts: Iterable[torch.Tensor]) -> Change:
    ends = [torch.aminmax(part) for part in parts]
    low, high = min(float(end.min) for end in ends), max(float(end.max) for end in ends)
    if low == high:
        return lambda values: values.mul_(step.to_low)
    slope = (step.to_high - step.to_low) / (high - low)
    return lambda values: values.sub_(low).mul_(slope).add_(step.to_low)


def _standardise(step: Standardise, parts: Iterable[torch.Tensor]) -> Change:
    """Zeros add nothing to a sum, so that what is not zero needs only to be counted."""
    total = squares = 0.0
    count = 0
    for part in parts:
        total += float(part.sum(dtype=torch.float64))
        squares += float(torch.linalg.vector_norm(part, dtype=torch.float64)) ** 2
        count += int(torch.count_nonzero(part)) if step.nonzero else part.numel()
    if not count:
        return lambda values: values
    mean = total / count
    deviation = max(0.0, squares / count - mean**2) ** 0.5 or 1.0
    return partial(_standardised, mean=mean, deviation=deviation, nonzero=step.nonzero)


def _standardised(values: torch.Tensor, mean: float, deviation: float, *, nonzero: bool) -> None:
    empty = values == 0 if nonzero else None
    values.sub_(mean).div_(deviation)
    if empty is not None:
        values.masked_fill_(empty, 0.0)
