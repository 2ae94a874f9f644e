"""Every method on every chosen case, the cheap methods first, until the time is up."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from node.errors import Failed, Misconfigured, Unsuitable, first_line
from node.imaging.explain import methods
from node.imaging.explain.faithfulness import MEASURES, Explained, pointing
from node.imaging.explain.methods import Method
from node.imaging.explain.subject import Subject
from node.learn.explained.choosing import answer_of
from node.learn.explained.explanations import CaseExplained, Explanations
from node.learn.prediction import Prediction

#: What a network may raise that cannot be explained in some way, or not in this memory.
_TROUBLE = (Unsuitable, RuntimeError, ValueError, TypeError, IndexError, AssertionError, MemoryError)
_UNREADABLE = (Failed, Misconfigured, Unsuitable)
#: Five maps each: of methods that take more forwards than this it is measured on the first cases alone.
SENSITIVITY, CHEAP, FEW = "max-sensitivity", 10.0, 2
#: Of what is measured: another one where that is measured otherwise.
_VERSION = 2
#: Names of figures.
_GAME, _NEAR = "pointing_game", "pointing_near"
#: Forwards of which the median is what one takes.
_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A case as a network is shown it."""

    #: Asks for the answer that was given.
    subject: Subject
    #: Where its class is seen, on the input's spatial axes; `None`: nobody has drawn it.
    region: NDArray[np.bool_] | None = None


class Shower(Protocol):
    """Whoever can show a case to the network that read it."""

    def show(self, prediction: Prediction, answer: int) -> Shown:
        """Show it to the network of the prediction's seed and fold, and ask for a class.

        Raises:
            Failed, Misconfigured, Unsuitable: it cannot be read, or the class is none that can be asked for.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is measured, and within what."""

    classes: tuple[str, ...]
    minutes: float
    #: Key → its masks.
    masks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: By which the minutes are counted.
    clock: Callable[[], float] = time.monotonic
    #: By which maps and forwards are compared; of a GPU seconds, else seconds of the processor.
    on_gpu: bool = False
    #: Called after each map.
    advance: Callable[[], object] = lambda: None


def measured(
    chosen: Sequence[Prediction], shower: Shower, terms: Terms, kept: Explanations | None = None
) -> Explanations:
    """Explain each answer by every method, and measure how faithful the maps are.

    `kept` is what was measured before: of the same cases it is not measured again.
    """
    digest = digest_of(chosen, terms)
    known = kept if kept is not None and kept.digest == digest else None
    if known is not None and stands(known, chosen, terms):
        return known
    work = _Work(shower, terms, known.cases if known else tuple(_begun(each) for each in chosen))
    work.samples |= known.samples if known else {}
    began_s = terms.clock()
    with torch.inference_mode(False):
        was_enough = all(work.by(name, chosen, began_s) for name in in_order())
    return Explanations(
        digest=digest,
        classes=terms.classes,
        samples=work.samples,
        told_forwards={name: methods.named(name).forwards(count) for name, count in work.samples.items()},
        cases=tuple(work.cases),
        is_complete=was_enough and not work.is_short,
        minutes=terms.minutes,
        seconds=round(terms.clock() - began_s + (known.seconds if known else 0.0), 1),
        clock="seconds" if terms.on_gpu else "CPU seconds",
        notes=tuple(work.notes()),
    )


def stands(kept: Explanations | None, chosen: Sequence[Prediction], terms: Terms) -> bool:
    """Say whether all that is wanted was measured before, as far as the time allows."""
    is_same = kept is not None and kept.digest == digest_of(chosen, terms)
    return kept is not None and is_same and (kept.is_complete or kept.minutes >= terms.minutes)


def in_order() -> list[str]:
    """All methods, the cheapest first."""
    return sorted(methods.names(), key=lambda name: (methods.named(name).forwards(methods.named(name).USUAL), name))


def digest_of(chosen: Sequence[Prediction], terms: Terms) -> str:
    """SHA-256 over what is to be measured."""
    masks = {each.key: list(terms.masks.get(each.key, ())) for each in chosen}
    cases = [[each.key, each.seed, each.fold, [round(z, 4) for z in each.logits], masks[each.key]] for each in chosen]
    counts = {name: [methods.named(name).USUAL, methods.named(name).FEWEST] for name in in_order()}
    return hashlib.sha256(json.dumps([_VERSION, cases, list(terms.classes), counts, FEW]).encode()).hexdigest()


def _begun(prediction: Prediction) -> CaseExplained:
    return CaseExplained(
        key=prediction.key,
        group=prediction.group,
        seed=prediction.seed,
        fold=prediction.fold,
        truth=prediction.truth or 0,
        answer=answer_of(prediction),
    )


