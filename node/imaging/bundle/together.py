"""Several small studies through a network in one pass, where that was seen to change nothing.

A network may couple what lies in one batch (it may scale by the brightest of all, or was saved to train on), and then
one patient's images would tell in another's result. So the first studies of a shape are read one by one, and then in
one pass between two images unlike any other; a network that answers otherwise there is never asked for several again.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer, SliceInferer, SlidingWindowInferer

from node.domain.engine import PASS_S
from node.errors import Failed
from node.imaging.bundle.exact import Answer, Exact, check_numbers, windows
from node.imaging.bundle.steps import STEP_ERRORS
from node.imaging.device import is_lost, is_memory, wait_for
from node.imaging.pipelines import Pulse, Reading

#: Answers lie apart by no more than this share of the largest: another order of the same sums, and no coupling.
_SAME = 1e-5
#: So far at least, as a share of the largest, another order of sums might move a number.
_LEAST_MOVED = 2e-6
#: So much farther than was seen.
_MARGIN = 4.0
#: Of more, no several are read in one pass: each way in which a label might change costs the steps after the network.
MOST_SEGMENTS = 4
#: How far the strangers of the first pass lie beyond all that a network was given.
_STRANGE = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What was seen of a shape, one by one."""

    #: Least seconds of one.
    alone_s: float
    #: Whether the answer knows where it lies.
    has_place: bool

    @property
    def most(self) -> int:
        """So many go in one pass."""
        return int(PASS_S / max(self.alone_s, 1e-6))


class Together:
    """The batches of one bundle, and what was seen of them."""

    def __init__(self, exact: Exact) -> None:
        self._exact = exact
        self._seen: dict[tuple[int, ...], _Seen] = {}
        self._apart = 0.0
        self._refused = exact.steps.detector is not None or isinstance(exact.steps.inferer, SliceInferer)

    def predict(self, sources: Sequence[Sequence[MetaTensor]], pulse: Pulse) -> list[Answer | None]:
        """Return what `Exact.predict` would of each; `None` for one that has to be asked for alone."""
        answers: list[Answer | None] = [None] * len(sources)
        of_shape = defaultdict[tuple[int, ...], list[tuple[int, Answer]]](list)
        for place, each in enumerate(sources if not self._refused else ()):
            pulse.beat(place, len(sources))
            started = time.perf_counter()
            try:
                made = self._exact.prepare(each)
            except (Failed, RuntimeError) as error:
                if not isinstance(error, Failed) and not is_memory(error):
                    raise
                continue  # told when it is read alone
            made = replace(made, prepare_s=time.perf_counter() - started)
            if made.given.shape[0] == 1:
                of_shape[tuple(made.given.shape)].append((place, made))
        for shape, members in of_shape.items():
            if len(members) > 1 and windows(self._exact.steps.inferer, shape[2:]) == 1:
                found = self._asked(shape, [made for _, made in members], pulse)
                for (place, _), answer in zip(members, found, strict=True):
                    answers[place] = answer
        return answers

    def settled(self, answer: Answer, read: Callable[[Answer], Reading]) -> Reading | None:
        """What an answer comes to as `read`; `None` where another order of sums might change a label."""
        reading = read(answer)
        if reading.labels is None:
            return reading
        others = (read(each).labels for each in bent(answer, max(_LEAST_MOVED, _MARGIN * self._apart)))
        same = all(each is not None and np.array_equal(each, reading.labels) for each in others)
        return reading if same else None

    def _asked(self, shape: tuple[int, ...], made: Sequence[Answer], pulse: Pulse) -> Sequence[Answer | None]:
        nothing = [None] * len(made)
        if self._refused:
            return nothing
        try:
            seen = self._seen.get(shape)
            if seen is None or seen.most < 2:
                found: Sequence[Answer | None] | None = self._proved(shape, made, pulse)
            else:
                found = self._passes(made, seen, pulse)
        except (Failed, *STEP_ERRORS) as error:
            if is_lost(error):
                raise  # nothing can be computed in this process any more
            # It may be made for one at a time.
            self._refused = not self._seen and not is_memory(error)
            return nothing
        self._refused = found is None
        return nothing if found is None else [None if each is None or not _is_sound(each) else each for each in found]

    def _proved(self, shape: tuple[int, ...], made: Sequence[Answer], pulse: Pulse) -> Sequence[Answer] | None:
        """Each as it is answered alone, if in one pass, and beside strangers, it is answered so, too.

        What takes too long for one pass is answered alone each time, and its time taken anew: the first is slower.
        """
        alone = list[Answer]()
        for each in made:
            pulse.beat(len(alone), len(made))
            started = time.perf_counter()
            output = self._computed(self._exact.steps.inferer, each.given)
            if not isinstance(output, torch.Tensor):
                return None
            alone.append(replace(each, output=output, model_s=time.perf_counter() - started))
        quickest_s = min(each.model_s for each in alone)
        seen = _Seen(alone_s=quickest_s, has_place=isinstance(alone[0].output, MetaTensor))
        if seen.most > 1:
            some = alone[: seen.most]
            pulse.beat(len(alone), len(made))
            together = self._passed(some, seen, among_strangers=True)
            if together is None or not all(map(self._is_same, some, together)):
                return None
        self._seen[shape] = seen
        return alone

    def _passes(self, made: Sequence[Answer], seen: _Seen, pulse: Pulse) -> Sequence[Answer | None] | None:
        """As many passes as it takes."""
        found = list[Answer | None]()
        while len(found) < len(made):
            some = made[len(found) : len(found) + seen.most]
            pulse.beat(len(found), len(made))
            together = self._passed(some, seen) if len(some) > 1 else [None]
            if together is None:
                return None
            found += together
        return found

    def _passed(self, made: Sequence[Answer], seen: _Seen, *, among_strangers: bool = False) -> list[Answer] | None:
        """One pass of the network over all; `None` where its answer is not one for each."""
        started = time.perf_counter()
        parts = [each.given.as_tensor() for each in made]
        if among_strangers:
            parts = [_stranger(parts, 1), *parts, _stranger(parts, -1)]
        output = self._computed(_of_batch(self._exact.steps.inferer, len(parts)), torch.cat(parts))
        if not isinstance(output, torch.Tensor) or output.shape[:1] != (len(parts),):
            return None
        share_s = (time.perf_counter() - started) / len(parts)
        plain = output.as_tensor() if isinstance(output, MetaTensor) else output
        plain = plain[1:-1] if among_strangers else plain
        rows = [plain[place : place + 1] for place in range(len(made))]
        return [
            replace(each, output=_with_place(row, each.given) if seen.has_place else row, model_s=share_s)
            for each, row in zip(made, rows, strict=True)
        ]

    def _is_same(self, alone: Answer, other: Answer) -> bool:
        """Whether one was answered as alone; how far the two lie apart is kept."""
        one, two = (torch.as_tensor(each.output) for each in (alone, other))
        if one.shape != two.shape:
            return False
        told = one[one.isfinite()]
        largest = float(told.abs().max()) if told.numel() else 0.0
        if not bool(torch.isclose(one, two, rtol=0, atol=_SAME * largest, equal_nan=True).all()):
            return False
        if largest:
            self._apart = max(self._apart, float((told - two[one.isfinite()]).abs().max()) / largest)
        return True

    def _computed(self, inferer: Inferer, given: torch.Tensor) -> Any:
        with torch.no_grad():
            output = inferer(given, self._exact.steps.network)
            wait_for(self._exact.device)
        return output


