"""What is wrong with the cases of a data set once they were looked at: every fault that would waste a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain

from node.domain.model_card import Task
from node.domain.preparation import Preparation
from node.learn.case import Case
from node.learn.dataset.duplicates import members
from node.learn.dataset.problems import Gravity, Problem
from node.learn.dataset.survey import Sight, Survey
from node.learn.recipe import Splitting

#: Spacings that differ by more than this factor are worth a word.
_SPACING = 1.1
_TAKE_OUT = "Replace them, or take them out"


def faults(
    survey: Survey, similar: Mapping[str, str], splitting: Splitting, preparation: Preparation | None = None
) -> tuple[Problem, ...]:
    """Return everything that is wrong, the gravest first.

    Args:
        survey: all cases.
        similar: key → group of equal and nearly equal images.
        splitting: how the cases will be parted.
        preparation: how they will be prepared; nothing: as the data set asks for.
    """
    found = chain(
        survey.problems,
        _of_pixels(survey),
        _of_classes(survey, similar, splitting),
        _of_masks(survey),
        _of_sizes(survey, preparation),
        _of_duplicates(survey, similar, splitting),
    )
    gravities = list(Gravity)
    return tuple(sorted(found, key=lambda problem: gravities.index(problem.gravity)))


def _of_pixels(survey: Survey) -> Iterator[Problem]:
    no_numbers = _keys(survey, lambda sight: not sight.is_finite)
    yield from _if_any("images with values that are not numbers (NaN or infinite)", no_numbers, _TAKE_OUT)
    constant = _keys(survey, lambda sight: sight.is_finite and sight.minimum == sight.maximum)
    yield from _if_any("constant images, each with one value everywhere", constant, _TAKE_OUT)
    pictures = _keys(survey, lambda sight: len(sight.shape) == 2)
    if 0 < len(pictures) < len(survey.sights):
        yield from _if_any("single images among volumes", pictures, "Keep them in a data set of their own")


def _of_classes(survey: Survey, similar: Mapping[str, str], splitting: Splitting) -> Iterator[Problem]:
    if survey.task is not Task.CLASSIFICATION or not survey.cases:
        return
    held = Counter(survey.classes[case.label] for case in survey.cases if case.label is not None)
    if len(held) == 1:
        only = next(iter(held))
        yield Problem(fault=f"every case is of one class, {only}", names=(), remedy="Add cases of another class")
        return
    empty = [name for name in survey.classes if not held[name]]
    yield from _if_any("classes without a case", empty, "Add cases, or drop the class")
    groups = {name: set[str]() for name in held}
    for case in survey.cases:
        if case.label is not None:
            groups[survey.classes[case.label]].add(case.group or similar.get(case.key, case.key))
    wanted = splitting.folds or sum(1 for share in splitting.shares if share > 0)
    if splitting.official:
        return
    few = [f"{name} ({len(of_it)})" for name, of_it in sorted(groups.items()) if len(of_it) < wanted]
    parts = f"{splitting.folds} folds" if splitting.folds else f"{wanted} parts of the split"
    remedy = "Add cases, join classes, or ask for fewer folds"
    yield from _if_any(f"classes with fewer cases (counted by patient or likeness) than the {parts}", few, remedy)


def _of_masks(survey: Survey) -> Iterator[Problem]:
    if survey.task is not Task.SEGMENTATION or not survey.sights:
        return
    count = len(survey.classes)
    beyond = [
        f"{sight.key} ({', '.join(str(region.label) for region in sight.regions if region.label > count)})"
        for sight in survey.sights
        if any(region.label > count for region in sight.regions)
    ]
    fault = f"masks with values beyond the {count} labels {', '.join(survey.classes)}"
    yield from _if_any(fault, beyond, "Name all labels in the recipe (classes), or draw those masks anew")
    seen = {region.label for sight in survey.sights for region in sight.regions}
    never = [name for label, name in enumerate(survey.classes, 1) if label not in seen]
    yield from _if_any("labels that no mask has", never, "Drop them from the classes, or add cases that have them")
    empty = _keys(survey, lambda sight: not sight.regions)
    yield from _if_any("empty masks", empty, "See that nothing was forgotten there", Gravity.WARNING)


def _of_sizes(survey: Survey, preparation: Preparation | None) -> Iterator[Problem]:
    sizes = Counter(sight.shape for sight in survey.sights)
    if len(sizes) > 1:
        named = [f"{' × '.join(map(str, shape))} ({count} cases)" for shape, count in sizes.most_common()]
        is_mended = survey.task is not Task.CLASSIFICATION or preparation is None or bool(preparation.size)
        gravity = Gravity.NOTE if is_mended else Gravity.ERROR
        remedy = "" if is_mended else "Say in the recipe to what size they are brought (preparation.size)"
        yield from _if_any("mixed sizes", named, remedy, gravity)
    spacings = [sight.spacing_mm for sight in survey.sights if sight.spacing_mm]
    is_brought = preparation is not None and bool(preparation.spacing_mm)
    if not is_brought and any(max(along) > _SPACING * min(along) for along in zip(*spacings, strict=True)):
        named = sorted({" × ".join(f"{step:.2f}" for step in spacing) for spacing in spacings})
        remedy = "Say in the recipe to what spacing they are brought (preparation.spacing_mm)"
        yield from _if_any("mixed spacings, mm", named, remedy, Gravity.NOTE)
    colours = Counter(sight.channels for sight in survey.sights)
    if len(colours) > 1:
        fault = f"{colours[3]} images in colour beside {colours[1]} grey ones"
        yield Problem(fault=fault, names=(), remedy="", gravity=Gravity.NOTE)


def _of_duplicates(survey: Survey, similar: Mapping[str, str], splitting: Splitting) -> Iterator[Problem]:
    cases = {case.key: case for case in survey.cases}
    sights = {sight.key: sight for sight in survey.sights}
    equal = members({key: sight.digest for key, sight in sights.items()})
    near = members(similar)
    unsure = [_joined(keys) for keys in equal.values() if len({sights[key].truth_digest for key in keys}) > 1]
    remedy = "See which label is right, and drop the other; until then they stay in one group"
    yield from _if_any("equal images with different labels", unsure, remedy, Gravity.WARNING)
    if survey.task is Task.CLASSIFICATION:
        unlike = [keys for keys in near.values() if len({sights[key].digest for key in keys}) > 1]
        torn = [_joined(keys) for keys in unlike if len({cases[key].label for key in keys}) > 1]
        yield from _if_any("near-duplicates with different labels", torn, remedy, Gravity.WARNING)
    is_kept = splitting.official
    gravity = Gravity.WARNING if is_kept else Gravity.NOTE
    remedy = "Those called train are left out of training" if is_kept else "Each group stays in one part of our split"
    over = [_joined(keys) for keys in equal.values() if _reaches_over(keys, cases)]
    yield from _if_any("duplicates across the official parts", over, remedy, gravity)
    near_over = [_joined(keys) for keys in near.values()
                 if _reaches_over(keys, cases) and len({sights[key].digest for key in keys}) > 1]  # fmt: skip
    yield from _if_any("near-duplicates across the official parts", near_over, remedy, gravity)
    patients = members({case.key: case.group for case in survey.cases if case.group})
    # By the names of cases: that of a patient stays in the data set.
    leaking = [_joined(keys) for keys in patients.values() if _reaches_over(keys, cases)]
    yield from _if_any("patients in several official parts", leaking, remedy, gravity)
    within = [_joined(keys) for keys in equal.values() if not _reaches_over(keys, cases)]
    yield from _if_any(
        "equal images", [each for each in within if each not in unsure], "They stay in one group", Gravity.NOTE
    )


def _reaches_over(keys: Iterable[str], cases: Mapping[str, Case]) -> bool:
    return len({cases[key].part for key in keys} - {""}) > 1


def _joined(keys: tuple[str, ...]) -> str:
    return " = ".join(keys[:3]) + (f" = … ({len(keys)})" if len(keys) > 3 else "")


def _keys(survey: Survey, has_it: Callable[[Sight], bool]) -> list[str]:
    return [sight.key for sight in survey.sights if has_it(sight)]


def _if_any(fault: str, names: Iterable[str], remedy: str, gravity: Gravity = Gravity.ERROR) -> Iterator[Problem]:
    found = tuple(names)
    if found:
        yield Problem(fault=fault, names=found, remedy=remedy, gravity=gravity)