class _Work:
    """The cases while they are measured."""

    def __init__(self, shower: Shower, terms: Terms, cases: Sequence[CaseExplained]) -> None:
        self.cases = list(cases)
        self.samples: dict[str, int] = {}
        self._shower, self._terms = shower, terms
        self._shown: dict[str, Shown] = {}
        #: Whether anything was left out for want of time.
        self.is_short = False
        #: What went wrong, and of how many cases.
        self._troubles: Counter[str] = Counter()
        self._unshown: dict[str, str] = {}

    def by(self, name: str, chosen: Sequence[Prediction], began_s: float) -> bool:
        """Explain all cases by one method; say whether the time was enough."""
        for place, prediction in enumerate(chosen):
            case = self.cases[place]
            if name not in case.maps:
                shown = self._show(prediction, place)
                if shown is not None:
                    left_s = self._terms.minutes * 60 - (self._terms.clock() - began_s)
                    if not self._one(name, shown, place, left_s):
                        return False
            self._terms.advance()
        return True

    def notes(self) -> Iterator[str]:
        """What could not be explained."""
        for reason, count in Counter(self._unshown.values()).items():
            yield f"{count} case(s) cannot be explained: {reason}"
        for reason, count in self._troubles.items():
            yield f"{reason}, of {count} case(s)"

    def _show(self, prediction: Prediction, place: int) -> Shown | None:
        if prediction.key not in self._shown and prediction.key not in self._unshown:
            try:
                shown = self._shower.show(prediction, self.cases[place].answer)
            except _UNREADABLE as error:
                # Its words may name the case.
                problem = error.problem if isinstance(error, Misconfigured) else str(error)
                self._unshown[prediction.key] = problem.replace(prediction.key, "a case")
                return None
            self._shown[prediction.key] = shown
            self._sample(shown)
            if shown.region is not None:
                self.cases[place] = _lying(self.cases[place], shown.region)
        return self._shown.get(prediction.key)

    def _sample(self, shown: Shown) -> None:
        for name in in_order():
            method = methods.named(name)
            # A volume takes longer than an image, and is as well told by fewer samples.
            self.samples.setdefault(name, method.USUAL if len(shown.subject.spatial) == 2 else method.FEWEST)

    def _one(self, name: str, shown: Shown, place: int, left_s: float) -> bool:
        """One map and all that is measured of it; `False`: there is no time for it."""
        method, subject, samples = methods.named(name), shown.subject, self.samples[name]
        forward_s = _took(lambda: subject.score(subject.inputs), time.perf_counter)
        wanted = method.forwards(samples) <= CHEAP or place < FEW
        sensitive = wanted and forward_s * _cost(method.forwards(samples), sensitive=True) <= left_s
        self.is_short |= wanted and not sensitive
        if left_s <= 0 or forward_s * _cost(method.forwards(samples), sensitive=sensitive) > left_s:
            return False
        figures: dict[str, float] = {}
        try:
            # What was measured before something goes wrong is kept.
            figures.update(_figures(method, samples, shown, on_gpu=self._terms.on_gpu, sensitive=sensitive))
        except _TROUBLE as problem:
            line = first_line(problem)
            self._troubles[f"{name} cannot explain it: {line}"] += 1
        case = self.cases[place]
        self.cases[place] = replace(case, maps={**case.maps, name: figures})
        return True


def _lying(case: CaseExplained, region: NDArray[np.bool_]) -> CaseExplained:
    """A case with what chance, and the middle of what is shown, would point at."""
    near, middle = pointing.around(region), tuple(side // 2 for side in region.shape)
    return replace(
        case,
        region=float(region.mean()),
        centre=float(region[middle]),
        region_near=float(near.mean()),
        centre_near=float(near[middle]),
    )


def _cost(forwards: float, *, sensitive: bool) -> float:
    """Forwards of a map with all that is measured of it."""
    return forwards + sum(each.forwards(forwards) for each in MEASURES if sensitive or each.name != SENSITIVITY)


def _figures(
    method: Method, samples: int, shown: Shown, *, on_gpu: bool, sensitive: bool
) -> Iterator[tuple[str, float]]:
    clock = time.perf_counter if on_gpu else time.process_time
    subject = shown.subject
    forward_s = _took(lambda: subject.score(subject.inputs), clock)

    def again(other: Subject) -> torch.Tensor:
        return method.explain(other, samples, 0).detach().float()

    began_s = clock()
    weights = again(subject)
    # What is on its way on a GPU is waited for.
    positive = weights.clamp(min=0).cpu().numpy()
    taken_s = clock() - began_s
    if not np.isfinite(positive).all():
        raise Unsuitable("the map holds values that are not numbers")
    if forward_s > 0:
        yield "forwards", taken_s / forward_s
    if shown.region is not None:
        yield from pointing.figures(positive, shown.region).items()
        near = pointing.figures(positive, pointing.around(shown.region))
        yield from ((_NEAR, near[_GAME]) for _ in range(_GAME in near))
    made = Explained(subject=subject, weights=weights, again=again, forwards=method.forwards(samples), seed=0)
    for measure in MEASURES:
        if sensitive or measure.name != SENSITIVITY:
            yield from ((name, float(value)) for name, value in measure.figures(made).items() if np.isfinite(value))


def _took(ask: Callable[[], torch.Tensor], clock: Callable[[], float]) -> float:
    """Seconds of one forward: the median of a few, after one to warm up."""
    ask()
    found = []
    for _ in range(_ROUNDS):
        began_s = clock()
        ask().cpu()
        found.append(clock() - began_s)
    return statistics.median(found)
