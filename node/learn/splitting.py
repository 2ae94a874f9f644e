"""Splits of a data set: by group, stratified, and the same from the same seed on every machine."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from node.errors import Misconfigured
from node.learn.case import Case, Dataset
from node.learn.dataset.duplicates import members
from node.learn.dataset.survey import Survey
from node.learn.recipe import Splitting
from node.learn.split import FILE_NAME, Fold, Split

#: Cases with foreground are stratified by so many sizes of it.
_SIZES = 4
_TRAIN, _VALIDATION, _TEST = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """What goes to one part as a whole."""

    name: str
    keys: tuple[str, ...]
    #: Stratum → how many of the cases are in it.
    strata: Counter[str] = field(default_factory=Counter)


def strata_of(survey: Survey) -> dict[str, str]:
    """Return key → stratum: the class; of a segmentation a quarter of the cases by the volume of all foreground.

    A case with no foreground at all, or no box, is in a stratum of its own.
    """
    if _by_class(survey):
        return {case.key: survey.classes[case.label] for case in survey.cases if case.label is not None}
    sizes = {
        each.key: float(sum(region.count if region.volume_ml is None else region.volume_ml for region in each.regions))
        or float(each.boxes)
        for each in survey.sights
    }
    positive = sorted((size, key) for key, size in sizes.items() if size > 0)
    places = {key: place for place, (_, key) in enumerate(positive)}
    return {
        key: "empty" if key not in places else f"size {places[key] * _SIZES // len(positive) + 1} of {_SIZES}"
        for key in sizes
    }


def make_split(survey: Survey, groups: Mapping[str, str], splitting: Splitting) -> Split:
    """Part the cases of a data set.

    No group is torn apart. Without folds there is one split by `shares`; with k of them each case is in the test part
    of one fold, and a validation part is taken from the rest. Where the official parts are kept, cases called test are
    the test part of every fold and are never trained on, and folds part the others for validation; training cases
    whose group reaches into a part that judges are left out.

    Args:
        survey: all cases.
        groups: key → group, of all cases.
        splitting: how.

    Raises:
        Misconfigured: there are too few groups, or no official parts.
    """
    strata = strata_of(survey)
    if splitting.official:
        folds, left_out = _official(survey, groups, strata, splitting)
    else:
        units = _units(survey.cases, groups, strata)
        _refuse_few(survey.source, units, splitting)
        folds, left_out = _parted(units, splitting, keeps=_by_class(survey)), []
    shared = members(groups)
    return Split(
        method=_method(splitting, survey, folds, len(left_out)),
        dataset_digest=survey.digest,
        folds=tuple(folds),
        groups={key: group for group, keys in sorted(shared.items()) for key in keys},
        left_out=tuple(sorted(left_out)),
    )


def check(split: Split, dataset: Dataset, groups: Mapping[str, str], digest: str = "") -> None:
    """See that a split fits a data set.

    Args:
        split: what was written down.
        dataset: what there is.
        groups: key → group, of all cases.
        digest: `Survey.digest` of what there is; empty: not looked at.

    Raises:
        Misconfigured: it was made for another data set, names cases that are not there, leaves cases out without
            saying so, has one in two parts, or tears a group apart; says which.
    """
    faults: list[str] = []
    keys = {case.key for case in dataset.cases}
    for number, fold in enumerate(split.folds, 1):
        parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
        placed = Counter(key for part in parts.values() for key in part)
        faults += _named(f"fold {number}: cases that the data set does not have", placed.keys() - keys)
        faults += _named(f"fold {number}: cases in no part", keys - placed.keys() - set(split.left_out))
        faults += _named(f"fold {number}: cases placed twice", (key for key, count in placed.items() if count > 1))
        if not fold.train:
            faults.append(f"fold {number}: nothing to train on")
        where = {key: part for part, named in parts.items() for key in named}
        torn = {
            group for group, of_it in members(groups).items() if len({where[key] for key in of_it if key in where}) > 1
        }
        faults += _named(f"fold {number}: groups torn apart", torn)
    if digest and digest != split.dataset_digest and not faults:
        faults.append("it has the same cases, but their labels or pixels are others than when the split was made")
    if faults:
        raise Misconfigured(
            FILE_NAME,
            "",
            f"does not fit the data set {dataset.name}: {'; '.join(faults)}",
            "Bring back the data set that it was made for, or make the split anew: matins train --dry-run",
        )


def _named(fault: str, keys: Iterable[str]) -> list[str]:
    found = sorted(keys)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [f"{fault} ({len(found)}): {', '.join(found[:3])}{more}"] if found else []


def _units(cases: Iterable[Case], groups: Mapping[str, str], strata: Mapping[str, str]) -> list[_Unit]:
    held: dict[str, list[str]] = {}
    for case in cases:
        held.setdefault(groups.get(case.key, case.key), []).append(case.key)
    return [
        _Unit(name=name, keys=tuple(sorted(keys)), strata=Counter(strata[key] for key in keys))
        for name, keys in sorted(held.items())
    ]


def _parted(units: Sequence[_Unit], splitting: Splitting, *, keeps: bool) -> list[Fold]:
    """One split by shares, or folds: each the test part of one, with a validation part taken from the others."""
    if not splitting.folds:
        train, validation, test = _filled(units, splitting.shares, f"{splitting.seed} shares", keeps=keeps)
        return [Fold(train=_keys(train), validation=_keys(validation), test=_keys(test))]
    tests = _filled(units, (1.0,) * splitting.folds, f"{splitting.seed} folds")
    found = []
    for number, test in enumerate(tests):
        rest = [unit for place, part in enumerate(tests) if place != number for unit in part]
        train, validation = _filled(rest, splitting.shares[:2], f"{splitting.seed} fold {number}", keeps=keeps)
        found.append(Fold(train=_keys(train), validation=_keys(validation), test=_keys(test)))
    return found


def _official(
    survey: Survey, groups: Mapping[str, str], strata: Mapping[str, str], splitting: Splitting
) -> tuple[list[Fold], list[str]]:
    """Folds that keep the official parts, and the cases that are left out of training."""
    parts: dict[str, list[Case]] = {"train": [], "validation": [], "test": []}
    for case in survey.cases:
        parts[case.part or "train"].append(case)
    if not parts["train"] or not (parts["validation"] or parts["test"]):
        problem = "the data set names no parts that could be kept"
        raise Misconfigured(survey.source, "split.official", problem, "Set it to false")
    test = tuple(sorted(case.key for case in parts["test"]))
    if splitting.folds:
        parts["train"] += parts["validation"]
        parts["validation"] = []
    judging = {groups.get(case.key, case.key) for part in ("validation", "test") for case in parts[part]}
    left_out = [case.key for case in parts["train"] if groups.get(case.key, case.key) in judging]
    # What chooses must not be what judges, either.
    judged = {groups.get(key, key) for key in test}
    left_out += [case.key for case in parts["validation"] if groups.get(case.key, case.key) in judged]
    gone = set(left_out)
    units = _units((case for case in parts["train"] if case.key not in gone), groups, strata)
    kept = tuple(sorted(case.key for case in parts["validation"] if case.key not in gone))
    if splitting.folds:
        _refuse_few(survey.source, units, splitting)
        folded = _filled(units, (1.0,) * splitting.folds, f"{splitting.seed} folds")
        everything = [unit for part in folded for unit in part]
        return [
            Fold(train=_keys(unit for unit in everything if unit not in part), validation=_keys(part), test=test)
            for part in folded
        ], left_out
    if kept:
        return [Fold(train=_keys(units), validation=kept, test=test)], left_out
    train, validation = _filled(units, splitting.shares[:2], f"{splitting.seed} shares", keeps=_by_class(survey))
    return [Fold(train=_keys(train), validation=_keys(validation), test=test)], left_out


def _assigned(units: Sequence[_Unit], shares: Sequence[float], seed: str) -> list[list[_Unit]]:
    """Give each unit to the part that it brings nearest to its share of every stratum: the largest units first.

    With units of one case this is Webster's method of apportionment, for each stratum by itself.
    """
    totals: Counter[str] = Counter()
    for unit in units:
        totals.update(unit.strata)
    aims = [{name: share * count / sum(shares) for name, count in totals.items()} for share in shares]
    held: list[Counter[str]] = [Counter() for _ in shares]
    parts: list[list[_Unit]] = [[] for _ in shares]
    ordered = sorted(units, key=lambda unit: (-len(unit.keys), _drawn(seed, unit.name)))
    open_parts = [number for number, share in enumerate(shares) if share > 0]
    for unit in ordered:
        chosen = min(open_parts, key=lambda number: (_strain(unit, held[number], aims[number]), number))
        parts[chosen].append(unit)
        held[chosen].update(unit.strata)
    return parts


def _filled(units: Sequence[_Unit], shares: Sequence[float], seed: str, *, keeps: bool = False) -> list[list[_Unit]]:
    """Assign, and where so few units leave a part empty that was asked for, give it that which strains shares least.

    With `keeps` the first part keeps some of every stratum, even if another stays empty for it.
    """
    parts = _assigned(units, shares, seed)
    totals = sum((unit.strata for unit in units), Counter[str]())
    aims = [{name: share * count / sum(shares) for name, count in totals.items()} for share in shares]
    # The last ones judge: they come before what only chooses.
    for empty in [number for number in reversed(range(len(shares))) if shares[number] > 0 and not parts[number]]:
        held = [sum((unit.strata for unit in part), Counter[str]()) for part in parts]
        moves = [
            (_strain(unit, held[empty], aims[empty]) + _relief(unit, held[number], aims[number]), unit, number)
            for number, part in enumerate(parts)
            if len(part) > 1
            for unit in part
            if not (keeps and number == 0 and any(held[0][name] == count for name, count in unit.strata.items()))
        ]
        if moves:
            _, unit, giving = min(moves, key=lambda move: (round(move[0], 9), _drawn(seed, move[1].name)))
            parts[giving].remove(unit)
            parts[empty].append(unit)
    return parts


def _relief(unit: _Unit, held: Counter[str], aim: Mapping[str, float]) -> float:
    """By how much it grows where the unit is taken away."""
    return -_strain(unit, held - unit.strata, aim)


def _strain(unit: _Unit, held: Counter[str], aim: Mapping[str, float]) -> float:
    """By how much the squared distance from the aim, measured by the aim, grows."""
    grown = (count * (2 * (held[name] - aim[name]) + count) / aim[name] for name, count in sorted(unit.strata.items()))
    return round(sum(grown), 9)


def _drawn(seed: str, name: str) -> str:
    """An order that the seed alone decides: not that of files, nor of a library's generator."""
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()


