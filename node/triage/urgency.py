"""Which findings a person has to acknowledge: those that a rule raises above routine work."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.acknowledgement import FindingKey, UrgentFinding, key_of
from node.domain.finding import Finding
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import FIELDS, Comparison, comparisons, denied
from node.triage.facts import RankFacts
from node.triage.rules import CompiledRule, contributions


def urgent_findings(rules: Sequence[CompiledRule], facts: RankFacts) -> dict[FindingKey, UrgentFinding]:
    """Findings of live models that are not denied and that a rule which fires names, where it asks for a lane.

    The lane is the highest that such a rule asks for, whichever the study stands in: models alone raise a study by
    one lane at most, but what they found is as urgent as the rule says.
    """
    asking = [each for each in rules if each.by_model and each.rule.lane not in (None, Lane.ROUTINE)]
    if not asking:
        return {}
    named = {each.rule.id: _named(each) for each in asking}
    found: dict[FindingKey, UrgentFinding] = {}
    for said in contributions(asking, facts):
        if said.lane is None:
            continue
        for model, finding in live(facts):
            if any(_names(each, model, finding) for each in named[said.rule]):
                key = key_of(model, finding)
                urgent = UrgentFinding(key=key, code=finding.code, lane=said.lane, asked_by=said.rule)
                if key not in found or said.lane.order < found[key].lane.order:
                    found[key] = urgent
    return found


def live(facts: RankFacts) -> list[tuple[str, Finding]]:
    """Model and finding, of each that a live model does not deny."""
    return [
        (result.model, finding)
        for result in facts.results
        if result.mode is Mode.LIVE
        for finding in result.findings
        if finding.present is not False
    ]


def _named(compiled: CompiledRule) -> list[Comparison]:
    not_there = set(denied(compiled.rule.when))
    return [
        each
        for each in comparisons(compiled.rule.when)
        if (FIELDS[each.field].is_finding or FIELDS[each.field].is_change) and each not in not_there
    ]


def _names(comparison: Comparison, model: str, finding: Finding) -> bool:
    code = f"{finding.code.scheme}:{finding.code.value}"
    return comparison.model in ("", model) and comparison.code in ("", code)
