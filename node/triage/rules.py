"""Rules at work: compiled to closures, answered with true, false or unknown, each answer with its sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from math import fsum

from node.domain.priority import Lane
from node.domain.rule import Comparison, Missing, Rule, Said, comparisons, reads_findings
from node.triage.clauses import Answer, Key, Lookups, Part, answer_of, part_of
from node.triage.facts import RankFacts, Reading
from node.triage.reason import because, not_known
from node.triage.told import Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One reason for the place of a study."""

    rule: str
    points: float
    because: str
    #: The lane it asks for, if any.
    lane: Lane | None = None
    #: Whether a model has a say in it: then it raises one lane at most, never above a person's STAT.
    by_model: bool = False
    #: Whether it puts the study at the end of the routine lane.
    veto: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """A rule ready to be asked."""

    rule: Rule
    answer: Answer
    #: What it compares, in the order written.
    parts: tuple[Part, ...]
    #: Whether it asks models.
    by_model: bool = False
    #: Whether it says something where it is not answered.
    speaks_unanswered: bool = False
    #: Where the probability is that adds to its points, if one does.
    weighed: Key | None = None


def compile_rules(rules: Sequence[Rule]) -> tuple[CompiledRule, ...]:
    """Make rules ready, in the order of their names; what is dormant is left out."""
    awake = [rule for rule in sorted(rules, key=lambda rule: rule.id) if not rule.dormant]
    asked = Counter(comparison for rule in awake for comparison in comparisons(rule.when))
    shared = frozenset(comparison for comparison, count in asked.items() if count > 1)
    return tuple(_compile_rule(rule, shared) for rule in awake)


def contributions(rules: Sequence[CompiledRule], facts: RankFacts) -> tuple[Contribution, ...]:
    """Ask every rule; what fires or has to be flagged comes back: vetoes, then most points first, then by name.

    The order of the facts is no matter.
    """
    reading = Reading(facts)
    made: list[Contribution] = []
    capped = False
    for each in rules:
        truth = each.answer(reading)
        if truth or (truth is None and each.speaks_unanswered):
            made.append(_contribution(each, truth, reading))
            capped = capped or each.rule.cap is not None
    if capped:
        made = _capped(made, {each.rule.id: each for each in rules})
    return tuple(sorted(made, key=lambda each: (not each.veto, -each.points, each.rule)))


def said_by(compiled: CompiledRule, facts: RankFacts) -> Said:
    """What a rule says to one study."""
    truth = compiled.answer(Reading(facts))
    return Said.UNKNOWN if truth is None else Said.FIRES if truth else Said.NOT


def unanswered(rules: Sequence[CompiledRule], facts: RankFacts) -> dict[str, str]:
    """Return rule → what is not known, for every rule that what is missing leaves undecided."""
    reading = Reading(facts)
    return {each.rule.id: not_known(each.parts, reading) for each in rules if each.answer(reading) is None}


def digest_of(rules: Sequence[CompiledRule]) -> str:
    """SHA-256 of what rules say, the same in every process that has the same rules in force."""
    said = [repr(replace(each.rule, examples=())) for each in sorted(rules, key=lambda each: each.rule.id)]
    return sha256("\n".join(said).encode()).hexdigest()


def _compile_rule(rule: Rule, shared: Collection[Comparison]) -> CompiledRule:
    weight = rule.weight
    return CompiledRule(
        rule=rule,
        answer=answer_of(rule.when, shared),
        parts=tuple(part_of(comparison) for comparison in comparisons(rule.when)),
        by_model=reads_findings(rule),
        speaks_unanswered=rule.when_missing is not Missing.SKIP,
        weighed=None if weight is None else ("finding.probability", weight.model, weight.code, ""),
    )


def _contribution(compiled: CompiledRule, truth: Truth, reading: Lookups) -> Contribution:
    rule, by_model = compiled.rule, compiled.by_model
    if not truth:
        why = f"{rule.title}: cannot be answered, {not_known(compiled.parts, reading)} not known"
        return Contribution(rule=rule.id, points=rule.points_when_missing, because=why, by_model=by_model)
    points = rule.points
    if rule.weight is not None and compiled.weighed is not None:
        # Rounded, so that the reader can add up what is shown; rounding keeps the order.
        points = round(points + rule.weight.points * max(reading[compiled.weighed], default=0.0), 2)
    why = because(rule, compiled.parts, reading)
    return Contribution(rule=rule.id, points=points, because=why, lane=rule.lane, by_model=by_model, veto=rule.veto)


def _capped(made: Sequence[Contribution], by_id: dict[str, CompiledRule]) -> list[Contribution]:
    """Take from the members of each group what they add together beyond its cap, and say so.

    What models say gives way first: they must not take the place of what is worth more than they may add.
    """
    left: dict[str, float] = {}
    for one in by_id.values():
        cap = one.rule.cap
        if cap is not None:
            # A set of rules says one cap a group; the greatest, so that one more rule never lowers a study.
            left[cap.group] = max(left.get(cap.group, 0.0), cap.points)
    caps = dict(left)
    kept: list[Contribution] = []
    for each in sorted(made, key=lambda each: (each.by_model, -each.points, each.rule)):
        cap = by_id[each.rule].rule.cap
        if cap is None:
            kept.append(each)
            continue
        points = min(each.points, left[cap.group])
        left[cap.group] = max(0.0, fsum((left[cap.group], -points)))
        why = each.because
        if points < each.points:
            why = f"{why} ({points:g} of {each.points:g} points: “{cap.group}” adds {caps[cap.group]:g} at most)"
        kept.append(replace(each, points=points, because=why))
    return kept
