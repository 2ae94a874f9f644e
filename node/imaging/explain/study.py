"""One reading explained: the cost told, the maps made and measured within the budget, and placed in the source."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.explanation import Explanation
from node.domain.finding import Finding
from node.domain.model_card import ModelCard, Task
from node.errors import Unsuitable, first_line
from node.imaging.device import is_lost
from node.imaging.explain import Explainable, Prepared, methods
from node.imaging.explain.asking import Asked, ask, differentiable
from node.imaging.explain.faithfulness import MEASURES, Explained, pointing, randomisation
from node.imaging.explain.meter import Clock, Meter
from node.imaging.explain.placing import at_source, centre_of, one_window
from node.imaging.explain.plan import Plan, Step, plan, seconds, step_for
from node.imaging.explain.subject import Subject
from node.imaging.explain.wanted import Answer, answers
from node.imaging.pipelines import STILL, Given, Pulse, Reading
from node.imaging.saliency import Account, Saliency

#: What a network may raise that cannot be explained in some way, or not in this memory.
_TROUBLE = (Unsuitable, RuntimeError, ValueError, TypeError, IndexError, AssertionError, MemoryError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is to be explained, and how."""

    card: ModelCard
    explanation: Explanation
    seed: int = 0
    findings: tuple[Finding, ...] = ()
    #: Told the cost before it arises; says whether to go on.
    told: Callable[[Plan, str], bool] = lambda _plan, _sentence: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations:
    """What came of it."""

    #: The first is the one that is drawn.
    maps: tuple[Saliency, ...] = ()
    #: Sentences on what was reduced, left out or found doubtful.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """A map with all that can still be said of it."""

    answer: Answer
    asked: Asked
    account: Account
    explained: Explained


def explain(
    explainable: Explainable,
    given: Given,
    reading: Reading,
    wish: Wish,
    *,
    pulse: Pulse = STILL,
    clock: Clock = time.perf_counter,
) -> Explanations:
    """Explain what a reading says, within `wish.explanation.budget_s`.

    Raises:
        Misconfigured: there is no method of that name.
        Unsuitable, Failed: as `Explainable.prepare`, and `Pulse.beat`.
    """
    if not wish.explanation.methods:
        return Explanations()
    chosen, said = answers(wish.card, given, reading, wish.findings, flat=explainable.flat)
    notes, meter = list(said), Meter(clock, pulse)
    # The runner reads in inference mode, in which no gradient can be followed.
    with torch.inference_mode(False):
        asked = _asked(explainable, given, reading, wish, chosen, meter, notes)
        if not asked:
            return Explanations(notes=tuple(notes))
        forward_s = min(each.forward_s for each in asked.values())
        budget_s = wish.explanation.budget_s
        network = next(iter(asked.values())).subject.question.network
        labels = [answer.label for answer in asked]
        cost = plan(wish.explanation.methods, network, forward_s, budget_s - meter.elapsed_s, labels)
        notes += cost.left_out
        if not wish.told(cost, cost.sentence(forward_s, budget_s)):
            return Explanations(notes=tuple(notes))
        meter.expect(cost.forwards + cost.measured_forwards)
        made = _maps(cost.steps, asked, wish, meter, forward_s, notes)
        measured = [_measured(each, wish, meter, forward_s, notes) for each in made]
        return Explanations(
            maps=tuple(_placed(each, given, reading, wish.card) for each in measured), notes=tuple(notes)
        )


def _asked(
    explainable: Explainable,
    given: Given,
    reading: Reading,
    wish: Wish,
    chosen: Sequence[Answer],
    meter: Meter,
    notes: list[str],
) -> dict[Answer, Asked]:
    """Each answer as a question to the network, with what one forward of it takes."""
    found: dict[Answer, Asked] = {}
    prepared: dict[int, Prepared] = {}
    network = differentiable(explainable.network)
    for answer in chosen:
        if answer.image not in prepared:
            prepared[answer.image] = explainable.prepare(given, answer.image)
        centre = centre_of(reading.labels, answer.number) if reading.labels is not None and given.volumes else None
        shown = one_window(prepared[answer.image], centre)
        segments = wish.card.task is Task.SEGMENTATION
        try:
            found[answer] = ask(
                replace(explainable, network=network), shown, answer, meter, wish.explanation.layer, segments=segments
            )
        except _TROUBLE as problem:
            _go_on_after(problem)
            notes.append(f"{answer.label} is not explained: {first_line(problem)}")
    return found


