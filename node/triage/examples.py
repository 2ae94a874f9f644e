"""The examples of a rule, tried: does it say what its author says that it says?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from node.domain.model_card import Mode
from node.domain.rule import Example, Rule
from node.triage.facts import ModelResult, RankFacts
from node.triage.rules import compile_rules, said_by, unanswered

#: When the study of an example arrives: ages of its facts count from here.
ARRIVAL = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def facts_of(example: Example) -> RankFacts:
    """The study of an example."""
    study: dict[str, Any] = dict(example.study)
    return RankFacts(
        study_instance_uid="1.2.3",
        arrived_at=ARRIVAL,
        history=example.history,
        results=tuple(ModelResult(model=name, mode=Mode.LIVE, findings=found) for name, found in example.results),
        changes=example.changes,
        **study,
    )


def wrong_examples(rule: Rule) -> list[str]:
    """One sentence for every example that the rule does not keep to; a dormant rule is tried as if awake."""
    (compiled,) = compile_rules([replace(rule, dormant=())])
    wrong = []
    for example in rule.examples:
        facts = facts_of(example)
        said = said_by(compiled, facts)
        if said is not example.says:
            unknown = unanswered([compiled], facts).get(rule.id, "")
            why = f" ({unknown} not known)" if unknown else ""
            wrong.append(f"the example “{example.title}” is to say “{example.says}”, and the rule says “{said}”{why}")
    return wrong