def _keys(units: Iterable[_Unit]) -> tuple[str, ...]:
    return tuple(sorted(key for unit in units for key in unit.keys))


def _refuse_few(source: Path, units: Sequence[_Unit], splitting: Splitting) -> None:
    wanted = splitting.folds or int(np.count_nonzero(splitting.shares))
    if len(units) < wanted:
        problem = f"{len(units)} groups cannot be parted into {wanted}"
        raise Misconfigured(
            source, "split.folds" if splitting.folds else "split.shares", problem, "Ask for fewer parts"
        )


def _by_class(survey: Survey) -> bool:
    return all(case.label is not None for case in survey.cases)


def _method(splitting: Splitting, survey: Survey, folds: Sequence[Fold], left_out: int) -> str:
    strata = "class" if _by_class(survey) else "volume of foreground"
    parts = " : ".join(f"{share:g}" for share in splitting.shares)
    how = f"{splitting.folds} folds" if splitting.folds else f"training : validation : test as {parts}"
    words = [f"{how}, by group, stratified by {strata}, seed {splitting.seed}"]
    near = splitting.near_duplicate
    words.append(
        f"groups: patients, equal pixels{f', thumbnails that correlate by more than {near:g}' if near < 1 else ''}"
    )
    if splitting.official:
        words.append("official parts kept")
    if left_out:
        words.append(f"{left_out} cases left out of training: their group reaches into a part that judges")
    wanted = {"validation": splitting.shares[1] > 0}
    if not splitting.official:
        wanted["test"] = splitting.folds > 0 or splitting.shares[2] > 0
    empty = {name: sum(not getattr(fold, name) for fold in folds) for name, is_wanted in wanted.items() if is_wanted}
    words += [
        f"no {name} part in {count} of {len(folds)}: there are too few groups" for name, count in empty.items() if count
    ]
    return "; ".join(words)
