"""The cases that have sex, age band, scanner or site in common: how the model does among them, and of how many."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from node.learn.evaluate.bootstrap import Draws, Statistic, intervals
from node.learn.evaluate.cohort import Cohort, groups_of, truth_of
from node.learn.evaluate.evaluation import Subgroup
from node.learn.evaluate.metrics import Numbers
from node.learn.prediction import Prediction

#: Fewer positive or negative cases than these show little.
FEW = 10
#: Values of one attribute that are told apart, those with the most cases.
_MOST_VALUES = 12
_UNKNOWN, _OTHERS = "not known", "others"
_AGE = "age"
#: Upper ends of the age bands, in years.
_BANDS = (18, 40, 60, 80)
_DIGITS = re.compile(r"(\d+(?:\.\d+)?)\s*([YMWD]?)", re.IGNORECASE)


def subgroups(
    cohorts: Sequence[Cohort],
    attributes: Sequence[str],
    statistic: Callable[[Sequence[Prediction], int], Statistic],
    draws: Draws,
    positive: int | None,
) -> tuple[Subgroup, ...]:
    """Judge each subgroup; `statistic` is of some predictions of a seed, by its place among the cohorts.

    `positive` is the class whose cases are counted; `None` of other tasks.
    """
    return tuple(
        _subgroup(cohorts, attribute, value, statistic, draws, positive)
        for attribute in attributes
        for value in _values(cohorts[0].judged, attribute)
    )


def value_of(prediction: Prediction, attribute: str) -> str:
    """Which subgroup a case is in: its value, of an age its band."""
    value = prediction.attributes.get(attribute, "").strip()
    if not value:
        return _UNKNOWN
    return band(value) if attribute == _AGE else value


def band(age: str) -> str:
    """The band of an age, in years or as DICOM has it ("063Y", "018M": PS3.5 §6.2, AS)."""
    found = _DIGITS.fullmatch(age.strip())
    if not found:
        return _UNKNOWN
    years = float(found[1]) / {"M": 12, "W": 52, "D": 365}.get(found[2].upper(), 1)
    below = 0
    for above in _BANDS:
        if years < above:
            return f"{below}-{above - 1}" if below else f"under {above}"
        below = above
    return f"{below} and over"


def _values(judged: Sequence[Prediction], attribute: str) -> list[str]:
    """The values that are told apart; none where no case has the attribute."""
    counts: dict[str, int] = {}
    for each in judged:
        value = value_of(each, attribute)
        counts[value] = counts.get(value, 0) + 1
    if set(counts) <= {_UNKNOWN}:
        return []
    common = sorted(counts, key=lambda value: (-counts[value], value))[:_MOST_VALUES]
    return sorted(common) + ([_OTHERS] if len(counts) > len(common) else [])


def _subgroup(
    cohorts: Sequence[Cohort],
    attribute: str,
    value: str,
    statistic: Callable[[Sequence[Prediction], int], Statistic],
    draws: Draws,
    positive: int | None,
) -> Subgroup:
    told = set(_values(cohorts[0].judged, attribute))
    members = [
        tuple(
            each
            for each in cohort.judged
            if (found := value_of(each, attribute)) == value or (value == _OTHERS and found not in told)
        )
        for cohort in cohorts
    ]
    first = members[0]
    statistics = [(groups_of(mine), statistic(mine, place)) for place, mine in enumerate(members) if mine]
    rests_on = _groups_behind(first, positive)
    positives = int((truth_of(first) == positive).sum()) if positive is not None else 0
    negatives = len(first) - positives if positive is not None else 0
    return Subgroup(
        attribute=attribute,
        value=value,
        cases=len(first),
        groups=len(set(groups_of(first))),
        positives=positives,
        negatives=negatives,
        figures=intervals(draws, statistics, rests_on=rests_on),
        note=_note(len(first), positives, negatives, counts_sides=positive is not None),
    )


def _groups_behind(judged: Sequence[Prediction], positive: int | None) -> dict[str, int]:
    """Of how many groups each share is."""
    everyone = len(set(groups_of(judged)))
    if positive is None:
        return dict.fromkeys(("dice", "surface_dice"), everyone)
    pairs = list(zip(groups_of(judged), (truth_of(judged) == positive).tolist(), strict=True))
    sides = [len({group for group, is_positive in pairs if is_positive is side}) for side in (True, False)]
    return {"accuracy": everyone, "auc": min(sides), "sensitivity": sides[0], "specificity": sides[1]}


def _note(cases: int, positives: int, negatives: int, *, counts_sides: bool) -> str:
    if not counts_sides:
        return f"Only {cases} cases: these figures say little." if cases < FEW else ""
    few = [f"{count} {name}" for count, name in ((positives, "positive"), (negatives, "negative")) if count < FEW]
    return f"Only {' and '.join(few)} cases: these figures say little." if few else ""


def chosen(statistic: Statistic, names: Mapping[str, str]) -> Statistic:
    """The same, of some figures alone, under other names: name there → name here."""

    def fewer(weights: Numbers) -> dict[str, Numbers]:
        found = statistic(weights)
        return {here: found[there] for there, here in names.items() if there in found}

    return fewer
