"""Several small studies through a network in one pass, where that was seen to change nothing.

A network may couple what lies in one batch (it may scale by the brightest of all, or was saved to train on), and then
one patient's images would tell in another's result. So the first batch of a shape is computed one by one as well; a
network that answers otherwise is never asked for several again.
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import Inferer, SliceInferer, SlidingWindowInferer

from node.errors import Failed
from node.imaging.bundle.exact import Answer, Exact, check_numbers, windows
from node.imaging.bundle.steps import STEP_ERRORS
from node.imaging.pipelines import Pulse

#: Answers lie apart by no more than this share of the largest: another order of the same sums, and no coupling.
_SAME = 1e-5
#: Nearer than this share of the largest to where labels change, another order of sums might change one.
_CLOSE = 2e-6


class Together:
    """The batches of one bundle, and what was seen of them."""

    def __init__(self, exact: Exact) -> None:
        self._exact = exact
        self._proved: set[tuple[int, ...]] = set()
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
            except Failed:
                continue  # told when it is read alone
            made = replace(made, prepare_s=time.perf_counter() - started)
            if made.given.shape[0] == 1:
                of_shape[tuple(made.given.shape)].append((place, made))
        for shape, members in of_shape.items():
            if len(members) > 1 and windows(self._exact.steps.inferer, shape[2:]) == 1:
                pulse.beat(len(sources), len(sources))
                for (place, _), answer in zip(members, self._asked(shape, [made for _, made in members]), strict=True):
                    answers[place] = answer
        return answers

    def _asked(self, shape: tuple[int, ...], made: Sequence[Answer]) -> Sequence[Answer | None]:
        nothing = [None] * len(made)
        if self._refused:
            return nothing
        try:
            together = self._passed(made)
            if together is None or (shape not in self._proved and not self._agrees(made, together)):
                self._refused = True
                return nothing
        except (Failed, *STEP_ERRORS) as error:
            if "CUDA error" in str(error):
                raise  # nothing can be computed in this process any more
            self._refused = self._refused or not self._proved  # it may be made for one at a time
            return nothing
        self._proved.add(shape)
        return [answer if _is_sound(answer.output) else None for answer in together]

    def _passed(self, made: Sequence[Answer]) -> list[Answer] | None:
        """One pass of the network over all; `None` where its answer is not one for each."""
        started = time.perf_counter()
        batch = torch.cat([each.given.as_tensor() for each in made])
        output = self._computed(_of_batch(self._exact.steps.inferer, len(made)), batch)
        if not isinstance(output, torch.Tensor) or output.shape[:1] != batch.shape[:1]:
            return None
        share_s = (time.perf_counter() - started) / len(made)
        plain = output.as_tensor() if isinstance(output, MetaTensor) else output
        return [
            replace(each, output=_as_alone(plain[place : place + 1], each.given), model_s=share_s)
            for place, each in enumerate(made)
        ]

    def _agrees(self, made: Sequence[Answer], together: Sequence[Answer]) -> bool:
        """Whether each would have been answered so alone."""
        for alone, other in zip(made, together, strict=True):
            output = self._computed(self._exact.steps.inferer, alone.given)
            if not isinstance(output, torch.Tensor) or output.shape != other.output.shape:
                return False
            told = output[output.isfinite()]
            largest = float(told.abs().max()) if told.numel() else 0.0
            same = torch.isclose(output, other.output, rtol=0, atol=_SAME * largest, equal_nan=True)
            if not bool(same.all()):
                return False
        return True

    def _computed(self, inferer: Inferer, given: torch.Tensor) -> Any:
        with torch.no_grad():
            output = inferer(given, self._exact.steps.network)
            if self._exact.device.type == "cuda":
                torch.cuda.synchronize()
        return output


def is_clear(output: torch.Tensor) -> bool:
    """Whether no pixel lies so near to where labels change that another order of sums might change its label.

    Labels change where two classes are even, and at the usual thresholds: 0 of plain numbers, a half of shares.
    """
    near = _CLOSE * float(output.abs().max())
    edges = [output, output - 0.5]
    if output.shape[1] > 1:
        best = output.topk(2, dim=1).values
        edges.append(best[:, 0] - best[:, 1])
    return all(float(each.abs().min()) > near for each in edges)


def _is_sound(output: Any) -> bool:
    try:
        check_numbers(output)
    except Failed:
        return False  # told when it is read alone
    return True


def _as_alone(part: torch.Tensor, given: MetaTensor) -> MetaTensor:
    made = MetaTensor(part)
    made.copy_meta_from(given)  # type: ignore[no-untyped-call]
    return made


def _of_batch(inferer: Inferer, count: int) -> Inferer:
    """The inferer with the windows of all in one pass."""
    if not isinstance(inferer, SlidingWindowInferer):
        return inferer
    wider = copy.copy(inferer)
    wider.sw_batch_size = count
    return wider
