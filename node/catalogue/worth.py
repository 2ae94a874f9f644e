"""What a rule may be worth: never less than nothing, never a model's word above a person's, never a silent veto."""

from __future__ import annotations

from collections.abc import Collection
from math import isfinite
from pathlib import Path

from node.domain.priority import Lane
from node.domain.rule import FIELDS, Missing, Operator, Rule, comparisons, denied, reads_findings
from node.errors import Misconfigured

#: The most that one rule may add: rules stay comparable, and waiting overtakes them in foreseeable time.
MAXIMUM_POINTS = 100.0


def check_worth(rule: Rule, file: Path, known: Collection[tuple[str, str]], requires: Collection[str]) -> None:
    """Check what a rule does with a study.

    Raises:
        Misconfigured: it does nothing, too much, or what its kind may not.
    """
    weighted = rule.weight.points if rule.weight is not None else 0.0
    amounts = [
        ("then.points", rule.points),
        ("then.points_per_probability.points", weighted),
        ("then.points", rule.points + weighted),
        ("when_missing.points", rule.points_when_missing),
    ]
    if rule.cap is not None:
        amounts.append(("then.cap.points", rule.cap.points))
    for key, points in amounts:
        if not (isfinite(points) and 0 <= points <= MAXIMUM_POINTS):
            remedy = f"Give 0 to {MAXIMUM_POINTS:g}: a rule raises a study, or leaves it where it is"
            raise Misconfigured(file, key, f"{points} points", remedy)
    if rule.cap is not None and not rule.cap.group.strip():
        raise Misconfigured(file, "then.cap.group", "is empty", "Name what the rules of the group have in common")
    _check_weight(rule, file, known, requires)
    if rule.veto:
        _check_veto(rule, file)
    elif rule.points == 0 and not weighted and rule.lane in (None, Lane.ROUTINE):
        raise Misconfigured(file, "then", "changes nothing", "Give points, or a lane above ROUTINE, or both")
    if reads_findings(rule):
        _check_findings(rule, file)


def _check_findings(rule: Rule, file: Path) -> None:
    """A model alone never lowers a study, nor lifts one among those a person called STAT."""
    if rule.lane is Lane.STAT:
        problem = "STAT, by a rule that asks a model"
        raise Misconfigured(file, "then.lane", problem, "Give URGENT and points: STAT is a person's word")
    if rule.when_missing is Missing.POINTS:
        problem = "points while a model's answer is missing would be lost when it comes"
        raise Misconfigured(file, "when_missing", problem, 'Give "skip" or "flag"')


def _check_weight(rule: Rule, file: Path, known: Collection[tuple[str, str]], requires: Collection[str]) -> None:
    weight = rule.weight
    if weight is None or weight.code in requires:
        return
    findable = sorted({code for model, code in known if weight.model in {"", model}})
    if weight.code not in findable:
        remedy = f"Choose one of {', '.join(findable)}" if findable else "Remove it, or write requires = [that code]"
        raise Misconfigured(file, "then.points_per_probability.code", f'no model finds "{weight.code}"', remedy)


def _check_veto(rule: Rule, file: Path) -> None:
    """A veto stands on what is known and said, by people, or it does not stand."""
    if rule.points or rule.weight is not None or rule.lane is not None or rule.cap is not None:
        raise Misconfigured(file, "then.veto", "and something else", "A veto raises nothing: leave the rest out")
    if reads_findings(rule):
        raise Misconfigured(file, "then.veto", "a model's word lowers no study", "Ask for no finding and no change")
    missing = any(each.operator is Operator.KNOWN for each in comparisons(rule.when))
    if rule.when_missing is Missing.POINTS or missing:
        raise Misconfigured(file, "then.veto", "what is missing lowers no study", "Ask for what is known")
    if any(FIELDS[each.field].nullable for each in denied(rule.when)):
        problem = "a `not` over what may be missing or incomplete"
        raise Misconfigured(file, "then.veto", problem, "Ask for what is said, not for what is not said")
