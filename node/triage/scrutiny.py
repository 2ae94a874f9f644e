"""What can be said of a rule without a study: what it reads, what can answer it, what it is worth at most."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import fsum

from node.domain.history import TOLD_TOPICS
from node.domain.rule import FIELDS, Rule, comparisons


def fields_of(rule: Rule) -> tuple[str, ...]:
    """The fields that a rule reads, in the order written."""
    weighed = ("finding.probability",) if rule.weight is not None else ()
    return tuple(dict.fromkeys((*(each.field for each in comparisons(rule.when)), *weighed)))


def notes_on(rule: Rule, live: Collection[tuple[str, str]], told_by: Sequence[str]) -> tuple[str, ...]:
    """Why a rule may stay without an answer on this node.

    `live`: what live models find, as (model, code); `told_by`: the sources configured that tell of patients.
    """
    if rule.dormant:
        return (f"dormant: no model of this node finds {', '.join(rule.dormant)}",)
    asked = {(each.model, each.code) for each in comparisons(rule.when) if FIELDS[each.field].is_finding}
    if rule.weight is not None:
        asked.add((rule.weight.model, rule.weight.code))
    found = {*live, *(("", code) for _, code in live)}
    notes = [f"no live model finds {code}: not answered until one does" for _, code in sorted(asked - found)]
    if any(FIELDS[each.field].is_change for each in comparisons(rule.when)):
        notes.append("needs a prior of the same patient, read by the same model")
    topics = {each.field.removeprefix("history.") for each in comparisons(rule.when) if FIELDS[each.field].is_fact}
    if not told_by and topics & TOLD_TOPICS.keys():
        named = ", ".join(sorted(topics & TOLD_TOPICS.keys()))
        notes.append(f"nobody tells this node of: {named} (no [[fhir]], [receive.hl7] or table is configured)")
    return tuple(notes)


def highest_points(rules: Sequence[Rule]) -> float:
    """The most points that a study can have by rules in force, each group by its cap."""
    awake = [rule for rule in rules if not rule.dormant]
    groups = {rule.cap.group for rule in awake if rule.cap is not None}
    single = [rule.highest_points for rule in awake if rule.cap is None]
    capped = []
    for group in groups:
        members = [(rule.highest_points, rule.cap.points) for rule in awake if rule.cap and rule.cap.group == group]
        capped.append(min(fsum(points for points, _ in members), max(cap for _, cap in members)))
    return fsum((*single, *capped))