def _maps(
    steps: Sequence[Step],
    asked: Mapping[Answer, Asked],
    wish: Wish,
    meter: Meter,
    forward_s: float,
    notes: list[str],
) -> list[_Made]:
    made = []
    by_label = {answer.label: answer for answer in asked}
    for told in steps:
        # The one before may have taken longer than it was told to.
        fits: Step | None = told
        room_s = wish.explanation.budget_s - meter.elapsed_s
        if told.seconds > room_s:
            fits = step_for(told.method, forward_s, room_s)
        if fits is None:
            notes.append(f"{told.method} of {told.target} was left out: what came before it took the budget")
            continue
        answer = by_label[told.target]
        try:
            made.append(_one(replace(fits, target=told.target), answer, asked[answer], wish, meter))
        except _TROUBLE as problem:
            _go_on_after(problem)
            notes.append(f"{told.method} cannot explain {told.target}: {first_line(problem)}")
            continue
        if fits.reduced:
            notes.append(f"{fits.method} of {told.target} was made with {fits.reduced}, to fit the budget")
    return made


def _one(step: Step, answer: Answer, asked: Asked, wish: Wish, meter: Meter) -> _Made:
    method, subject = methods.named(step.method), asked.subject
    again = partial(_weights, step, wish.seed)
    before, began_s = meter.forwards, meter.elapsed_s
    weights = again(subject)
    account = Account(
        method=step.method,
        target=answer.label,
        layer=subject.layer if method.LAYER else "",
        baseline=asked.baseline if method.BASELINE else "",
        samples=step.samples,
        reduced=step.reduced,
        seed=wish.seed,
        model_digest=asked.model_digest,
        forwards=float(max(meter.forwards - before, step.forwards)),
        seconds=round(meter.elapsed_s - began_s, 3),
    )
    explained = Explained(subject=subject, weights=weights, again=again, forwards=step.forwards, seed=wish.seed)
    return _Made(answer=answer, asked=asked, account=account, explained=explained)


def _weights(step: Step, seed: int, subject: Subject) -> torch.Tensor:
    weights = methods.named(step.method).explain(subject, step.samples, seed).detach().float()
    if not bool(torch.isfinite(weights).all()):
        raise Unsuitable("the map holds values that are not numbers")
    return weights


def _measured(made: _Made, wish: Wish, meter: Meter, forward_s: float, notes: list[str]) -> _Made:
    """Take one measure of faithfulness after the other while the budget lasts."""
    figures: dict[str, float] = {}
    missed = []
    for measure in MEASURES:
        if meter.elapsed_s + forward_s * measure.forwards(made.explained.forwards) > wish.explanation.budget_s:
            missed.append(measure.name)
            continue
        try:
            figures.update(measure.figures(made.explained))
        except _TROUBLE as problem:
            _go_on_after(problem)
            missed.append(f"{measure.name} ({first_line(problem)})")
    which = f"{made.account.method} of {made.account.target}"
    if missed:
        took = f"{seconds(meter.elapsed_s)} of {seconds(wish.explanation.budget_s)} were used"
        notes.append(f"of {which} was not measured: {', '.join(missed)}; {took}")
    likeness = figures.get(randomisation.FIGURE)
    if likeness is not None and likeness > randomisation.BOUND:
        notes.append(
            f"{which} is doubtful: a model with shuffled weights gives nearly the same map"
            f" (rank correlation {likeness:.2f}, at most {randomisation.BOUND:g} expected)"
        )
    return replace(made, account=replace(made.account, figures=figures))


def _placed(made: _Made, given: Given, reading: Reading, card: ModelCard) -> Saliency:
    """The map in the source, scaled from 0 to 1: what speaks for the answer; what speaks against it is 0."""
    weights = at_source(made.explained.weights.clamp(min=0), made.asked.prepared)
    most = float(weights.max(initial=0.0))
    if most > 0:
        weights /= np.float32(most)
        np.clip(weights, 0, 1, out=weights)
    index = made.answer.image
    figures = dict(made.account.figures)
    if card.task is Task.SEGMENTATION and reading.labels is not None:
        seen: NDArray[np.uint8] = reading.labels if given.volumes else reading.labels[index : index + 1]
        if seen.shape == weights.shape:
            figures.update(pointing.figures(weights, seen == made.answer.number))
    account = replace(made.account, figures={name: round(value, 4) for name, value in figures.items()})
    if given.volumes:
        volume = given.volume
        return Saliency(weights, volume.grid, volume.sop_instance_uids, volume.frame_numbers, account)
    image = given.images[index]
    frames = (image.frame_number,) if image.frame_number else ()
    return Saliency(weights, None, (image.sop_instance_uid,), frames, account)


def _go_on_after(problem: BaseException) -> None:
    """A device that failed ends the process: nothing can be computed in it any more."""
    if is_lost(problem):
        raise problem