def bent(answer: Answer, share: float) -> Iterator[Answer]:
    """The answer, moved by a share of its largest number: each class in turn up, and the others down.

    What labels each comes to alike stay, wherever between the steps after it decide: where two classes are even, or at
    whatever threshold.
    """
    step = share * float(answer.output.abs().max())
    classes = int(answer.output.shape[1])
    if classes == 1:
        yield replace(answer, output=answer.output - step)
    for number in range(classes):
        moved = torch.full((classes, *[1] * (answer.output.ndim - 2)), -step, device=answer.output.device)
        moved[number] = step
        yield replace(answer, output=answer.output + moved)


def _is_sound(answer: Answer) -> bool:
    try:
        check_numbers(answer.output)
    except Failed:
        return False  # told when it is read alone
    return True


def _with_place(part: torch.Tensor, given: MetaTensor) -> MetaTensor:
    made = MetaTensor(part)
    made.copy_meta_from(given)  # type: ignore[no-untyped-call]
    return made


def _stranger(parts: Sequence[torch.Tensor], sign: int) -> torch.Tensor:
    """An image unlike those of a batch: far brighter, or far darker, than all of them."""
    largest = max(float(each.abs().max()) for each in parts) or 1.0
    return sign * (parts[0] + _STRANGE * largest)


def _of_batch(inferer: Inferer, count: int) -> Inferer:
    """The inferer with the windows of all in one pass."""
    if not isinstance(inferer, SlidingWindowInferer):
        return inferer
    wider = copy.copy(inferer)
    wider.sw_batch_size = count
    return wider
